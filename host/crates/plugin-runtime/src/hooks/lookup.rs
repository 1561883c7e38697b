//! What a hook asks the host for, the answers, and what it wants kept.

use std::time::Duration;

use super::{Attributes, HookError};
use crate::Part;

/// A question to the host. The hook is called again with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Chosen by the hook, unique among the lookups it came with; the answer carries it.
    pub id: String,
    /// What it wants to know.
    pub question: Question,
    /// Growing wishes; this host knows none.
    pub facts: Attributes,
}

/// What a hook wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What a web service says. Whether the hook may ask it is decided where it is sent.
    Http(HttpRequest),
    /// The value of a key in the hook's own store.
    Stored(String),
}

/// A request to a web service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// `https://...` or `http://...`, without user and password. Not to be shown: it may hold a token.
    pub url: String,
    /// Names are HTTP tokens; values are one line.
    pub headers: Attributes,
    /// Headers that hold a secret.
    pub secret_headers: Vec<SecretHeader>,
    /// At most 1 MiB.
    pub body: Vec<u8>,
    /// For all of it; none: the host's usual time.
    pub timeout: Option<Duration>,
}

/// A header whose value holds a secret that the hook never sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretHeader {
    /// E.g. `authorization`.
    pub name: String,
    /// Goes before it, e.g. `Bearer `.
    pub before: String,
    /// Always a [`Part::Secret`]; [`Part::fill`] gives its bytes.
    pub secret: Part,
}

/// What came of a lookup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The lookup's.
    pub id: String,
    /// HTTP status; for a stored value 200 or 404. 0 when there is no answer: `error` says why.
    pub status: u16,
    /// Names in lower case.
    pub headers: Attributes,
    /// The body, or the stored value.
    pub body: Vec<u8>,
    /// None when it worked.
    pub error: Option<HookError>,
}

impl Answer {
    /// There is none, and why.
    pub fn failed(id: impl Into<String>, error: HookError) -> Self {
        Self { id: id.into(), error: Some(error), ..Self::default() }
    }
}

/// A value to keep in the hook's own store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// 1 to 256 bytes.
    pub key: String,
    /// At most 64 KiB; none removes the key.
    pub value: Option<Vec<u8>>,
    /// Growing wishes; this host knows none.
    pub facts: Attributes,
}
