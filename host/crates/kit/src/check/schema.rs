//! A schema of settings: is it one, and does a newer one refuse what an older one took?

use serde_json::{Map, Value};

use super::Level;

/// Something about a schema.
#[derive(Debug)]
pub(super) struct Problem {
    pub level: Level,
    /// Dotted path of the setting; `settings` for all of them.
    pub path: String,
    pub text: String,
    pub fix: &'static str,
}

/// Deeper than any settings; whoever wrote a component wrote its schema.
const MAX_DEPTH: usize = 32;
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
/// Words a host checks settings by.
const CHECKED: [&str; 14] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
];
/// Words that say something to people, or name the schema.
const ANNOTATIONS: [&str; 7] =
    ["$schema", "$id", "$comment", "title", "description", "default", "examples"];

/// Everything that is wrong with it.
pub(super) fn problems(schema: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(schema, "settings", 0, &mut problems);
    if schema["type"] != "object" {
        problems.push(Problem {
            level: Level::Error,
            path: "settings".into(),
            text: "settings are a table, so the schema's `type` is `object`".into(),
            fix: "\"type\": \"object\"",
        });
    } else if schema["additionalProperties"] != false && schema["properties"].is_object() {
        problems.push(Problem {
            level: Level::Warning,
            path: "settings".into(),
            text: "a setting whose name is misspelt is taken without a word".into(),
            fix: "\"additionalProperties\": false",
        });
    }
    problems
}

fn walk(schema: &Value, path: &str, depth: usize, problems: &mut Vec<Problem>) {
    let mut complain = |level, text: String, fix| {
        problems.push(Problem { level, path: path.to_owned(), text, fix });
    };
    let schema = match schema {
        Value::Object(schema) => schema,
        Value::Bool(_) => return,
        _ => return complain(Level::Error, "a schema is an object".into(), ""),
    };
    if depth > MAX_DEPTH {
        return complain(Level::Error, "too deep to be settings".into(), "make them flatter");
    }
    for word in schema.keys() {
        let known = CHECKED.iter().chain(&ANNOTATIONS).any(|it| it == word);
        if !known {
            let text = format!("`{}` is not looked at by a host", crate::check::plain(word));
            complain(Level::Warning, text, "check it in the plugin's own `validate`");
        }
    }
    let types = types_of(schema);
    for kind in types.iter().filter(|kind| !TYPES.contains(kind)) {
        let text =
            format!("`{}` is no type; there are {}", crate::check::plain(kind), TYPES.join(", "));
        complain(Level::Error, text, "");
    }
    if let Some(value) = schema.get("default").filter(|value| !is_one_of(value, &types)) {
        complain(
            Level::Error,
            format!("its default is {value}, which is no {}", types.join(" or ")),
            "",
        );
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for name in required(schema) {
        if properties.is_none_or(|properties| !properties.contains_key(name)) {
            let text = format!("`{}` is required and not described", crate::check::plain(name));
            complain(Level::Error, text, "describe it in `properties`");
        }
    }
    for (name, inner) in properties.into_iter().flatten() {
        walk(inner, &format!("{path}.{}", crate::check::plain(name)), depth + 1, problems);
        if inner.get("description").is_none() && inner.get("title").is_none() {
            problems.push(Problem {
                level: Level::Warning,
                path: format!("{path}.{}", crate::check::plain(name)),
                text: "nobody says what it is".into(),
                fix: "\"description\": \"...\"",
            });
        }
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner @ Value::Object(_)) = schema.get(word) {
            walk(inner, &format!("{path}[]"), depth + 1, problems);
        }
    }
}

/// Settings that the older schema took and the newer one refuses: path and why.
pub(super) fn narrowed(older: &Value, newer: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (Some(older), Some(newer)) = (older.as_object(), newer.as_object()) else { return found };
    let needed_before: Vec<&str> = required(older).collect();
    for name in required(newer).filter(|name| !needed_before.contains(name)) {
        found.push((format!("settings.{name}"), "is needed now, and was not before".to_owned()));
    }
    let properties = |schema: &Map<String, Value>| {
        schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let now = properties(newer);
    for (name, before) in properties(older) {
        match now.get(&name) {
            None if newer.get("additionalProperties") == Some(&Value::Bool(false)) => {
                found.push((
                    format!("settings.{name}"),
                    "is refused now, and was not before".into(),
                ));
            }
            Some(now) if now.get("type") != before.get("type") => {
                found.push((format!("settings.{name}"), "is of another type than before".into()));
            }
            _ => {}
        }
    }
    found
}

fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn types_of(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_one_of(value: &Value, types: &[&str]) -> bool {
    types.is_empty()
        || types.iter().any(|kind| match *kind {
            "array" => value.is_array(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "null" => value.is_null(),
            "number" => value.is_number(),
            "object" => value.is_object(),
            "string" => value.is_string(),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value) -> Vec<String> {
        let problems = problems(schema).into_iter();
        problems.map(|it| format!("{:?} {}: {}", it.level, it.path, it.text)).collect()
    }

    #[test]
    fn a_careful_schema_has_no_problems() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "additionalProperties": false, "required": ["vip"],
            "properties": {
                "vip": { "type": "array", "items": { "type": "string" }, "description": "Numbers." },
                "rank": { "type": ["integer", "null"], "default": 10, "title": "Rank" },
            },
        });
        assert_eq!(told(&schema), [""; 0]);
    }

    #[test]
    fn each_mistake_is_told_at_its_place() {
        for (schema, expected) in [
            (
                json!({ "type": "array" }),
                "Error settings: settings are a table, so the schema's `type` is `object`",
            ),
            (
                json!({ "type": "object", "properties": { "a": { "type": "text", "title": "A" } } }),
                "Error settings.a: `text` is no type; there are array, boolean, integer, null, number, object, string",
            ),
            (
                json!({ "type": "object", "properties": { "a": { "type": "integer", "title": "A", "default": "1" } } }),
                "Error settings.a: its default is \"1\", which is no integer",
            ),
            (
                json!({ "type": "object", "required": ["b"] }),
                "Error settings: `b` is required and not described",
            ),
            (
                json!({ "type": "object", "properties": { "a": { "title": "A", "anyOf": [] } } }),
                "Warning settings.a: `anyOf` is not looked at by a host",
            ),
            (
                json!({ "type": "object", "properties": { "a": {} } }),
                "Warning settings.a: nobody says what it is",
            ),
        ] {
            assert!(told(&schema).contains(&expected.to_owned()), "{:?}", told(&schema));
        }
    }

    #[test]
    fn a_schema_without_end_is_cut_off() {
        let deep = (0..100).fold(json!({}), |inner, _| json!({ "type": "array", "items": inner }));
        assert!(told(&deep).iter().any(|problem| problem.ends_with("too deep to be settings")));
    }

    #[test]
    fn settings_of_today_that_are_refused_tomorrow_are_told() {
        let older =
            json!({ "properties": { "a": { "type": "string" }, "b": { "type": "string" } } });
        let newer = json!({
            "additionalProperties": false, "required": ["c"],
            "properties": { "a": { "type": "integer" }, "c": { "type": "string" } },
        });
        let told: Vec<String> = narrowed(&older, &newer)
            .into_iter()
            .map(|(path, text)| format!("{path} {text}"))
            .collect();
        assert_eq!(
            told,
            [
                "settings.c is needed now, and was not before",
                "settings.a is of another type than before",
                "settings.b is refused now, and was not before",
            ]
        );
        assert!(narrowed(&older, &older).is_empty());
    }
}
