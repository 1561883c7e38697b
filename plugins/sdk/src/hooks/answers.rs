//! What came of lookups.

use std::ops::Deref;

use super::{Answer, Failure};

/// The answers to what a hook asked for, found by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(pub(super) Vec<Answer>);

impl Answers {
    /// No answers: how every decision begins.
    pub fn none() -> Self {
        Self::default()
    }

    /// The answer to the lookup of that id; none before it was asked for.
    pub fn get(&self, id: &str) -> Option<&Answer> {
        self.0.iter().find(|answer| answer.id == id)
    }
}

impl Deref for Answers {
    type Target = [Answer];

    fn deref(&self) -> &[Answer] {
        &self.0
    }
}

impl<const N: usize> From<[Answer; N]> for Answers {
    fn from(answers: [Answer; N]) -> Self {
        Self(answers.into())
    }
}

impl Failure {
    /// As a test would give it: one that may be gone the next time.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retryable: true }
    }
}

impl Answer {
    /// One with a body, as a test would give it. For a stored value the status is 200.
    pub fn new(id: impl Into<String>, status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { id: id.into(), status, headers: Vec::new(), body: body.into(), error: None }
    }

    /// There is none, and why, as a test would give it: a code, e.g. `timed-out`, and a sentence.
    pub fn failed(id: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self { error: Some(Failure::new(code, message)), ..Self::new(id, 0, "") }
    }

    /// Did it work: a status of 200 to 299?
    pub fn is_ok(&self) -> bool {
        self.error.is_none() && (200..300).contains(&self.status)
    }

    /// The body as text, if it worked and is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok().filter(|_| self.is_ok())
    }

    /// The first header of that name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        super::call::find(&self.headers, name)
    }
}
