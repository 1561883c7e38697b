//! A wire between host and PBX that a test may cut, and that counts who dials and knows what the PBX said.

use std::{
    fs::File,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Passes TCP on to one address. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    /// Grows with every cut.
    cuts: watch::Sender<u64>,
    dialled: Arc<AtomicU64>,
    /// So many bytes of the PBX may reach the host.
    allowed: watch::Sender<u64>,
    said: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens at a free port of 127.0.0.1.
    pub async fn to(target: SocketAddr) -> Result<Proxy> {
        Proxy::at(Ipv4Addr::LOCALHOST, target).await
    }

    /// Listens at a free port of this address.
    pub async fn at(address: Ipv4Addr, target: SocketAddr) -> Result<Proxy> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let cuts = watch::Sender::new(0);
        let dialled = Arc::new(AtomicU64::new(0));
        let said = Arc::new(Mutex::new(Vec::new()));
        let allowed = watch::Sender::new(u64::MAX);
        let (cut, count, kept) = (cuts.clone(), dialled.clone(), said.clone());
        let allowance = allowed.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let mut cut = cut.subscribe();
                let kept = kept.clone();
                let allowed = allowance.subscribe();
                tokio::spawn(async move {
                    // A PBX that is down refuses, and so does the wire.
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    let tap = Tap { file: Tap::file(target, number), kept, allowed };
                    tokio::select! {
                        () = pass(&mut near, &mut far, tap) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Ok(Proxy { address, cuts, dialled, allowed, said, task })
    }

    /// Where to dial instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all present connections; new ones are welcome.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets so many bytes of the PBX through in all, on each connection, and keeps the others back.
    pub fn allow(&self, bytes: u64) {
        self.allowed.send_replace(bytes);
    }

    /// How often somebody dialled.
    pub fn dialled(&self) -> u64 {
        self.dialled.load(Ordering::Relaxed)
    }

    /// Everything that the PBX said to whoever dialled.
    pub fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

/// Passes both ways until either side ends.
async fn pass(near: &mut TcpStream, far: &mut TcpStream, mut tap: Tap) {
    let (mut near_reader, mut near_writer) = near.split();
    let (mut far_reader, mut far_writer) = far.split();
    let down = async {
        let mut block = vec![0; 64 * 1024];
        let mut passed = 0;
        loop {
            let Ok(allowed) = tap.allowed.wait_for(|allowed| *allowed > passed).await.map(|it| *it)
            else {
                return;
            };
            let most = usize::try_from(allowed - passed).unwrap_or(usize::MAX).min(block.len());
            let Ok(length @ 1..) = far_reader.read(&mut block[..most]).await else { return };
            passed += length as u64;
            tap.note(&block[..length]);
            if near_writer.write_all(&block[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = down => {}
        _ = copy(&mut near_reader, &mut far_writer) => {}
    }
}

/// What the PBX said; also written into the folder `JACKFIELD_WIRETAP` for whoever looks for an error.
struct Tap {
    allowed: watch::Receiver<u64>,
    file: Option<File>,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn file(target: SocketAddr, number: u64) -> Option<File> {
        let folder = std::env::var_os("JACKFIELD_WIRETAP")?;
        let name = format!("{}-{number}.txt", target.port());
        File::create(Path::new(&folder).join(name)).ok()
    }

    fn note(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(bytes);
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }
}
