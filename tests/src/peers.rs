//! Peers that are no PBX: each accepts the host's connection and misbehaves in one way.
//!
//! Everything else in these tests is a real Asterisk; a real one cannot be made to send half a list.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the peer does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Accepts, reads, says nothing.
    Silent,
    /// Says things that are no line of any protocol, for ever.
    Garbage,
    /// Another service entirely.
    WebServer,
    /// Is let in, then sends one line of 10 MiB.
    HugeLine,
    /// Stops in the middle of its first answer and stays.
    HalfFrame,
    /// Begins the list of queues and closes.
    ClosesInTheList,
    /// Accepts and closes at once.
    Closes,
}

/// A listening peer. Dropping it ends it and all its connections.
#[derive(Debug)]
pub struct BadPeer {
    address: SocketAddr,
    dialled: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl BadPeer {
    /// Listens at a free port of 127.0.0.1.
    pub async fn start(manners: Manners) -> Result<BadPeer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let dialled = Arc::new(AtomicU64::new(0));
        let count = dialled.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                // Its errors are its business: the other side may close whenever it likes.
                connections.spawn(async move { drop(misbehave(stream, manners).await) });
            }
        });
        Ok(BadPeer { address, dialled, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often somebody dialled.
    pub fn dialled(&self) -> u64 {
        self.dialled.load(Ordering::Relaxed)
    }
}

impl Drop for BadPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const BANNER: &[u8] = b"Asterisk Call Manager/11.0.0\r\n";
const SUCCESS: &str = "Response: Success\r\n";

async fn misbehave(mut stream: TcpStream, manners: Manners) -> Result<()> {
    match manners {
        Manners::Silent => read_on(&mut stream).await,
        Manners::Closes => Ok(()),
        Manners::WebServer => {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await?;
            read_on(&mut stream).await
        }
        Manners::Garbage => {
            let mut noise = 1_u32;
            let mut block = [0; 4096];
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            loop {
                pace.tick().await;
                for byte in &mut block {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *byte = noise.to_be_bytes()[0];
                }
                stream.write_all(&block).await?;
            }
        }
        Manners::HalfFrame => {
            stream.write_all(BANNER).await?;
            stream.write_all(b"Response: Success\r\nActionI").await?;
            read_on(&mut stream).await
        }
        Manners::HugeLine | Manners::ClosesInTheList => {
            let (reader, mut writer) = stream.split();
            writer.write_all(BANNER).await?;
            let mut reader = BufReader::new(reader);
            loop {
                let (action, id) = next_action(&mut reader).await?;
                let answer = match (action.as_str(), manners) {
                    ("challenge", _) => format!("{SUCCESS}{id}Challenge: 123456789\r\n"),
                    ("login", Manners::HugeLine) => {
                        writer.write_all(format!("{SUCCESS}{id}Message: ").as_bytes()).await?;
                        let block = [b'x'; 64 * 1024];
                        for _ in 0..160 {
                            writer.write_all(&block).await?;
                        }
                        "\r\n".to_owned()
                    }
                    ("queuestatus", Manners::ClosesInTheList) => {
                        let list = format!(
                            "{SUCCESS}{id}EventList: start\r\nMessage: Queue status will follow\r\n\r\nEvent: QueueParams\r\n{id}Queue: cut\r\nMax: 0\r\n"
                        );
                        writer.write_all(list.as_bytes()).await?;
                        return Ok(());
                    }
                    _ => format!("{SUCCESS}{id}Message: Authentication accepted\r\n"),
                };
                writer.write_all(format!("{answer}\r\n").as_bytes()).await?;
            }
        }
    }
}

/// The action's name in lower case, and its `ActionID` line as it came.
async fn next_action(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Result<(String, String)> {
    let (mut action, mut id) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        anyhow::ensure!(reader.read_line(&mut line).await? > 0, "closed");
        let (key, value) = line.split_once(':').unwrap_or((line.trim(), ""));
        match key.to_ascii_lowercase().as_str() {
            "action" => action = value.trim().to_ascii_lowercase(),
            "actionid" => id = format!("ActionID: {}\r\n", value.trim()),
            "" if !action.is_empty() => return Ok((action, id)),
            _ => {}
        }
    }
}

async fn read_on(stream: &mut TcpStream) -> Result<()> {
    let mut block = [0; 4096];
    while stream.read(&mut block).await? > 0 {}
    Ok(())
}
