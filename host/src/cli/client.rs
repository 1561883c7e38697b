//! Asks a running host over its API.
//!
//! The token comes from the environment only: every user of a machine can see the arguments of its processes.

use std::{path::PathBuf, time::Duration};

use axum::http::{Method, StatusCode, Uri, header, uri::Authority};
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::{FAILURE, USAGE};
use crate::links::tls;

/// Which host.
#[derive(Clone, Debug, Args)]
pub(super) struct HostArgs {
    /// Where the running host's API is. The token comes from the variable JACKFIELD_TOKEN.
    #[arg(
        long,
        value_name = "URL",
        env = "JACKFIELD_URL",
        default_value = "http://127.0.0.1:8080",
        hide_env_values = true
    )]
    url: String,
    /// A PEM file with the only certificates to trust; without it, those this machine trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send the token unencrypted to another machine.
    #[arg(long)]
    allow_plaintext: bool,
}

/// For a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer: an install compiles.
const ANSWER: Duration = Duration::from_secs(180);
/// Recordings are the largest answers.
const MAX_ANSWER: usize = 256 << 20;

/// What did not work, for people, with the exit code it deserves.
#[derive(Debug)]
pub(super) struct Trouble {
    pub text: String,
    pub code: u8,
    /// What was asked of the host is not done, and will not be; otherwise it may be all the same.
    pub is_final: bool,
}

impl Trouble {
    /// It could not be tried.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: USAGE, is_final: true }
    }

    /// It was tried.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: FAILURE, is_final: false }
    }
}

/// A host to ask.
pub(super) struct Client {
    url: String,
    tls: Option<tokio_rustls::TlsConnector>,
    authority: Authority,
    port: u16,
    token: String,
}

/// What is sent.
pub(super) enum Sent {
    Nothing,
    Json(Value),
    Component { wasm: Vec<u8>, signature: Option<String> },
}

impl Client {
    pub fn new(args: &HostArgs) -> Result<Self, Trouble> {
        let url = args.url.trim_end_matches('/').to_owned();
        let wrong = || {
            Trouble::usage(format!(
                "--url: `{url}` is not the address of a host; fix: write e.g. http://127.0.0.1:8080"
            ))
        };
        let parsed: Uri = url.parse().map_err(|_| wrong())?;
        let authority = parsed.authority().cloned().ok_or_else(wrong)?;
        if parsed.path() != "/" || parsed.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let encrypted = match parsed.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        if !encrypted && !args.allow_plaintext && !is_loopback(authority.host()) {
            return Err(Trouble::usage(format!(
                "--url: {url} is another machine, and the token would travel unencrypted; fix: use https, run this \
                 on that machine, or add --allow-plaintext if the network is yours"
            )));
        }
        let token = std::env::var("JACKFIELD_TOKEN").unwrap_or_default().trim().to_owned();
        if token.is_empty() {
            return Err(Trouble::usage(
                "JACKFIELD_TOKEN is not set: the host wants to know who asks; fix: export \
                 JACKFIELD_TOKEN=$(jackfield token create me --scope admin --config jackfield.toml)",
            ));
        }
        let config = encrypted.then(|| tls::client_config(args.ca.as_deref())).transpose();
        let config = config.map_err(|error| Trouble::usage(error.to_string()))?;
        let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        Ok(Self { url, tls: config.map(Into::into), authority, port, token })
    }

    /// Asks and reads the JSON of the answer; null when there is none.
    pub async fn ask(&self, method: Method, path: &str, body: Sent) -> Result<Value, Trouble> {
        let bytes = self.bytes(method, path, body).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| self.stranger())
    }

    pub async fn get(&self, path: &str) -> Result<Value, Trouble> {
        self.ask(Method::GET, path, Sent::Nothing).await
    }

    /// Asks and reads the answer as it is.
    pub async fn bytes(&self, method: Method, path: &str, body: Sent) -> Result<Bytes, Trouble> {
        let late = |_| Trouble::failed(format!("{} does not answer in time", self.url));
        timeout(ANSWER, self.exchange(method, path, body)).await.map_err(late)?
    }

    async fn exchange(&self, method: Method, path: &str, body: Sent) -> Result<Bytes, Trouble> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.authority.as_str())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONNECTION, "close");
        let body = match body {
            Sent::Nothing => Vec::new(),
            Sent::Json(value) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                value.to_string().into_bytes()
            }
            Sent::Component { wasm, signature } => {
                request = request.header(header::CONTENT_TYPE, "application/wasm");
                if let Some(signature) = signature {
                    request = request.header(crate::api::SIGNATURE, signature);
                }
                wasm
            }
        };
        let request = request.body(Full::new(Bytes::from(body))).map_err(|_| {
            Trouble::usage(
                "JACKFIELD_TOKEN is not a token; fix: set it to what `jackfield token create` \
                 has shown",
            )
        })?;
        let tcp = self.connect().await?;
        match &self.tls {
            None => self.send(tcp, request).await,
            Some(tls) => {
                let host = self.authority.host().trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(host).map_err(|_| self.stranger())?;
                let encrypted = tls.connect(name, tcp).await.map_err(|error| {
                    Trouble::failed(format!(
                        "{}: no TLS: {error}; fix: name the host as its certificate does, and its authority \
                         with --ca",
                        self.url
                    ))
                })?;
                self.send(encrypted, request).await
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, Trouble> {
        let host = self.authority.host().trim_matches(['[', ']']);
        let late = |_| Err(std::io::ErrorKind::TimedOut.into());
        let connected = timeout(CONNECT, TcpStream::connect((host, self.port))).await;
        connected.unwrap_or_else(late).map_err(|error: std::io::Error| {
            let url = &self.url;
            let text = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => format!(
                    "nobody listens at {url}; fix: start the host (`jackfield serve`), or name its address with \
                     --url: [api] listen in its configuration says it"
                ),
                _ => format!("cannot reach {url}: {error}; fix: check the address in --url"),
            };
            Trouble { is_final: true, ..Trouble::failed(text) }
        })
    }

    async fn send(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Bytes, Trouble> {
        let broken = |error: &dyn std::fmt::Display| {
            Trouble::failed(format!("{}: the connection broke: {error}", self.url))
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| broken(&error))?.to_bytes();
        driver.abort();
        if status.is_success() { Ok(body) } else { Err(self.refused(status, &body)) }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Trouble {
        let Ok(problem) = serde_json::from_slice::<Value>(body) else { return self.stranger() };
        let Some(detail) = problem["detail"].as_str() else { return self.stranger() };
        let fix = match status {
            StatusCode::UNAUTHORIZED => {
                "set JACKFIELD_TOKEN to what `jackfield token create` has shown for this host"
            }
            _ => problem["fix"].as_str().unwrap_or_default(),
        };
        // Of several faults the detail is the first.
        let faults = super::report::list(&problem["errors"]).iter().map(super::report::fault);
        let faults: Vec<String> = faults.collect();
        let text = match faults[..] {
            [] => format!("{detail}\n  fix: {fix}"),
            _ => faults.join("\n"),
        };
        Trouble { is_final: status.is_client_error(), ..Trouble::failed(text) }
    }

    fn stranger(&self) -> Trouble {
        Trouble::failed(format!(
            "what answers at {} is not Jackfield, or a proxy answers for it; fix: check the address in --url",
            self.url
        ))
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A part of a path, whatever is in it.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    // A lone `.` or `..` would be another path.
    let dots = text.chars().all(|c| c == '.');
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) || (byte == b'.' && !dots) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(url: &str) -> Option<String> {
        let args = HostArgs { url: url.to_owned(), ca: None, allow_plaintext: false };
        Client::new(&args).err().map(|trouble| {
            assert_eq!(trouble.code, USAGE);
            trouble.text
        })
    }

    #[test]
    fn a_token_goes_unencrypted_to_this_machine_only() {
        for url in ["http://pbx.example.org", "http://192.0.2.1:8080", "http://[2001:db8::1]:8080"]
        {
            assert!(problem(url).unwrap().contains("unencrypted"), "{url}");
        }
        for url in ["http://127.0.0.1:1", "http://localhost:8080/", "http://[::1]:8080"] {
            // Whatever is missing, it is not encryption.
            assert!(!problem(url).unwrap_or_default().contains("unencrypted"), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_host_is_refused() {
        for url in
            ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://u:p@127.0.0.1", "http://127.0.0.1/v1"]
        {
            assert!(problem(url).unwrap().contains("--url"), "{url}");
        }
    }

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(segment("hq-1.jsonl"), "hq-1.jsonl");
        assert_eq!(segment("../a b?"), "..%2Fa%20b%3F");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
