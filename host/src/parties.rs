//! Who is at the far end: numbers and names as the network sent them, made into a [`Party`].
//!
//! Numbers come from strangers. They are measured before a parser sees them, and what no rule understands
//! stays raw.

use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use calls::{
    ConnectorId,
    event::Party,
    fact::{Presentation, RawParty},
    switchboard::Parties,
};
use phonenumber::country;

use crate::config::NumberRules;

/// E.164 has 15 digits; people write prefixes, blanks and brackets around them.
const MAX_NUMBER_BYTES: usize = 40;
/// More than any phone shows.
const MAX_TEXT_BYTES: usize = 256;

/// Is it an ISO 3166 code that number rules are known for?
pub fn is_country(code: &str) -> bool {
    code.len() == 2
        && code.bytes().all(|byte| byte.is_ascii_uppercase())
        && country::Id::from_str(code).is_ok()
}

/// The rules of all connectors; they can change while calls go on.
pub type Rules = Arc<RwLock<BTreeMap<ConnectorId, NumberRules>>>;

/// The rules of all connectors as the function that call state wants.
pub fn parties(rules: Rules) -> Parties {
    let nothing = NumberRules::default();
    Box::new(move |connector, raw| {
        // Rules are plain data: whoever panicked left at worst old ones.
        let rules = rules.read().unwrap_or_else(PoisonError::into_inner);
        party(rules.get(connector).unwrap_or(&nothing), raw)
    })
}

/// Loads the number rules of all countries, so that the first caller does not wait for it.
pub fn warm_up() {
    let _ = e164(Some(country::DE), "+4930123456");
}

/// One party by one connector's rules.
pub fn party(rules: &NumberRules, raw: &RawParty) -> Party {
    let number = raw.number.trim();
    let presentation = match raw.presentation {
        Presentation::Allowed => presentation_of(number),
        said => said,
    };
    // `Anonymous` is a word of the network, not a number.
    let dialable = presentation_of(number) == Presentation::Allowed;
    let is_extension = rules
        .extensions
        .as_ref()
        .is_some_and(|pattern| dialable && pattern.is_match(shortened(number)));
    let country = rules.country.as_deref().and_then(|code| country::Id::from_str(code).ok());
    Party {
        raw: shortened(&raw.number).to_owned(),
        e164: if is_extension || !dialable { None } else { e164(country, number) },
        extension: is_extension.then(|| shortened(number).to_owned()),
        name: Some(shortened(raw.name.trim())).filter(|name| !name.is_empty()).map(str::to_owned),
        presentation,
    }
}

/// What a number says about itself by being a word.
fn presentation_of(number: &str) -> Presentation {
    const WITHHELD: [&str; 5] = ["anonymous", "restricted", "private", "withheld", "blocked"];
    const ABSENT: [&str; 4] = ["unavailable", "unknown", "<unknown>", "asterisk"];
    if number.is_empty() || ABSENT.iter().any(|word| number.eq_ignore_ascii_case(word)) {
        Presentation::Unavailable
    } else if WITHHELD.iter().any(|word| number.eq_ignore_ascii_case(word)) {
        Presentation::Restricted
    } else {
        Presentation::Allowed
    }
}

fn e164(country: Option<country::Id>, number: &str) -> Option<String> {
    let acceptable = |byte: u8| byte.is_ascii_digit() || b"+ -./()".contains(&byte);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    if number.len() > MAX_NUMBER_BYTES
        || !(3..=20).contains(&digits)
        || !number.bytes().all(acceptable)
    {
        return None;
    }
    // Blanks and brackets are for eyes; a `+` is a prefix or the number is none.
    let mut dialled: String =
        number.chars().filter(|char| char.is_ascii_digit() || *char == '+').collect();
    if dialled.rfind('+').is_some_and(|at| at > 0) {
        return None;
    }
    // Trunks write international numbers with the country's own prefix; most of the world's is 00.
    if let Some(country) = country
        && let Some(rest) = strip_international_prefix(country, &dialled)
    {
        dialled = format!("+{rest}");
    }
    if country.is_none() && !dialled.starts_with('+') {
        return None;
    }
    let parsed = parse(country, &dialled)?;
    phonenumber::is_valid(&parsed)
        .then(|| parsed.format().mode(phonenumber::Mode::E164).to_string())
}

/// North America dials 011, most others 00.
fn strip_international_prefix(country: country::Id, number: &str) -> Option<&str> {
    let metadata = phonenumber::metadata::DATABASE.by_id(country.as_ref())?;
    if metadata.country_code() == 1 {
        number.strip_prefix("011")
    } else {
        number.strip_prefix("00")
    }
    .filter(|rest| !rest.starts_with('0') && rest.len() >= 6)
}

/// The parser has had panics; a stranger's number must not end the switch.
fn parse(country: Option<country::Id>, number: &str) -> Option<phonenumber::PhoneNumber> {
    std::panic::catch_unwind(|| phonenumber::parse(country, number).ok()).ok().flatten()
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(country: &str, extensions: &str) -> NumberRules {
        NumberRules {
            country: (!country.is_empty()).then(|| country.to_owned()),
            extensions: (!extensions.is_empty())
                .then(|| regex_lite::Regex::new(extensions).expect(extensions)),
        }
    }

    fn seen(country: &str, number: &str) -> Party {
        let raw = RawParty { number: number.to_owned(), ..RawParty::default() };
        party(&rules(country, "^1[0-9]{3}$"), &raw)
    }

    #[test]
    fn numbers_become_e164_by_the_connectors_country() {
        for (country, number, e164) in [
            ("DE", "03012345678", Some("+493012345678")),
            ("DE", "0049 30 12345678", Some("+493012345678")),
            ("DE", "+49 (30) 123-45678", Some("+493012345678")),
            ("DE", "015112345678", Some("+4915112345678")),
            ("DE", "+12125550123", Some("+12125550123")),
            ("DE", "0012125550123", Some("+12125550123")),
            ("US", "(212) 555-0123", Some("+12125550123")),
            ("US", "12125550123", Some("+12125550123")),
            ("US", "011493012345678", Some("+493012345678")),
            ("GB", "020 7946 0018", Some("+442079460018")),
            ("GB", "07400 123456", Some("+447400123456")),
            ("GB", "00493012345678", Some("+493012345678")),
            ("", "+493012345678", Some("+493012345678")),
            ("", "03012345678", None),
            ("DE", "110", None),
            ("DE", "99", None),
            ("US", "5550123", None),
            ("DE", "12+34567890", None),
            ("DE", "sip:anna@example.org", None),
        ] {
            let party = seen(country, number);
            assert_eq!(party.e164.as_deref(), e164, "{country} {number}");
            assert_eq!(party.raw, number);
            assert_eq!(party.extension, None);
            assert_eq!(party.presentation, Presentation::Allowed);
        }
    }

    #[test]
    fn a_number_of_our_own_is_an_extension_and_never_a_foreign_number() {
        let party = seen("DE", "1001");
        assert_eq!((party.extension.as_deref(), party.e164), (Some("1001"), None));
    }

    #[test]
    fn words_of_the_network_are_no_numbers() {
        for (number, presentation) in [
            ("anonymous", Presentation::Restricted),
            ("Restricted", Presentation::Restricted),
            ("", Presentation::Unavailable),
            ("<unknown>", Presentation::Unavailable),
        ] {
            let party = seen("DE", number);
            assert_eq!(party.presentation, presentation, "{number}");
            assert_eq!((party.e164, party.extension), (None, None));
        }
        // What the network says outright counts more than what the number looks like.
        let raw = RawParty {
            number: "+493012345678".to_owned(),
            name: " ".to_owned(),
            presentation: Presentation::Restricted,
        };
        let party = party(&rules("DE", ""), &raw);
        assert_eq!(party.presentation, Presentation::Restricted);
        assert_eq!(party.name, None);
        assert_eq!(party.e164.as_deref(), Some("+493012345678"));
    }

    #[test]
    fn hostile_numbers_stay_raw_and_harm_nobody() {
        let long = "9".repeat(100_000);
        for number in [
            long.as_str(),
            "+",
            "++++++++",
            "+0",
            "00",
            "0000000000000000",
            "tel:+1;ext=9999999999999999999999",
            "+49\u{0}30",
            "１２３４５６７８",
            "+49;phone-context=",
            "\u{202e}0301234567",
            "()()()()",
            "+999999999999999",
            "+00000000000000",
            "011",
            "0110",
            "+1",
            "%0D%0AEvent",
            "'; drop table",
            "+800123456789012",
        ] {
            for country in ["DE", "US", "GB", ""] {
                let party = seen(country, number);
                assert!(party.raw.len() <= MAX_TEXT_BYTES);
                assert!(party.e164.is_none_or(|e164| e164.len() <= 16 && e164.starts_with('+')));
            }
        }
    }
}
