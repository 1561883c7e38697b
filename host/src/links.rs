//! Connections to PBXs: dialled, encrypted, read and written here, and understood nowhere near here.
//!
//! One task per connection. It reads only as fast as its reports are taken, so a slow journal slows the PBX
//! down; what waits to be written is bounded, and a PBX that does not read is hung up on.

mod redial;
pub mod tls;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

pub use redial::Redial;

use crate::config::LinkUrl;

/// From the look-up of the name to the end of the TLS handshake.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// One read at most.
const READ_BYTES: usize = 64 * 1024;
/// For one write without any progress.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// What may wait to be written.
const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;
const MAX_QUEUED_SENDS: usize = 4096;
/// A PBX that vanished without a word is noticed after about a minute, even with nothing to say to it.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_GAP: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMES: u32 = 3;

/// Where a link goes, and whom it trusts.
#[derive(Clone, Debug)]
pub struct Target {
    /// As configured.
    pub url: LinkUrl,
    /// As configured, or the plugin's default.
    pub port: u16,
    /// For `tls://`.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Why there is no connection, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DialError {
    /// What happened, with the peer.
    pub message: String,
    /// What to do.
    pub fix: String,
}

/// A connection, ready to read and write.
pub struct Connection {
    /// From the PBX.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// To the PBX.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Target {
    /// As plugins and people see it, e.g. `tls://pbx.example.org:5039`.
    pub fn peer(&self) -> String {
        LinkUrl { port: Some(self.port), ..self.url.clone() }.to_string()
    }

    /// Connects, within five seconds or not at all.
    pub async fn dial(&self) -> Result<Connection, DialError> {
        let peer = self.peer();
        tokio::time::timeout(DIAL_TIMEOUT, self.connect(&peer)).await.unwrap_or_else(|_| {
            Err(DialError {
                message: format!("{peer} does not answer within {} s", DIAL_TIMEOUT.as_secs()),
                fix: "check the address, the firewall between, and that the PBX runs".to_owned(),
            })
        })
    }

    async fn connect(&self, peer: &str) -> Result<Connection, DialError> {
        let host = self.url.host.as_str();
        let addresses: Vec<_> = tokio::net::lookup_host((host, self.port))
            .await
            .map_err(|error| DialError {
                message: format!("no address for {host}: {error}"),
                fix: "check the name in the link, or write the address itself".to_owned(),
            })?
            .collect();
        let stream = TcpStream::connect(addresses.as_slice())
            .await
            .map_err(|error| explain(&error, peer))?;
        prepare(&stream).map_err(|error| explain(&error, peer))?;
        let Some(tls) = &self.tls else {
            let (reader, writer) = stream.into_split();
            return Ok(Connection { reader: Box::new(reader), writer: Box::new(writer) });
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| DialError {
            message: format!("{host} is not a name a certificate can carry"),
            fix: "write a host name or an IP address into the link".to_owned(),
        })?;
        let stream = tokio_rustls::TlsConnector::from(tls.clone())
            .connect(name, stream)
            .await
            .map_err(|error| tls::explain(&error, host, peer))?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Connection { reader: Box::new(reader), writer: Box::new(writer) })
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_GAP)
        .with_retries(KEEPALIVE_TIMES);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn explain(error: &io::Error, peer: &str) -> DialError {
    let (message, fix) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            format!("{peer} refuses connections"),
            "start the PBX, and let it listen there (manager.conf: enabled=yes, bindaddr, port)",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (format!("no way to {peer}: {error}"), "check the address and the route to it")
        }
        _ => (
            format!("cannot connect to {peer}: {error}"),
            "check the address, and that the PBX runs",
        ),
    };
    DialError { message, fix: fix.to_owned() }
}

/// What a connection's task tells.
#[derive(Debug)]
pub struct Report {
    /// Index of the link, as given to [`open`].
    pub link: usize,
    /// Which connection of the link, as given to [`open`].
    pub attempt: u64,
    /// What happened.
    pub event: LinkEvent,
}

/// What happened to a connection. `Down` is the last.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is there.
    Up,
    /// The PBX said something.
    Received(Vec<u8>),
    /// It never came.
    Failed(DialError),
    /// It is gone.
    Down {
        /// One sentence.
        reason: String,
    },
}

/// The writing end of a connection. Dropping it ends the connection, after what waits is written.
#[derive(Debug)]
pub struct LinkWriter {
    outbound: mpsc::Sender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
}

/// Too much waits to be written: the PBX does not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the PBX does not read what is sent to it")]
pub struct Backlog;

impl LinkWriter {
    /// Queues bytes. On [`Backlog`] the connection should be dropped.
    pub fn send(&self, bytes: Vec<u8>) -> Result<(), Backlog> {
        let length = bytes.len();
        if self.queued.fetch_add(length, Ordering::Relaxed) + length > MAX_QUEUED_BYTES {
            return Err(Backlog);
        }
        match self.outbound.try_send(bytes) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Backlog),
            // It is ending; its last report says why.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}

/// Dials in a task of its own, then reads and writes until one side ends it.
pub fn open(
    target: Arc<Target>,
    link: usize,
    attempt: u64,
    reports: mpsc::Sender<Report>,
) -> LinkWriter {
    let (outbound, waiting) = mpsc::channel(MAX_QUEUED_SENDS);
    let queued = Arc::new(AtomicUsize::new(0));
    let task_queued = queued.clone();
    tokio::spawn(async move {
        let reporter = Reporter { link, attempt, reports };
        match target.dial().await {
            Ok(connection) => {
                reporter.tell(LinkEvent::Up).await;
                let reason = converse(connection, waiting, &task_queued, &reporter).await;
                reporter.tell(LinkEvent::Down { reason }).await;
            }
            Err(error) => reporter.tell(LinkEvent::Failed(error)).await,
        }
    });
    LinkWriter { outbound, queued }
}

struct Reporter {
    link: usize,
    attempt: u64,
    reports: mpsc::Sender<Report>,
}

impl Reporter {
    async fn tell(&self, event: LinkEvent) {
        // Nobody listens any more when the connector has ended.
        let _ = self.reports.send(Report { link: self.link, attempt: self.attempt, event }).await;
    }
}

async fn converse(
    connection: Connection,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    queued: &AtomicUsize,
    reporter: &Reporter,
) -> String {
    let Connection { mut reader, mut writer } = connection;
    let reading = async {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) => return "the PBX closed the connection".to_owned(),
                Ok(length) => {
                    let data = buffer[..length].to_vec();
                    reporter.tell(LinkEvent::Received(data)).await;
                }
                Err(error) => return format!("the connection broke: {error}"),
            }
        }
    };
    let writing = async {
        while let Some(bytes) = waiting.recv().await {
            let written = write(&mut writer, &bytes).await;
            queued.fetch_sub(bytes.len(), Ordering::Relaxed);
            if let Err(reason) = written {
                return reason;
            }
        }
        let _ = tokio::time::timeout(WRITE_TIMEOUT, writer.shutdown()).await;
        "closed by this host".to_owned()
    };
    tokio::select! {
        reason = reading => reason,
        reason = writing => reason,
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> Result<(), String> {
    let stuck = |_| format!("the PBX reads nothing for {} s", WRITE_TIMEOUT.as_secs());
    let broke = |error: io::Error| format!("the connection broke: {error}");
    while !bytes.is_empty() {
        match tokio::time::timeout(WRITE_TIMEOUT, writer.write(bytes)).await.map_err(stuck)? {
            Ok(0) => return Err("the PBX closed the connection".to_owned()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) => return Err(broke(error)),
        }
    }
    tokio::time::timeout(WRITE_TIMEOUT, writer.flush()).await.map_err(stuck)?.map_err(broke)
}
