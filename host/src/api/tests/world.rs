//! A whole host without a PBX: the real switchboard, journal, publisher and API.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ::calls::{
    Accepted, Actor, ConnectorId, Fact, Input, Now, Output, Policy, Request, State, Switchboard,
    Timestamp,
    event::{CommandEnd, Party},
    fact,
    switchboard::ConnectorPolicy,
};
use axum::{Router, body::Body, http};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use super::keeper::FakeKeeper;
use crate::{
    api::{ApiState, Ask, Parts, app},
    figures::Zones,
    journal::{Journal, JournalOptions, JournalWriter, Recovered, Retention},
    status::StatusBoard,
    tokens::{Scope, Tokens},
    wire::Time,
};

/// 2026-11-21T20:00:00Z
pub(crate) const EVENING: u64 = 1_795_291_200_000_000_000;

pub(crate) struct World {
    _folder: tempfile::TempDir,
    _journal: Journal,
    pub core: Arc<Mutex<Core>>,
    pub router: Router,
    pub state: ApiState,
    pub keeper: Arc<FakeKeeper>,
    pub stop: watch::Sender<bool>,
}

/// The switchboard and its time.
pub(crate) struct Core {
    pub board: Switchboard,
    clock: Duration,
    answer_commands: bool,
}

impl Core {
    pub fn now(&mut self) -> Now {
        self.clock += Duration::from_millis(1);
        Now {
            monotonic: self.clock,
            wall: Timestamp(EVENING + u64::try_from(self.clock.as_nanos()).unwrap()),
        }
    }

    /// What came of everything so far; commands end as done at once when they should.
    pub fn events(&mut self) -> Vec<::calls::Event> {
        let mut events = Vec::new();
        while let Some(output) = self.board.poll_output() {
            match output {
                Output::Event(event) => events.push(event),
                Output::Deliver { command, .. } if self.answer_commands => {
                    let now = self.now();
                    self.board.handle(Input::CommandSent { command }, now);
                    let end = CommandEnd::Done;
                    let detail = String::new();
                    let outcome = Input::CommandOutcome { command, end, problem: None, detail };
                    self.board.handle(outcome, now);
                }
                Output::Deliver { .. }
                | Output::Offered(_)
                | Output::Released { .. }
                | Output::Key { .. } => {}
            }
        }
        events
    }

    pub fn facts(&mut self, connector: &str, facts: Vec<Fact>) {
        for fact in facts {
            let now = self.now();
            let connector = connector.into();
            self.board.handle(Input::Fact { connector, at_pbx: None, fact }, now);
        }
    }
}

pub(crate) fn board(state: State) -> Switchboard {
    let parties = |_: &ConnectorId, raw: &fact::RawParty| Party {
        raw: raw.number.clone(),
        ..Party::default()
    };
    let connectors = ["hq", "branch"].map(|id| (id.into(), ConnectorPolicy::default()));
    Switchboard::new(Policy { connectors: connectors.into(), parties: Box::new(parties) }, state)
}

pub(crate) fn options(folder: &std::path::Path) -> JournalOptions {
    JournalOptions { path: folder.join("journal.db"), retention: Retention::default() }
}

pub(crate) fn core(state: State) -> Core {
    // A restarted host goes on later.
    let clock = Duration::from_secs(state.seq());
    Core { board: board(state), clock, answer_commands: true }
}

impl World {
    pub fn new() -> Self {
        Self::with(256, Vec::new())
    }

    pub fn with(streams: usize, cors: Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (journal, recovered) =
            Journal::open(&options(folder.path()), Zones::from("Europe/Berlin")).unwrap();
        let Recovered { state, .. } = recovered;
        let core = Arc::new(Mutex::new(core(state)));
        let tokens = Tokens::open(&folder.path().join("tokens.db")).unwrap();
        let (stop, stopping) = watch::channel(false);
        let keeper = Arc::new(FakeKeeper::default());
        let state = ApiState::from(Parts {
            publisher: journal.publisher(),
            journal: journal.writer(),
            switch: ask(Arc::clone(&core), journal.writer()),
            status: StatusBoard::default(),
            keeper: keeper.clone(),
            tokens,
            cors,
            streams: Arc::new(Semaphore::new(streams)),
            stopping,
        });
        let router = app(state.clone());
        Self { _folder: folder, _journal: journal, core, router, state, keeper, stop }
    }

    /// Two connectors, each with a queue `support`; at `hq` Anna's seat, a caller waiting.
    pub async fn busy() -> Self {
        let world = Self::new();
        world.core.lock().unwrap().connect();
        world.settle().await;
        world
    }

    /// Everything decided so far is committed.
    pub async fn settle(&self) {
        let events = self.core.lock().unwrap().events();
        let Some(last) = events.last().map(|event| event.seq) else { return };
        let writer = self.state.journal.clone();
        writer.append(events).await.unwrap();
        writer.committed().wait_for(|committed| *committed >= last).await.unwrap();
    }

    pub fn token(&self, scope: Scope) -> String {
        let name = format!("{}-{}", scope.word(), self.state.tokens.list().unwrap().len());
        self.state.tokens.create(&name, &[scope], None, Time::now().into()).unwrap()
    }

    /// Status and JSON of an answer; null when it is none.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&str>,
    ) -> (u16, serde_json::Value) {
        let (parts, body) = self.send(request(method, path, token, body)).await;
        (parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
    }

    pub async fn send(&self, request: http::Request<Body>) -> (http::response::Parts, Vec<u8>) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        (parts, body.to_vec())
    }
}

pub(crate) fn request(
    method: &str,
    path: &str,
    token: &str,
    body: Option<&str>,
) -> http::Request<Body> {
    let mut request = http::Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    request.body(Body::from(body.unwrap_or_default().to_owned())).unwrap()
}

fn ask(core: Arc<Mutex<Core>>, writer: JournalWriter) -> Ask {
    Ask::new(move |request: Request, actor: Actor| {
        let (decided, events): (Result<Accepted, _>, _) = {
            let mut core = core.lock().unwrap();
            let now = core.now();
            let decided = core.board.request(request, actor, now);
            (decided, core.events())
        };
        let writer = writer.clone();
        async move {
            writer.append(events).await.expect("an open journal");
            Ok(decided?)
        }
    })
}

impl Core {
    /// Both connectors have shown their PBXs; a caller waits at `hq`.
    pub fn connect(&mut self) {
        for connector in ["hq", "branch"] {
            let id: ConnectorId = connector.into();
            let now = self.now();
            self.board.handle(Input::Configured { connector: id.clone() }, now);
            self.facts(connector, vec![pbx()]);
            let now = self.now();
            let scope = "all".to_owned();
            let begin = Input::ResyncBegin { connector: id.clone(), id: 1, scope };
            self.board.handle(begin, now);
            for fact in [queue("support"), extension("1001"), extension("1002")] {
                let item = Input::ResyncItem { connector: id.clone(), id: 1, fact };
                self.board.handle(item, now);
            }
            if connector == "hq" {
                let fact = member("support", "1001");
                self.board.handle(Input::ResyncItem { connector: id.clone(), id: 1, fact }, now);
            }
            self.board.handle(Input::ResyncEnd { connector: id, id: 1 }, now);
        }
        self.facts("hq", vec![leg("c1"), caller("c1", 1)]);
    }
}

fn pbx() -> Fact {
    Fact::Pbx(fact::Pbx {
        product: "Asterisk".into(),
        version: "22.10.0".into(),
        system_name: String::new(),
        started_at: None,
        capabilities: ["member-add", "member-remove", "pause", "unpause", "probe", "resync"]
            .map(str::to_owned)
            .into(),
    })
}

pub(crate) fn queue(name: &str) -> Fact {
    Fact::Queue(fact::QueueSettings {
        name: name.into(),
        strategy: "ringall".into(),
        max_length: 0,
        service_level_secs: 20,
        wrap_up_secs: 0,
        weight: 0,
    })
}

fn extension(number: &str) -> Fact {
    Fact::Extension(fact::Extension {
        number: number.into(),
        device: format!("PJSIP/{number}"),
        name: String::new(),
        state: fact::ExtensionState::Registered,
    })
}

fn member(queue: &str, number: &str) -> Fact {
    Fact::Member(fact::Member {
        queue: queue.into(),
        interface: format!("PJSIP/{number}"),
        state_interface: format!("PJSIP/{number}"),
        extension: Some(number.into()),
        name: "Anna".into(),
        membership: fact::Membership::Dynamic,
        penalty: 0,
        paused: false,
        pause_reason: String::new(),
        state: fact::MemberState::Idle,
        in_call: false,
        calls_taken: 0,
        last_call: None,
    })
}

pub(crate) fn leg(native: &str) -> Fact {
    Fact::LegStarted(fact::Leg {
        id: native.into(),
        related: None,
        direction: fact::LegDirection::FromDevice,
        device: "PJSIP/trunk".into(),
        extension: None,
        state: fact::LegState::Answered,
        party: fact::RawParty { number: "0301234567".into(), ..fact::RawParty::default() },
        dialled: "800".into(),
    })
}

pub(crate) fn caller(native: &str, position: u32) -> Fact {
    Fact::CallerJoined(fact::Caller {
        queue: "support".into(),
        leg: native.into(),
        position,
        priority: 0,
        waited_secs: 0,
    })
}

pub(crate) fn gone(native: &str) -> Vec<Fact> {
    vec![
        Fact::CallerLeft {
            queue: "support".into(),
            leg: native.into(),
            exit: fact::QueueExit::Abandoned,
            evidence: "hangup".into(),
        },
        Fact::LegEnded {
            leg: native.into(),
            cause: fact::RawCause { q850: 16, ..fact::RawCause::default() },
            ended_by: "far-end".into(),
        },
    ]
}
