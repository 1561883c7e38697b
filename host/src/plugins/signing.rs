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

#[cfg(test)]
pub(super) mod testing {
    //! A publisher for tests: signs as `minisign -S -l` does.

    use ring::signature::{Ed25519KeyPair, KeyPair};

    pub(crate) struct Publisher {
        pair: Ed25519KeyPair,
        id: [u8; 8],
    }

    impl Publisher {
        /// The same number is the same publisher.
        pub(crate) fn new(number: u8) -> Self {
            Self::claiming(number, number)
        }

        /// With another's id.
        pub(crate) fn claiming(number: u8, id: u8) -> Self {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("32 bytes");
            Self { pair, id: [id; 8] }
        }

        pub(crate) fn public_key(&self) -> String {
            base64(&[b"Ed", &self.id[..], self.pair.public_key().as_ref()].concat())
        }

        pub(crate) fn sign(&self, bytes: &[u8]) -> String {
            let comment = "for a test";
            let signature = self.pair.sign(bytes);
            let global = [signature.as_ref(), comment.as_bytes()].concat();
            format!(
                "untrusted comment: a test\n{}\ntrusted comment: {comment}\n{}\n",
                base64(&[b"Ed", &self.id[..], signature.as_ref()].concat()),
                base64(self.pair.sign(&global).as_ref()),
            )
        }
    }

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let number = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..4 {
                let letter = LETTERS[(number >> (18 - 6 * place) & 63) as usize];
                text.push(if place <= group.len() { letter.into() } else { '=' });
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::Publisher, *};

    /// Signed by the real minisign 0.11: `prehashed` by its default, `legacy` with `-l`.
    const SIGNED: &[u8] = include_bytes!("signing/signed.bin");
    const PREHASHED: &str = include_str!("signing/prehashed.minisig");
    const LEGACY: &str = include_str!("signing/legacy.minisig");
    const STRANGER: &str = include_str!("signing/stranger.minisig");

    fn key(file: &str) -> String {
        file.lines().nth(1).expect("a public key has two lines").to_owned()
    }

    fn trusting_the_publisher(policy: SignaturePolicy) -> Signing {
        Signing::new(policy, &[key(include_str!("signing/publisher.pub"))]).unwrap()
    }

    #[test]
    fn what_minisign_signed_is_taken_and_names_the_key_as_minisign_does() {
        let signing = trusting_the_publisher(SignaturePolicy::Require);
        for signature in [PREHASHED, LEGACY] {
            let checked = signing.check(SIGNED, Some(signature)).unwrap();
            // As the first line of publisher.pub says.
            assert_eq!(checked.signed_by.as_deref(), Some("FA647C2A2C10A8BC"));
            assert_eq!(checked.warning, None);
        }
    }

    #[test]
    fn what_nobody_trusted_signed_is_refused_or_warned_of_or_not_looked_at() {
        let mut tampered = SIGNED.to_vec();
        tampered[3] ^= 1;
        let other_comment = PREHASHED.replace("jackfield test", "jackfield tost");
        let stranger = SignatureProblem::UnknownKey { key: "8655E229DCF4B561".into() };
        for (bytes, signature, problem) in [
            (SIGNED, None, SignatureProblem::Missing),
            (SIGNED, Some(""), SignatureProblem::Unreadable),
            (SIGNED, Some("RW\nRW\nRW\nRW"), SignatureProblem::Unreadable),
            (SIGNED, Some(STRANGER), stranger),
            (&tampered, Some(PREHASHED), SignatureProblem::Wrong),
            (&tampered, Some(LEGACY), SignatureProblem::Wrong),
            (&SIGNED[1..], Some(LEGACY), SignatureProblem::Wrong),
            (SIGNED, Some(&other_comment), SignatureProblem::Wrong),
        ] {
            let check = |policy| trusting_the_publisher(policy).check(bytes, signature);
            assert_eq!(check(SignaturePolicy::Require), Err(problem.clone()));
            let warned = Checked { signed_by: None, warning: Some(problem.clone()) };
            assert_eq!(check(SignaturePolicy::Warn), Ok(warned));
            assert_eq!(check(SignaturePolicy::Off), Ok(Checked::default()));
            assert!(problem.to_string().contains("fix: "), "{problem}");
        }
    }

    #[test]
    fn a_key_that_only_claims_a_trusted_keys_id_is_not_trusted() {
        let (publisher, impostor) = (Publisher::new(1), Publisher::claiming(2, 1));
        let signing = Signing::new(SignaturePolicy::Require, &[publisher.public_key()]).unwrap();
        assert!(signing.check(b"x", Some(&publisher.sign(b"x"))).is_ok());
        let claimed = signing.check(b"x", Some(&impostor.sign(b"x")));
        assert_eq!(claimed, Err(SignatureProblem::Wrong));
    }

    #[test]
    fn no_text_makes_the_check_panic() {
        let signing = trusting_the_publisher(SignaturePolicy::Require);
        for at in 0..PREHASHED.len() {
            let _ = signing.check(SIGNED, Some(&PREHASHED[..at]));
            let strange = format!("{}\u{e9}\u{1F4DE}{}", &PREHASHED[..at], &PREHASHED[at..]);
            let _ = signing.check(SIGNED, Some(&strange));
        }
    }

    #[test]
    fn keys_that_are_none_and_policies_nobody_can_pass_are_refused() {
        let refused = |policy, keys: &[&str]| {
            let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            Signing::new(policy, &keys).unwrap_err()
        };
        assert_eq!(refused(SignaturePolicy::Require, &[]), SigningError::NoKeys);
        let bad = SigningError::BadKey { key: "untrusted comment".into() };
        assert_eq!(refused(SignaturePolicy::Off, &["untrusted comment"]), bad);
        assert!("always".parse::<SignaturePolicy>().is_err());
        assert_eq!("require".parse(), Ok(SignaturePolicy::Require));
    }

    #[test]
    fn the_signature_of_a_file_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let wasm = folder.path().join("asterisk.wasm");
        assert_eq!(beside(&wasm).unwrap(), None);
        std::fs::write(folder.path().join("asterisk.wasm.minisig"), LEGACY).unwrap();
        assert_eq!(beside(&wasm).unwrap().as_deref(), Some(LEGACY));
        std::fs::write(signature_path(&wasm), vec![0xff; 1 << 20]).unwrap();
        let found = beside(&wasm).unwrap();
        let signing = trusting_the_publisher(SignaturePolicy::Require);
        assert_eq!(signing.check(SIGNED, found.as_deref()), Err(SignatureProblem::Unreadable));
    }
}
