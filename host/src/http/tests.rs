//! The promises of [`Fetcher::fetch`], each against a server that tries to break it.
//!
//! All servers are on loopback, so names are resolved by an injected resolver, and a host that shall answer is
//! allowed at its private port.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// A server on loopback: it reads one request per connection and says what the script says.
struct Server {
    port: u16,
    /// Heads and bodies, as they came.
    heard: Arc<Mutex<Vec<String>>>,
    /// Bytes that went out, or tried to.
    written: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
enum Script {
    Say(String),
    /// Its beginning, then the same again until the client hangs up.
    Forever(String, Vec<u8>),
    /// Nothing, and the connection stays.
    Hang,
}

impl Script {
    fn ok(body: &str) -> Self {
        Self::Say(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Colour: red\r\n\r\n{body}",
            body.len()
        ))
    }

    fn redirect(status: u16, location: &str) -> Self {
        Self::Say(format!(
            "HTTP/1.1 {status} Away\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ))
    }
}

impl Server {
    async fn says(script: Script) -> Self {
        Self::start(script, None).await
    }

    async fn start(script: Script, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (heard, written) =
            (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let (hears, writes) = (heard.clone(), written.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, hears, writes) = (script.clone(), hears.clone(), writes.clone());
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, script, &hears, &writes).await,
                        Some(config) => {
                            let acceptor = tokio_rustls::TlsAcceptor::from(config);
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, script, &hears, &writes).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, heard, written, task }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no test has panicked").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Script,
    heard: &Mutex<Vec<String>>,
    written: &AtomicUsize,
) {
    let request = request(&mut stream).await;
    heard.lock().expect("no test has panicked").push(request);
    match script {
        Script::Say(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Script::Forever(head, again) => {
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&again).await.is_ok() {
                written.fetch_add(again.len(), Ordering::Relaxed);
            }
        }
        Script::Hang => {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length =
                length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                return text;
            }
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}

/// An injected resolver: the first answer for the first question, and so on; the last one again and again.
struct Answers {
    asked: Arc<Mutex<Vec<String>>>,
    resolver: Resolver,
}

fn resolver(answers: &[&[IpAddr]]) -> Answers {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let answers: Vec<Vec<IpAddr>> = answers.iter().map(|answer| answer.to_vec()).collect();
    let asks = asked.clone();
    let resolver = Resolver::injected(move |host| {
        let mut asks = asks.lock().expect("no test has panicked");
        let answer = answers.get(asks.len()).or(answers.last()).cloned().unwrap_or_default();
        asks.push(host);
        async move { Ok(answer) }
    });
    Answers { asked, resolver }
}

/// A server's certificate for `crm.example`, and a client that trusts it.
fn tls_pair() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let issued = rcgen::generate_simple_self_signed(["crm.example".to_owned()]).expect("issued");
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.into())
        .expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).expect("a root");
    (Arc::new(server), trusting(roots))
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn fetcher(resolver: Resolver) -> Fetcher {
    Fetcher::new(resolver, trusting(RootCertStore::empty()))
}

fn get(url: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        has_secret_body: false,
        timeout: Duration::from_secs(20),
    }
}

/// Asks with a resolver that says loopback to everything.
async fn ask(url: &str, rules: &Rules) -> Result<Response, FetchError> {
    fetcher(resolver(&[&[LOOPBACK]]).resolver).fetch(get(url), rules).await
}

fn code(result: Result<Response, FetchError>) -> &'static str {
    result.expect_err("no answer").code()
}

#[tokio::test]
async fn an_allowed_host_answers_over_http() {
    let server = Server::says(Script::ok("hello")).await;
    let rules = Rules::default().allow_private("crm.example", server.port);
    let mut request = get(&format!("http://crm.example:{}/x?y=1", server.port));
    request.method = "POST".to_owned();
    request.headers = vec![("X-Key".to_owned(), "secret".to_owned())];
    request.body = b"question".to_vec();
    let fetcher = fetcher(resolver(&[&[LOOPBACK]]).resolver);
    let response = fetcher.fetch(request, &rules).await.expect("an answer");
    assert_eq!((response.status, response.body.as_slice()), (200, &b"hello"[..]));
    assert!(response.headers.contains(&("x-colour".to_owned(), "red".to_owned())));
    let heard = server.heard().remove(0).to_ascii_lowercase();
    for part in [
        "post /x?y=1 http/1.1\r\n",
        &format!("\r\nhost: crm.example:{}\r\n", server.port),
        "\r\nx-key: secret\r\n",
        "\r\n\r\nquestion",
    ] {
        assert!(heard.contains(part), "{heard}");
    }
}

#[tokio::test]
async fn an_allowed_host_answers_over_tls_and_no_impostor_does() {
    let (config, trusting) = tls_pair();
    let server = Server::start(Script::ok("hello"), Some(config)).await;
    let rules = Rules::default()
        .allow_private("crm.example", server.port)
        .allow_private("other.example", server.port);
    let url = format!("https://crm.example:{}/", server.port);
    assert_eq!(code(ask(&url, &rules).await), "no-connection", "nobody's certificate is trusted");

    let fetcher = Fetcher::new(resolver(&[&[LOOPBACK]]).resolver, trusting);
    let response = fetcher.fetch(get(&url), &rules).await.expect("an answer");
    assert_eq!(response.body, b"hello");
    let impostor = url.replace("crm", "other");
    assert_eq!(code(fetcher.fetch(get(&impostor), &rules).await), "no-connection");
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn a_host_that_no_rule_names_is_not_even_looked_up() {
    let answers = resolver(&[&[LOOPBACK]]);
    let rules = Rules::default().allow("crm.example");
    let fetcher = fetcher(answers.resolver);
    for url in ["http://evil.example/", "http://crm.example.evil.example/", "http://crm.example./"]
    {
        assert_eq!(code(fetcher.fetch(get(url), &rules).await), "not-allowed", "{url}");
    }
    assert!(answers.asked.lock().expect("unpoisoned").is_empty());
}

#[tokio::test]
async fn an_allowed_name_that_stands_for_something_private_is_refused() {
    let v6 = |text: &str| IpAddr::V6(text.parse::<Ipv6Addr>().expect("an address"));
    let rules = Rules::default().allow("crm.example");
    for (address, expected) in [
        (LOOPBACK, "private-address"),
        (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), "private-address"),
        (v6("::1"), "private-address"),
        (v6("fd00::1"), "private-address"),
        (v6("::ffff:127.0.0.1"), "private-address"),
        (METADATA, "forbidden-address"),
        (v6("::ffff:169.254.169.254"), "forbidden-address"),
        (v6("64:ff9b::169.254.169.254"), "forbidden-address"),
        (v6("2002:a9fe:a9fe::1"), "forbidden-address"),
        (v6("fe80::1"), "forbidden-address"),
        (v6("ff02::1"), "forbidden-address"),
    ] {
        let public = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));
        for answer in [&[address][..], &[public, address]] {
            let fetcher = fetcher(resolver(&[answer]).resolver);
            let refused = fetcher.fetch(get("http://crm.example/"), &rules).await;
            assert_eq!(code(refused), expected, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_private_address_in_any_spelling_is_refused_even_when_it_is_named() {
    // As `nip.io` answers, and as the system reads numbers.
    for (url, rule) in [
        ("http://[::ffff:169.254.169.254]/", "[::ffff:169.254.169.254]"),
        ("http://[::FFFF:A9FE:A9FE]/latest", "::ffff:a9fe:a9fe"),
        ("http://169.254.169.254/latest", "169.254.169.254"),
    ] {
        let rules = Rules::default().allow(rule).allow_private(rule, 80);
        assert_eq!(code(ask(url, &rules).await), "forbidden-address", "{url}");
    }
    let machine = Fetcher { resolver: Resolver::system(), ..fetcher(Resolver::system()) };
    for host in ["127.0.0.1", "[::1]", "127.1", "2130706433", "0x7f000001", "localhost"] {
        let refused =
            machine.fetch(get(&format!("http://{host}/")), &Rules::default().allow(host)).await;
        let code = code(refused);
        // What the system does not read as an address is no address.
        assert!(matches!(code, "private-address" | "no-address"), "{host}: {code}");
    }
}

#[tokio::test]
async fn a_port_of_another_service_is_refused() {
    let public = resolver(&[&[IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1))]]);
    let rules = Rules::default().allow("crm.example").allow_private("crm.example", 8080);
    let fetcher = fetcher(public.resolver);
    assert_eq!(code(fetcher.fetch(get("http://crm.example:25/"), &rules).await), "forbidden-port");
    // A private host is open at the port that was named, not at the others.
    assert_eq!(code(ask("http://crm.example:8081/", &rules).await), "private-address");
}

#[tokio::test]
async fn a_redirect_is_followed_with_the_body_it_may_have() {
    let last = Server::says(Script::ok("there")).await;
    for (status, expected) in [(302, "GET /x HTTP/1.1"), (307, "POST /x HTTP/1.1")] {
        let to = format!("http://other.example:{}/x", last.port);
        let first = Server::says(Script::redirect(status, &to)).await;
        let rules = Rules::default()
            .allow_private("crm.example", first.port)
            .allow_private("other.example", last.port);
        let mut request = get(&format!("http://crm.example:{}/", first.port));
        request.method = "POST".to_owned();
        request.body = b"question".to_vec();
        request.headers = vec![
            ("Authorization".to_owned(), "secret".to_owned()),
            ("X-Api-Key".to_owned(), "secret".to_owned()),
            ("Accept".to_owned(), "text/plain".to_owned()),
        ];
        let fetcher = fetcher(resolver(&[&[LOOPBACK]]).resolver);
        let response = fetcher.fetch(request, &rules).await.expect("an answer");
        assert_eq!(response.body, b"there");
        let heard = last.heard().pop().expect("a request");
        assert!(heard.starts_with(expected), "{heard}");
        assert_eq!(heard.ends_with("question"), status == 307);
        assert!(heard.contains("text/plain") && !heard.contains("secret"), "{heard}");
        assert!(first.heard()[0].contains("secret"));
    }
}

#[tokio::test]
async fn a_body_with_a_secret_goes_to_no_other_host() {
    let last = Server::says(Script::ok("there")).await;
    for (status, expected) in [(302, Ok(())), (307, Err("redirected-elsewhere"))] {
        let to = format!("http://other.example:{}/x", last.port);
        let first = Server::says(Script::redirect(status, &to)).await;
        let rules = Rules::default()
            .allow_private("crm.example", first.port)
            .allow_private("other.example", last.port);
        let mut request = get(&format!("http://crm.example:{}/", first.port));
        request.method = "POST".to_owned();
        request.body = b"client_secret=hunter2".to_vec();
        request.has_secret_body = true;
        let fetcher = fetcher(resolver(&[&[LOOPBACK]]).resolver);
        let answered = fetcher.fetch(request, &rules).await;
        assert_eq!(answered.map(drop).map_err(|error| error.code()), expected, "{status}");
    }
    assert!(last.heard().iter().all(|heard| !heard.contains("hunter2")));
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_the_first_request_could_not_go() {
    let victim = Server::says(Script::ok("secret")).await;
    for (location, expected) in [
        (format!("http://127.0.0.1:{}/", victim.port), "not-allowed"),
        (format!("http://named.example:{}/", victim.port), "private-address"),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "not-allowed"),
        ("file:///etc/passwd".to_owned(), "bad-url"),
        (format!("http://user:word@crm.example:{}/", victim.port), "bad-url"),
    ] {
        let server = Server::says(Script::redirect(302, &location)).await;
        let rules =
            Rules::default().allow_private("crm.example", server.port).allow("named.example");
        let refused = ask(&format!("http://crm.example:{}/", server.port), &rules).await;
        assert_eq!(code(refused), expected, "{location}");
    }
    assert!(victim.heard().is_empty());
}

#[tokio::test]
async fn encryption_is_not_given_up_by_a_redirect() {
    let (config, trusting) = tls_pair();
    let plain = Server::says(Script::ok("plain")).await;
    let to = format!("http://crm.example:{}/", plain.port);
    let server = Server::start(Script::redirect(307, &to), Some(config)).await;
    let rules = Rules::default()
        .allow_private("crm.example", server.port)
        .allow_private("crm.example", plain.port);
    let fetcher = Fetcher::new(resolver(&[&[LOOPBACK]]).resolver, trusting);
    let url = format!("https://crm.example:{}/", server.port);
    assert_eq!(code(fetcher.fetch(get(&url), &rules).await), "downgrade");
    assert!(plain.heard().is_empty());
}

#[tokio::test]
async fn three_redirects_are_followed_and_no_more() {
    let server = Server::says(Script::redirect(302, "/again")).await;
    let rules = Rules::default().allow_private("crm.example", server.port);
    let url = format!("http://crm.example:{}/", server.port);
    assert_eq!(code(ask(&url, &rules).await), "too-many-redirects");
    assert_eq!(server.heard().len(), 1 + MAX_REDIRECTS);
}

#[tokio::test]
async fn a_name_is_asked_once_and_what_it_says_later_is_of_no_interest() {
    let server = Server::says(Script::ok("hello")).await;
    // A rebinding server: a good address for the check, another for the connection.
    let answers = resolver(&[&[LOOPBACK], &[METADATA]]);
    let rules = Rules::default().allow_private("crm.example", server.port);
    let url = format!("http://crm.example:{}/", server.port);
    let response = fetcher(answers.resolver).fetch(get(&url), &rules).await;
    assert_eq!(response.expect("an answer").body, b"hello");
    assert_eq!(*answers.asked.lock().expect("unpoisoned"), ["crm.example"]);
    // The same trick on a redirect: asked again, and checked again.
    let server = Server::says(Script::redirect(302, "/again")).await;
    let rules = Rules::default().allow_private("crm.example", server.port);
    let url = format!("http://crm.example:{}/", server.port);
    let refused =
        fetcher(resolver(&[&[LOOPBACK], &[METADATA]]).resolver).fetch(get(&url), &rules).await;
    assert_eq!(code(refused), "forbidden-address");
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_read_to_the_limit() {
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).into_bytes();
    for (head, again) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", piece),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", vec![b'x'; 0x10000]),
        ("HTTP/1.1 200 OK\r\n\r\n", vec![b'x'; 0x10000]),
        ("HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n".repeat(100)),
        ("HTTP/1.1 200 OK\r\nX-Long: ", vec![b'x'; 0x1000]),
    ] {
        let server = Server::says(Script::Forever(head.to_owned(), again)).await;
        let rules = Rules::default().allow_private("crm.example", server.port);
        let url = format!("http://crm.example:{}/", server.port);
        assert_eq!(code(ask(&url, &rules).await), "too-long", "{head}");
        // The rest is what the sockets' buffers hold.
        assert!(server.written.load(Ordering::Relaxed) < 32 << 20);
    }
}

#[tokio::test]
async fn a_body_of_the_limit_is_read_whole() {
    let server = Server::says(Script::ok(&"x".repeat(MAX_BODY_BYTES))).await;
    let rules = Rules::default().allow_private("crm.example", server.port);
    let url = format!("http://crm.example:{}/", server.port);
    assert_eq!(ask(&url, &rules).await.expect("an answer").body.len(), MAX_BODY_BYTES);
}

#[tokio::test]
async fn a_server_that_hangs_or_drips_is_waited_for_as_long_as_asked() {
    for script in [
        Script::Hang,
        // Informational answers are skipped by every client; for ever is too long.
        Script::Forever(String::new(), b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()),
    ] {
        let server = Server::says(script).await;
        let rules = Rules::default().allow_private("crm.example", server.port);
        let mut request = get(&format!("http://crm.example:{}/", server.port));
        request.timeout = Duration::from_millis(200);
        let fetcher = fetcher(resolver(&[&[LOOPBACK]]).resolver);
        assert_eq!(code(fetcher.fetch(request, &rules).await), "timed-out");
    }
    let server = slow_loris().await;
    let rules = Rules::default().allow_private("crm.example", server);
    let mut request = get(&format!("http://crm.example:{server}/"));
    request.timeout = Duration::from_millis(200);
    let fetcher = fetcher(resolver(&[&[LOOPBACK]]).resolver);
    assert_eq!(code(fetcher.fetch(request, &rules).await), "timed-out");
}

/// One byte of a body every ten milliseconds, for ever.
async fn slow_loris() -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        request(&mut stream).await;
        let mut beat = tokio::time::interval(Duration::from_millis(10));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            beat.tick().await;
        }
    });
    port
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_not_waited_for_for_ever() {
    let hangs = Resolver::injected(|_| std::future::pending());
    let rules = Rules::default().allow("crm.example");
    let result = fetcher(hangs).fetch(get("http://crm.example/"), &rules).await;
    assert_eq!(code(result), "no-address");
}

#[tokio::test]
async fn what_is_not_http_is_no_answer() {
    for says in [
        "",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    ] {
        let server = Server::says(Script::Say(says.to_owned())).await;
        let rules = Rules::default().allow_private("crm.example", server.port);
        let url = format!("http://crm.example:{}/", server.port);
        assert_eq!(code(ask(&url, &rules).await), "no-answer", "{says}");
    }
}

#[tokio::test]
async fn a_request_that_could_be_read_as_two_is_not_sent() {
    let rules = Rules::default().allow_private("crm.example", 80);
    let change: [fn(&mut Request); 8] = [
        |request| request.method = "CONNECT".to_owned(),
        |request| request.method = "GET / HTTP/1.1\r\nX: ".to_owned(),
        |request| request.headers = vec![("Host".into(), "evil.example".into())],
        |request| request.headers = vec![("Transfer-Encoding".into(), "chunked".into())],
        |request| request.headers = vec![("X".into(), "a\r\nContent-Length: 5".into())],
        |request| request.headers = vec![("X: a\r\nY".into(), "b".into())],
        |request| request.headers = vec![("X".into(), "a".into()); MAX_HEADERS + 1],
        |request| request.body = vec![0; MAX_BODY_BYTES + 1],
    ];
    for change in change {
        let mut request = get("http://crm.example/");
        change(&mut request);
        let result = fetcher(resolver(&[&[LOOPBACK]]).resolver).fetch(request, &rules).await;
        assert_eq!(code(result), "bad-request");
    }
}

#[test]
fn what_is_shown_of_requests_and_answers_holds_no_secret() {
    let mut request = get("https://crm.example/?key=secret");
    request.headers = vec![("X-Key".to_owned(), "secret".to_owned())];
    request.body = b"secret".to_vec();
    let response =
        Response { status: 200, headers: request.headers.clone(), body: b"secret".to_vec() };
    assert!(!format!("{request:?} {response:?}").contains("secret"));
}
