//! `jackfield plugin inspect`: what a component is and may do, without running it.

use std::path::PathBuf;

use clap::Subcommand;

use super::{FAILURE, SUCCESS, complain, say};
use crate::{
    connectors::{LoadedPlugin, load},
    plugins::compile,
};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Show a plugin's manifest, kind, hash and what it asks for.
    ///
    /// The file is validated and compiled, and none of its code runs. A file that is no plugin is refused with
    /// the reason and the fix.
    Inspect {
        /// The component, a .wasm file.
        file: PathBuf,
        /// One JSON document instead of lines.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: PluginCommand) -> anyhow::Result<u8> {
    let PluginCommand::Inspect { file, json } = command;
    let runtime = compile::runtime()?;
    let plugin = match load(&runtime, &file) {
        Ok(plugin) => plugin,
        Err(message) => {
            complain(&message);
            return Ok(FAILURE);
        }
    };
    let text = if json { as_json(&plugin) } else { as_lines(&plugin) };
    say(&text);
    Ok(SUCCESS)
}

fn as_json(LoadedPlugin { plugin, info }: &LoadedPlugin) -> String {
    format!(
        "{:#}",
        serde_json::json!({
            "file": info.file,
            "sha256": info.sha256,
            "kinds": kinds(plugin),
            "abilities": abilities(plugin),
            "manifest": info.manifest,
        })
    )
}

fn as_lines(LoadedPlugin { plugin, info }: &LoadedPlugin) -> String {
    let manifest = &info.manifest;
    let mut lines = vec![
        format!("{} {} ({})", manifest.name, manifest.version, manifest.id),
        format!("  {}", manifest.description),
        format!("  author     {}", manifest.author),
        format!("  licence    {}", manifest.license),
        format!("  sha256     {}", info.sha256),
        format!("  kinds      {}", kinds(plugin).join(", ")),
        format!("  abilities  {}", or_none(abilities(plugin).join(", "))),
    ];
    for link in &manifest.links {
        lines.push(format!(
            "  wants link {}: {}{}; secrets as {}",
            link.name,
            link.transports.join(" or "),
            if link.required { ", required" } else { "" },
            or_none(link.secrets.join(", ")),
        ));
    }
    for request in &manifest.http {
        lines.push(format!("  wants HTTP {}", request.host));
    }
    lines.push(
        "  imports    nothing but a log: it can answer with data, and do nothing else".to_owned(),
    );
    lines.join("\n")
}

fn kinds(plugin: &plugin_runtime::Plugin) -> Vec<&'static str> {
    plugin
        .kinds()
        .iter()
        .map(|kind| match kind {
            plugin_runtime::Kind::Connector => "connector",
        })
        .collect()
}

fn abilities(plugin: &plugin_runtime::Plugin) -> Vec<&'static str> {
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
    if text.is_empty() { "none".to_owned() } else { text }
}
