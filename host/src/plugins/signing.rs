//! Signatures of plugins: minisign's, over the exact bytes of the component.
//!
//! Made by `minisign -S -m asterisk.wasm` (or `rsign`), kept beside the file as `asterisk.wasm.minisig`. Both kinds
//! are taken: over the bytes' BLAKE2b hash, and the older over the bytes themselves.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use minisign_verify::{PublicKey, Signature};

/// Larger files are no signatures.
const MAX_SIGNATURE: u64 = 8 << 10;
/// Keys one host trusts.
const MAX_KEYS: usize = 64;

/// What to do about plugins that nobody trusted has signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Nothing: signatures are not looked at.
    Off,
    /// Say so, and take them.
    #[default]
    Warn,
    /// Refuse them.
    Require,
}

impl SignaturePolicy {
    /// As configs write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Require => "require",
        }
    }
}

impl FromStr for SignaturePolicy {
    type Err = SigningError;

    fn from_str(word: &str) -> Result<Self, SigningError> {
        [Self::Off, Self::Warn, Self::Require]
            .into_iter()
            .find(|policy| policy.word() == word)
            .ok_or_else(|| SigningError::UnknownPolicy { word: word.to_owned() })
    }
}

/// What the configuration says about signatures is no good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named in the messages")]
pub enum SigningError {
    /// No such policy.
    #[error("there is no policy `{word}` for signatures; fix: write off, warn or require")]
    UnknownPolicy { word: String },
    /// Not a key.
    #[error(
        "`{key}` is not a minisign public key; fix: write the second line of the publisher's .pub file, RW..."
    )]
    BadKey { key: String },
    /// Nobody could pass.
    #[error("signatures are required, but no key is trusted; fix: add the publishers' public keys")]
    NoKeys,
    /// More than anybody can oversee.
    #[error("{0} keys are trusted; fix: at most {MAX_KEYS}")]
    TooManyKeys(usize),
}

/// A plugin without a good signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// None given.
    #[error(
        "it is not signed; fix: give the publisher's .minisig file too, or sign it: minisign -S -m FILE"
    )]
    Missing,
    /// Not a signature.
    #[error("its signature cannot be read; fix: give the .minisig file as minisign wrote it")]
    Unreadable,
    /// A key that is not trusted, or not any more.
    #[error(
        "it is signed by the key {key}, which is not among the trusted keys; fix: if you trust its publisher, \
         add the publisher's public key to the trusted keys"
    )]
    UnknownKey {
        /// Its id, as minisign shows it.
        key: String,
    },
    /// Other bytes than those that were signed.
    #[error(
        "its signature does not fit: the file, or the signature, is not the one the publisher signed; fix: get \
         both again from the publisher"
    )]
    Wrong,
}

/// A trusted publisher.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey {
    text: String,
    key: PublicKey,
}

impl TrustedKey {
    /// Its id, as minisign shows it: 16 hex digits.
    pub fn id(&self) -> String {
        key_id(&self.text).unwrap_or_default()
    }
}

impl FromStr for TrustedKey {
    type Err = SigningError;

    fn from_str(text: &str) -> Result<Self, SigningError> {
        let text = text.trim();
        match PublicKey::from_base64(text) {
            Ok(key) => Ok(Self { text: text.to_owned(), key }),
            Err(_) => Err(SigningError::BadKey { key: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Who is trusted, and what happens to the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signing {
    policy: SignaturePolicy,
    keys: Vec<TrustedKey>,
}

/// A component that may be used as far as signatures go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The id of the trusted key that signed it.
    pub signed_by: Option<String>,
    /// What is wrong and let pass.
    pub warning: Option<SignatureProblem>,
}

impl Signing {
    /// The keys are minisign's public keys, each the second line of a `.pub` file.
    pub fn new(policy: SignaturePolicy, keys: &[String]) -> Result<Self, SigningError> {
        if keys.len() > MAX_KEYS {
            return Err(SigningError::TooManyKeys(keys.len()));
        }
        let keys: Vec<_> = keys.iter().map(|key| key.parse()).collect::<Result<_, _>>()?;
        if policy == SignaturePolicy::Require && keys.is_empty() {
            return Err(SigningError::NoKeys);
        }
        Ok(Self { policy, keys })
    }

    /// What happens to plugins that nobody trusted has signed.
    pub fn policy(&self) -> SignaturePolicy {
        self.policy
    }

    /// May these bytes be used?
    pub fn check(&self, wasm: &[u8], signature: Option<&str>) -> Result<Checked, SignatureProblem> {
        if self.policy == SignaturePolicy::Off {
            return Ok(Checked::default());
        }
        match (self.signer(wasm, signature), self.policy) {
            (Ok(signer), _) => Ok(Checked { signed_by: Some(signer), warning: None }),
            (Err(problem), SignaturePolicy::Warn) => {
                Ok(Checked { signed_by: None, warning: Some(problem) })
            }
            (Err(problem), _) => Err(problem),
        }
    }

    fn signer(&self, wasm: &[u8], signature: Option<&str>) -> Result<String, SignatureProblem> {
        let text = signature.ok_or(SignatureProblem::Missing)?;
        let signature = Signature::decode(text).map_err(|_| SignatureProblem::Unreadable)?;
        let id = text.lines().nth(1).and_then(key_id).ok_or(SignatureProblem::Unreadable)?;
        // Two keys may claim one id.
        let mut known = self.keys.iter().filter(|key| key.id() == id).peekable();
        if known.peek().is_none() {
            return Err(SignatureProblem::UnknownKey { key: id });
        }
        if known.any(|key| key.key.verify(wasm, &signature, true).is_ok()) {
            Ok(id)
        } else {
            Err(SignatureProblem::Wrong)
        }
    }
}

/// Where the signature of a file lies: `asterisk.wasm.minisig` beside `asterisk.wasm`.
pub fn signature_path(wasm: &Path) -> PathBuf {
    let mut path = wasm.as_os_str().to_owned();
    path.push(".minisig");
    path.into()
}

/// The signature beside a file, if there is one that may be one.
pub fn beside(wasm: &Path) -> std::io::Result<Option<String>> {
    use std::io::Read;

    let file = match std::fs::File::open(signature_path(wasm)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_SIGNATURE).read_to_end(&mut bytes)?;
    // What is not text is no signature, and is refused as one.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The key's id in a key or a signature: bytes 2 to 10, a little-endian number.
fn key_id(base64: &str) -> Option<String> {
    let bytes = decode_base64(base64.trim().get(..16)?)?;
    let id = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}

/// Of a text without padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks_exact(4) {
        let number = group.iter().try_fold(0, |number, byte| Some(number << 6 | value(*byte)?))?;
        bytes.extend_from_slice(&number.to_be_bytes()[1..]);
    }
    Some(bytes)
}
