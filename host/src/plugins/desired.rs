//! What is wanted of a connector: the config file's keys, and beside them those that REST has set.
//!
//! Each key has one owner. What the file sets, REST may not; the two are put together as one section, which the
//! config's own parser reads: whatever is wrong is said in the same words, wherever it came from.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Map, Value};

use super::{KeeperError, KeyView, Owner};
use crate::config::{Complaint, Config, ConfigError, ConnectorConfig, Place, SecretText};

/// Keys of a connector that REST may set, where the file does not.
const KEYS: [&str; 10] = [
    "plugin",
    "version",
    "enabled",
    "settings",
    "links",
    "secrets",
    "limits",
    "grants",
    "declined",
    "allow_plaintext",
];
/// Of them, those that are owned entry by entry.
const TABLES: [&str; 4] = ["settings", "links", "secrets", "limits"];
/// Of one secret.
const MAX_SECRET: usize = 4096;

/// What REST has set of one connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Overlay {
    /// Some of [`KEYS`], without secrets.
    pub(super) keys: Map<String, Value>,
    /// By name; kept in private files.
    pub(super) secrets: BTreeMap<String, SecretText>,
}

impl Overlay {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.secrets.is_empty()
    }
}

/// A merge patch (RFC 7396), applied to a copy; refused where it touches what the file owns. Secrets are texts in
/// it.
pub(super) fn patched(
    config: &Config,
    connector: &str,
    before: &Overlay,
    patch: &Value,
) -> Result<Overlay, KeeperError> {
    let Value::Object(patch) = patch else {
        return Err(wrong(connector, "", "a change is a JSON object", "send keys and values"));
    };
    let Overlay { keys: mut overlay, mut secrets } = before.clone();
    for (key, value) in patch {
        if !KEYS.contains(&key.as_str()) {
            let fix = match crate::config::nearest(key, &KEYS) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("use one of: {}", KEYS.join(", ")),
            };
            return Err(wrong(connector, key, "no such key", &fix));
        }
        if !TABLES.contains(&key.as_str()) {
            owned_by_rest(config, connector, key)?;
            set(&mut overlay, key, value.clone());
            continue;
        }
        let entries = match value {
            Value::Object(entries) => entries.clone(),
            // All that REST has set of it goes.
            Value::Null => {
                overlay.remove(key);
                if key == "secrets" {
                    secrets.clear();
                }
                continue;
            }
            _ => return Err(wrong(connector, key, "is not an object", "send names and values")),
        };
        let mut table = match overlay.remove(key) {
            Some(Value::Object(table)) => table,
            _ => Map::new(),
        };
        for (name, value) in entries {
            let dotted = format!("{key}.{}", quoted(&name));
            owned_by_rest(config, connector, &dotted)?;
            let value = match (key.as_str(), value) {
                ("secrets", Value::Null) => {
                    secrets.remove(&name);
                    continue;
                }
                ("secrets", Value::String(text)) => {
                    secrets.insert(name, secret(connector, &dotted, text)?);
                    continue;
                }
                ("secrets", _) => {
                    let fix =
                        "send the secret itself; it is kept in a private file and never shown";
                    return Err(wrong(connector, &dotted, "is not a text", fix));
                }
                ("settings", value) => merged(table.remove(&name).unwrap_or_default(), value),
                (_, value) => value,
            };
            set(&mut table, &name, value);
        }
        if !table.is_empty() {
            overlay.insert(key.clone(), Value::Object(table));
        }
    }
    Ok(Overlay { keys: overlay, secrets })
}

fn secret(connector: &str, key: &str, text: String) -> Result<SecretText, KeeperError> {
    if text.is_empty() || text.len() > MAX_SECRET || text.contains(['\r', '\n', '\0']) {
        let fix = "send one line of at most 4096 bytes";
        return Err(wrong(connector, key, "cannot be a secret", fix));
    }
    Ok(text.into())
}

fn set(table: &mut Map<String, Value>, key: &str, value: Value) {
    if value.is_null() {
        table.remove(key);
    } else {
        table.insert(key.to_owned(), value);
    }
}

/// RFC 7396, section 2.
fn merged(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut target = match target {
        Value::Object(target) => target,
        _ => Map::new(),
    };
    for (key, value) in patch {
        let before = target.remove(&key).unwrap_or_default();
        if !value.is_null() {
            target.insert(key, merged(before, value));
        }
    }
    Value::Object(target)
}

fn wrong(connector: &str, key: &str, message: &str, fix: &str) -> KeeperError {
    let dot = if key.is_empty() { "" } else { "." };
    KeeperError::Invalid(vec![Complaint {
        place: Place::default(),
        key: format!("connectors.{connector}{dot}{key}"),
        message: message.to_owned(),
        fix: fix.to_owned(),
    }])
}

/// An error when the config file sets the key of the connector.
pub(super) fn owned_by_rest(
    config: &Config,
    connector: &str,
    key: &str,
) -> Result<(), KeeperError> {
    match file_owner(config, connector, key) {
        Some(Owner::File { file, line }) => Err(KeeperError::OwnedByFile {
            file,
            line,
            key: format!("connectors.{connector}.{key}"),
        }),
        _ => Ok(()),
    }
}

fn file_owner(config: &Config, connector: &str, key: &str) -> Option<Owner> {
    let place = config.place(&format!("connectors.{connector}.{key}"))?;
    Some(Owner::File { file: config.file.clone(), line: place.line })
}

/// A connector as it is wanted: both owners' keys together. None when neither names it.
pub(super) fn wanted(
    config: &Config,
    connector: &str,
    overlay: Option<&Overlay>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<Result<ConnectorConfig, Vec<Complaint>>> {
    let of_file = config.connectors.iter().find(|known| known.id.as_str() == connector);
    let overlay = match (of_file, overlay.filter(|overlay| !overlay.is_empty())) {
        (of_file, None) => return of_file.cloned().map(Ok),
        (_, Some(overlay)) => overlay,
    };
    let written = of_file.map(|known| &known.raw);
    let section = together(written, overlay);
    let text = format!("[connectors.{}]\n{}", quoted(connector), toml_of(&section));
    Some(match Config::parse(&text, &config.file, environment) {
        Ok(parsed) => {
            parsed.connectors.into_iter().next().ok_or_else(Vec::new).map(|mut parsed| {
                for (name, secret) in &overlay.secrets {
                    parsed.secrets.entry(name.clone()).or_insert_with(|| secret.clone());
                }
                parsed
            })
        }
        Err(ConfigError::Complaints { complaints, .. }) => {
            Err(complaints.into_iter().map(|it| placed(config, overlay, it)).collect())
        }
        Err(ConfigError::Unreadable { .. }) => Err(Vec::new()),
    })
}

/// A complaint with its place in the file, or none (line 0) where REST owns the key.
pub(super) fn placed(config: &Config, overlay: &Overlay, complaint: Complaint) -> Complaint {
    let mut keys = complaint.key.splitn(3, '.').skip(2);
    let below = keys.next().unwrap_or_default();
    if is_set(overlay, below) {
        return Complaint { place: Place::default(), ..complaint };
    }
    config.complaint(&complaint.key, complaint.message, complaint.fix)
}

fn is_set(overlay: &Overlay, key: &str) -> bool {
    let (table, rest) = key.split_once(['.', '[']).unwrap_or((key, ""));
    if table == "secrets" {
        return overlay.secrets.keys().any(|name| rest == quoted(name));
    }
    match overlay.keys.get(table) {
        Some(Value::Object(entries)) if TABLES.contains(&table) => {
            rest.is_empty()
                || entries.keys().any(|name| {
                    let name = quoted(name);
                    rest == name
                        || rest.strip_prefix(&name).is_some_and(|end| end.starts_with(['.', '[']))
                })
        }
        Some(_) => true,
        None => false,
    }
}

/// The file's section with REST's keys where it has none.
fn together(written: Option<&Value>, overlay: &Overlay) -> Map<String, Value> {
    let mut section = written.and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in &overlay.keys {
        match (section.get_mut(key), value) {
            (None, value) => {
                section.insert(key.clone(), value.clone());
            }
            (Some(Value::Object(table)), Value::Object(entries))
                if TABLES.contains(&key.as_str()) =>
            {
                for (name, value) in entries {
                    table.entry(name).or_insert_with(|| value.clone());
                }
            }
            // The file says something now: its word counts.
            (Some(_), _) => {}
        }
    }
    section
}

/// Every key that somebody set, with its owner.
pub(super) fn keys(config: &Config, connector: &str, overlay: Option<&Overlay>) -> Vec<KeyView> {
    let none = Overlay::default();
    let overlay = overlay.unwrap_or(&none);
    let of_file = config.connectors.iter().find(|known| known.id.as_str() == connector);
    let mut views = Vec::new();
    let section = together(of_file.map(|known| &known.raw), overlay);
    for (key, value) in section {
        match value {
            Value::Object(entries) if TABLES.contains(&key.as_str()) => {
                for (name, value) in entries {
                    let dotted = format!("{key}.{}", quoted(&name));
                    let value = if key == "secrets" { "set".into() } else { value };
                    views.push(view(config, connector, dotted, value));
                }
            }
            value => views.push(view(config, connector, key, value)),
        }
    }
    for name in overlay.secrets.keys() {
        let key = format!("secrets.{}", quoted(name));
        if !views.iter().any(|view| view.key == key) {
            views.push(view(config, connector, key, "set".into()));
        }
    }
    views
}

fn view(config: &Config, connector: &str, key: String, value: Value) -> KeyView {
    let owner = file_owner(config, connector, &key).unwrap_or(Owner::Rest);
    KeyView { key, value, owner }
}

/// Who owns a key, if anybody set it.
pub(super) fn owner(
    config: &Config,
    connector: &str,
    overlay: Option<&Overlay>,
    key: &str,
) -> Option<Owner> {
    file_owner(config, connector, key)
        .or_else(|| overlay.filter(|overlay| is_set(overlay, key)).map(|_| Owner::Rest))
}

/// The lines of a section. Nulls have no place in TOML and are left out.
fn toml_of(section: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (key, value) in section.iter().filter(|(_, value)| !value.is_null()) {
        let _ = writeln!(text, "{} = {}", quoted(key), inline(value));
    }
    text
}

fn inline(value: &Value) -> String {
    match value {
        // Never met: callers leave nulls out.
        Value::Null => "false".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text_of(text),
        Value::Array(items) => {
            let items: Vec<String> =
                items.iter().filter(|item| !item.is_null()).map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{} = {}", quoted(key), inline(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A key as the config's complaints write it: bare where it can be.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare { key.to_owned() } else { text_of(key) }
}

/// A basic string; JSON's escapes are among TOML's, but TOML wants DEL escaped too.
fn text_of(text: &str) -> String {
    Value::String(text.to_owned()).to_string().replace('\u{7f}', "\\u007F")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    const FILE: &str = r#"
[connectors.hq]
plugin = "asterisk"
links.ami = "tls://pbx.example.org"
settings = { username = "jackfield", country = "DE" }
grants = ["link:ami"]
"#;

    fn config() -> Config {
        Config::parse(FILE, Path::new("jackfield.toml"), &|_| None).unwrap()
    }

    fn object(value: Value) -> Overlay {
        Overlay { keys: value.as_object().unwrap().clone(), secrets: BTreeMap::new() }
    }

    fn patch(overlay: Value, patch: Value) -> Result<Overlay, KeeperError> {
        patched(&config(), "hq", &object(overlay), &patch)
    }

    #[test]
    fn what_the_file_sets_belongs_to_it_key_by_key() {
        for (change, key, line) in [
            (json!({"settings": {"username": "x"}}), "connectors.hq.settings.username", 5),
            (json!({"links": {"ami": "tcp://127.0.0.1"}}), "connectors.hq.links.ami", 4),
            (json!({"grants": []}), "connectors.hq.grants", 6),
            (json!({"plugin": "other"}), "connectors.hq.plugin", 3),
        ] {
            let error = patch(json!({}), change).unwrap_err();
            let KeeperError::OwnedByFile { line: found, key: named, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!((named.as_str(), *found), (key, line));
        }
        let overlay = patch(json!({}), json!({"settings": {"extensions": "^1"}})).unwrap();
        assert_eq!(Value::Object(overlay.keys), json!({"settings": {"extensions": "^1"}}));
    }

    #[test]
    fn a_merge_patch_sets_changes_and_removes() {
        let before = json!({"settings": {"a": {"x": 1, "y": 2}, "b": 1}, "enabled": true});
        let after = patch(
            before,
            json!({"settings": {"a": {"x": null, "z": 3}, "b": null}, "enabled": null}),
        );
        assert_eq!(
            Value::Object(after.unwrap().keys),
            json!({"settings": {"a": {"y": 2, "z": 3}}})
        );
    }

    #[test]
    fn a_secret_is_kept_elsewhere_and_shown_to_nobody() {
        let overlay = patch(json!({}), json!({"secrets": {"ami": "hunter2"}})).unwrap();
        assert!(!format!("{overlay:?}").contains("hunter2"));
        let shown = keys(&config(), "hq", Some(&overlay));
        let secret = shown.iter().find(|key| key.key == "secrets.ami").unwrap();
        assert_eq!((&secret.value, &secret.owner), (&json!("set"), &Owner::Rest));
        assert!(patch(json!({}), json!({"secrets": {"ami": {"env": "HOME"}}})).is_err());
        let made = wanted(&config(), "hq", Some(&overlay), &|_| None).unwrap().unwrap();
        assert_eq!(made.secrets["ami"].expose(), "hunter2");
    }

    #[test]
    fn both_owners_keys_are_one_section_and_complaints_know_whose_they_are() {
        let overlay = object(
            json!({"settings": {"time_zone": "Mars/Olympus", "odd key": "a\"b\u{7f}"}, "limits": {"memory_mib": 5000}}),
        );
        let complaints = wanted(&config(), "hq", Some(&overlay), &|_| None).unwrap().unwrap_err();
        let said: Vec<_> = complaints.iter().map(|it| (it.key.as_str(), it.place.line)).collect();
        assert_eq!(
            said,
            [("connectors.hq.limits.memory_mib", 0), ("connectors.hq.settings.time_zone", 0)]
        );
        let overlay = object(json!({"settings": {"odd key": "a\"b\u{7f}\n"}, "enabled": false}));
        let merged = wanted(&config(), "hq", Some(&overlay), &|_| None).unwrap().unwrap();
        assert_eq!(
            merged.settings,
            json!({"username": "jackfield", "country": "DE", "odd key": "a\"b\u{7f}\n"})
        );
        assert_eq!((merged.enabled, merged.numbers.country.as_deref()), (Some(false), Some("DE")));
    }

    #[test]
    fn a_connector_can_be_all_of_rest_s() {
        let overlay = object(
            json!({"plugin": "asterisk", "links": {"ami": "tls://pbx"}, "grants": ["link:ami"]}),
        );
        let made = wanted(&config(), "branch", Some(&overlay), &|_| None).unwrap().unwrap();
        assert_eq!((made.id.as_str(), made.grants.len()), ("branch", 1));
        assert!(wanted(&config(), "branch", None, &|_| None).is_none());
    }
}
