//! One request: how an event is posted, and what the answer means.

use jackfield_bundled::json;
use jackfield_sdk::hooks::{Answer, Lookup, Now, SecretPart};

use crate::{lanes::Item, settings::Settings};

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx.
    Delivered,
    /// No answer, 5xx, 408, 425 or 429: the receiver's trouble. Again later, perhaps not before the time it asks for.
    Later {
        /// In a few words.
        why: String,
        /// Its `retry-after`.
        after_secs: u64,
    },
    /// Any other answer: it does not want this event.
    Refused {
        /// In a few words.
        why: String,
    },
}

/// The post of an event; `tries` is how often it was tried before.
pub fn request(settings: &Settings, now: Now, item: &Item, tries: u32) -> Lookup {
    let Item { seq, kind, body, .. } = item;
    let mut lookup = Lookup::post(format!("e{seq}"), &settings.url, body.as_bytes())
        .within(settings.timeout)
        .with_header("content-type", "application/json")
        .with_header("x-jackfield-event", seq.to_string())
        .with_header("x-jackfield-type", json::one_line(kind, 100))
        .with_header("x-jackfield-try", (tries + 1).to_string());
    for (name, value) in &settings.headers {
        lookup = lookup.with_header(name, value);
    }
    if settings.has_bearer {
        lookup = lookup.with_bearer("token");
    }
    if settings.is_signed {
        // When it was sent, not when it happened: a receiver refuses what is old, against replays.
        let stamp = (now.wall_ns / 1_000_000_000).to_string();
        let signed = [stamp.as_bytes(), b".", body.as_bytes()].concat();
        lookup = lookup.with_header(&settings.timestamp_header, stamp).with_secret(
            &settings.signature_header,
            "v1=",
            SecretPart::hmac_sha256_hex("webhook", signed),
        );
    }
    lookup
}

/// The event of a lookup.
pub fn seq_of(id: &str) -> Option<u64> {
    id.strip_prefix('e')?.parse().ok()
}

/// What an answer means.
pub fn outcome(answer: &Answer) -> Outcome {
    if let Some(error) = &answer.error {
        let why = format!("no answer: {}", json::one_line(&error.message, 200));
        return Outcome::Later { why, after_secs: 0 };
    }
    match answer.status {
        200..=299 => Outcome::Delivered,
        0 | 408 | 425 | 429 | 500.. => Outcome::Later {
            why: format!("status {}", answer.status),
            after_secs: answer
                .header("retry-after")
                .and_then(|secs| secs.parse().ok())
                .unwrap_or(0),
        },
        status => Outcome::Refused { why: format!("status {status}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_means_one_of_three_things() {
        let word = |status| match outcome(&Answer::new("e1", status, "")) {
            Outcome::Delivered => "delivered",
            Outcome::Later { .. } => "later",
            Outcome::Refused { .. } => "refused",
        };
        for (status, expected) in [
            (200, "delivered"),
            (204, "delivered"),
            (299, "delivered"),
            (500, "later"),
            (503, "later"),
            (599, "later"),
            (408, "later"),
            (429, "later"),
            (0, "later"),
            (301, "refused"),
            (400, "refused"),
            (401, "refused"),
            (410, "refused"),
            (422, "refused"),
            (100, "refused"),
            (u16::MAX, "later"),
        ] {
            assert_eq!(word(status), expected, "{status}");
        }
        let failed = outcome(&Answer::failed("e1", "no-connection", "connection\r\nrefused"));
        assert_eq!(
            failed,
            Outcome::Later { why: "no answer: connectionrefused".into(), after_secs: 0 }
        );
        let mut busy = Answer::new("e1", 503, "");
        busy.headers.push(("retry-after".into(), "17".into()));
        assert_eq!(outcome(&busy), Outcome::Later { why: "status 503".into(), after_secs: 17 });
        busy.headers[0].1 = "Fri, 31 Dec 1999 23:59:59 GMT".into();
        assert_eq!(outcome(&busy), Outcome::Later { why: "status 503".into(), after_secs: 0 });
    }
}
