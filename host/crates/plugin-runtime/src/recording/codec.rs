//! WIT values as JSON text and back.
//!
//! The text is canonical: one value has one text on every machine, with fields in the order of the WIT and
//! without spaces. So a hash of it is a hash of the value.

use serde_json::Value;

use crate::bindings::{facts, types};

/// A JSON value that is not what it should be.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Where, from the inside out.
    at: Vec<&'static str>,
    what: String,
}

/// A piece of text or bytes inside a value.
pub(super) enum Text<'a> {
    Str(&'a mut String),
    Bytes(&'a mut Vec<u8>),
}

/// Visits every piece of text in a value.
pub(super) type Visitor<'a> = dyn FnMut(Text<'_>) + 'a;

/// A value in a recording.
pub(super) trait Wire: Sized {
    fn write(&self, out: &mut String);

    fn read(value: Value) -> Result<Self, Misfit>;

    fn visit(&mut self, _visitor: &mut Visitor<'_>) {}

    fn write_list(list: &[Self], out: &mut String) {
        out.push('[');
        for (index, item) in list.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            item.write(out);
        }
        out.push(']');
    }

    fn read_list(value: Value) -> Result<Vec<Self>, Misfit> {
        match value {
            Value::Array(items) => items.into_iter().map(Self::read).collect(),
            other => Err(Misfit::expected("a list", &other)),
        }
    }

    fn visit_list(list: &mut Vec<Self>, visitor: &mut Visitor<'_>) {
        for item in list {
            item.visit(visitor);
        }
    }
}

impl Misfit {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { at: Vec::new(), what: what.into() }
    }

    fn expected(wanted: &str, got: &Value) -> Self {
        let got = match got {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        Self::new(format!("it should be {wanted}, but is {got}"))
    }

    pub(super) fn within(mut self, field: &'static str) -> Self {
        self.at.push(field);
        self
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.at.is_empty() {
            let path: Vec<&str> = self.at.iter().rev().copied().collect();
            write!(f, "`{}`: ", path.join("."))?;
        }
        f.write_str(&self.what)
    }
}

/// Fields of an object, to be taken out one by one.
pub(super) struct Fields(serde_json::Map<String, Value>);

impl Fields {
    pub(super) fn of(value: Value) -> Result<Self, Misfit> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => Err(Misfit::expected("an object", &other)),
        }
    }

    pub(super) fn take<T: Wire>(&mut self, field: &'static str) -> Result<T, Misfit> {
        let value =
            self.0.remove(field).ok_or_else(|| Misfit::new("it is missing").within(field))?;
        T::read(value).map_err(|misfit| misfit.within(field))
    }

    pub(super) fn take_value(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field)
    }

    /// Nothing may be left: what is not understood may matter.
    pub(super) fn end(self) -> Result<(), Misfit> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(field) => Err(Misfit::new(format!("nobody knows its field `{}`", shown(field)))),
        }
    }
}

/// Foreign text in an error, short and without control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(40).map(|char| if char.is_control() { '.' } else { char }).collect()
}

macro_rules! records {
    ($($module:ident :: $type:ident { $first:ident $(, $field:ident)* })*) => {$(
        impl Wire for $module::$type {
            fn write(&self, out: &mut String) {
                out.push_str(concat!("{\"", stringify!($first), "\":"));
                self.$first.write(out);
                $(
                    out.push_str(concat!(",\"", stringify!($field), "\":"));
                    self.$field.write(out);
                )*
                out.push('}');
            }

            fn read(value: Value) -> Result<Self, Misfit> {
                let mut fields = Fields::of(value)?;
                let read = Self {
                    $first: fields.take(stringify!($first))?,
                    $($field: fields.take(stringify!($field))?,)*
                };
                fields.end()?;
                Ok(read)
            }

            fn visit(&mut self, visitor: &mut Visitor<'_>) {
                self.$first.visit(visitor);
                $(self.$field.visit(visitor);)*
            }
        }
    )*};
}

macro_rules! variants {
    ($($module:ident :: $type:ident {
        $($case:ident = $name:literal),* $(; $($unit:ident = $unit_name:literal),*)?
    })*) => {$(
        impl Wire for $module::$type {
            fn write(&self, out: &mut String) {
                match self {
                    $(Self::$case(inner) => {
                        out.push_str(concat!("{\"", $name, "\":"));
                        inner.write(out);
                        out.push('}');
                    })*
                    $($(Self::$unit => out.push_str(concat!("\"", $unit_name, "\"")),)*)?
                }
            }

            fn read(value: Value) -> Result<Self, Misfit> {
                let (name, value) = match value {
                    Value::String(name) => (name, Value::Null),
                    Value::Object(map) if map.len() == 1 => {
                        map.into_iter().next().unwrap_or_default()
                    }
                    other => return Err(Misfit::expected("one case of a variant", &other)),
                };
                match name.as_str() {
                    $($name => {
                        Ok(Self::$case(Wire::read(value).map_err(|misfit| misfit.within($name))?))
                    })*
                    $($($unit_name => Ok(Self::$unit),)*)?
                    _ => Err(Misfit::new(format!("nobody knows `{}`", shown(&name)))),
                }
            }

            fn visit(&mut self, visitor: &mut Visitor<'_>) {
                match self {
                    $(Self::$case(inner) => inner.visit(visitor),)*
                    $($(Self::$unit => {})*)?
                }
            }
        }
    )*};
}

records! {
    types::Now { monotonic_ns, wall_ns }
    types::Snapshot { format, version, data }
    types::Config { id, settings, links, facts }
    types::Error { code, message, retryable }

    types::LinkUp { link, epoch, peer, nonce, facts }
    types::Bytes { link, epoch, offset, data }
    types::Message { link, epoch, text, data }
    types::LinkClosed { link, epoch, reason }
    types::Gap { link, epoch, offset, bytes }
    types::Command { id, kind, arguments, deadline_ns }
    types::HttpResponse { id, status, headers, body, error }
    types::OtherInput { kind, facts, data }

    types::Consumed { link, offset }
    types::Send { link, epoch, text, parts }
    types::SecretHeader { name, before, secret }
    types::SecretPart { name, form, prefix, suffix }
    types::Event { at_pbx_ns, fact, facts }
    types::CommandOutcome { id, outcome, error, detail }
    types::ResyncBegin { id, scope }
    types::ResyncItem { id, fact, facts }
    types::HttpRequest { id, method, url, headers, secret_headers, body, timeout_ms, facts }
    types::Close { link, reason, retry }
    types::OtherAction { kind, facts, data }

    facts::Party { number, name, presentation }
    facts::Cause { q850, sip, text }
    facts::Pbx { product, version, system_name, started_at_ns, capabilities }
    facts::Leg { id, related, direction, device, extension, state, party, dialled }
    facts::LegState { leg, state }
    facts::LegParty { leg, party }
    facts::LegPeers { leg, peers }
    facts::LegEnded { leg, cause, ended_by }
    facts::LegOffered { leg, entry, dialled, returned_from, outcome, facts }
    facts::LegReleased { leg, reason }
    facts::LegKey { leg, key, held_ms }
    facts::Transfer { kind, transferer, transferee, target, outcome }
    facts::Queue { name, strategy, max_length, service_level_secs, wrap_up_secs, weight }
    facts::Member {
        queue, interface, state_interface, extension, name, membership, penalty, paused, pause_reason, state,
        in_call, calls_taken, last_call_ns
    }
    facts::MemberRef { queue, interface }
    facts::Caller { queue, leg, position, priority, waited_ms }
    facts::CallerLeft { queue, leg, exit, evidence }
    facts::Offer { queue, leg, interface, member_leg }
    facts::OfferEnded { queue, leg, interface, outcome, rang_ms }
    facts::Service { queue, leg, interface, member_leg, waited_ms, rang_ms }
    facts::ServiceEnded { queue, leg, interface, ended_by, talked_ms }
    facts::Extension { number, device, name, state }
    facts::Notice { code, severity, message, fix }
    facts::OtherFact { kind, leg, facts }
}

variants! {
    types::Input {
        LinkUp = "link-up", Bytes = "bytes", Message = "message", LinkClosed = "link-closed", Gap = "gap",
        Command = "command", HttpResponse = "http-response", SettingsChanged = "settings-changed",
        Other = "other"; Wake = "wake"
    }
    types::Action {
        Consumed = "consumed", Send = "send", Event = "event", CommandOutcome = "command-outcome",
        ResyncBegin = "resync-begin", ResyncItem = "resync-item", ResyncEnd = "resync-end",
        WakeAt = "wake-at", HttpRequest = "http-request", Close = "close", Other = "other"
    }
    types::Part { Literal = "literal", Secret = "secret" }
    facts::Fact {
        Pbx = "pbx", LegStarted = "leg-started", LegState = "leg-state", LegParty = "leg-party",
        LegPeers = "leg-peers", LegEnded = "leg-ended", LegOffered = "leg-offered",
        LegReleased = "leg-released", LegKey = "leg-key", Transfer = "transfer", Queue = "queue",
        QueueRemoved = "queue-removed", Member = "member", MemberRemoved = "member-removed",
        CallerJoined = "caller-joined", CallerLeft = "caller-left", OfferStarted = "offer-started",
        OfferEnded = "offer-ended", ServiceStarted = "service-started", ServiceEnded = "service-ended",
        Extension = "extension", ExtensionRemoved = "extension-removed", Notice = "notice", Other = "other"
    }
}

pub(super) use records;

macro_rules! numbers {
    ($($type:ident from $as:ident),*) => {$(
        impl Wire for $type {
            fn write(&self, out: &mut String) {
                out.push_str(&self.to_string());
            }

            fn read(value: Value) -> Result<Self, Misfit> {
                let number = value.$as().and_then(|number| Self::try_from(number).ok());
                number.ok_or_else(|| {
                    let kind = concat!("a whole number (", stringify!($type), ")");
                    Misfit::expected(kind, &value)
                })
            }
        }
    )*};
}

numbers! { u16 from as_u64, u32 from as_u64, u64 from as_u64, i32 from as_i64 }

impl Wire for bool {
    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }

    fn read(value: Value) -> Result<Self, Misfit> {
        value.as_bool().ok_or_else(|| Misfit::expected("true or false", &value))
    }
}

impl Wire for String {
    fn write(&self, out: &mut String) {
        write_text(self, out);
    }

    fn read(value: Value) -> Result<Self, Misfit> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(Misfit::expected("text", &other)),
        }
    }

    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor(Text::Str(self));
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push_str("null"),
        }
    }

    fn read(value: Value) -> Result<Self, Misfit> {
        if value.is_null() { Ok(None) } else { T::read(value).map(Some) }
    }

    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        if let Some(value) = self {
            value.visit(visitor);
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self, out: &mut String) {
        T::write_list(self, out);
    }

    fn read(value: Value) -> Result<Self, Misfit> {
        T::read_list(value)
    }

    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        T::visit_list(self, visitor);
    }
}

/// A name and its value.
impl Wire for (String, String) {
    fn write(&self, out: &mut String) {
        out.push('[');
        self.0.write(out);
        out.push(',');
        self.1.write(out);
        out.push(']');
    }

    fn read(value: Value) -> Result<Self, Misfit> {
        let pair = <[String; 2]>::try_from(Vec::<String>::read(value)?);
        pair.map(|[name, value]| (name, value))
            .map_err(|list| Misfit::new(format!("a pair has two texts, not {}", list.len())))
    }

    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        self.0.visit(visitor);
        self.1.visit(visitor);
    }
}

/// Bytes are text where they can be read, else `{"base64": ..}`.
impl Wire for u8 {
    fn write(&self, out: &mut String) {
        out.push_str(&self.to_string());
    }

    fn read(value: Value) -> Result<Self, Misfit> {
        let number = value.as_u64().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| Misfit::expected("a byte", &value))
    }

    fn write_list(list: &[Self], out: &mut String) {
        match std::str::from_utf8(list) {
            Ok(text) if !text.chars().any(is_unreadable) => write_text(text, out),
            _ => {
                out.push_str("{\"base64\":\"");
                out.push_str(&base64(list));
                out.push_str("\"}");
            }
        }
    }

    fn read_list(value: Value) -> Result<Vec<Self>, Misfit> {
        if let Value::String(text) = value {
            return Ok(text.into_bytes());
        }
        let mut fields = Fields::of(value)?;
        let text: String = fields.take("base64")?;
        fields.end()?;
        from_base64(&text).ok_or_else(|| Misfit::new("it is not base64").within("base64"))
    }

    fn visit_list(list: &mut Vec<Self>, visitor: &mut Visitor<'_>) {
        visitor(Text::Bytes(list));
    }
}

fn is_unreadable(char: char) -> bool {
    char.is_control() && !matches!(char, '\r' | '\n' | '\t')
}

/// JSON text, with no more escapes than JSON asks for.
pub(super) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        // Every byte above is a whole character.
        out.push_str(&text[from..at]);
        from = at + 1;
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

fn base64(bytes: &[u8]) -> String {
    // Its letters are ASCII.
    String::from_utf8(crate::secret::base64(bytes)).unwrap_or_default()
}

/// RFC 4648 §4, padded, and nothing else.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let padding = bytes.iter().rev().take_while(|&&byte| byte == b'=').count();
    let letters = bytes.get(..bytes.len().checked_sub(padding)?)?;
    if padding > 2 {
        return None;
    }
    let mut decoded = Vec::with_capacity(letters.len() / 4 * 3 + 2);
    for chunk in letters.chunks(4) {
        let mut word = 0_u32;
        for place in 0..4 {
            let value = match chunk.get(place) {
                None => 0,
                Some(&byte @ b'A'..=b'Z') => byte - b'A',
                Some(&byte @ b'a'..=b'z') => byte - b'a' + 26,
                Some(&byte @ b'0'..=b'9') => byte - b'0' + 52,
                Some(b'+') => 62,
                Some(b'/') => 63,
                Some(_) => return None,
            };
            word = word << 6 | u32::from(value);
        }
        decoded.extend_from_slice(word.to_be_bytes().get(1..chunk.len())?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: Wire>(value: &T) -> String {
        let mut out = String::new();
        value.write(&mut out);
        out
    }

    fn comes_back<T: Wire + PartialEq + std::fmt::Debug>(value: T) {
        let text = text(&value);
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(T::read(json).unwrap(), value, "{text}");
    }

    #[test]
    fn bytes_are_text_where_they_can_be_read() {
        for (bytes, written) in [
            (&b"Event: \"x\"\\\r\n\t"[..], r#""Event: \"x\"\\\r\n\t""#),
            ("Zo\u{eb}".as_bytes(), "\"Zo\u{eb}\""),
            (b"", "\"\""),
            (b"\x00f", r#"{"base64":"AGY="}"#),
            (b"\xc3", r#"{"base64":"ww=="}"#),
        ] {
            assert_eq!(text(&bytes.to_vec()), written);
            comes_back(bytes.to_vec());
        }
    }

    #[test]
    fn any_bytes_come_back() {
        for length in 0..600_usize {
            comes_back((0..length).map(|i| (i * 7 % 256) as u8).collect::<Vec<u8>>());
            comes_back((0..length).map(|i| b' ' + (i * 7 % 90) as u8).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn an_input_is_one_line_in_the_words_of_the_wit() {
        let bytes = types::Bytes { link: "ami".into(), epoch: 1, offset: 2, data: b"a\n".to_vec() };
        assert_eq!(
            text(&types::Input::Bytes(bytes.clone())),
            r#"{"bytes":{"link":"ami","epoch":1,"offset":2,"data":"a\n"}}"#
        );
        assert_eq!(text(&types::Input::Wake), r#""wake""#);
        comes_back(types::Input::Bytes(bytes));
        comes_back(types::Input::Wake);
        comes_back(types::Action::Event(types::Event {
            at_pbx_ns: Some(u64::MAX),
            fact: facts::Fact::CallerJoined(facts::Caller {
                queue: "q\u{0}\u{7f}".into(),
                leg: "1".into(),
                position: u32::MAX,
                priority: i32::MIN,
                waited_ms: 0,
            }),
            facts: vec![("hop".into(), "1".into())],
        }));
        comes_back(types::Action::HttpRequest(types::HttpRequest {
            id: 1,
            method: "GET".into(),
            url: "https://crm.example.org".into(),
            headers: vec![("a".into(), "b".into())],
            secret_headers: vec![types::SecretHeader {
                name: "authorization".into(),
                before: "Bearer ".into(),
                secret: types::SecretPart {
                    name: "api".into(),
                    form: "plain".into(),
                    prefix: Vec::new(),
                    suffix: Vec::new(),
                },
            }],
            body: vec![types::Part::Literal(vec![0, 255])],
            timeout_ms: 5,
            facts: Vec::new(),
        }));
    }

    #[test]
    fn what_does_not_fit_says_where() {
        let problem = |json: &str| {
            types::Input::read(serde_json::from_str(json).unwrap()).unwrap_err().to_string()
        };
        assert_eq!(problem(r#""sleep""#), "nobody knows `sleep`");
        assert_eq!(problem("[]"), "it should be one case of a variant, but is a list");
        assert_eq!(
            problem(r#"{"gap":{"link":"ami","epoch":-1,"offset":0,"bytes":0}}"#),
            "`gap.epoch`: it should be a whole number (u64), but is a number"
        );
        assert_eq!(
            problem(r#"{"gap":{"link":"ami","epoch":1,"offset":0}}"#),
            "`gap.bytes`: it is missing"
        );
        assert_eq!(
            problem(r#"{"gap":{"link":"ami","epoch":1,"offset":0,"bytes":1,"x":1}}"#),
            "`gap`: nobody knows its field `x`"
        );
        for base64 in ["A", "====", "AA=A", "A===", "AAA\u{e4}", "AA A"] {
            let json = format!(r#"{{"message":{{"data":{{"base64":"{base64}"}}}}}}"#);
            assert!(problem(&json).starts_with("`message."), "{base64}");
            assert_eq!(from_base64(base64), None, "{base64}");
        }
    }
}
