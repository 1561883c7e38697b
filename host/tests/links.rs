//! Links against real sockets on this machine.

use std::{io::Write, sync::Arc, time::Duration};

use jackfield::{
    config::LinkUrl,
    links::{self, LinkEvent, Report, Target, tls},
};
use rcgen::CertifiedKey;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// Longer than anything here takes; only a broken test meets it.
const PATIENCE: Duration = Duration::from_secs(30);

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

fn plain(port: u16) -> Target {
    Target { url: LinkUrl::parse("tcp://127.0.0.1").expect("a URL"), port, tls: None }
}

async fn next(reports: &mut mpsc::Receiver<Report>) -> LinkEvent {
    tokio::time::timeout(PATIENCE, reports.recv())
        .await
        .expect("in time")
        .expect("the task tells")
        .event
}

/// A TLS peer on this machine with a certificate for `name`; the certificate as PEM file.
async fn tls_peer(name: &str) -> (u16, tempfile::NamedTempFile) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a good certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A refused certificate ends the handshake here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.write_all(b"hello").await;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            });
        }
    });
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(cert.pem().as_bytes()).expect("written");
    (port, file)
}

fn encrypted(host: &str, port: u16, ca: Option<&std::path::Path>) -> Target {
    let url = LinkUrl::parse(&format!("tls://{host}")).expect("a URL");
    Target { url, port, tls: Some(tls::client_config(ca).expect("certificates")) }
}

async fn refused(target: Target) -> links::DialError {
    match target.dial().await {
        Ok(_) => panic!("it must not be trusted"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_conversation_goes_both_ways_until_the_peer_closes() {
    let (listener, port) = listener().await;
    let (reports_in, mut reports) = mpsc::channel(4);
    let writer = links::open(Arc::new(plain(port)), 3, 7, reports_in);
    let (mut peer, _) = listener.accept().await.expect("dialled");
    assert!(matches!(next(&mut reports).await, LinkEvent::Up));
    writer.send(b"login".to_vec()).expect("room");
    let mut heard = [0; 5];
    peer.read_exact(&mut heard).await.expect("written");
    assert_eq!(&heard, b"login");
    peer.write_all(b"welc").await.expect("open");
    let Some(Report { link, attempt, event: LinkEvent::Received(data) }) = reports.recv().await
    else {
        panic!("bytes come")
    };
    assert_eq!((link, attempt, data.as_slice()), (3, 7, b"welc".as_slice()));
    drop(peer);
    let LinkEvent::Down { reason } = next(&mut reports).await else { panic!("it is over") };
    assert!(reason.contains("the PBX closed"), "{reason}");
    assert!(reports.recv().await.is_none(), "`Down` is the last word");
}

#[tokio::test]
async fn dropping_the_writer_says_what_waits_and_closes() {
    let (listener, port) = listener().await;
    let (reports_in, mut reports) = mpsc::channel(4);
    let writer = links::open(Arc::new(plain(port)), 0, 1, reports_in);
    let (mut peer, _) = listener.accept().await.expect("dialled");
    assert!(matches!(next(&mut reports).await, LinkEvent::Up));
    writer.send(b"Action: Logoff\r\n\r\n".to_vec()).expect("room");
    drop(writer);
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.expect("closed in order");
    assert_eq!(heard, "Action: Logoff\r\n\r\n");
    assert!(matches!(next(&mut reports).await, LinkEvent::Down { .. }));
}

#[tokio::test]
async fn nobody_there_is_an_error_with_the_fix() {
    let (listener, port) = listener().await;
    drop(listener);
    let error = refused(plain(port)).await;
    assert!(
        error.message.contains(&format!("tcp://127.0.0.1:{port} refuses connections")),
        "{error}"
    );
    assert!(error.fix.contains("manager.conf"), "{}", error.fix);
}

#[tokio::test]
async fn a_name_without_address_is_named() {
    let url = LinkUrl::parse("tcp://no-such-host.invalid").expect("a URL");
    let error = refused(Target { url, port: 5038, tls: None }).await;
    assert!(error.message.starts_with("no address for no-such-host.invalid"), "{error}");
}

/// The listener's queue takes the connection, and no handshake ever comes.
#[tokio::test(start_paused = true)]
async fn a_peer_that_accepts_and_says_nothing_does_not_hold_tls_for_ever() {
    let (_listener, port) = listener().await;
    let error = refused(encrypted("127.0.0.1", port, None)).await;
    assert!(error.message.contains("does not answer within 5 s"), "{error}");
}

#[tokio::test]
async fn a_pinned_certificate_with_the_right_name_is_trusted() {
    let (port, file) = tls_peer("localhost").await;
    let mut connection =
        encrypted("localhost", port, Some(file.path())).dial().await.expect("it is trusted");
    let mut heard = [0; 5];
    connection.reader.read_exact(&mut heard).await.expect("bytes");
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn a_pinned_certificate_for_another_name_is_refused_and_both_names_are_said() {
    let (port, file) = tls_peer("pbx.example.org").await;
    let error = refused(encrypted("localhost", port, Some(file.path()))).await;
    assert!(error.message.contains("is not for localhost"), "{error}");
    assert!(error.message.contains("pbx.example.org"), "{error}");
    assert!(error.fix.contains("subjectAltName"), "{}", error.fix);
}

#[tokio::test]
async fn a_certificate_of_nobody_we_know_is_refused_and_pinning_is_offered() {
    let (port, _) = tls_peer("localhost").await;
    let (_, other) = tls_peer("localhost").await;
    let error = refused(encrypted("localhost", port, Some(other.path()))).await;
    assert!(error.fix.contains("ca = \"pbx.pem\""), "{error}: {}", error.fix);
}

#[tokio::test]
async fn a_plain_port_is_not_mistaken_for_tls() {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _): (TcpStream, _) = listener.accept().await.expect("dialled");
        stream.write_all(b"Asterisk Call Manager/5.0.2\r\n").await.expect("open");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let error = refused(encrypted("127.0.0.1", port, None)).await;
    assert!(error.message.contains("not in TLS"), "{error}");
    assert!(error.fix.contains("5039"), "{}", error.fix);
}

#[test]
fn a_ca_file_without_certificate_is_refused() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"nothing").expect("written");
    let error = tls::client_config(Some(file.path())).expect_err("no certificate");
    assert!(error.to_string().contains("BEGIN CERTIFICATE"), "{error}");
}

/// Nothing is read on the other side: first the sockets fill, then our queue, then we hang up.
#[tokio::test]
async fn a_peer_that_never_reads_fills_the_queue_and_no_more() {
    let (listener, port) = listener().await;
    let (reports_in, mut reports) = mpsc::channel(4);
    let writer = links::open(Arc::new(plain(port)), 0, 1, reports_in);
    let (_peer, _) = listener.accept().await.expect("dialled");
    assert!(matches!(next(&mut reports).await, LinkEvent::Up));
    let portion = vec![b'x'; 256 * 1024];
    let refused_at = (0..10_000).find(|_| writer.send(portion.clone()).is_err());
    assert!(refused_at.is_some_and(|sends| sends <= 256), "{refused_at:?}");
}
