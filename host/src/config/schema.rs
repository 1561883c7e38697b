//! Settings against a plugin's JSON Schema: the part of JSON Schema 2020-12 that settings are written in.
//!
//! `type`, `properties`, `required`, `additionalProperties`, `items`, `enum`, `const`, `pattern`, `minimum`,
//! `maximum`, `minLength`, `maxLength`, `minItems`, `maxItems`. Other words are annotations here; what they would
//! forbid, the plugin's own check finds.

use serde_json::{Map, Value};

use super::document::nearest;

/// Something in the settings that the schema does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaProblem {
    /// Dotted path within the settings; empty for the settings as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// Deeper than any settings; a guest wrote the schema.
const MAX_DEPTH: usize = 32;

/// A regular expression of bounded size.
pub fn pattern(text: &str) -> Result<regex_lite::Regex, regex_lite::Error> {
    regex_lite::RegexBuilder::new(text).size_limit(256 * 1024).build()
}

/// Everything that is wrong with the settings.
pub fn check(settings: &Value, schema: &Value) -> Vec<SchemaProblem> {
    let mut problems = Vec::new();
    walk(settings, schema, "", 0, &mut problems);
    problems
}

fn walk(
    value: &Value,
    schema: &Value,
    path: &str,
    depth: usize,
    problems: &mut Vec<SchemaProblem>,
) {
    let Value::Object(schema) = schema else { return };
    if depth > MAX_DEPTH {
        return;
    }
    let mut complain = |message: String, fix: String| {
        problems.push(SchemaProblem { path: path.to_owned(), message, fix });
    };
    let meant = described(schema);
    if let Some(types) = schema.get("type") {
        let wanted: Vec<&str> = match types {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !wanted.is_empty() && !wanted.iter().any(|kind| is_of(value, kind)) {
            complain(
                format!("{} stands here", kind_of(value)),
                format!(
                    "write {}{meant}",
                    wanted.iter().map(|kind| spoken(kind)).collect::<Vec<_>>().join(" or ")
                ),
            );
            return;
        }
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        let list = allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        complain(format!("{value} is not possible"), format!("write one of: {list}"));
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        complain(format!("{value} is not possible"), format!("write {only}"));
    }
    match value {
        Value::String(text) => check_text(text, schema, &meant, &mut complain),
        Value::Number(number) => check_number(number, schema, &mut complain),
        Value::Array(items) => {
            check_count(items.len(), schema, ("minItems", "maxItems"), "entries", &mut complain);
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    walk(item, schema, &format!("{path}[{index}]"), depth + 1, problems);
                }
            }
        }
        Value::Object(object) => check_object(object, schema, path, depth, problems),
        _ => {}
    }
}

fn check_text(
    text: &str,
    schema: &Map<String, Value>,
    meant: &str,
    complain: &mut impl FnMut(String, String),
) {
    check_count(text.chars().count(), schema, ("minLength", "maxLength"), "letters", complain);
    if let Some(Value::String(pattern)) = schema.get("pattern")
        && let Ok(compiled) = self::pattern(pattern)
        && !compiled.is_match(text)
    {
        complain(
            format!("{text:?} does not fit"),
            format!("write something that matches {pattern}{meant}"),
        );
    }
}

fn check_number(
    number: &serde_json::Number,
    schema: &Map<String, Value>,
    complain: &mut impl FnMut(String, String),
) {
    let Some(value) = number.as_f64() else { return };
    let least = schema.get("minimum").and_then(Value::as_f64);
    let most = schema.get("maximum").and_then(Value::as_f64);
    if least.is_some_and(|least| value < least) || most.is_some_and(|most| value > most) {
        let range = match (least, most) {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("of at least {least}"),
            (_, Some(most)) => format!("of at most {most}"),
            (None, None) => return,
        };
        complain(format!("{number} is out of range"), format!("write a number {range}"));
    }
}

fn check_count(
    count: usize,
    schema: &Map<String, Value>,
    (least, most): (&str, &str),
    what: &str,
    complain: &mut impl FnMut(String, String),
) {
    let count = count as u64;
    if let Some(least) = schema.get(least).and_then(Value::as_u64)
        && count < least
    {
        complain(format!("{count} {what} are too few"), format!("write at least {least}"));
    }
    if let Some(most) = schema.get(most).and_then(Value::as_u64)
        && count > most
    {
        complain(format!("{count} {what} are too many"), format!("write at most {most}"));
    }
}

fn check_object(
    object: &Map<String, Value>,
    schema: &Map<String, Value>,
    path: &str,
    depth: usize,
    problems: &mut Vec<SchemaProblem>,
) {
    let within =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str).filter(|name| !object.contains_key(*name)) {
        let meant =
            properties.get(name).and_then(Value::as_object).map(described).unwrap_or_default();
        problems.push(SchemaProblem {
            path: within(name),
            message: "is missing".to_owned(),
            fix: format!("add {name} = ...{meant}"),
        });
    }
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    for (name, value) in object {
        match (properties.get(name), schema.get("additionalProperties")) {
            (Some(property), _) => walk(value, property, &within(name), depth + 1, problems),
            (None, Some(Value::Bool(false))) => problems.push(SchemaProblem {
                path: within(name),
                message: "the plugin has no such setting".to_owned(),
                fix: match nearest(name, &known) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("remove it; known here: {}", known.join(", ")),
                },
            }),
            (None, Some(rest)) => walk(value, rest, &within(name), depth + 1, problems),
            (None, None) => {}
        }
    }
}

/// The schema's own words about a value, as the end of a sentence.
fn described(schema: &Map<String, Value>) -> String {
    match schema.get("description").and_then(Value::as_str) {
        Some(text) => format!(" ({})", text.trim_end_matches('.')),
        None => String::new(),
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        // A word of a later schema forbids nothing.
        _ => true,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn spoken(kind: &str) -> &str {
    match kind {
        "string" => "a text in quotes",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list in brackets",
        "object" => "a table in braces",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(settings: Value) -> Vec<String> {
        let schema = serde_json::json!({
            "type": "object",
            "required": ["username"],
            "additionalProperties": false,
            "properties": {
                "username": { "type": "string", "minLength": 1, "description": "The account." },
                "country": { "type": "string", "pattern": "^[A-Z]{2}$" },
                "ping_secs": { "type": "integer", "minimum": 1, "maximum": 60 },
                "profile": { "enum": ["minimal", "full"] },
                "trunks": { "type": "array", "items": { "type": "string" }, "maxItems": 2 }
            }
        });
        check(&settings, &schema)
            .into_iter()
            .map(|SchemaProblem { path, message, fix }| format!("{path}: {message}; {fix}"))
            .collect()
    }

    #[test]
    fn good_settings_have_no_problem() {
        assert!(said(serde_json::json!({
            "username": "jackfield", "country": "DE", "ping_secs": 10, "profile": "full", "trunks": ["a"]
        })).is_empty());
    }

    #[test]
    fn every_problem_names_its_setting_and_the_fix() {
        assert_eq!(
            said(serde_json::json!({
                "usrname": "x", "country": "Germany", "ping_secs": 0, "profile": "root", "trunks": ["a", 1, "b"]
            })),
            [
                "username: is missing; add username = ... (The account)",
                "country: \"Germany\" does not fit; write something that matches ^[A-Z]{2}$",
                "ping_secs: 0 is out of range; write a number from 1 to 60",
                "profile: \"root\" is not possible; write one of: \"minimal\", \"full\"",
                "trunks: 3 entries are too many; write at most 2",
                "trunks[1]: a number stands here; write a text in quotes",
                "usrname: the plugin has no such setting; did you mean `username`?",
            ]
        );
        assert_eq!(said(serde_json::json!([])), [": a list stands here; write a table in braces"]);
    }
}
