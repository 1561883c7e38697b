//! Secrets: named by plugins, filled in by the host at the socket, masked on the way in.

use std::{collections::BTreeMap, fmt};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

/// Secrets shorter than this are not masked: they would match by chance all over the stream.
pub const MIN_MASKED: usize = 4;

/// A piece of what is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Literal(Vec<u8>),
    /// A secret in a form, put in at the socket.
    Secret {
        /// Its name in the config's `secrets`.
        name: String,
        /// What is sent instead of the secret itself.
        form: SecretForm,
        /// Goes before it, see the form.
        prefix: Vec<u8>,
        /// Goes behind it, see the form.
        suffix: Vec<u8>,
    },
}

/// In what form a secret leaves the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretForm {
    /// Lower-case hex of MD5(prefix + secret + suffix).
    Md5Hex,
    /// Lower-case hex of HMAC-SHA256(prefix + suffix), keyed by the secret.
    HmacSha256Hex,
    /// Base64 of prefix + secret.
    Basic,
    /// The secret itself: only with a grant of its own.
    Plain,
}

impl SecretForm {
    pub(crate) const CODES: &'static str = "md5-hex, hmac-sha256-hex, basic or plain";

    /// The form of that name.
    pub fn from_code(code: &str) -> Option<Self> {
        Some(match code {
            "md5-hex" => Self::Md5Hex,
            "hmac-sha256-hex" => Self::HmacSha256Hex,
            "basic" => Self::Basic,
            "plain" => Self::Plain,
            _ => return None,
        })
    }

    /// The name manifests use.
    pub fn code(self) -> &'static str {
        match self {
            Self::Md5Hex => "md5-hex",
            Self::HmacSha256Hex => "hmac-sha256-hex",
            Self::Basic => "basic",
            Self::Plain => "plain",
        }
    }
}

/// A part that cannot be filled in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FillError {
    /// The config has no such secret.
    #[error(
        "the plugin asks for the secret `{0}`, but the config has none of that name; add `secrets.{0}`"
    )]
    Unknown(String),
}

impl Part {
    /// The bytes for the socket. Do not log or record them.
    pub fn fill(&self, secrets: &Secrets) -> Result<Vec<u8>, FillError> {
        let (name, form, prefix, suffix) = match self {
            Self::Literal(bytes) => return Ok(bytes.clone()),
            Self::Secret { name, form, prefix, suffix } => (name, form, prefix, suffix),
        };
        let secret = secrets.0.get(name).ok_or_else(|| FillError::Unknown(name.clone()))?;
        Ok(match form {
            SecretForm::Md5Hex => {
                let digest =
                    Md5::new().chain_update(prefix).chain_update(secret).chain_update(suffix);
                hex(&digest.finalize())
            }
            SecretForm::HmacSha256Hex => {
                let mut mac =
                    Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
                mac.update(prefix);
                mac.update(suffix);
                hex(&mac.finalize().into_bytes())
            }
            SecretForm::Basic => base64(&[prefix, secret.as_slice()].concat()),
            SecretForm::Plain => secret.clone(),
        })
    }
}

/// The secrets of one connector. They are never shown, and overwritten when dropped.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Vec<u8>>);

impl Secrets {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, or replaces it.
    pub fn insert(&mut self, name: impl Into<String>, secret: impl Into<Vec<u8>>) {
        if let Some(mut old) = self.0.insert(name.into(), secret.into()) {
            wipe(&mut old);
        }
    }

    /// The name of a secret that is in there.
    pub(crate) fn found_in(&self, data: &[u8]) -> Option<&str> {
        let holds = |secret: &[u8]| {
            secret.len() >= MIN_MASKED && data.windows(secret.len()).any(|window| window == secret)
        };
        self.0.iter().find(|(_, secret)| holds(secret)).map(|(name, _)| name.as_str())
    }

    /// Replaces every occurrence of a secret by as many `*`, and says how many there were.
    ///
    /// A secret cut by the end of `data` is not seen; secrets shorter than [`MIN_MASKED`] are left.
    pub fn mask(&self, data: &mut [u8]) -> usize {
        self.0
            .values()
            .filter(|secret| secret.len() >= MIN_MASKED)
            .map(|secret| mask(data, secret))
            .sum()
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, "***"))).finish()
    }
}

impl<N: Into<String>, S: Into<Vec<u8>>> FromIterator<(N, S)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (N, S)>>(secrets: I) -> Self {
        Self(secrets.into_iter().map(|(name, secret)| (name.into(), secret.into())).collect())
    }
}

fn wipe(secret: &mut Vec<u8>) {
    secret.fill(0);
    // Without it the compiler may see that nobody reads the zeros.
    std::hint::black_box(secret);
}

fn mask(data: &mut [u8], secret: &[u8]) -> usize {
    let mut found = 0;
    let mut from = 0;
    while let Some(at) = data[from..].windows(secret.len()).position(|window| window == secret) {
        data[from + at..][..secret.len()].fill(b'*');
        from += at + secret.len();
        found += 1;
    }
    found
}

pub(crate) fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .collect()
}

/// RFC 4648 §4, padded.
pub(crate) fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { letter } else { b'=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(form: SecretForm, prefix: &str, suffix: &str) -> String {
        let secrets = Secrets::from_iter([("ami", "open sesame")]);
        let part =
            Part::Secret { name: "ami".into(), form, prefix: prefix.into(), suffix: suffix.into() };
        String::from_utf8(part.fill(&secrets).unwrap()).unwrap()
    }

    #[test]
    fn every_form_is_what_its_name_says() {
        // The digests are from md5sum and openssl.
        assert_eq!(filled(SecretForm::Md5Hex, "12", ""), "44537cc303b381285c51a2952cb7e149");
        assert_eq!(
            filled(SecretForm::HmacSha256Hex, "a", "b"),
            "47dae6ac7e8c56a7fc014a3a48dafd666512641f5a59dafb71a6cc54e40c2d0d"
        );
        assert_eq!(filled(SecretForm::Basic, "Aladdin:", ""), "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(filled(SecretForm::Plain, "", ""), "open sesame");
    }

    #[test]
    fn base64_pads_as_rfc_4648_says() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn a_secret_nobody_configured_names_the_fix() {
        let part = Part::Secret {
            name: "crm".into(),
            form: SecretForm::Plain,
            prefix: vec![],
            suffix: vec![],
        };
        assert!(part.fill(&Secrets::new()).unwrap_err().to_string().contains("`secrets.crm`"));
    }

    #[test]
    fn secrets_are_masked_and_never_shown() {
        let secrets = Secrets::from_iter([("ami", "open sesame"), ("short", "abc")]);
        let mut data = b"abc open sesameopen sesame open sesam".to_vec();
        assert_eq!(secrets.mask(&mut data), 2);
        assert_eq!(data, b"abc ********************** open sesam");
        assert_eq!(format!("{secrets:?}"), r#"{"ami": "***", "short": "***"}"#);
    }
}
