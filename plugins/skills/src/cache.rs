//! What the CRM said, kept in the instance's own store: a table of fixed size, so that the store is never full.
//!
//! A caller's number decides the slot; another caller of the same slot takes it over. So the store holds at most
//! [`SLOTS`] numbers, each with the fields that the settings name and nothing else.

use jackfield_bundled::{json, service::Fields};
use jackfield_sdk::hooks::Store;
use serde_json::{Value, json};

/// How many callers are kept at most.
pub const SLOTS: u32 = 1024;
/// The longest value; longer ones are not kept. All slots together stay below the store's 1 MiB.
const LONGEST: usize = 900;
/// That the CRM does not know a caller is believed for at most so long.
const UNKNOWN_SECS: u64 = 300;

/// The key of a caller's slot.
pub fn key(number: &str) -> String {
    // FNV-1a: any spreading will do, as long as it is the same tomorrow.
    let hash = number
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("crm:{:03x}", hash % SLOTS)
}

/// Keeps what the CRM said; none when it is too long to be kept.
pub fn keep(number: &str, at_secs: u64, fields: &Fields) -> Option<Store> {
    let table: serde_json::Map<String, Value> =
        fields.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let text = json!({ "number": number, "at": at_secs, "fields": table }).to_string();
    (text.len() <= LONGEST).then(|| Store::put(key(number), text))
}

/// What was kept of this caller, if it is still fresh.
pub fn read(value: &[u8], number: &str, now_secs: u64, secs: u64) -> Option<Fields> {
    let value = json::read(value).ok()?;
    if value["number"].as_str() != Some(number) {
        return None;
    }
    let table = value["fields"].as_object()?;
    let secs = if table.is_empty() { secs.min(UNKNOWN_SECS) } else { secs };
    let at = value["at"].as_u64()?;
    // A clock that was set back makes nothing fresh for ever.
    let is_fresh = at <= now_secs && now_secs - at < secs;
    let field = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    is_fresh.then(|| table.iter().filter_map(field).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &str) -> Fields {
        vec![("tier".to_owned(), value.to_owned())]
    }

    fn kept(number: &str, at: u64, fields: &Fields) -> Vec<u8> {
        keep(number, at, fields).and_then(|store| store.value).unwrap()
    }

    #[test]
    fn what_was_kept_is_found_until_it_is_old() {
        let value = kept("+4930", 1000, &fields("gold"));
        assert_eq!(read(&value, "+4930", 1000, 60), Some(fields("gold")));
        assert_eq!(read(&value, "+4930", 1059, 60), Some(fields("gold")));
        assert_eq!(read(&value, "+4930", 1060, 60), None);
        assert_eq!(read(&value, "+4930", 999, 60), None);
        assert_eq!(read(&value, "+4931", 1000, 60), None);
        let unknown = kept("+4930", 1000, &vec![]);
        assert_eq!(read(&unknown, "+4930", 1299, 86_400), Some(vec![]));
        assert_eq!(read(&unknown, "+4930", 1300, 86_400), None);
    }

    #[test]
    fn the_store_never_overflows() {
        let mut keys = std::collections::BTreeSet::new();
        for number in 0..20_000 {
            keys.insert(key(&format!("+4930{number}")));
        }
        assert!(keys.len() <= SLOTS as usize && keys.len() > 900, "{}", keys.len());
        let longest = keys.iter().map(String::len).max().unwrap();
        assert!((longest + LONGEST) * SLOTS as usize <= 1 << 20);
        assert!(keep("+4930", 0, &fields(&"x".repeat(900))).is_none());
    }

    #[test]
    fn a_damaged_value_is_no_value() {
        for damaged in
            [&b""[..], b"{}", b"[]", b"\xff", br#"{"number":"+4930","at":-1,"fields":{}}"#]
        {
            assert_eq!(read(damaged, "+4930", 10, 60), None);
        }
    }
}
