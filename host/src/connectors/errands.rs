//! The HTTP requests of one connector: allowed by its grants, a few at once, each answered once. How many a minute
//! it may send is a limit of the runtime's.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use calls::{
    event::Problem,
    fact::{Notice, Severity},
};
use plugin_runtime::{Input, hooks::HookError};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use super::Plan;
use crate::http::{FetchError, Fetcher, Request, Response, Rules, Sent};

/// Requests on their way at once; the others wait for their turn.
const AT_ONCE: usize = 4;
/// What those that wait may hold altogether.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// Refusals told to the journal, each once.
const MAX_TOLD: usize = 32;

/// Requests of one connector.
pub(super) struct Errands {
    fetcher: Fetcher,
    rules: Arc<Rules>,
    turns: Arc<Semaphore>,
    waiting: JoinSet<Answered>,
    waiting_bytes: usize,
    told: BTreeSet<(String, &'static str)>,
}

/// The end of an errand. While it is not taken, its turn is not over: answers do not pile up.
struct Answered {
    id: u64,
    host: String,
    held: usize,
    result: Result<Response, FetchError>,
    _turn: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Something for the plugin, and something for the journal.
pub(super) type Told = (Input, Option<Notice>);

impl Errands {
    pub fn new(fetcher: Fetcher, plan: &Plan) -> Self {
        Self::with_rules(fetcher, rules_of(plan))
    }

    fn with_rules(fetcher: Fetcher, rules: Rules) -> Self {
        Self {
            fetcher,
            rules: Arc::new(rules),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: JoinSet::new(),
            waiting_bytes: 0,
            told: BTreeSet::new(),
        }
    }

    /// Another plan, perhaps with other grants. What is on its way goes on as it began.
    pub fn allow(&mut self, plan: &Plan) {
        self.rules = Arc::new(rules_of(plan));
        self.told.clear();
    }

    /// Sends a request. `Some` when it is answered already: it was not sent.
    pub fn send(&mut self, id: u64, request: Request, sent: Sent) -> Option<Input> {
        let headers = request.headers.iter().map(|(name, value)| name.len() + value.len());
        let held = request.url.len() + request.body.len() + headers.sum::<usize>();
        if self.waiting_bytes + held > MAX_WAITING_BYTES {
            let message = format!("requests of {MAX_WAITING_BYTES} bytes are on their way already");
            return Some(refused(id, HookError::retryable("too-many-requests", message)));
        }
        self.waiting_bytes += held;
        let (fetcher, rules, turns) =
            (self.fetcher.clone(), self.rules.clone(), self.turns.clone());
        self.waiting.spawn(async move {
            let host = host_of(&request.url);
            let (within, began) = (request.within(), Instant::now());
            let Ok(turn) = tokio::time::timeout(within, turns.acquire_owned()).await else {
                return Answered {
                    id,
                    host,
                    held,
                    result: Err(FetchError::TimedOut { within }),
                    _turn: None,
                };
            };
            let left = within.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
            let mut result = fetcher.fetch(Request { timeout: left, ..request }, &rules).await;
            if let Ok(response) = &mut result {
                sent.mask(response);
            }
            Answered { id, host, held, result, _turn: turn.ok() }
        });
        None
    }

    /// The next answer; never when nothing is on its way.
    pub async fn answered(&mut self) -> Told {
        loop {
            match self.waiting.join_next().await {
                Some(Ok(answered)) => return self.take(answered),
                Some(Err(error)) => tracing::error!(%error, "an HTTP request's task ended badly"),
                None => std::future::pending().await,
            }
        }
    }

    /// An answer that is there already.
    pub fn try_answered(&mut self) -> Option<Told> {
        let answered = self.waiting.try_join_next()?.ok()?;
        Some(self.take(answered))
    }

    /// Nobody waits for the answers any more.
    pub fn abandon(&mut self) {
        self.waiting = JoinSet::new();
        self.waiting_bytes = 0;
    }

    fn take(&mut self, answered: Answered) -> Told {
        let Answered { id, host, held, result, .. } = answered;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(held);
        let error = match result {
            Ok(Response { status, headers, body }) => {
                return (Input::HttpResponse { id, status, headers, body, error: None }, None);
            }
            Err(error) => error,
        };
        tracing::warn!(host, code = error.code(), %error, "an HTTP request failed");
        let notice = self.tell_once(&host, error.code(), || Notice {
            code: format!("http-{}", error.code()),
            severity: Severity::Warning,
            message: format!("a request to {host} failed: {error}"),
            fix: fix_of(&error),
        });
        (refused(id, error.into()), notice)
    }

    /// A plugin that asks for ever what it does not get is one notice, not a thousand.
    fn tell_once(
        &mut self,
        host: &str,
        code: &'static str,
        notice: impl FnOnce() -> Notice,
    ) -> Option<Notice> {
        let is_new = self.told.len() < MAX_TOLD && self.told.insert((host.to_owned(), code));
        is_new.then(notice)
    }
}

/// `http:HOST` opens a host of the internet. `http-private:HOST` beside it opens ports 80 and 443 of that host
/// even if it is this machine or in its network, and `http-private:HOST:PORT` this one port.
fn rules_of(plan: &Plan) -> Rules {
    let grants = &plan.instance.grants;
    rules(&plan.plugin.info.manifest.http_hosts(grants), grants)
}

/// `hosts`: asked for by the manifest, and granted.
pub(crate) fn rules(hosts: &[String], grants: &[String]) -> Rules {
    let mut rules = Rules::default();
    for host in hosts {
        rules = rules.allow(host);
        for opened in grants.iter().filter_map(|grant| grant.strip_prefix("http-private:")) {
            let Some(rest) = opened.strip_prefix(host.as_str()) else { continue };
            if rest.is_empty() {
                rules = rules.allow_private(host, 80).allow_private(host, 443);
            } else if let Some(port) = rest.strip_prefix(':').and_then(|port| port.parse().ok()) {
                rules = rules.allow_private(host, port);
            }
        }
    }
    rules
}

/// The answer to a request that has none.
pub(super) fn refused(id: u64, error: HookError) -> Input {
    let HookError { code, message, retryable } = error;
    let error = Some(Problem { code, message, retryable });
    Input::HttpResponse { id, status: 0, headers: Vec::new(), body: Vec::new(), error }
}

/// For people: no path, no query, no password.
pub(crate) fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.chars().take(253).filter(|c| !c.is_control()).collect()
}

pub(crate) fn fix_of(error: &FetchError) -> String {
    match error {
        FetchError::NotAllowed { host } => format!(
            "if the plugin shall ask it, grant \"http:{host}\"; the manifest must ask for it, too"
        ),
        FetchError::Private { host, port } => format!(
            "if the plugin shall reach into your network there, grant \"http-private:{host}:{port}\" as well"
        ),
        FetchError::Forbidden { .. } => {
            "correct the name in the DNS; no grant opens such an address".to_owned()
        }
        FetchError::Port { host, port } => {
            format!("use port 80, 443 or one above 1023, or grant \"http-private:{host}:{port}\"")
        }
        FetchError::NoAddress { .. } => "correct the name, or the DNS of this machine".to_owned(),
        FetchError::NoConnection { .. } => {
            "check that the server runs, its certificate (SSL_CERT_FILE names further authorities), and the \
             firewall between"
                .to_owned()
        }
        FetchError::BadUrl { .. } | FetchError::BadRequest { .. } => {
            "report it to the plugin's author".to_owned()
        }
        FetchError::NoAnswer { .. }
        | FetchError::TooLong { .. }
        | FetchError::TooManyRedirects { .. }
        | FetchError::Elsewhere { .. }
        | FetchError::Downgrade { .. }
        | FetchError::TimedOut { .. } => {
            "look into the log of that server; if it is as it shall be, report it to the plugin's author"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_host_may_be_of_this_network_when_its_port_is_granted() {
        let hosts = texts(&["a.example", "b.example"]);
        let granted = texts(&[
            "link:ami",
            "http:a.example",
            "http:b.example",
            "http-private:b.example:8080",
            "http-private:b.example",
            "http-private:c.example",
            "http:d.example",
            "http-private:a.example.evil:81",
        ]);
        let expected = Rules::default()
            .allow("a.example")
            .allow_private("b.example", 80)
            .allow_private("b.example", 443)
            .allow_private("b.example", 8080);
        assert_eq!(rules(&hosts, &granted), expected);
        assert_eq!(rules(&[], &granted), Rules::default());
    }

    #[tokio::test]
    async fn every_request_is_answered_once_and_few_are_on_their_way_at_once() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let granted = texts(&["http:127.0.0.1", &format!("http-private:127.0.0.1:{port}")]);
        let rules = rules(&texts(&["127.0.0.1"]), &granted);
        let mut errands = Errands::with_rules(Fetcher::default(), rules);
        let request = |path: u64| Request {
            method: "GET".to_owned(),
            url: format!("http://127.0.0.1:{port}/{path}?key=secret"),
            headers: Vec::new(),
            body: Vec::new(),
            has_secret_body: false,
            timeout: Duration::from_secs(20),
        };
        // Answers nobody before as many are there as may be.
        let server = tokio::spawn(async move {
            let mut most = 0;
            while most < 20 {
                let mut together = Vec::new();
                for _ in 0..AT_ONCE {
                    together.push(listener.accept().await.expect("a client").0);
                }
                most += together.len();
                for mut stream in together {
                    let mut head = [0; 4096];
                    assert_ne!(stream.read(&mut head).await.expect("a request"), 0);
                    let _ = stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").await;
                }
            }
        });
        for id in 0..20 {
            assert_eq!(errands.send(id, request(id), Sent::default()), None);
        }
        let mut answered = BTreeSet::new();
        for _ in 0..20 {
            let (answer, notice) = errands.answered().await;
            let Input::HttpResponse { id, status: 204, .. } = answer else { panic!("{answer:?}") };
            assert!(answered.insert(id) && notice.is_none());
        }
        assert!(errands.try_answered().is_none() && errands.waiting_bytes == 0);
        server.await.expect("it was asked by four at a time");
    }

    #[tokio::test]
    async fn what_fails_always_is_told_once() {
        let mut errands = Errands::with_rules(Fetcher::default(), Rules::default());
        let mut notices = Vec::new();
        for id in 0..3 {
            let request = Request {
                method: "GET".to_owned(),
                url: "http://evil.example/?key=secret".to_owned(),
                headers: Vec::new(),
                body: Vec::new(),
                has_secret_body: false,
                timeout: Duration::ZERO,
            };
            assert_eq!(errands.send(id, request, Sent::default()), None);
            let (answer, notice) = errands.answered().await;
            assert!(!format!("{answer:?} {notice:?}").contains("secret"));
            notices.extend(notice);
        }
        assert_eq!(notices.len(), 1);
        assert!(notices[0].fix.contains("http:evil.example"), "{}", notices[0].fix);
    }

    #[test]
    fn people_see_the_host_and_nothing_secret() {
        for (url, host) in [
            ("https://crm.example.org:8443/x?key=secret", "crm.example.org:8443"),
            ("https://user:secret@crm.example.org/", "crm.example.org"),
            ("https://crm.example.org?key=secret", "crm.example.org"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
