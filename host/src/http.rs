//! HTTP requests on behalf of somebody who must not reach everything this machine reaches: plugins, webhooks.
//!
//! What is asked is checked against [`Rules`], on the first request and again on every redirect:
//!
//! ```text
//! URL -> host named by the rules? -> looked up, once -> every address allowed? -> connected to just these
//!  ^                                                                                        |
//!  '---- at most three redirects, never from https to http, no password to another host ----'
//! ```
//!
//! Everything has an end: the time of a connect and of the whole, the length of head and body. URLs, headers and
//! bodies may hold secrets and are never logged; host and status are. There is no proxy, no cookie jar, no cache,
//! and one connection per request.

mod address;
mod exchange;
mod secrets;
#[cfg(test)]
mod tests;
mod url;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use hyper::{HeaderMap, Method, body::Bytes, header};
use rustls::ClientConfig;
use tokio::sync::OnceCell;

pub use address::Place;
pub(crate) use secrets::{Asker, Sent};

use self::{exchange::Answer, url::Url};
use crate::links::tls;

/// The longest body of a request, and of a response.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// The longest head of a response; the headers of a request have half of it.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most headers of a request, and of a response.
pub const MAX_HEADERS: usize = 64;
/// The longest time of one request with all its redirects.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// From the look-up of the name to the end of the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REDIRECTS: usize = 3;
/// A name with more addresses is tried at the first ones.
const MAX_ADDRESSES: usize = 8;

/// What is asked.
#[derive(Clone)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// With `http` or `https`, without user and password.
    pub url: String,
    /// Names and values. What belongs to the connection, e.g. `Host`, is the fetcher's.
    pub headers: Vec<(String, String)>,
    /// At most [`MAX_BODY_BYTES`].
    pub body: Vec<u8>,
    /// A secret is in the body: it is for nobody but the host that was asked.
    pub has_secret_body: bool,
    /// For all of it; at most [`MAX_TIMEOUT`]. Zero: ten seconds.
    pub timeout: Duration,
}

impl Request {
    /// The time for all of it.
    pub fn within(&self) -> Duration {
        match self.timeout {
            Duration::ZERO => USUAL_TIMEOUT,
            asked => asked.min(MAX_TIMEOUT),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.method, self.body.len())
    }
}

/// What came back.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// E.g. 200.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// As sent: nothing is unpacked.
    pub body: Vec<u8>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

/// Whom a request may go to. Without a rule nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The ports at which the host may be of this machine or its network.
    hosts: BTreeMap<String, BTreeSet<u16>>,
}

impl Rules {
    /// Lets requests go to a host of the internet, at port 80, 443 or any above 1023.
    pub fn allow(mut self, host: &str) -> Self {
        self.hosts.entry(spelled(host)).or_default();
        self
    }

    /// Lets requests go to a host even if it is this machine or in its network ([`Place::Private`]), at one port.
    pub fn allow_private(mut self, host: &str, port: u16) -> Self {
        self.hosts.entry(spelled(host)).or_default().insert(port);
        self
    }

    fn ports(&self, url: &Url) -> Result<&BTreeSet<u16>, FetchError> {
        let host = &url.host;
        self.hosts.get(host).ok_or_else(|| FetchError::NotAllowed { host: host.clone() })
    }

    /// Every address must be allowed: a name that stands for a server in the internet and for one of ours
    /// is no accident.
    fn check(&self, url: &Url, addresses: &[IpAddr]) -> Result<(), FetchError> {
        let (host, port) = (url.host.clone(), url.port);
        let opened = self.ports(url)?.contains(&port);
        match addresses.iter().copied().map(Place::of).max() {
            None => Err(FetchError::NoAddress { host, problem: "it has none".to_owned() }),
            Some(Place::Forbidden) => Err(FetchError::Forbidden { host }),
            Some(Place::Private) if !opened => Err(FetchError::Private { host, port }),
            Some(Place::Public) if !opened && !matches!(port, 80 | 443 | 1024..) => {
                Err(FetchError::Port { host, port })
            }
            Some(Place::Public | Place::Private) => Ok(()),
        }
    }
}

/// As [`Url`] spells hosts.
fn spelled(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    host.parse::<IpAddr>().map_or(host, |address| address.to_string())
}

/// Why there is no response. Safe to show to whoever asked: no URL, no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL cannot be used.
    #[error("the URL cannot be used: {problem}")]
    BadUrl {
        /// Why.
        problem: &'static str,
    },
    /// Method, headers or body cannot be sent.
    #[error("the request cannot be sent: {problem}")]
    BadRequest {
        /// Why.
        problem: String,
    },
    /// No rule names the host.
    #[error("requests to {host} are not allowed")]
    NotAllowed {
        /// Which.
        host: String,
    },
    /// No rule lets anybody that far in.
    #[error(
        "{host} is this machine or in its network, and requests to its port {port} are not allowed"
    )]
    Private {
        /// Which.
        host: String,
        /// Asked for.
        port: u16,
    },
    /// Nobody is let in there.
    #[error(
        "{host} has an address that is never asked: link-local, metadata, multicast or reserved"
    )]
    Forbidden {
        /// Which.
        host: String,
    },
    /// A port of another service.
    #[error("{host} is not asked at port {port}, which belongs to another service")]
    Port {
        /// Which.
        host: String,
        /// Asked for.
        port: u16,
    },
    /// The name stands for nothing.
    #[error("no address for {host}: {problem}")]
    NoAddress {
        /// Which.
        host: String,
        /// The resolver's words.
        problem: String,
    },
    /// Nobody is there, or it speaks no TLS that can be trusted.
    #[error("no connection to {host}: {problem}")]
    NoConnection {
        /// Which.
        host: String,
        /// Why.
        problem: String,
    },
    /// What it says is not HTTP, or it hung up.
    #[error("no answer from {host}: {problem}")]
    NoAnswer {
        /// Which.
        host: String,
        /// Why.
        problem: String,
    },
    /// More than is read.
    #[error("the answer of {host} is too long: {what}")]
    TooLong {
        /// Which.
        host: String,
        /// Head or body, and the limit.
        what: String,
    },
    /// A circle, or a tour.
    #[error("more than {MAX_REDIRECTS} redirects, the last by {host}")]
    TooManyRedirects {
        /// The last.
        host: String,
    },
    /// A body with a secret in it would go to another host.
    #[error("{host} redirects a request whose body holds a secret to another host")]
    Elsewhere {
        /// Who redirects.
        host: String,
    },
    /// What was encrypted would not be any more.
    #[error("{host} redirects from https to http")]
    Downgrade {
        /// Which.
        host: String,
    },
    /// The whole took too long.
    #[error("no answer within {} ms", within.as_millis())]
    TimedOut {
        /// What was asked for.
        within: Duration,
    },
}

impl From<FetchError> for plugin_runtime::hooks::HookError {
    fn from(error: FetchError) -> Self {
        let retryable = matches!(
            error,
            FetchError::NoAddress { .. }
                | FetchError::NoConnection { .. }
                | FetchError::NoAnswer { .. }
                | FetchError::TimedOut { .. }
        );
        Self { code: error.code().to_owned(), message: error.to_string(), retryable }
    }
}

impl FetchError {
    /// A stable kebab-case code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "bad-url",
            Self::BadRequest { .. } => "bad-request",
            Self::NotAllowed { .. } => "not-allowed",
            Self::Private { .. } => "private-address",
            Self::Forbidden { .. } => "forbidden-address",
            Self::Port { .. } => "forbidden-port",
            Self::NoAddress { .. } => "no-address",
            Self::NoConnection { .. } => "no-connection",
            Self::NoAnswer { .. } => "no-answer",
            Self::TooLong { .. } => "too-long",
            Self::TooManyRedirects { .. } => "too-many-redirects",
            Self::Elsewhere { .. } => "redirected-elsewhere",
            Self::Downgrade { .. } => "downgrade",
            Self::TimedOut { .. } => "timed-out",
        }
    }
}

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Who tells the addresses of a name.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String) -> Lookup + Send + Sync>);

impl Resolver {
    /// The machine's own.
    pub fn system() -> Self {
        Self::injected(|host| async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    /// One of the caller's making, e.g. of a test.
    pub fn injected<F>(lookup: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |host| Box::pin(lookup(host))))
    }
}

/// Sends requests. Copies share what they have read of the machine's certificates.
#[derive(Clone)]
pub struct Fetcher {
    resolver: Resolver,
    tls: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl Default for Fetcher {
    /// With the machine's resolver and certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heard).
    fn default() -> Self {
        Self { resolver: Resolver::system(), tls: Arc::default() }
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

impl Fetcher {
    /// With another resolver, and other certificates to trust.
    pub fn new(resolver: Resolver, tls: Arc<ClientConfig>) -> Self {
        Self { resolver, tls: Arc::new(OnceCell::from(tls)) }
    }

    /// Asks, follows redirects, and returns the whole answer, or says why not. Never longer than the timeout.
    pub async fn fetch(&self, request: Request, rules: &Rules) -> Result<Response, FetchError> {
        let within = request.within();
        tokio::time::timeout(within, self.follow(request, rules))
            .await
            .unwrap_or(Err(FetchError::TimedOut { within }))
    }

    async fn follow(&self, request: Request, rules: &Rules) -> Result<Response, FetchError> {
        let mut url = Url::parse(&request.url)?;
        let mut message = Message::new(request)?;
        for _ in 0..=MAX_REDIRECTS {
            let addresses = self.addresses(&url, rules).await?;
            let answer = exchange::send(self, &url, &addresses, &message).await?;
            let (status, location) = match answer {
                Answer::Response(response) => {
                    tracing::debug!(host = url.host, status = response.status, "answered");
                    return Ok(response);
                }
                Answer::Redirect { status, location } => (status, location),
            };
            tracing::debug!(host = url.host, status, "redirected");
            let next = url.join(&location)?;
            if url.secure && !next.secure {
                return Err(FetchError::Downgrade { host: url.host });
            }
            let same_origin = url.is_same_origin(&next);
            message.redirect(status, same_origin);
            if !same_origin && message.has_secret_body {
                return Err(FetchError::Elsewhere { host: url.host });
            }
            url = next;
        }
        Err(FetchError::TooManyRedirects { host: url.host })
    }

    /// Where to connect. Asked once: the addresses that were checked are those that are dialled.
    async fn addresses(&self, url: &Url, rules: &Rules) -> Result<Vec<SocketAddr>, FetchError> {
        // A name that nobody allowed is not even looked up: a look-up is a message, too.
        rules.ports(url)?;
        let found = match url.address() {
            Some(address) => vec![address],
            None => {
                let lookup = (self.resolver.0)(url.host.clone());
                let failed =
                    |problem: String| FetchError::NoAddress { host: url.host.clone(), problem };
                tokio::time::timeout(CONNECT_TIMEOUT, lookup)
                    .await
                    .map_err(|_| failed("the resolver does not answer".to_owned()))?
                    .map_err(|error| failed(error.to_string()))?
            }
        };
        rules.check(url, &found)?;
        let dialled = found.into_iter().take(MAX_ADDRESSES);
        Ok(dialled.map(|address| SocketAddr::new(address, url.port)).collect())
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let read = || async {
            let read = tokio::task::spawn_blocking(|| tls::client_config(None));
            read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        };
        self.tls.get_or_try_init(read).await.cloned()
    }
}

/// A request without its URL, checked.
struct Message {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    has_secret_body: bool,
}

/// Headers that describe the connection or the message on it: a second opinion about those is how requests
/// are smuggled.
const OURS: &[header::HeaderName] = &[
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
];
/// What another host may know, too.
const HARMLESS: &[header::HeaderName] =
    &[header::ACCEPT, header::ACCEPT_LANGUAGE, header::CONTENT_TYPE, header::USER_AGENT];
const USER_AGENT: &str = concat!("jackfield/", env!("CARGO_PKG_VERSION"));

impl Message {
    fn new(mut request: Request) -> Result<Self, FetchError> {
        let bad = |problem: String| FetchError::BadRequest { problem };
        let method = match request.method.as_str() {
            "GET" => Method::GET,
            "HEAD" => Method::HEAD,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            _ => {
                return Err(
                    bad("its method is none of GET, HEAD, POST, PUT, PATCH, DELETE".into()),
                );
            }
        };
        if request.body.len() > MAX_BODY_BYTES {
            return Err(bad(format!("its body is longer than {MAX_BODY_BYTES} bytes")));
        }
        let length: usize =
            request.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        if request.headers.len() > MAX_HEADERS || length > MAX_HEAD_BYTES / 2 {
            let most = MAX_HEAD_BYTES / 2;
            return Err(bad(format!("at most {MAX_HEADERS} headers of {most} bytes are sent")));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, header::HeaderValue::from_static(USER_AGENT));
        for (index, (name, value)) in std::mem::take(&mut request.headers).into_iter().enumerate() {
            // By number: the name itself may be anything.
            let name = header::HeaderName::try_from(name)
                .map_err(|_| bad(format!("header {index} has a name that is none")))?;
            let value = header::HeaderValue::try_from(value)
                .map_err(|_| bad(format!("the header {name} has a value that cannot be sent")))?;
            if OURS.contains(&name) {
                return Err(bad(format!("the header {name} is set by the host")));
            }
            if name == header::USER_AGENT {
                headers.insert(name, value);
            } else {
                headers.append(name, value);
            }
        }
        let Request { body, has_secret_body, .. } = request;
        Ok(Self { method, headers, body: body.into(), has_secret_body })
    }

    /// What a redirect changes (RFC 9110 §15.4).
    fn redirect(&mut self, status: u16, same_origin: bool) {
        let becomes_get = match status {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            self.has_secret_body = false;
            self.headers.remove(header::CONTENT_TYPE);
        }
        if !same_origin {
            let harmless = HARMLESS.iter().filter_map(|name| {
                self.headers.get(name).map(|value| (name.clone(), value.clone()))
            });
            self.headers = harmless.collect();
        }
    }
}
