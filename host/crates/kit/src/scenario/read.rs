//! Values that scenarios of several kinds have in common.

use std::{collections::BTreeMap, time::Duration};

use plugin_runtime::hooks::{
    Call, DialplanTarget, ExtensionTarget, HangUpTarget, HookError, QueueTarget, Target,
};
use toml::de::DeValue;

use super::{
    pattern::{Line, Pattern},
    time,
};
use crate::document::{At, Document, Section, Value, as_json, as_string, wrong_type};

/// What comes of a lookup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status; 0 when there is no answer.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Why there is no answer.
    pub error: Option<HookError>,
    /// No answer within the lookup's time.
    pub hangs: bool,
    /// How long it takes.
    pub takes: Duration,
}

/// Scripted answers by the lookup's id; `*` is for all others.
pub type Replies = BTreeMap<String, Reply>;

/// What the expectation of a failure says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// `trapped`, `late`, `refused` or `nonsense`.
    pub code: String,
    /// What it says.
    pub message: Option<Pattern>,
}

/// Where a caller is expected to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPattern {
    /// As a target is written: `queue:vip`.
    Text(Pattern),
    /// The kind, and the fields that matter.
    Fields(&'static str, Vec<(String, Pattern)>),
}

impl TargetPattern {
    /// Does it fit?
    pub fn is(&self, target: &Target) -> bool {
        match self {
            Self::Text(pattern) => pattern.is(&target.to_string()),
            Self::Fields(kind, wanted) => {
                let (found, fields) = fields_of(target);
                *kind == found
                    && wanted.iter().all(|(name, pattern)| {
                        let value = fields.iter().find(|(field, _)| field == name);
                        pattern.is(value.map_or("", |(_, value)| value))
                    })
            }
        }
    }
}

impl std::fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(pattern) => write!(f, "{pattern}"),
            Self::Fields(kind, fields) => {
                let fields = fields.iter().map(|(name, value)| (name.as_str(), value.to_string()));
                f.write_str(&target_line(kind, fields))
            }
        }
    }
}

/// A target with all it says: `queue vip priority 5`.
pub fn target_text(target: &Target) -> String {
    let (kind, fields) = fields_of(target);
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    target_line(kind, fields.map(|(name, value)| (name.as_str(), value.clone())))
}

fn target_line<'a>(kind: &str, fields: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut line = kind.to_owned();
    for (name, value) in fields {
        // The first field of each kind is its name.
        if ["name", "number", "context", "q850"].contains(&name) {
            line.push_str(&format!(" {value}"));
        } else {
            line.push_str(&format!(" {name} {value}"));
        }
    }
    line
}

fn fields_of(target: &Target) -> (&'static str, Vec<(String, String)>) {
    let named = |name: &str, value: String| (name.to_owned(), value);
    let secs =
        |time: &Option<Duration>| time.map_or(String::new(), |time| time.as_secs().to_string());
    let facts = |facts: &[(String, String)]| -> Vec<(String, String)> {
        facts.iter().map(|(name, value)| (format!("facts.{name}"), value.clone())).collect()
    };
    match target {
        Target::Queue(queue) => {
            let mut fields = vec![
                named("name", queue.name.clone()),
                named("priority", queue.priority.map_or(String::new(), |it| it.to_string())),
                named("timeout-secs", secs(&queue.timeout)),
            ];
            fields.extend(facts(&queue.facts));
            ("queue", fields)
        }
        Target::Extension(extension) => {
            let mut fields = vec![
                named("number", extension.number.clone()),
                named("timeout-secs", secs(&extension.timeout)),
            ];
            fields.extend(facts(&extension.facts));
            ("extension", fields)
        }
        Target::Dialplan(DialplanTarget { context, extension, priority, .. }) => (
            "dialplan",
            vec![
                named("context", context.clone()),
                named("extension", extension.clone()),
                named("priority", priority.to_string()),
            ],
        ),
        Target::ContinueInDialplan => ("continue-in-dialplan", Vec::new()),
        Target::HangUp(end) => ("hang-up", vec![named("q850", end.q850.to_string())]),
    }
}

/// A time with its unit.
pub fn duration(section: &mut Section<'_, '_>, name: &'static str) -> Option<At<Duration>> {
    let at = section.string(name)?;
    as_duration(section.document(), &at)
}

pub(super) fn as_duration(document: &Document<'_>, at: &At<String>) -> Option<At<Duration>> {
    match time::duration(&at.value) {
        Ok(time) => Some(at.with(time)),
        Err(problem) => {
            document.complain(&at.span, &at.key, problem, "");
            None
        }
    }
}

/// A table of times.
pub fn durations(section: &mut Section<'_, '_>, name: &'static str) -> Vec<(String, Duration)> {
    let document = section.document();
    let time = |(name, at): (String, Value<'_, '_>)| {
        Some((name, as_duration(document, &as_string(document, &at)?)?.value))
    };
    section.entries(name).into_iter().filter_map(time).collect()
}

/// A text to compare with; numbers count as their text.
pub fn pattern(section: &mut Section<'_, '_>, name: &'static str) -> Option<Pattern> {
    let at = section.value(name)?;
    as_pattern(section.document(), &at)
}

fn as_pattern(document: &Document<'_>, at: &Value<'_, '_>) -> Option<Pattern> {
    match at.value {
        DeValue::Integer(integer) => Some(Pattern::text(integer.as_str())),
        _ => Some(Pattern::text(&as_string(document, at)?.value)),
    }
}

/// A table of patterns; `false` is none.
pub fn patterns(
    section: &mut Section<'_, '_>,
    name: &'static str,
) -> Vec<(String, Option<Pattern>)> {
    let document = section.document();
    let entries = section.entries(name);
    let one = |(name, at): (String, Value<'_, '_>)| match at.value {
        DeValue::Boolean(false) => Some((name, None)),
        _ => Some((name, Some(as_pattern(document, &at)?))),
    };
    entries.into_iter().filter_map(one).collect()
}

/// Expected lines.
pub fn lines(section: &mut Section<'_, '_>, name: &'static str) -> Option<Vec<Line>> {
    let document = section.document();
    let texts = section.strings(name)?;
    let line = |at: &At<String>| match Line::parse(&at.value) {
        Ok(line) => Some(line),
        Err(problem) => {
            document.complain(&at.span, &at.key, problem, "");
            None
        }
    };
    Some(texts.iter().filter_map(line).collect())
}

const FAILURES: [&str; 4] = ["trapped", "late", "refused", "nonsense"];

/// `fails` and `message`.
pub fn failing(section: &mut Section<'_, '_>) -> Option<Failing> {
    let code = section.string("fails");
    let message = pattern(section, "message");
    let code = one_of(section.document(), code?, &FAILURES)?;
    Some(Failing { code, message })
}

/// A text that is one of a few words.
pub fn one_of(document: &Document<'_>, at: At<String>, words: &[&str]) -> Option<String> {
    if words.contains(&at.value.as_str()) {
        return Some(at.value);
    }
    let fix = match crate::document::nearest(&at.value, words) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write one of: {}", words.join(", ")),
    };
    document.complain(&at.span, &at.key, format!("`{}` is none of its words", at.value), fix);
    None
}

/// A table of scripted answers.
pub fn replies(section: &mut Section<'_, '_>, name: &'static str) -> Replies {
    let document = section.document();
    let reply = |(id, at): (String, Value<'_, '_>)| {
        let mut section = Section::of(document, &at)?;
        let reply = reply(&mut section);
        section.finish();
        Some((id, reply))
    };
    section.entries(name).into_iter().filter_map(reply).collect()
}

/// `status`, `headers`, `body` or `json`, `error`, `hangs`, `takes`.
pub fn reply(section: &mut Section<'_, '_>) -> Reply {
    let status = section.number("status", 100..=599);
    let headers = section.texts("headers").into_iter();
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let body = section.string("body").map(|at| at.value);
    let json = section.json("json").map(|at| at.value.to_string());
    let error = section.string("error").filter(|at| !at.value.is_empty());
    let error = error.map(|at| HookError::retryable("no-connection", at.value));
    let hangs = section.bool("hangs").is_some_and(|at| at.value);
    let takes = duration(section, "takes").map(|at| at.value).unwrap_or_default();
    if body.is_some() && json.is_some() {
        section.complain("it has both a `body` and `json`", "keep one of the two");
    }
    let is_none = hangs || error.is_some();
    if is_none && status.is_some() {
        section.complain("it has a `status`, and no answer comes", "keep one of the two");
    }
    if !is_none && status.is_none() && body.is_none() && json.is_none() {
        section.complain(
            "it says nothing",
            "write `status = 200`, `error = \"connection refused\"` or `hangs = true`",
        );
    }
    let status = if is_none { 0 } else { status.map_or(200, |at| at.value) };
    let body = body.or(json).unwrap_or_default().into_bytes();
    Reply { status, headers, body, error, hangs, takes }
}

/// What every call has that says nothing else.
pub fn usual_call() -> Call {
    Call {
        id: "call-1".into(),
        connector: "pbx".into(),
        dialled: "500".into(),
        attempt: 1,
        ..Call::default()
    }
}

/// The facts of a call; what is left out is as in `base`.
pub fn call(mut section: Section<'_, '_>, base: &Call) -> Call {
    let mut call = base.clone();
    let mut text = |name: &'static str, field: &mut String| {
        if let Some(at) = section.string(name) {
            *field = at.value;
        }
    };
    text("id", &mut call.id);
    text("connector", &mut call.connector);
    text("entry", &mut call.entry);
    text("dialled", &mut call.dialled);
    text("returned-from", &mut call.returned_from);
    text("outcome", &mut call.outcome);
    text("language", &mut call.language);
    caller(&mut section, &mut call);
    if let Some(at) = section.string("e164") {
        call.caller_e164 = at.value;
    }
    if let Some(at) = section.number("attempt", 1..=1000_u32) {
        call.attempt = at.value;
    }
    if let Some(at) = duration(&mut section, "age") {
        call.age = at.value;
    }
    if let Some(at) = section.number("priority", i32::MIN..=i32::MAX) {
        call.priority = Some(at.value);
    }
    merge(&mut call.variables, section.texts("variables"));
    merge(&mut call.facts, section.texts("facts"));
    section.finish();
    call
}

/// Later ones win, key by key.
pub fn merge(into: &mut Vec<(String, String)>, later: Vec<(String, String)>) {
    for (name, value) in later {
        match into.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => into.push((name, value)),
        }
    }
}

fn caller(section: &mut Section<'_, '_>, call: &mut Call) {
    let Some(at) = section.value("caller") else { return };
    let document = section.document();
    match at.value {
        DeValue::Table(_) => {
            let Some(mut party) = Section::of(document, &at) else { return };
            if let Some(number) = party.string("number") {
                call.caller.number = number.value;
            }
            if let Some(name) = party.string("name") {
                call.caller.name = name.value;
            }
            if let Some(said) = party.string("presentation")
                && let Some(word) =
                    one_of(document, said, &["allowed", "restricted", "unavailable"])
            {
                call.caller.presentation = match word.as_str() {
                    "restricted" => calls::fact::Presentation::Restricted,
                    "unavailable" => calls::fact::Presentation::Unavailable,
                    _ => calls::fact::Presentation::Allowed,
                };
            }
            party.finish();
        }
        _ => match as_string(document, &at) {
            Some(number) => call.caller.number = number.value,
            None => return,
        },
    }
    let number = &call.caller.number;
    call.caller_e164 = if number.starts_with('+') { number.clone() } else { String::new() };
}

const TARGET_KINDS: &str = "write { queue = \"vip\" }, { extension = \"1001\" }, { dialplan = { context = \"..\", extension = \
     \"..\", priority = 1 } }, { hang-up = 21 } or \"continue-in-dialplan\"";

/// Where a caller is expected to go.
pub fn target_pattern(document: &Document<'_>, at: &Value<'_, '_>) -> Option<TargetPattern> {
    if let DeValue::String(text) = at.value {
        return Some(TargetPattern::Text(Pattern::text(text)));
    }
    let mut section = Section::of(document, at)?;
    let mut fields = Vec::new();
    let mut kinds = Vec::new();
    for (kind, key) in [("queue", "name"), ("extension", "number"), ("hang-up", "q850")] {
        if let Some(value) = pattern(&mut section, kind) {
            kinds.push(kind);
            fields.push((key.to_owned(), value));
        }
    }
    if let Some(mut place) = section.section("dialplan") {
        kinds.push("dialplan");
        for key in ["context", "extension", "priority"] {
            fields.extend(pattern(&mut place, key).map(|value| (key.to_owned(), value)));
        }
        place.finish();
    }
    for key in ["priority", "timeout-secs"] {
        fields.extend(pattern(&mut section, key).map(|value| (key.to_owned(), value)));
    }
    for (name, value) in patterns(&mut section, "facts") {
        fields.push((format!("facts.{name}"), value.unwrap_or(Pattern::text(""))));
    }
    let kind = match kinds[..] {
        [kind] => kind,
        _ => {
            section.complain("it names no place, or several", TARGET_KINDS);
            return None;
        }
    };
    section.finish();
    Some(TargetPattern::Fields(kind, fields))
}

/// Where a router sends a caller.
pub fn target(document: &Document<'_>, at: &Value<'_, '_>) -> Option<Target> {
    if let DeValue::String(text) = at.value {
        if text == "continue-in-dialplan" {
            return Some(Target::ContinueInDialplan);
        }
        document.complain(&at.span, &at.key, format!("`{text}` is no place"), TARGET_KINDS);
        return None;
    }
    let mut section = Section::of(document, at)?;
    let queue = section.string("queue");
    let extension = section.string("extension");
    let hang_up = section.number("hang-up", 1..=127_u16);
    let mut dialplan = section.section("dialplan");
    let priority = section.number("priority", i32::MIN..=i32::MAX).map(|at| at.value);
    let timeout = section.number("timeout-secs", 0..=86_400_u64);
    let timeout = timeout.filter(|at| at.value > 0).map(|at| Duration::from_secs(at.value));
    let facts = section.texts("facts");
    let target = match (queue, extension, hang_up, &mut dialplan) {
        (Some(name), None, None, None) => {
            Target::Queue(QueueTarget { name: name.value, priority, timeout, facts })
        }
        (None, Some(number), None, None) => {
            Target::Extension(ExtensionTarget { number: number.value, timeout, facts })
        }
        (None, None, Some(q850), None) => Target::HangUp(HangUpTarget { q850: q850.value, facts }),
        (None, None, None, Some(place)) => Target::Dialplan(DialplanTarget {
            context: place.string("context").map(|at| at.value).unwrap_or_default(),
            extension: place.string("extension").map(|at| at.value).unwrap_or_default(),
            priority: place.number("priority", 1..=u32::MAX).map_or(1, |at| at.value),
            facts,
        }),
        _ => {
            section.complain("it names no place, or several", TARGET_KINDS);
            return None;
        }
    };
    if let Some(place) = dialplan {
        place.finish();
    }
    section.finish();
    Some(target)
}

/// A table of texts as they are stored; `false` is a key that is gone.
pub fn stored(section: &mut Section<'_, '_>, name: &'static str) -> Vec<(String, Vec<u8>)> {
    let texts = section.texts(name).into_iter();
    texts.map(|(name, value)| (name, value.into_bytes())).collect()
}

/// A table as JSON text; `{}` when it is not there.
pub fn json_table(section: &mut Section<'_, '_>, name: &'static str) -> Option<String> {
    let at = section.value(name)?;
    let document = section.document();
    match at.value {
        DeValue::Table(_) => Some(as_json(document, &at)?.to_string()),
        // A copy of what the REST API has is as good.
        DeValue::String(text) => {
            if let Err(error) = serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(text)
            {
                let message = format!("this is no table, nor a JSON object: {error}");
                document.complain(&at.span, &at.key, message, "write { key = \"value\" }");
                return None;
            }
            Some(text.clone().into_owned())
        }
        other => {
            wrong_type(document, &at, "a table such as { key = \"value\" }", other);
            None
        }
    }
}
