//! Asking a web service (a CRM) about a caller: where, with which secret, and which fields of its answer matter.

use std::time::Duration;

use jackfield_sdk::hooks::{Answer, Call, Lookup, SecretPart};
use serde_json::Value;

use crate::{json, reader::Reader};

/// Most fields read from an answer.
pub const MOST_FIELDS: usize = 16;

/// A field's value is cut to so many characters.
pub const LONGEST_FIELD: usize = 120;

/// Of what a caller sends, so many bytes get into a URL.
const LONGEST_PART: usize = 64;

/// Names of settings, for those who read the table together with others.
pub const SETTINGS: [&str; 5] = ["url", "auth", "secret", "timeout_ms", "fields"];

/// What an admin may put into the URL.
const PARTS: [&str; 5] = ["e164", "number", "dialled", "entry", "call"];

/// A service that knows callers.
#[derive(Clone, Debug)]
pub struct Service {
    url: Vec<Piece>,
    auth: Auth,
    /// Its name among the instance's secrets.
    secret: String,
    timeout: Duration,
    /// Name, and JSON pointer.
    fields: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Part(String),
}

#[derive(Clone, Debug)]
enum Auth {
    None,
    Bearer,
    Basic { user: String },
    Header { name: String },
}

/// What the service says of a caller: names and values of fields.
pub type Fields = Vec<(String, String)>;

impl Service {
    /// Reads a service; `secret` is the name its secret has in this plugin's manifest.
    pub fn read(it: &Reader<'_>, secret: &str, known: &[&str]) -> Option<Self> {
        let known: Vec<&str> = SETTINGS.iter().chain(known).copied().collect();
        it.only(&known);
        let url = match it.get("url") {
            Some(url) => read_url(&url),
            None => {
                it.complain_of(
                    "url",
                    "is missing; write e.g. \"https://crm.example.org/callers/{e164}\"",
                );
                None
            }
        };
        let auth = read_auth(it);
        let timeout_ms = it.number_of("timeout_ms", 50_u64..=10_000).unwrap_or(800);
        let fields = it.table("fields", MOST_FIELDS);
        if fields.is_empty() {
            it.complain_of(
                "fields",
                "names no field; write e.g. { tier = \"/customer/tier\" }: a name and where the value is in the answer",
            );
        }
        let mut read = Vec::new();
        for (name, it) in fields {
            if !is_field(&name) {
                it.complain("has a name that is no word of small letters, digits, `-` and `_`");
            }
            match it.text() {
                Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
                    read.push((name, pointer));
                }
                Some(pointer) => it.complain(format!(
                    "{pointer:?} is no JSON pointer; write e.g. \"/customer/tier\""
                )),
                None => {}
            }
        }
        Some(Self {
            url: url?,
            auth: auth?,
            secret: secret.to_owned(),
            timeout: Duration::from_millis(timeout_ms),
            fields: read,
        })
    }

    /// The names of its fields.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// Does the URL need the caller's number in E.164?
    pub fn needs_e164(&self) -> bool {
        self.url.iter().any(|piece| matches!(piece, Piece::Part(part) if part == "e164"))
    }

    /// The question about this caller.
    pub fn ask(&self, id: &str, call: &Call) -> Lookup {
        let lookup = Lookup::get(id, self.url_for(call))
            .with_header("accept", "application/json")
            .within(self.timeout);
        match &self.auth {
            Auth::None => lookup,
            Auth::Bearer => lookup.with_bearer(&self.secret),
            Auth::Basic { user } => lookup.with_basic(user, &self.secret),
            Auth::Header { name } => lookup.with_secret(name, "", SecretPart::plain(&self.secret)),
        }
    }

    /// The fields of its answer: empty when it does not know the caller. The error says in a few words what went
    /// wrong; nothing of what the service wrote is in it.
    pub fn read_answer(&self, answer: &Answer) -> Result<Fields, String> {
        if let Some(error) = &answer.error {
            return Err(format!("no answer: {}", json::one_line(&error.message, 120)));
        }
        match answer.status {
            200..=299 => {}
            404 | 410 => return Ok(Fields::new()),
            status => return Err(format!("status {status}")),
        }
        if answer.status == 204 && answer.body.is_empty() {
            return Ok(Fields::new());
        }
        let value = json::read(&answer.body).map_err(|what| format!("its answer is {what}"))?;
        Ok(self
            .fields
            .iter()
            .filter_map(|(name, pointer)| Some((name.clone(), field(&value, pointer)?)))
            .collect())
    }

    fn url_for(&self, call: &Call) -> String {
        let part = |name: &str| match name {
            "e164" => &call.caller_e164,
            "number" => &call.caller.number,
            "dialled" => &call.dialled,
            "entry" => &call.entry,
            _ => &call.id,
        };
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Part(name) => percent_encoded(part(name)),
        };
        self.url.iter().map(piece).collect()
    }
}

/// A word that can be the name of a field or fact.
pub fn is_field(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    !name.is_empty() && name.len() <= 40 && name.chars().all(fine)
}

/// Lists become their plain entries with commas: one place for "which tags has this caller".
fn field(value: &Value, pointer: &str) -> Option<String> {
    let found = value.pointer(pointer)?;
    let text = match found {
        Value::Array(items) => {
            items.iter().take(16).filter_map(json::plain).collect::<Vec<_>>().join(",")
        }
        _ => json::plain(found)?,
    };
    Some(json::one_line(&text, LONGEST_FIELD))
}

/// RFC 3986 §2.3: only unreserved characters stay, so that no part can end where it stands.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes().take(LONGEST_PART) {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Checks an address that an admin wrote; the error is for them.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or("must begin with https:// (or, inside your own network, http://)")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err("names no host");
    }
    if authority.contains('@') {
        return Err("must hold no user and password; a secret goes into `secrets`");
    }
    if authority.contains(['{', '}']) {
        return Err("must name its host; only path and query may hold parts in braces");
    }
    if !url.chars().all(|c| c.is_ascii_graphic()) {
        return Err("holds spaces or letters that no URL may have; percent-encode them");
    }
    if url.contains('#') {
        return Err("must end before the `#`: what follows is never sent");
    }
    Ok(())
}

fn read_url(it: &Reader<'_>) -> Option<Vec<Piece>> {
    let text = it.text()?;
    if let Err(problem) = check_url(&text) {
        it.complain(problem);
        return None;
    }
    let mut pieces = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else {
            it.complain("has a `{` without its `}`");
            return None;
        };
        if !PARTS.contains(&name) {
            it.complain(format!(
                "has an unknown part {{{name}}}; known are: {}",
                PARTS.map(|part| format!("{{{part}}}")).join(", ")
            ));
            return None;
        }
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Part(name.to_owned()));
        rest = behind;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Some(pieces)
}

fn read_auth(it: &Reader<'_>) -> Option<Auth> {
    // The secret's own name is fixed by the manifest; an admin who writes one here means something else.
    if let Some(secret) = it.get("secret") {
        secret.complain("is not written here; put it into the instance's `secrets`");
    }
    let Some(at) = it.get("auth") else { return Some(Auth::None) };
    let text = at.text()?;
    let token = |name: &str| {
        !name.is_empty()
            && name.len() <= 60
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    match text.split_once(':').map_or((text.as_str(), ""), |(kind, name)| (kind, name)) {
        ("none", "") => Some(Auth::None),
        ("bearer", "") => Some(Auth::Bearer),
        ("basic", user) if !user.is_empty() && !user.contains(':') => {
            Some(Auth::Basic { user: user.to_owned() })
        }
        ("header", name) if token(name) => Some(Auth::Header { name: name.to_ascii_lowercase() }),
        _ => {
            at.complain(format!(
                "{text:?} is not possible; write \"none\", \"bearer\", \"basic:USER\" or \"header:NAME\""
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;
    use jackfield_sdk::hooks::{Party, Question};

    fn service(settings_: serde_json::Value) -> Result<Service, Vec<String>> {
        settings(&settings_.to_string(), |it| Service::read(it, "crm", &[]))
            .map(Option::unwrap)
            .map_err(|problems| {
                problems.into_iter().map(|it| format!("{}: {}", it.path, it.message)).collect()
            })
    }

    fn usual() -> Service {
        service(serde_json::json!({
            "url": "https://crm.example.org/c/{e164}?by={number}", "auth": "bearer",
            "fields": { "tier": "/customer/tier", "tags": "/tags", "vip": "/vip" }
        }))
        .unwrap()
    }

    #[test]
    fn a_hostile_number_stays_in_its_place() {
        let call = Call {
            caller_e164: "+4930123456".into(),
            caller: Party {
                number: "1/../x?y=1&z#\r\nHost: evil\u{e9}".into(),
                ..Party::default()
            },
            ..Call::default()
        };
        let Question::Http(request) = usual().ask("crm", &call).question else { panic!() };
        assert_eq!(
            request.url,
            "https://crm.example.org/c/%2B4930123456?by=1%2F..%2Fx%3Fy%3D1%26z%23%0D%0AHost%3A%20evil%C3%A9"
        );
        let [secret] = request.secret_headers.as_slice() else { panic!() };
        assert_eq!((secret.before.as_str(), secret.secret.name.as_str()), ("Bearer ", "crm"));
        assert_eq!(request.timeout_ms, 800);
        let call =
            Call { caller: Party { number: "9".repeat(100_000), ..Party::default() }, ..call };
        let Question::Http(request) = usual().ask("crm", &call).question else { panic!() };
        assert!(request.url.len() < 200);
    }

    #[test]
    fn fields_are_where_the_pointers_say() {
        let body = r#"{"customer":{"tier":"gold"},"tags":["a",1,null,{}],"vip":true,"other":1}"#;
        let fields = usual().read_answer(&Answer::new("crm", 200, body)).unwrap();
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        // In the order of the settings, which JSON keeps by name.
        assert_eq!(fields, [("tags", "a,1"), ("tier", "gold"), ("vip", "true")]);
        assert_eq!(usual().read_answer(&Answer::new("crm", 404, "<html>")), Ok(vec![]));
        assert_eq!(usual().read_answer(&Answer::new("crm", 200, "{}")), Ok(vec![]));
    }

    #[test]
    fn an_answer_that_is_garbage_is_a_failure_in_a_few_words() {
        let said = |answer| usual().read_answer(&answer).unwrap_err();
        assert_eq!(said(Answer::new("crm", 200, "<html>")), "its answer is no JSON");
        assert_eq!(
            said(Answer::new("crm", 200, vec![b'['; 1 << 20])),
            "its answer is 1048576 bytes, more than 64 KiB"
        );
        assert_eq!(
            said(Answer::new("crm", 200, vec![b'['; 60_000])),
            "its answer is nested deeper than 32"
        );
        assert_eq!(said(Answer::new("crm", 500, "{}")), "status 500");
        assert_eq!(said(Answer::failed("crm", "timed-out", "timed\r\nout")), "no answer: timedout");
        let long = format!(r#"{{"vip":"{}"}}"#, "x\\n".repeat(10_000));
        let fields = usual().read_answer(&Answer::new("crm", 200, long)).unwrap();
        assert_eq!(fields[0].1, "x".repeat(LONGEST_FIELD));
    }

    #[test]
    fn absurd_settings_are_refused_with_their_path() {
        let with = |url: &str| {
            service(serde_json::json!({ "url": url, "fields": { "a": "/a" } }))
                .unwrap_err()
                .join("; ")
        };
        for (url, part) in [
            ("ftp://a/", "url: must begin with https"),
            ("https:///x", "url: names no host"),
            ("https://u:p@a/", "url: must hold no user"),
            ("https://{e164}.example.org/", "url: must name its host"),
            ("https://a/{phone}", "url: has an unknown part {phone}; known are: {e164}, "),
            ("https://a/{e164", "url: has a `{` without"),
            ("https://a/x y", "url: holds spaces"),
            ("https://a/#x", "url: must end before"),
        ] {
            assert!(with(url).contains(part), "{url}: {}", with(url));
        }
        let all = service(serde_json::json!({
            "auth": "digest", "secret": "s3cret", "timeout_ms": 1, "fields": { "A b": "x", "c": 1 }, "ulr": ""
        }));
        assert_eq!(all.unwrap_err().len(), 8);
    }
}
