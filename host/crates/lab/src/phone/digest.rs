//! Digest authentication as a phone does it (RFC 7616 with MD5, RFC 3261 §22).

use md5::{Digest, Md5};

use super::message::Message;
use crate::random;

/// The header that answers the challenge in `response`: its name and value.
pub(super) fn answer(
    response: &Message,
    method: &str,
    uri: &str,
    user: &str,
    password: &str,
) -> Option<(&'static str, String)> {
    let (name, challenges) = match response.status()? {
        401 => ("Authorization", "WWW-Authenticate"),
        407 => ("Proxy-Authorization", "Proxy-Authenticate"),
        _ => return None,
    };
    let challenge = response.headers(challenges).find(|challenge| {
        field(challenge, "algorithm").is_none_or(|found| found.eq_ignore_ascii_case("MD5"))
    })?;
    let realm = field(challenge, "realm")?;
    let nonce = field(challenge, "nonce")?;
    let secret = hex(&format!("{user}:{realm}:{password}"));
    let request = hex(&format!("{method}:{uri}"));
    let mut value = format!(
        r#"Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", algorithm=MD5"#
    );
    if field(challenge, "qop").is_some() {
        let cnonce = format!("{:016x}", random());
        let proof = hex(&format!("{secret}:{nonce}:00000001:{cnonce}:auth:{request}"));
        value += &format!(r#", response="{proof}", qop=auth, nc=00000001, cnonce="{cnonce}""#);
    } else {
        value += &format!(r#", response="{}""#, hex(&format!("{secret}:{nonce}:{request}")));
    }
    if let Some(opaque) = field(challenge, "opaque") {
        value += &format!(r#", opaque="{opaque}""#);
    }
    Some((name, value))
}

/// The value of `name=value` or `name="value"` in a challenge.
fn field<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let fields = challenge.strip_prefix("Digest").unwrap_or(challenge);
    fields.split(',').find_map(|field| {
        let (found, value) = field.split_once('=')?;
        (found.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

fn hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
