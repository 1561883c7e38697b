//! What a hook asks the host for.

use std::time::Duration;

use super::{HttpRequest, Lookup, Question, SecretHeader, SecretPart};

impl Lookup {
    /// A GET request to a host that the manifest names and the admin allows.
    pub fn get(id: impl Into<String>, url: impl Into<String>) -> Self {
        Self::request(id, "GET", url, Vec::new())
    }

    /// A POST request.
    pub fn post(id: impl Into<String>, url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::request(id, "POST", url, body.into())
    }

    /// Any request: `GET`, `HEAD`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub fn request(
        id: impl Into<String>,
        method: &str,
        url: impl Into<String>,
        body: Vec<u8>,
    ) -> Self {
        let request = HttpRequest {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            body,
            timeout_ms: 0,
        };
        Self { id: id.into(), question: Question::Http(request), facts: Vec::new() }
    }

    /// The value of a key in the instance's own store: status 200, or 404.
    pub fn stored(id: impl Into<String>, key: impl Into<String>) -> Self {
        Self { id: id.into(), question: Question::Stored(key.into()), facts: Vec::new() }
    }

    /// Adds a header to a request.
    pub fn with_header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.change(|request| request.headers.push((name.into(), value.into())))
    }

    /// Adds `authorization: Bearer ...` with the secret of that name, which the host puts in.
    pub fn with_bearer(self, secret: &str) -> Self {
        self.with_secret("authorization", "Bearer ", SecretPart::plain(secret))
    }

    /// Adds `authorization: Basic ...` for this user, with the secret of that name as the password.
    pub fn with_basic(self, user: &str, secret: &str) -> Self {
        self.with_secret("authorization", "Basic ", SecretPart::basic(user, secret))
    }

    /// Adds a header whose value is `before`, then the secret in its form.
    pub fn with_secret(
        self,
        name: impl Into<String>,
        before: impl Into<String>,
        secret: SecretPart,
    ) -> Self {
        let header = SecretHeader { name: name.into(), before: before.into(), secret };
        self.change(|request| request.secret_headers.push(header))
    }

    /// For all of it, at most; otherwise the host's usual time.
    pub fn within(self, time: Duration) -> Self {
        let timeout_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self.change(|request| request.timeout_ms = timeout_ms)
    }

    fn change(mut self, change: impl FnOnce(&mut HttpRequest)) -> Self {
        if let Question::Http(request) = &mut self.question {
            change(request);
        }
        self
    }
}

impl SecretPart {
    /// The secret itself.
    pub fn plain(name: &str) -> Self {
        Self::new(name, "plain", "")
    }

    /// Base64 of `user:secret`.
    pub fn basic(user: &str, name: &str) -> Self {
        Self::new(name, "basic", format!("{user}:"))
    }

    /// Lower-case hex of HMAC-SHA256 over `message`, keyed by the secret.
    pub fn hmac_sha256_hex(name: &str, message: impl Into<Vec<u8>>) -> Self {
        Self::new(name, "hmac-sha256-hex", message)
    }

    fn new(name: &str, form: &str, prefix: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), form: form.into(), prefix: prefix.into(), suffix: Vec::new() }
    }
}
