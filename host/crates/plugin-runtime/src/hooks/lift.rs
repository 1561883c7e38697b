//! What hooks answer, judged: what breaks a rule is refused with a text that says which.
//!
//! The texts go on after "it answered nonsense: ".

use std::{collections::BTreeSet, time::Duration};

use super::{
    Collect, Decision, DialplanTarget, ExtensionTarget, HangUpTarget, HttpRequest, Lookup,
    MAX_BODY, MAX_KEY, MAX_LIST, MAX_LOOKUPS, MAX_OPEN_LOOKUPS, MAX_SECRET_HEADERS, MAX_STATE,
    MAX_STEPS, MAX_STORES, MAX_TIME_ZONES, MAX_VALUE, MAX_WAIT, MIN_WAKE, ObserverAction, Patch,
    Plan, Question, QueueTarget, Say, SayKind, SecretHeader, Step, Store, Target, Treat, Verdict,
    Wishes,
    names::{self, shown},
};
use crate::{
    Part, SecretForm,
    bindings::hooks::{
        exports::jackfield::{
            observer::observer,
            router::router,
            treatment::wait_treatment::{self as treatment},
        },
        jackfield::hooks::types as wit,
    },
    convert::cut,
    log::plain,
};

/// Longest reason kept, in bytes; longer ones are cut.
const MAX_REASON: usize = 500;
const MAX_URL: usize = 4096;
const MAX_HEADER: usize = 4096;
/// Longest prefix or suffix of a secret: what is signed may be a body.
const MAX_SIGNED: usize = MAX_BODY;
const MAX_MEDIA: usize = 16;
/// Longest time in a queue or at an extension: a day.
const MAX_SECS: u32 = 86_400;
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

type Judged<T> = Result<T, String>;

pub(super) fn wishes(wishes: wit::Wishes) -> Judged<Wishes> {
    let zone = |zone: String| {
        let may = |letter: char| letter.is_ascii_alphanumeric() || "_-+/".contains(letter);
        if (1..=64).contains(&zone.len()) && zone.chars().all(may) {
            return Ok(zone);
        }
        Err(format!("the time zone {}; use an IANA name, e.g. `Europe/Berlin`", shown(&zone)))
    };
    let zones = names::bounded("time zones", wishes.time_zones, MAX_TIME_ZONES)?;
    Ok(Wishes {
        time_zones: zones.into_iter().map(zone).collect::<Judged<_>>()?,
        facts: names::facts(wishes.facts)?,
    })
}

pub(super) fn decision(decision: router::Decision) -> Judged<Decision> {
    Ok(Decision {
        verdict: verdict(decision.verdict)?,
        patch: patch(decision.patch)?,
        stores: stores(decision.stores)?,
        reason: reason(decision.reason),
        facts: names::facts(decision.facts)?,
    })
}

fn verdict(verdict: router::Verdict) -> Judged<Verdict> {
    Ok(match verdict {
        router::Verdict::Pass => Verdict::Pass,
        router::Verdict::Need(lookups) if lookups.is_empty() => {
            return Err("it needs lookups, but names none; pass, or name 1 to 4".to_owned());
        }
        router::Verdict::Need(lookups) => Verdict::Need(self::lookups(lookups)?),
        router::Verdict::Send(target) => Verdict::Send(self::target(target)?),
        router::Verdict::Treat(treat) => Verdict::Treat(Treat {
            treatment: names::word_or_none("treatment", treat.treatment)?,
            then: treat.then.map(self::target).transpose()?,
            facts: names::facts(treat.facts)?,
        }),
        router::Verdict::Other(other) => return Err(unknown("verdict", &other.kind)),
    })
}

pub(super) fn target(target: wit::TargetResult) -> Judged<Target> {
    Ok(match target {
        wit::TargetResult::Queue(queue) => Target::Queue(QueueTarget {
            name: names::queue(queue.name)?,
            priority: priority(queue.priority)?,
            timeout: secs("in a queue", queue.timeout_secs)?,
            facts: names::facts(queue.facts)?,
        }),
        wit::TargetResult::Extension(extension) => Target::Extension(ExtensionTarget {
            number: names::extension(extension.number)?,
            timeout: secs("at an extension", extension.timeout_secs)?,
            facts: names::facts(extension.facts)?,
        }),
        wit::TargetResult::Dialplan(place) => Target::Dialplan(DialplanTarget {
            context: names::word("context", place.context)?,
            extension: names::extension(place.extension)?,
            priority: match place.priority {
                1..=10_000 => place.priority,
                odd => return Err(format!("the dialplan priority {odd}; use 1 to 10000")),
            },
            facts: names::facts(place.facts)?,
        }),
        wit::TargetResult::ContinueInDialplan => Target::ContinueInDialplan,
        wit::TargetResult::HangUp(end) if (1..=127).contains(&end.q850) => {
            Target::HangUp(HangUpTarget { q850: end.q850, facts: names::facts(end.facts)? })
        }
        wit::TargetResult::HangUp(end) => {
            return Err(format!(
                "a hang-up with the cause {}; Q.850 has 1 to 127, e.g. 16, 17, 21",
                end.q850
            ));
        }
        wit::TargetResult::Other(other) => return Err(unknown("target", &other.kind)),
    })
}

pub(super) fn plan(plan: treatment::Plan) -> Judged<Plan> {
    if plan.state.len() > MAX_STATE {
        return Err(format!("a state of {} bytes; at most {MAX_STATE}", plan.state.len()));
    }
    let steps = |steps| names::bounded("steps", steps, MAX_STEPS)?.into_iter().map(step).collect();
    Ok(Plan {
        state: plan.state,
        steps: plan.steps.map(steps).transpose()?,
        keys: names::keys("keys", plan.keys)?,
        wake: plan
            .wake_ms
            .map(|ms| wait("to its wake-up", ms))
            .transpose()?
            .map(|wake| wake.max(MIN_WAKE)),
        lookups: lookups(plan.lookups)?,
        patch: patch(plan.patch)?,
        stores: stores(plan.stores)?,
        reason: reason(plan.reason),
        facts: names::facts(plan.facts)?,
    })
}

fn step(step: treatment::Step) -> Judged<Step> {
    Ok(match step {
        treatment::Step::Answer => Step::Answer,
        treatment::Step::Play(media) if media.is_empty() => {
            return Err("a step that plays no recording".to_owned());
        }
        treatment::Step::Play(media) => {
            let media = names::bounded("recordings in one step", media, MAX_MEDIA)?;
            Step::Play(media.into_iter().map(names::media).collect::<Judged<_>>()?)
        }
        treatment::Step::Say(say) => Step::Say(self::say(say)?),
        treatment::Step::Music(class) => Step::Music(names::word_or_none("music class", class)?),
        treatment::Step::Silence => Step::Silence,
        treatment::Step::Collect(collect) => Step::Collect(self::collect(collect)?),
        treatment::Step::Wait(ms) => Step::Wait(wait("in a step", ms)?),
        treatment::Step::HandOver(target) => Step::HandOver(target.map(self::target).transpose()?),
        treatment::Step::Other(other) => return Err(unknown("step", &other.kind)),
    })
}

fn say(say: treatment::Say) -> Judged<Say> {
    let (kind, is_fine): (_, fn(&str) -> bool) = match say.kind.as_str() {
        "number" => (SayKind::Number, is_number),
        "digits" => (SayKind::Digits, |value| {
            (1..=40).contains(&value.len())
                && value.bytes().all(|digit| digit.is_ascii_digit() || matches!(digit, b'*' | b'#'))
        }),
        odd => return Err(format!("something to say as {}; use `number` or `digits`", shown(odd))),
    };
    if is_fine(&say.value) {
        return Ok(Say { kind, value: say.value });
    }
    Err(format!(
        "{} to be said as {}; a number has at most 9 digits, digits are at most 40 of 0-9, * and #",
        shown(&say.value),
        kind.code()
    ))
}

fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    (1..=9).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
}

fn collect(collect: treatment::Collect) -> Judged<Collect> {
    if !(1..=32).contains(&collect.most) {
        return Err(format!("{} keys to gather; use 1 to 32", collect.most));
    }
    Ok(Collect {
        most: collect.most,
        timeout: wait("for a key", collect.timeout_ms)?,
        between: wait("for the next key", collect.between_ms)?,
        end_keys: names::keys("end keys", collect.end_keys)?,
        facts: names::facts(collect.facts)?,
    })
}

/// An observer's actions; `most` are allowed, and what it may acknowledge ends at `seen`.
pub(super) fn actions(
    actions: Vec<observer::Action>,
    most: usize,
    seen: u64,
) -> Judged<Vec<ObserverAction>> {
    let actions = names::bounded("actions in one step", actions, most)?;
    let lookups = actions.iter().filter(|action| matches!(action, observer::Action::Lookup(_)));
    if lookups.clone().count() > MAX_OPEN_LOOKUPS {
        return Err(format!("{} lookups in one step; at most {MAX_OPEN_LOOKUPS}", lookups.count()));
    }
    actions.into_iter().map(|action| self::action(action, seen)).collect()
}

fn action(action: observer::Action, seen: u64) -> Judged<ObserverAction> {
    Ok(match action {
        observer::Action::Ack(seq) if seq > seen => {
            return Err(format!("an ack of event {seq}, but it was told of none beyond {seen}"));
        }
        observer::Action::Ack(seq) => ObserverAction::Ack(seq),
        observer::Action::Lookup(lookup) => ObserverAction::Lookup(self::lookup(lookup)?),
        observer::Action::Store(store) => ObserverAction::Store(self::store(store)?),
        observer::Action::WakeAt(at) => {
            ObserverAction::WakeAt((at > 0).then(|| Duration::from_nanos(at)))
        }
        observer::Action::Other(other) => return Err(unknown("action", &other.kind)),
    })
}

fn lookups(lookups: Vec<wit::Lookup>) -> Judged<Vec<Lookup>> {
    let lookups = names::bounded("lookups", lookups, MAX_LOOKUPS)?;
    let lookups: Vec<Lookup> = lookups.into_iter().map(lookup).collect::<Judged<_>>()?;
    let mut ids = BTreeSet::new();
    match lookups.iter().find(|lookup| !ids.insert(&lookup.id)) {
        Some(twice) => Err(format!("two lookups with the id {}", shown(&twice.id))),
        None => Ok(lookups),
    }
}

fn lookup(lookup: wit::Lookup) -> Judged<Lookup> {
    let id = lookup.id;
    if !(1..=names::MAX_NAME).contains(&id.len()) || id.contains(char::is_control) {
        return Err(format!("a lookup with the id {}; use 1 to 80 printable bytes", shown(&id)));
    }
    let question = match lookup.question {
        wit::Question::Http(request) => Question::Http(
            self::request(request)
                .map_err(|problem| format!("the lookup {}: {problem}", shown(&id)))?,
        ),
        wit::Question::Stored(key) => Question::Stored(self::key(key)?),
        wit::Question::Other(other) => return Err(unknown("question", &other.kind)),
    };
    Ok(Lookup { id, question, facts: names::facts(lookup.facts)? })
}

/// The URL is never shown: it may hold a password.
fn request(request: wit::HttpRequest) -> Judged<HttpRequest> {
    if !METHODS.contains(&request.method.as_str()) {
        return Err(format!("the method {}; use {}", shown(&request.method), METHODS.join(", ")));
    }
    let url = request.url;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if url.len() > MAX_URL || !url.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err(format!("its URL; at most {MAX_URL} bytes of printable ASCII without spaces"));
    }
    if authority.is_empty() || authority.contains(['@', '\\']) {
        return Err("its URL; use http or https, a host, and no user or password".to_owned());
    }
    if request.body.len() > MAX_BODY {
        return Err(format!("a body of {} bytes; at most {MAX_BODY}", request.body.len()));
    }
    let headers = names::bounded("headers", request.headers, MAX_LIST)?;
    let secret_headers =
        names::bounded("headers with secrets", request.secret_headers, MAX_SECRET_HEADERS)?;
    Ok(HttpRequest {
        method: request.method,
        url,
        headers: headers
            .into_iter()
            .map(|(name, value)| Ok((header_name(name)?, header_value(value)?)))
            .collect::<Judged<_>>()?,
        secret_headers: secret_headers.into_iter().map(secret_header).collect::<Judged<_>>()?,
        body: request.body,
        timeout: (request.timeout_ms > 0).then(|| Duration::from_millis(request.timeout_ms.into())),
    })
}

fn secret_header(header: wit::SecretHeader) -> Judged<SecretHeader> {
    let wit::SecretPart { name, form, prefix, suffix } = header.secret;
    let form = match form.as_str() {
        "plain" => SecretForm::Plain,
        "basic" => SecretForm::Basic,
        "hmac-sha256-hex" => SecretForm::HmacSha256Hex,
        odd => {
            let odd = shown(odd);
            return Err(format!("the secret form {odd}; use plain, basic or hmac-sha256-hex"));
        }
    };
    if prefix.len() > MAX_SIGNED || suffix.len() > MAX_SIGNED {
        return Err(format!("a secret's prefix or suffix of more than {MAX_SIGNED} bytes"));
    }
    Ok(SecretHeader {
        name: header_name(header.name)?,
        before: header_value(header.before)?,
        secret: Part::Secret { name: names::word("secret", name)?, form, prefix, suffix },
    })
}

/// A token of RFC 9110 §5.6.2.
pub(crate) fn header_name(name: String) -> Judged<String> {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if (1..=names::MAX_NAME).contains(&name.len()) && name.bytes().all(may) {
        return Ok(name);
    }
    Err(format!("a header called {}; use letters, digits and `-`", shown(&name)))
}

/// The value itself is never shown: it may be a token.
pub(crate) fn header_value(value: String) -> Judged<String> {
    if value.len() <= MAX_HEADER && !value.contains(char::is_control) {
        return Ok(value);
    }
    Err(format!("a header's value; at most {MAX_HEADER} bytes on one line"))
}

fn stores(stores: Vec<wit::Store>) -> Judged<Vec<Store>> {
    names::bounded("values to store", stores, MAX_STORES)?.into_iter().map(store).collect()
}

fn store(store: wit::Store) -> Judged<Store> {
    let key = key(store.key)?;
    match store.value {
        Some(value) if value.len() > MAX_VALUE => Err(format!(
            "a value of {} bytes for {}; at most {MAX_VALUE}",
            value.len(),
            shown(&key)
        )),
        value => Ok(Store { key, value, facts: names::facts(store.facts)? }),
    }
}

fn key(key: String) -> Judged<String> {
    if (1..=MAX_KEY).contains(&key.len()) && !key.contains(char::is_control) {
        return Ok(key);
    }
    Err(format!("the key {}; use 1 to {MAX_KEY} printable bytes", shown(&key)))
}

fn patch(patch: wit::Patch) -> Judged<Patch> {
    Ok(Patch {
        priority: priority(patch.priority)?,
        language: patch.language.map(names::language).transpose()?,
        variables: names::variables(patch.variables)?,
        facts: names::facts(patch.facts)?,
    })
}

fn priority(priority: Option<i32>) -> Judged<Option<i32>> {
    match priority {
        Some(odd) if odd < 0 => Err(format!("the priority {odd}; the lowest is 0")),
        fine => Ok(fine),
    }
}

fn secs(what: &str, secs: u32) -> Judged<Option<Duration>> {
    if secs <= MAX_SECS {
        return Ok((secs > 0).then(|| Duration::from_secs(secs.into())));
    }
    Err(format!("a time of {secs} s {what}; at most {MAX_SECS}"))
}

fn wait(what: &str, ms: u32) -> Judged<Duration> {
    let wait = Duration::from_millis(ms.into());
    if wait <= MAX_WAIT {
        return Ok(wait);
    }
    Err(format!("a wait of {ms} ms {what}; at most {} (an hour)", MAX_WAIT.as_millis()))
}

fn reason(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    plain(reason)
}

/// A guest's own words for people.
pub(super) fn text(text: String) -> String {
    plain(cut(text))
}

fn unknown(what: &str, kind: &str) -> String {
    format!("the {what} {}, which this host does not know", shown(kind))
}
