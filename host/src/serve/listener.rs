//! The API's sockets: plain on loopback, TLS beyond it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    api::serve::WriteDeadline, config::TlsFiles, journal::warn_if_open_to_all, links::tls,
};

/// A client that needs longer is none.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at once; more wait in the listener's queue.
const HANDSHAKES: usize = 128;
/// After a failed `accept`, e.g. because there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Files that make no server.
#[derive(Debug, thiserror::Error)]
pub enum TlsFilesError {
    /// The chain.
    #[error(
        "cannot use the certificate chain {file}: {problem}; fix: name a PEM file, own certificate first"
    )]
    Chain {
        /// The file.
        file: String,
        /// Why.
        problem: String,
    },
    /// The key.
    #[error(
        "cannot use the private key {file}: {problem}; fix: name a PEM file with the key of the certificate, unencrypted"
    )]
    Key {
        /// The file.
        file: String,
        /// Why.
        problem: String,
    },
}

/// TLS as the files say.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsFilesError> {
    let chain_error = |problem: &dyn std::fmt::Display| TlsFilesError::Chain {
        file: files.cert.display().to_string(),
        problem: problem.to_string(),
    };
    let key_error = |problem: &dyn std::fmt::Display| TlsFilesError::Key {
        file: files.key.display().to_string(),
        problem: problem.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .map_err(|error| chain_error(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| chain_error(&error))?;
    if chain.is_empty() {
        return Err(chain_error(&"it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| key_error(&error))?;
    if let Ok(file) = std::fs::File::open(&files.key) {
        warn_if_open_to_all(&files.key, &file, "it is the API's private key");
    }
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| chain_error(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| key_error(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Gives out connections whose handshake is done, so that one slow client holds up nobody.
pub struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl TlsListener {
    /// Takes over a listener.
    pub fn new(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(HANDSHAKES);
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(config), done));
        Ok(Self { ready, address, accepting })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept API connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, done) = (acceptor.clone(), done.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                // Nobody takes it any more when the API has ended.
                Ok(Ok(stream)) => drop(done.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS with an API client"),
                Err(_) => tracing::debug!(%peer, "an API client did not finish its TLS handshake"),
            }
        });
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = WriteDeadline<TlsStream<TcpStream>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some((stream, peer)) => (WriteDeadline::new(stream), peer),
            // The accepting task ends only with the listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
