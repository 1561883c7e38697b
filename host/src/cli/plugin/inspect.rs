//! `jackfield plugin inspect`: everything a component says and proves, for people and as JSON.

use plugin_runtime::{Manifest, Plugin};
use serde_json::{Value, json};

use crate::{
    api::HONEST_LIMIT,
    cli::table::{bytes, plain, table},
    connectors::LoadedPlugin,
};

/// What the check of its imports at load means.
const PROOF: &str = "Its only import is `jackfield:log/log`, a log line. It has no socket, file, clock, randomness or password: \
     it gets data, and can do nothing but answer with data. What it wants done, Jackfield does, if you granted it.";

pub(super) fn as_json(LoadedPlugin { plugin, info }: &LoadedPlugin) -> String {
    let permissions = info
        .manifest
        .permissions()
        .into_iter()
        .map(|it| json!({ "grant": it.grant, "reason": it.reason, "meaning": it.meaning }));
    let document = json!({
        "file": info.file,
        "sha256": info.sha256,
        "api": info.manifest.api,
        "kinds": kinds(plugin),
        "abilities": abilities(plugin),
        "imports": { "proof": PROOF },
        "permissions": permissions.collect::<Vec<_>>(),
        "honest_limit": HONEST_LIMIT,
        "manifest": info.manifest,
    });
    format!("{document:#}")
}

pub(super) fn as_lines(LoadedPlugin { plugin, info }: &LoadedPlugin) -> String {
    let manifest = &info.manifest;
    let mut parts = vec![head(plugin, &info.sha256, manifest)];
    parts.push(format!("What the binary proves\n{}", wrapped(PROOF)));
    parts.push(asks(manifest));
    parts.push(links(manifest));
    parts.push(settings(&manifest.settings));
    if !manifest.hooks.is_empty() {
        let hooks =
            manifest.hooks.iter().map(|it| format!("  {}, priority {}", it.kind, it.priority));
        let hooks = hooks.collect::<Vec<_>>().join("\n");
        parts.push(format!("Hooks it would like (this version has none yet)\n{hooks}"));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn head(plugin: &Plugin, sha256: &str, manifest: &Manifest) -> String {
    let rows = [
        ("author", manifest.author.clone()),
        ("licence", manifest.license.clone()),
        ("sha256", sha256.to_owned()),
        ("plugin API", manifest.api.clone()),
        ("kinds", kinds(plugin).join(", ")),
        ("abilities", or_none(abilities(plugin).join(", "))),
    ];
    let rows = rows.map(|(name, value)| format!("  {name:<11}{}", plain(&value)));
    format!(
        "{} {} ({})\n  {}\n{}",
        plain(&manifest.name),
        plain(&manifest.version),
        manifest.id,
        plain(&manifest.description),
        rows.join("\n")
    )
}

fn asks(manifest: &Manifest) -> String {
    let permissions = manifest.permissions();
    if permissions.is_empty() {
        return "It asks for nothing".to_owned();
    }
    let mut lines = vec!["What it asks for (grants = [...] in its connector)".to_owned()];
    for permission in permissions {
        lines.push(format!("  {}", plain(&permission.grant)));
        let reason = or_else(plain(&permission.reason), "it does not say");
        lines.push(format!("    why it wants it: {reason}"));
        lines.push(wrapped_at(4, &format!("what it means: {}", plain(&permission.meaning))));
    }
    if !manifest.links.is_empty() {
        lines.push(wrapped(&format!("The honest limit: {HONEST_LIMIT}")));
    }
    lines.join("\n")
}

fn links(manifest: &Manifest) -> String {
    if manifest.links.is_empty() {
        return String::new();
    }
    let rows = manifest.links.iter().map(|link| {
        let ports = link.default_port.iter().map(|(transport, port)| format!("{transport} {port}"));
        [
            link.name.clone(),
            link.transports.join(", "),
            or_none(ports.collect::<Vec<_>>().join(", ")),
            if link.required { "yes" } else { "no" }.to_owned(),
            or_none(link.secrets.join(", ")),
            bytes(u64::from(link.max_frame)),
        ]
    });
    let header = ["LINK", "TRANSPORTS", "USUAL PORT", "NEEDED", "SECRETS AS", "LONGEST FRAME"];
    indented(&table(header, rows))
}

/// The schema's properties, as a table.
fn settings(schema: &Value) -> String {
    let Some(properties) = schema["properties"].as_object().filter(|all| !all.is_empty()) else {
        return "Settings: it describes none".to_owned();
    };
    let required = schema["required"].as_array();
    let needed = |name: &str| required.is_some_and(|all| all.iter().any(|it| it == name));
    let rows = properties.iter().map(|(name, property)| {
        let text = |field: &str| property[field].as_str().unwrap_or_default().to_owned();
        let kind = match &property["type"] {
            Value::Array(kinds) => {
                kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
            }
            kind => kind.as_str().unwrap_or("any").to_owned(),
        };
        let usual = match &property["default"] {
            Value::Null if needed(name) => "needed".to_owned(),
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        [format!("settings.{name}"), kind, usual, or_else(text("title"), &text("description"))]
    });
    let mut lines = vec![indented(&table(["SETTING", "TYPE", "USUALLY", "WHAT IT IS"], rows))];
    for (name, property) in properties {
        if let (Some(_), Some(help)) =
            (property["title"].as_str(), property["description"].as_str())
        {
            lines.push(wrapped(&format!("settings.{name}: {}", plain(help))));
        }
    }
    lines.join("\n")
}

fn kinds(plugin: &Plugin) -> Vec<&'static str> {
    plugin.kinds().iter().map(|kind| kind.code()).collect()
}

fn abilities(plugin: &Plugin) -> Vec<&'static str> {
    let mut abilities = Vec::new();
    if plugin.has_snapshot() {
        abilities.push("snapshot");
    }
    if plugin.has_settings_check() {
        abilities.push("settings check");
    }
    abilities
}

fn or_none(text: String) -> String {
    or_else(text, "none")
}

fn or_else(text: String, other: &str) -> String {
    if text.is_empty() { other.to_owned() } else { text }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn wrapped(text: &str) -> String {
    wrapped_at(2, text)
}

fn wrapped_at(indent: usize, text: &str) -> String {
    const WIDTH: usize = 100;
    let margin = " ".repeat(indent);
    let mut lines = vec![margin.clone()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("it begins with one");
        if line.len() > indent && line.len() + word.len() >= WIDTH {
            lines.push(format!("{margin}{word}"));
        } else {
            if line.len() > indent {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_with_what_is_needed_and_help() {
        let schema = json!({
            "type": "object", "required": ["username"],
            "properties": {
                "username": { "type": "string", "title": "User", "description": "The section in manager.conf." },
                "keepalive_secs": { "type": "integer", "default": 15, "description": "Silence." },
            },
        });
        let text = settings(&schema);
        for part in ["settings.username", "needed", "User", "settings.username: The section", "15"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn long_texts_are_wrapped_and_nothing_is_lost() {
        let text = "word ".repeat(80);
        let lines = wrapped_at(4, &text);
        assert!(lines.lines().all(|line| line.len() <= 100 && line.starts_with("    ")));
        assert_eq!(lines.split_whitespace().count(), 80);
    }
}
