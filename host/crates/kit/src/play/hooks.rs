//! What all hooks are played with: a configuration, a store, lookups.

use std::{collections::BTreeMap, time::Duration};

use calls::{Now, Timestamp};
use plugin_runtime::{
    Log, Manifest, Part, Plugin,
    hooks::{
        Answer, HookConfig, HookError, HookFailure, HookLimits, Lookup, Patch, Question, Store,
    },
};

use super::{Place, Played};
use crate::scenario::{
    Scenario, nanos,
    pattern::Pattern,
    read::{Replies, Reply},
    time::BOOT,
};

/// How long a lookup that says nothing about it may take.
const LOOKUP: Duration = Duration::from_secs(5);

/// How the plugin is configured: all its manifest asks for is granted.
pub(super) fn config(
    plugin: &Plugin,
    scenario: &Scenario,
) -> Result<HookConfig, serde_json::Error> {
    let limits = match &scenario.limits {
        Some(limits) => serde_json::from_value(limits.clone())?,
        None => HookLimits::default(),
    };
    let grants = plugin.manifest().permissions().into_iter().map(|asked| asked.grant).collect();
    let id = "try".to_owned();
    let log = Log::new(&id);
    Ok(HookConfig { id, settings: scenario.settings.clone(), grants, limits, log })
}

/// Both clocks, so long after the beginning.
pub(super) fn now(begin: Timestamp, at: Duration) -> Now {
    Now { monotonic: BOOT + at, wall: Timestamp(begin.0.saturating_add(nanos(at))) }
}

/// What the plugin keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(pub(super) BTreeMap<String, Vec<u8>>);

impl Kept {
    pub(super) fn of(scenario: &Scenario) -> Self {
        Self(scenario.stored.iter().cloned().collect())
    }

    pub(super) fn store(&mut self, store: &Store) {
        match &store.value {
            Some(value) => self.0.insert(store.key.clone(), value.clone()),
            None => self.0.remove(&store.key),
        };
    }

    fn answer(&self, id: &str, key: &str) -> Answer {
        let (status, body) = match self.0.get(key) {
            Some(value) => (200, value.clone()),
            None => (404, Vec::new()),
        };
        Answer { id: id.to_owned(), status, body, ..Answer::default() }
    }

    /// Compares keys with what was expected of them.
    pub(super) fn judge(
        &self,
        place: &Place,
        what: &str,
        wanted: &[(String, Option<Pattern>)],
        played: &mut Played,
    ) {
        for (key, pattern) in wanted {
            let value = self.0.get(key).map(|value| String::from_utf8_lossy(value).into_owned());
            expect_key(place, what, key, pattern.as_ref(), value.as_deref(), played);
        }
    }
}

/// A key and what it must be; no pattern: it must not be there.
pub(super) fn expect_key(
    place: &Place,
    what: &str,
    key: &str,
    pattern: Option<&Pattern>,
    value: Option<&str>,
    played: &mut Played,
) {
    let message = match (pattern, value) {
        (Some(pattern), Some(value)) if pattern.is(value) => return,
        (None, None) => return,
        (Some(pattern), Some(value)) => {
            format!("`{key}` is `{value}`, and `{pattern}` was expected")
        }
        (Some(pattern), None) => format!("`{key}` is not there, and `{pattern}` was expected"),
        (None, Some(value)) => format!("`{key}` is `{value}`, and nothing was expected"),
    };
    played.fail(place, what, message);
}

/// What comes of a lookup, and after how long.
pub(super) struct Found {
    pub(super) answer: Answer,
    pub(super) after: Duration,
}

/// Asks the script, or the store.
pub(super) fn look_up(
    lookup: &Lookup,
    replies: &Replies,
    kept: &Kept,
    manifest: &Manifest,
) -> Result<Found, String> {
    let scripted = replies.get(&lookup.id).or_else(|| replies.get("*"));
    let request = match &lookup.question {
        Question::Stored(key) => {
            let answer = match scripted {
                Some(reply) => answer(&lookup.id, reply, LOOKUP),
                None => Found { answer: kept.answer(&lookup.id, key), after: Duration::ZERO },
            };
            return Ok(answer);
        }
        Question::Http(request) => request,
    };
    if let Some(problem) = not_asked_for(&request.url, manifest) {
        return Err(problem);
    }
    match scripted {
        Some(reply) => Ok(answer(&lookup.id, reply, request.timeout.unwrap_or(LOOKUP))),
        None => Err(format!(
            "it looks up `{}`, and nothing says what comes of it; add e.g. answers.{} = {{ status = 200, body = \"..\" }}",
            lookup_line(lookup),
            lookup.id
        )),
    }
}

/// A host that the admin is never asked about is never reached.
pub(super) fn not_asked_for(url: &str, manifest: &Manifest) -> Option<String> {
    let host = host_of(url);
    let asked = manifest.http.iter().any(|request| request.host == host || request.host == "*");
    (!asked).then(|| {
        format!("it wants to reach `{host}`, and its manifest asks for no such host; add it to `http` in plugin.toml")
    })
}

/// The runtime has checked that it is a URL by http or https without user and password.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.split(':').next().unwrap_or_default()
}

/// A scripted answer to a request that may take so long.
pub(super) fn answer(id: &str, reply: &Reply, most: Duration) -> Found {
    if reply.hangs || reply.takes > most {
        let message = format!("no answer within {} ms", most.as_millis());
        let error = HookError::retryable("timed-out", message);
        return Found { answer: Answer::failed(id, error), after: most };
    }
    let answer = Answer {
        id: id.to_owned(),
        status: reply.status,
        headers: reply.headers.clone(),
        body: reply.body.clone(),
        error: reply.error.clone(),
    };
    Found { answer, after: reply.takes }
}

/// `crm GET https://crm.example.org/`, `seen stored last-call`.
pub(super) fn lookup_line(lookup: &Lookup) -> String {
    match &lookup.question {
        Question::Http(request) => format!("{} {} {}", lookup.id, request.method, request.url),
        Question::Stored(key) => format!("{} stored {key}", lookup.id),
    }
}

/// `crm 200`, `crm connection refused`.
pub(super) fn answer_line(answer: &Answer) -> String {
    match &answer.error {
        None => format!("{} {}", answer.id, answer.status),
        Some(error) => format!("{} {}", answer.id, error.message),
    }
}

/// A secret that no one gave a scenario is no reason to fail: headers are only shown by name.
pub(super) fn secret_headers(lookup: &Lookup) -> Vec<String> {
    let Question::Http(request) = &lookup.question else { return Vec::new() };
    let header = |header: &plugin_runtime::hooks::SecretHeader| {
        let secret = match &header.secret {
            Part::Secret { name, form, .. } => format!("<{} of {name}>", form.code()),
            Part::Literal(_) => String::new(),
        };
        format!("{}: {}{secret}", header.name, header.before)
    };
    request.secret_headers.iter().map(header).collect()
}

/// What a hook changes on a call, a line each.
pub(super) fn patch_lines(patch: &Patch) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(patch.priority.map(|priority| format!("set priority {priority}")));
    lines.extend(patch.language.as_ref().map(|language| format!("set language {language}")));
    lines.extend(
        patch.variables.iter().map(|(name, value)| format!("set variable {name} = {value}")),
    );
    lines.extend(patch.facts.iter().map(|(name, value)| format!("set fact {name} = {value}")));
    lines
}

/// `store key = value`, `remove key`.
pub(super) fn store_line(store: &Store) -> String {
    match &store.value {
        Some(value) => format!("store {} = {}", store.key, String::from_utf8_lossy(value)),
        None => format!("remove {}", store.key),
    }
}

/// The code of a failure and what it says.
pub(super) fn failure(failure: &HookFailure) -> (&'static str, String) {
    let message = match failure {
        HookFailure::Trapped(message) | HookFailure::Nonsense(message) => message.clone(),
        HookFailure::Late { after } => format!("not done after {} ms", after.as_millis()),
        HookFailure::Refused(error) => error.to_string(),
    };
    (failure.code(), message)
}

/// Does this plugin have that kind?
pub(super) fn is_kind(plugin: &Plugin, played: &mut Played) -> bool {
    let (wanted, kinds) = (played.kind, plugin.kinds());
    if kinds.contains(&wanted) {
        return true;
    }
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
    let message =
        format!("it is about a {}, and the plugin is: {}", wanted.code(), kinds.join(", "));
    played.fail(&Place::start(), "kind", message);
    false
}
