//! The host and the receiver of a webhook, on a virtual clock: what is told and not acknowledged comes again after a
//! crash, and a step counts with everything it wanted or not at all.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use jackfield_sdk::hooks::{
    Action, Answer, Config, Event, HttpRequest, Input, Now, Observer, Question, Store,
};
use jackfield_webhook::Webhook;
use serde_json::{Value, json};

pub const SECOND: u64 = 1_000_000_000;
/// As the real host's, in events told and not acknowledged.
const WINDOW: usize = 4096;
const BATCH: usize = 128;

/// What the receiver answers.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    Status(u16),
    Busy(u64),
    Nobody,
}

/// What the receiver says at a second, to an event.
pub type Replies = Box<dyn FnMut(u64, u64) -> Reply>;

#[derive(Debug)]
pub struct Post {
    pub at_secs: u64,
    pub request: HttpRequest,
}

impl Post {
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.request.body).expect("the body is JSON")
    }

    pub fn seq(&self) -> u64 {
        self.body()["seq"].as_u64().expect("a number")
    }

    pub fn kind(&self) -> String {
        self.body()["type"].as_str().expect("a type").to_owned()
    }
}

pub struct Host {
    settings: String,
    observer: Option<Webhook>,
    /// Nanoseconds.
    pub now: u64,
    journal: Vec<Event>,
    told: usize,
    lost: Option<u64>,
    pub cursor: u64,
    pub store: BTreeMap<String, Vec<u8>>,
    wake_at: u64,
    /// On their way: when they are answered, and what with.
    pub under_way: Vec<(u64, Answer)>,
    ready: Vec<Answer>,
    pub replies: Replies,
    pub takes_ns: u64,
    pub posts: Vec<Post>,
    /// Those that the receiver took.
    pub delivered: BTreeSet<u64>,
    /// In the order in which the receiver took them first, by call.
    arrived: BTreeMap<String, Vec<u64>>,
    pub padding: usize,
    pub most_under_way: usize,
    pub crashes: u64,
}

impl Host {
    pub fn new(settings: &Value) -> Self {
        Self {
            settings: settings.to_string(),
            observer: None,
            now: 0,
            journal: Vec::new(),
            told: 0,
            lost: None,
            cursor: 0,
            store: BTreeMap::new(),
            wake_at: 0,
            under_way: Vec::new(),
            ready: Vec::new(),
            replies: Box::new(|_, _| Reply::Status(200)),
            takes_ns: SECOND / 50,
            posts: Vec::new(),
            delivered: BTreeSet::new(),
            arrived: BTreeMap::new(),
            padding: 0,
            most_under_way: 0,
            crashes: 0,
        }
    }

    pub fn observer(&mut self) -> &mut Webhook {
        let settings = self.settings.clone();
        self.observer.get_or_insert_with(|| {
            Webhook::init(Config::new("feed", settings))
                .unwrap_or_else(|error| panic!("{}", error.message))
        })
    }

    pub fn secs(&self) -> u64 {
        self.now / SECOND
    }

    /// Something happened.
    pub fn tell(&mut self, call: &str, kind: &str) {
        let seq = self.journal.last().map_or(self.cursor, |event| event.seq) + 1;
        let json =
            json!({ "seq": seq, "type": kind, "call": call, "pad": "x".repeat(self.padding) });
        self.journal.push(Event {
            seq,
            kind: kind.into(),
            at_ns: self.wall(),
            call: call.into(),
            json: json.to_string(),
        });
    }

    pub fn lose(&mut self, last: u64) {
        self.lost = Some(last);
    }

    /// The instance is gone with all it had in memory; answers on their way are nobody's.
    pub fn crash(&mut self) {
        self.observer = None;
        self.under_way.clear();
        self.ready.clear();
        self.wake_at = 0;
        self.told = self.journal.iter().take_while(|event| event.seq <= self.cursor).count();
        self.crashes += 1;
    }

    pub fn forget_the_journal(&mut self) {
        self.journal.clear();
        self.delivered.clear();
        self.arrived.clear();
        (self.told, self.cursor) = (0, 0);
    }

    pub fn dead(&self) -> Vec<(u64, Value)> {
        let letters = self.store.iter().filter_map(|(key, value)| {
            let seq = key.strip_prefix("dead:")?.parse().expect("a number");
            Some((seq, serde_json::from_slice(value).expect("JSON")))
        });
        letters.collect()
    }

    pub fn store_bytes(&self) -> usize {
        self.store.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    pub fn tries_of(&self, seq: u64) -> usize {
        self.posts.iter().filter(|post| post.seq() == seq).count()
    }

    pub fn assert_order(&self) {
        for (call, arrived) in &self.arrived {
            assert!(arrived.is_sorted(), "call {call}: {arrived:?}");
        }
    }

    pub fn run_for_secs(&mut self, secs: u64) {
        let until = self.now + secs * SECOND;
        while self.turn(until) {}
        self.now = until;
    }

    pub fn run_until_quiet(&mut self) {
        let until = self.now + 40 * 24 * 3600 * SECOND;
        while self.turn(until) {}
        assert!(self.under_way.is_empty() && self.wake_at == 0, "it is not quiet within 40 days");
    }

    /// One step, if there is one until then.
    pub fn turn(&mut self, until: u64) -> bool {
        let open = self.journal[..self.told].iter().filter(|event| event.seq > self.cursor).count();
        let next_event = (self.told < self.journal.len() && open < WINDOW) || self.lost.is_some();
        if !next_event && self.ready.is_empty() {
            let answers = self.under_way.iter().map(|(at, _)| *at);
            let wake = (self.wake_at > 0).then_some(self.wake_at);
            match answers.chain(wake).min() {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => return false,
            }
        }
        let mut inputs = Vec::new();
        inputs.extend(self.lost.take().map(Input::Lost));
        if next_event {
            let most = BATCH.min(WINDOW - open);
            let batch: Vec<Event> = self.journal[self.told..].iter().take(most).cloned().collect();
            self.told += batch.len();
            inputs.extend(batch.into_iter().map(Input::Event));
        }
        inputs.extend(self.ready.drain(..).map(Input::Answer));
        let (due, later) =
            std::mem::take(&mut self.under_way).into_iter().partition(|(at, _)| *at <= self.now);
        self.under_way = later;
        let due: Vec<(u64, Answer)> = due;
        inputs.extend(due.into_iter().map(|(_, answer)| Input::Answer(answer)));
        if self.wake_at > 0 && self.wake_at <= self.now {
            self.wake_at = 0;
            inputs.push(Input::Wake);
        }
        let now = Now { monotonic_ns: self.now, wall_ns: self.wall() };
        let mut out = Vec::new();
        self.observer().step(now, inputs, &mut out).expect("it never fails");
        self.apply(out);
        true
    }

    fn wall(&self) -> u64 {
        1_800_000_000 * SECOND + self.now
    }

    fn apply(&mut self, actions: Vec<Action>) {
        assert!(actions.len() <= 4096, "{} actions", actions.len());
        let bytes: usize = actions.iter().map(size).sum();
        assert!(bytes < 4 << 20, "{bytes} bytes in one step");
        let mut acked = None;
        for action in actions {
            match action {
                Action::Ack(seq) => acked = Some(seq),
                Action::Store(Store { key, value: Some(value), .. }) => {
                    assert!(key.len() <= 256 && value.len() <= 64 << 10, "{key}: {}", value.len());
                    self.store.insert(key, value);
                }
                Action::Store(Store { key, value: None, .. }) => drop(self.store.remove(&key)),
                Action::WakeAt(at) => self.wake_at = at,
                Action::Lookup(lookup) => match lookup.question {
                    Question::Http(request) => self.post(lookup.id, request),
                    Question::Stored(key) => self.ready.push(match self.store.get(&key) {
                        Some(value) => Answer::new(lookup.id, 200, value.clone()),
                        None => Answer::new(lookup.id, 404, ""),
                    }),
                    Question::Other(_) => panic!("there is no other question"),
                },
                Action::Other(_) => panic!("there is no other action"),
            }
        }
        assert!(self.under_way.len() <= 64);
        self.most_under_way = self.most_under_way.max(self.under_way.len());
        if let Some(acked) = acked {
            let told = self.journal[..self.told].last().map_or(acked, |event| event.seq);
            assert!(acked <= told && acked > self.cursor, "an ack of {acked}");
            // The law: everything up to it arrived, or is a dead letter, or was not wanted.
            self.cursor = acked;
        }
    }

    fn post(&mut self, id: String, request: HttpRequest) {
        let body: Value = serde_json::from_slice(&request.body).expect("the body is JSON");
        let seq = body["seq"].as_u64().expect("a number");
        let at = self.secs();
        let reply = (self.replies)(at, seq);
        let answer = match reply {
            Reply::Status(status) => Answer::new(id, status, ""),
            Reply::Busy(secs) => {
                let mut answer = Answer::new(id, 503, "");
                answer.headers.push(("retry-after".into(), secs.to_string()));
                answer
            }
            Reply::Nobody => Answer::failed(id, "no-connection", "connection refused"),
        };
        if answer.is_ok() && self.delivered.insert(seq) {
            let call = body["call"].as_str().unwrap_or_default().to_owned();
            self.arrived.entry(call).or_default().push(seq);
        }
        self.posts.push(Post { at_secs: self.secs(), request });
        self.under_way.push((self.now + self.takes_ns, answer));
    }
}

fn size(action: &Action) -> usize {
    match action {
        Action::Lookup(lookup) => match &lookup.question {
            Question::Http(request) => {
                let signed: usize = request
                    .secret_headers
                    .iter()
                    .map(|header| header.secret.prefix.len() + header.secret.suffix.len())
                    .sum();
                request.body.len() + signed + 1000
            }
            _ => 100,
        },
        Action::Store(store) => store.key.len() + store.value.as_ref().map_or(0, Vec::len),
        _ => 32,
    }
}
