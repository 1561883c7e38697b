//! Secrets in requests: put in by the host, and taken out of what comes back.

use plugin_runtime::{
    Manifest, Part, Secrets,
    hooks::{HookError, SecretHeader},
};

use super::{Request, Response};

/// Secrets that are in a request, in the forms in which they are in it, and all others of who asks.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    secrets: Secrets,
    forms: Vec<Vec<u8>>,
}

/// Who asks: what its manifest wants, what the admin grants, and its secrets.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) grants: &'a [String],
    pub(crate) secrets: &'a Secrets,
}

impl Asker<'_> {
    fn bytes(self, part: Part) -> Result<Vec<u8>, HookError> {
        if let Part::Secret { name, form, .. } = &part {
            let allowed = self.manifest.may_send_secret(name, *form, self.grants);
            allowed.map_err(|problem| HookError::new("not-allowed", problem))?;
        }
        part.fill(self.secrets).map_err(|error| HookError::new("no-secret", error.to_string()))
    }
}

impl Sent {
    /// Adds the headers that hold a secret and what the body has in parts, if manifest and grants allow each secret.
    pub(crate) fn fill(
        request: &mut Request,
        headers: Vec<SecretHeader>,
        body: Vec<Part>,
        asker: Asker<'_>,
    ) -> Result<Self, HookError> {
        let mut sent = Self { secrets: asker.secrets.clone(), forms: Vec::new() };
        for SecretHeader { name, before, secret } in headers {
            let secret = asker.bytes(secret)?;
            let Ok(text) = std::str::from_utf8(&secret) else {
                let message = format!("the secret for the header {name} is no text");
                return Err(HookError::new("bad-secret", message));
            };
            request.headers.push((name, before + text));
            sent.forms.push(secret);
        }
        for part in body {
            let is_secret = matches!(part, Part::Secret { .. });
            let bytes = asker.bytes(part)?;
            request.body.extend_from_slice(&bytes);
            if is_secret {
                request.has_secret_body = true;
                sent.forms.push(bytes);
            }
        }
        sent.forms.sort_unstable();
        sent.forms.dedup();
        Ok(sent)
    }

    /// A server that tells back what it was sent tells no secrets.
    pub(crate) fn mask(&self, response: &mut Response) {
        let mask = |data: &mut [u8]| {
            self.secrets.mask(data);
            self.forms.iter().for_each(|form| mask_one(data, form));
        };
        mask(&mut response.body);
        for (_, value) in &mut response.headers {
            let mut bytes = std::mem::take(value).into_bytes();
            mask(&mut bytes);
            *value = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

/// What is shorter is no secret, and would be found anywhere.
const SHORTEST_MASKED: usize = 4;

fn mask_one(data: &mut [u8], secret: &[u8]) {
    if secret.len() < SHORTEST_MASKED {
        return;
    }
    let mut from = 0;
    while let Some(at) = data[from..].windows(secret.len()).position(|window| window == secret) {
        let end = from + at + secret.len();
        data[from + at..end].fill(b'*');
        from = end;
    }
}

#[cfg(test)]
mod tests {
    use plugin_runtime::SecretForm;
    use serde_json::json;

    use super::*;

    fn asked() -> Request {
        Request {
            method: "POST".into(),
            url: "https://pbx.example.org/token".into(),
            headers: Vec::new(),
            body: Vec::new(),
            has_secret_body: false,
            timeout: std::time::Duration::ZERO,
        }
    }

    fn manifest() -> Manifest {
        let manifest = json!({
            "id": "cloud", "name": "Cloud", "version": "1.0.0", "author": "a", "license": "MIT",
            "description": "d.",
            "http": [{ "host": "pbx.example.org", "reason": "It is there." }],
            "secrets": [{ "name": "api", "forms": ["plain"], "reason": "To log in." }]
        });
        Manifest::from_json(manifest.to_string().as_bytes()).expect("a manifest")
    }

    fn secret(form: SecretForm) -> Part {
        Part::Secret { name: "api".into(), form, prefix: Vec::new(), suffix: Vec::new() }
    }

    #[test]
    fn a_secret_stands_in_header_and_body_and_not_in_what_comes_back() {
        let (manifest, secrets) = (manifest(), Secrets::from_iter([("api", "s3cr3t-words")]));
        let asker =
            Asker { manifest: &manifest, grants: &["secret:api".into()], secrets: &secrets };
        let header = SecretHeader {
            name: "authorization".into(),
            before: "Bearer ".into(),
            secret: secret(SecretForm::Plain),
        };
        let body = vec![Part::Literal(b"client_secret=".to_vec()), secret(SecretForm::Plain)];
        let mut request = asked();
        let sent = Sent::fill(&mut request, vec![header], body, asker).expect("all is allowed");
        assert_eq!(
            request.headers,
            [("authorization".to_owned(), "Bearer s3cr3t-words".to_owned())]
        );
        assert_eq!(request.body, b"client_secret=s3cr3t-words");
        assert!(request.has_secret_body, "no redirect takes it elsewhere");
        let mut response = Response {
            status: 400,
            headers: vec![("www-authenticate".into(), "Bearer s3cr3t-words".into())],
            body: b"wrong: s3cr3t-words".to_vec(),
        };
        sent.mask(&mut response);
        let seen = format!("{:?} {:?}", response.headers, String::from_utf8(response.body));
        assert!(!seen.contains("s3cr3t"), "{seen}");
    }

    #[test]
    fn a_secret_without_the_admins_word_is_not_sent() {
        let (manifest, secrets) = (manifest(), Secrets::from_iter([("api", "s3cr3t-words")]));
        let fill = |grants: &[String], form| {
            let asker = Asker { manifest: &manifest, grants, secrets: &secrets };
            let refused = Sent::fill(&mut asked(), Vec::new(), vec![secret(form)], asker);
            refused.err().map(|error| error.code)
        };
        let granted = ["secret:api".to_owned()];
        assert_eq!(fill(&[], SecretForm::Plain).as_deref(), Some("not-allowed"));
        assert_eq!(fill(&granted, SecretForm::Basic).as_deref(), Some("not-allowed"));
        assert_eq!(fill(&granted, SecretForm::Plain), None);
    }
}
