//! Connections to PBXs: dialled, encrypted, read and written here, and understood nowhere near here.
//!
//! One task per connection. It reads only as fast as its reports are taken, so a slow journal slows the PBX
//! down; what waits to be written is bounded, and a PBX that does not read is hung up on.

mod redial;
pub mod tls;

use std::{
    io,
    net::SocketAddr,
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
/// For what the PBX said before writing to it failed.
const LAST_WORDS: Duration = Duration::from_millis(500);
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

    /// Host and port, however they are spoken to.
    pub fn place(&self) -> String {
        format!("{}:{}", self.url.host, self.port)
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
        let stream = first_that_answers(&addresses, DIAL_TIMEOUT)
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

/// Each address but the last gets a share of the time only: one that swallows everything, e.g. the IPv6 one of a
/// name with both, does not keep us from the others.
pub(crate) async fn first_that_answers(
    addresses: &[SocketAddr],
    within: Duration,
) -> io::Result<TcpStream> {
    let Some((last, earlier)) = addresses.split_last() else {
        return Err(io::Error::other("the name has no address"));
    };
    let share = within / u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
    for address in earlier {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "no connection; trying the next address")
            }
            Err(_) => tracing::debug!(%address, "no answer; trying the next address"),
        }
    }
    TcpStream::connect(last).await
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
                Err(error) => return broke(&error),
            }
        }
    };
    let writing = async {
        while let Some(bytes) = waiting.recv().await {
            let written = write(&mut writer, &bytes).await;
            queued.fetch_sub(bytes.len(), Ordering::Relaxed);
            written?;
        }
        let _ = tokio::time::timeout(WRITE_TIMEOUT, writer.shutdown()).await;
        Ok::<_, String>("closed by this host".to_owned())
    };
    tokio::pin!(reading);
    let written = tokio::select! {
        reason = &mut reading => return reason,
        written = writing => written,
    };
    match written {
        Ok(reason) => reason,
        Err(reason) => {
            // A PBX that refuses a login says so and hangs up, perhaps while we are still writing.
            let _ = tokio::time::timeout(LAST_WORDS, reading).await;
            reason
        }
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> Result<(), String> {
    let stuck = |_| format!("the PBX reads nothing for {} s", WRITE_TIMEOUT.as_secs());
    while !bytes.is_empty() {
        match tokio::time::timeout(WRITE_TIMEOUT, writer.write(bytes)).await.map_err(stuck)? {
            Ok(0) => return Err("the PBX closed the connection".to_owned()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) => return Err(broke(&error)),
        }
    }
    tokio::time::timeout(WRITE_TIMEOUT, writer.flush())
        .await
        .map_err(stuck)?
        .map_err(|error| broke(&error))
}

/// The end of a connection in words. A peer that hung up shows as any of these kinds, depending on what
/// this side was doing just then.
fn broke(error: &io::Error) -> String {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => {
            format!("the PBX closed the connection ({error})")
        }
        _ => format!("the connection broke: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn last_words_are_heard_when_writing_fails_first() {
        // The order in which both sides are looked at is random.
        for _ in 0..32 {
            let (gone, _) = tokio::io::duplex(8);
            let connection =
                Connection { reader: Box::new(&b"Response: Error"[..]), writer: Box::new(gone) };
            let (outbound, waiting) = mpsc::channel(1);
            outbound.send(b"Action: Login".to_vec()).await.expect("room");
            let (reports_in, mut reports) = mpsc::channel(8);
            let reporter = Reporter { link: 0, attempt: 1, reports: reports_in };
            converse(connection, waiting, &AtomicUsize::new(13), &reporter).await;
            let report = reports.try_recv().expect("what the PBX said");
            assert!(
                matches!(report.event, LinkEvent::Received(data) if data == b"Response: Error")
            );
        }
    }

    /// A listener whose queue is full: the kernel drops whoever else knocks.
    fn black_hole() -> (SocketAddr, impl Sized) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a free port");
        socket.listen(0).expect("a listener");
        let address = socket.local_addr().expect("bound").as_socket().expect("IPv4");
        let knock = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100));
        let inside: Vec<_> = std::iter::from_fn(|| knock().ok()).collect();
        (address, (socket, inside))
    }

    #[tokio::test]
    async fn an_address_that_answers_is_found_behind_those_that_do_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let good = listener.local_addr().expect("bound");
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let refuses = closed.local_addr().expect("bound");
        drop(closed);
        let (swallows, _full) = black_hole();
        let stream =
            first_that_answers(&[refuses, swallows, good], Duration::from_millis(400)).await;
        assert_eq!(stream.expect("the last one answers").peer_addr().expect("connected"), good);
        assert!(first_that_answers(&[], DIAL_TIMEOUT).await.is_err());
    }
}
