//! What the admin sets: where to, what, how it is signed, and how long it is tried.

use std::time::Duration;

use jackfield_bundled::{Reader, service::check_url, settings};
use jackfield_sdk::Problem;

/// Everything set.
#[derive(Debug)]
pub struct Settings {
    /// Where to.
    pub url: String,
    /// Types of events, with `*` at the end for all that begin so. Empty: all.
    pub events: Vec<String>,
    /// Is there a signature?
    pub is_signed: bool,
    /// Is there `authorization: Bearer` with the secret `token`?
    pub has_bearer: bool,
    /// In lower case.
    pub signature_header: String,
    /// In lower case.
    pub timestamp_header: String,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// For one request.
    pub timeout: Duration,
    /// Requests at once.
    pub in_flight: usize,
    /// The pauses.
    pub retry: Retry,
    /// An event that the receiver refused so often is a dead letter.
    pub refused_tries: u32,
    /// An event that was tried so often is one,
    pub give_up_tries: u32,
    /// or one that is so old.
    pub give_up_ns: u64,
    /// Most dead letters.
    pub dead_letters: usize,
}

/// Pauses between tries: the first, then each twice as long, up to the longest.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// After the first failure.
    pub first_secs: u64,
    /// Never longer.
    pub most_secs: u64,
}

impl Retry {
    /// After so many failures.
    pub fn pause_secs(&self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(32);
        (self.first_secs << doublings).min(self.most_secs)
    }
}

/// Headers the plugin writes itself.
const OWN: [&str; 5] =
    ["content-type", "x-jackfield-event", "x-jackfield-type", "x-jackfield-try", "authorization"];

impl Settings {
    /// Reads them; or everything that is wrong.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        settings(text, Self::of)
    }

    /// Is an event of this type sent?
    pub fn wants(&self, kind: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => kind == pattern,
        };
        self.events.is_empty() || self.events.iter().any(fits)
    }

    fn of(it: &Reader<'_>) -> Self {
        it.only(&[
            "url",
            "events",
            "sign",
            "bearer",
            "signature_header",
            "timestamp_header",
            "headers",
            "timeout_ms",
            "in_flight",
            "retry",
            "give_up",
            "dead_letters",
        ]);
        let url = it.text_of("url").unwrap_or_default();
        match it.get("url") {
            None => it.complain_of(
                "url",
                "is missing; write e.g. \"https://hooks.example.org/jackfield\"",
            ),
            Some(at) => {
                if let Err(problem) = check_url(&url) {
                    at.complain(problem);
                }
            }
        }
        let retry = it.get("retry");
        let give_up = it.get("give_up");
        if let Some(it) = &retry {
            it.only(&["first_secs", "most_secs"]);
        }
        if let Some(it) = &give_up {
            it.only(&["tries", "hours", "refused_tries"]);
        }
        let retry = Retry {
            first_secs: retry
                .as_ref()
                .and_then(|it| it.number_of("first_secs", 1..=3600))
                .unwrap_or(1),
            most_secs: retry
                .as_ref()
                .and_then(|it| it.number_of("most_secs", 1..=3600))
                .unwrap_or(300),
        };
        if retry.first_secs > retry.most_secs {
            it.complain_of("retry.most_secs", "is shorter than `first_secs`");
        }
        let number = |name: &str| give_up.as_ref().and_then(|it| it.number_of(name, 1..=100_000));
        let hours =
            give_up.as_ref().and_then(|it| it.number_of("hours", 1_u64..=24 * 14)).unwrap_or(24);
        let signature_header = header(it, "signature_header", "x-jackfield-signature");
        let timestamp_header = header(it, "timestamp_header", "x-jackfield-timestamp");
        if signature_header == timestamp_header {
            it.complain_of("timestamp_header", "is the same header as `signature_header`");
        }
        Self {
            events: events(it),
            is_signed: it.flag_of("sign").unwrap_or(true),
            has_bearer: it.flag_of("bearer").unwrap_or(false),
            headers: headers(it, &signature_header, &timestamp_header),
            signature_header,
            timestamp_header,
            timeout: Duration::from_millis(
                it.number_of("timeout_ms", 100_u64..=60_000).unwrap_or(10_000),
            ),
            in_flight: it.number_of("in_flight", 1_usize..=32).unwrap_or(8),
            retry,
            refused_tries: number("refused_tries").unwrap_or(3),
            give_up_tries: number("tries").unwrap_or(1000),
            give_up_ns: hours * 3_600_000_000_000,
            dead_letters: it.number_of("dead_letters", 1_usize..=1000).unwrap_or(500),
            url,
        }
    }
}

fn events(it: &Reader<'_>) -> Vec<String> {
    let events = it.texts_of("events", 100);
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    for event in &events {
        let word = event.strip_suffix('*').unwrap_or(event);
        if (event.is_empty() || !word.chars().all(fine)) && event != "*" {
            it.complain_of(
                "events",
                format!("{event:?} is no type of event; write e.g. \"call.ended\" or \"call.*\""),
            );
        }
    }
    events
}

fn header(it: &Reader<'_>, setting: &str, usual: &str) -> String {
    let Some(name) = it.text_of(setting) else { return usual.to_owned() };
    let name = name.to_ascii_lowercase();
    if !is_header(&name) || OWN.contains(&name.as_str()) {
        it.complain_of(
            setting,
            format!("{name:?} cannot be the name of this header; write e.g. \"{usual}\""),
        );
    }
    name
}

fn headers(it: &Reader<'_>, signature: &str, timestamp: &str) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, it) in it.table("headers", 20) {
        let name = name.to_ascii_lowercase();
        if !is_header(&name) {
            it.complain("is no name of a header");
        }
        if name == "authorization" {
            it.complain("is a secret: set `bearer = true` and put the token into `secrets.token`");
        } else if OWN.contains(&name.as_str()) || name == signature || name == timestamp {
            it.complain("is written by the plugin itself");
        }
        headers.extend(it.text().map(|value| (name, value)));
    }
    headers
}

fn is_header(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let of_the_connection =
        ["host", "content-length", "connection", "transfer-encoding", "te", "upgrade"];
    (1..=60).contains(&name.len()) && name.bytes().all(fine) && !of_the_connection.contains(&name)
}
