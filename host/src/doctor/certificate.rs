//! The few fields of an X.509 certificate (RFC 5280) that people ask about: for whom, by whom, until when.
//!
//! Nothing is decided here: whether a certificate is trusted is rustls's business.

use jiff::Timestamp;

/// A name of a stranger is shown, but not at any length.
const MAX_TEXT: usize = 80;
const MAX_NAMES: usize = 20;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Host names and addresses.
    pub(super) names: Vec<String>,
    /// Who signed it.
    pub(super) issuer: String,
    /// When it ends.
    pub(super) not_after: Timestamp,
}

impl Certificate {
    /// Reads DER; none: it is not the shape of a certificate.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let mut outer = Der(der);
        let mut certificate = Der(outer.expect(SEQUENCE)?);
        let mut fields = Der(certificate.expect(SEQUENCE)?);
        if fields.peek() == Some(VERSION) {
            fields.next()?;
        }
        fields.expect(INTEGER)?; // serial number
        fields.expect(SEQUENCE)?; // signature algorithm
        let issuer = Der(fields.expect(SEQUENCE)?);
        let mut validity = Der(fields.expect(SEQUENCE)?);
        validity.next()?; // not before
        let not_after = time(validity.next()?)?;
        let subject = Der(fields.expect(SEQUENCE)?);
        fields.expect(SEQUENCE)?; // public key
        let mut names = Vec::new();
        while let Some((tag, content)) = fields.next() {
            if tag == EXTENSIONS {
                names = alternative_names(content).unwrap_or_default();
            }
        }
        if names.is_empty() {
            names.extend(attribute(subject, COMMON_NAME));
        }
        let issuer = attribute(issuer, COMMON_NAME)
            .or_else(|| attribute(issuer, ORGANIZATION))
            .unwrap_or_else(|| "somebody without a name".to_owned());
        Some(Self { names, issuer, not_after })
    }
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// Tags, lengths and contents, one after the other.
#[derive(Clone, Copy)]
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if digits.is_empty() || digits.len() > 3 {
                return None;
            }
            rest = after;
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'d [u8]> {
        self.next().and_then(|(tag, content)| (tag == wanted).then_some(content))
    }
}

/// The value of an attribute in a distinguished name.
fn attribute(mut name: Der<'_>, wanted: &[u8]) -> Option<String> {
    while let Some((tag, content)) = name.next() {
        let mut pairs = Der(content);
        while tag == SET
            && let Some((SEQUENCE, pair)) = pairs.next()
        {
            let mut pair = Der(pair);
            if pair.expect(OBJECT_IDENTIFIER)? == wanted {
                return pair.next().map(|(_, value)| shown(value));
            }
        }
    }
    None
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut list = Der(extensions);
    let mut list = Der(list.expect(SEQUENCE)?);
    while let Some((SEQUENCE, extension)) = list.next() {
        let mut extension = Der(extension);
        if extension.expect(OBJECT_IDENTIFIER)? != SUBJECT_ALT_NAME {
            continue;
        }
        // A boolean `critical` may come first.
        while let Some((tag, content)) = extension.next() {
            if tag == OCTET_STRING {
                let mut names = Der(content);
                return Some(general_names(Der(names.expect(SEQUENCE)?)));
            }
        }
    }
    None
}

fn general_names(mut names: Der<'_>) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((tag, name)) = names.next()
        && found.len() < MAX_NAMES
    {
        match tag {
            DNS_NAME => found.push(shown(name)),
            IP_ADDRESS => found.extend(address(name)),
            _ => {}
        }
    }
    found
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
}

/// Printable, and not long.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().filter(|letter| !letter.is_control()).take(MAX_TEXT).collect()
}

/// `YYMMDDHHMMSSZ`, or with four digits of the year (RFC 5280 §4.1.2.5).
fn time((tag, content): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let two = |from: usize| rest.get(from..from + 2)?.parse::<i8>().ok();
    let civil =
        jiff::civil::DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.distinguished_name.push(rcgen::DnType::CommonName, "Our\r\nOwn");
        params.not_after = rcgen::date_time_ymd(2049, 6, 30);
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn names_issuer_and_end_are_read() {
        let read = Certificate::read(&made(&["pbx.example.org", "192.0.2.5", "2001:db8::5"]))
            .expect("it is one");
        assert_eq!(read.names, ["pbx.example.org", "192.0.2.5", "2001:db8::5"]);
        assert_eq!(read.issuer, "OurOwn", "nothing that moves a terminal's cursor");
        assert_eq!(read.not_after.to_string(), "2049-06-30T00:00:00Z");
    }

    #[test]
    fn a_certificate_without_alternative_names_shows_its_common_name() {
        assert_eq!(Certificate::read(&made(&[])).expect("it is one").names, ["OurOwn"]);
    }

    #[test]
    fn what_is_cut_or_bent_is_no_certificate_and_no_panic() {
        let whole = made(&["pbx.example.org"]);
        for length in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..length]), None, "{length}");
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut bent = whole.clone();
                bent[at] = value;
                let _ = Certificate::read(&bent);
            }
        }
    }
}
