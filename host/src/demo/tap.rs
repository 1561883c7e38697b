//! Listens in on one manager session and writes it down: how the bundled recording was made, and is renewed.

use std::{io::Write, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::Mutex,
};

/// Forwards the first connection to `to`, and writes all its bytes into `file`. Returns where it listens.
pub async fn start(to: SocketAddr, file: PathBuf) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let mut file = std::fs::File::create(file)?;
    writeln!(
        file,
        "# A manager session of Jackfield's connector with a real Asterisk, both directions."
    )?;
    let file = Arc::new(Mutex::new(file));
    tokio::spawn(async move {
        let (client, _) = listener.accept().await?;
        let server = TcpStream::connect(to).await?;
        let (client_in, client_out) = client.into_split();
        let (server_in, server_out) = server.into_split();
        let asking = copy(client_in, server_out, "C->S", Arc::clone(&file));
        let answering = copy(server_in, client_out, "S->C", file);
        tokio::try_join!(asking, answering)?;
        anyhow::Ok(())
    });
    Ok(address)
}

async fn copy(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    direction: &str,
    file: Arc<Mutex<std::fs::File>>,
) -> anyhow::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        {
            let mut file = file.lock().await;
            let time = jiff::Timestamp::now().strftime("%H:%M:%S.%6f");
            writeln!(file, "### {time} {direction} {length}")?;
            file.write_all(&chunk[..length])?;
        }
        to.write_all(&chunk[..length]).await?;
    }
}
