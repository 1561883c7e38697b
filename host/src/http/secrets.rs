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
    forms: Vec<String>,
}

impl Sent {
    /// Adds the headers that hold a secret, if manifest and grants allow each.
    pub(crate) fn fill(
        request: &mut Request,
        headers: Vec<SecretHeader>,
        manifest: &Manifest,
        grants: &[String],
        secrets: &Secrets,
    ) -> Result<Self, HookError> {
        let mut forms = Vec::new();
        for SecretHeader { name, before, secret } in headers {
            if let Part::Secret { name, form, .. } = &secret {
                let allowed = manifest.may_send_secret(name, *form, grants);
                allowed.map_err(|problem| HookError::new("not-allowed", problem))?;
            }
            let secret = secret.fill(secrets);
            let secret = secret.map_err(|error| HookError::new("no-secret", error.to_string()))?;
            let secret = String::from_utf8(secret).map_err(|_| {
                HookError::new("bad-secret", format!("the secret for the header {name} is no text"))
            })?;
            request.headers.push((name, before + &secret));
            forms.push(secret);
        }
        Ok(Self { secrets: secrets.clone(), forms })
    }

    /// A server that tells back what it was sent tells no secrets.
    pub(crate) fn mask(&self, response: &mut Response) {
        let mask = |data: &mut [u8]| {
            self.secrets.mask(data);
            self.forms.iter().for_each(|form| mask_one(data, form.as_bytes()));
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
