//! `jackfield plugin` against a running host: each command is one or two requests, and what came of them.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use axum::http::Method;
use base64::Engine;
use serde_json::{Map, Value, json};

use super::{PluginCommand, Show};
use crate::{
    api::MAX_COMPONENT_BYTES,
    cli::{
        client::{Client, HostArgs, Sent, Trouble, segment},
        complain,
        report::{self, list, text},
        say,
        table::{bytes, micros, table},
    },
};

pub(super) async fn run(command: PluginCommand) -> Result<(), Trouble> {
    match command {
        PluginCommand::Author(_) | PluginCommand::Inspect { .. } | PluginCommand::Replay(_) => {
            unreachable!("it needs no host")
        }
        PluginCommand::List { show } => plugins(&show).await,
        PluginCommand::Stat { connector, show } => stat(connector, &show).await,
        PluginCommand::Install { file, signature, host } => install(&file, signature, &host).await,
        PluginCommand::Use { plugin, version, host } => {
            let path = format!("/v1/plugins/{}/use", segment(&plugin));
            changed(&host, Method::POST, &path, Sent::Json(json!({ "version": version }))).await
        }
        PluginCommand::Rollback { plugin, host } => {
            let path = format!("/v1/plugins/{}/rollback", segment(&plugin));
            changed(&host, Method::POST, &path, Sent::Nothing).await
        }
        PluginCommand::Uninstall { plugin, host } => {
            let path = format!("/v1/plugins/{}", segment(&plugin));
            changed(&host, Method::DELETE, &path, Sent::Nothing).await
        }
        PluginCommand::Enable { connector, host } => {
            changed(&host, Method::POST, &of(&connector, "/enable"), Sent::Nothing).await
        }
        PluginCommand::Disable { connector, host } => {
            changed(&host, Method::POST, &of(&connector, "/disable"), Sent::Nothing).await
        }
        PluginCommand::Forget { connector, host } => {
            changed(&host, Method::DELETE, &of(&connector, ""), Sent::Nothing).await
        }
        PluginCommand::Permissions { connector, show } => permissions(&connector, &show).await,
        PluginCommand::Grant { connector, permissions, host } => {
            answer(&connector, &permissions, true, &host).await
        }
        PluginCommand::Decline { connector, permissions, host } => {
            answer(&connector, &permissions, false, &host).await
        }
        PluginCommand::Set { connector, keys, show } if keys.is_empty() => {
            keys_of(&connector, &show).await
        }
        PluginCommand::Set { connector, keys, show } => {
            let body = Sent::Json(patch(&keys, &mut io::stdin())?);
            changed(&show.host, Method::PATCH, &of(&connector, ""), body).await
        }
        PluginCommand::Logs { connector, show } => logs(&connector, &show).await,
        PluginCommand::Shadow { connector, version, end, show } => {
            shadow(&connector, version, end, &show).await
        }
        PluginCommand::Record { connector, start, stop, fetch, redact, show } => match fetch {
            Some(name) => fetch_recording(&connector, &name, redact, &show.host).await,
            None if start || stop => capture(&connector, start, redact, &show.host).await,
            None => recordings(&connector, &show).await,
        },
    }
}

/// A path of a connector.
fn of(connector: &str, rest: &str) -> String {
    format!("/v1/connectors/{}{rest}", segment(connector))
}

async fn changed(host: &HostArgs, method: Method, path: &str, body: Sent) -> Result<(), Trouble> {
    let report = Client::new(host)?.ask(method, path, body).await?;
    say(&report::lines(&report));
    Ok(())
}

/// One answer, as JSON or as `lines` make it.
async fn shown(path: &str, show: &Show, lines: impl Fn(&Value) -> String) -> Result<(), Trouble> {
    let answer = Client::new(&show.host)?.get(path).await?;
    say(&if show.json { format!("{answer:#}") } else { lines(&answer) });
    Ok(())
}

async fn plugins(show: &Show) -> Result<(), Trouble> {
    let client = Client::new(&show.host)?;
    let plugins = client.get("/v1/plugins?limit=1000").await?;
    let connectors = client.get("/v1/connectors?limit=1000").await?;
    if show.json {
        let document = json!({ "plugins": plugins["items"], "connectors": connectors["items"] });
        say(&format!("{document:#}"));
    } else {
        let (versions, connectors) = (version_table(&plugins), connector_table(&connectors));
        say(&format!("{versions}\n\n{connectors}"));
    }
    Ok(())
}

fn version_table(plugins: &Value) -> String {
    let mut rows = Vec::new();
    for plugin in list(&plugins["items"]) {
        for version in list(&plugin["versions"]) {
            let mut state = Vec::new();
            let used: Vec<String> = list(&version["used_by"]).iter().map(text).collect();
            if !used.is_empty() {
                state.push(format!("runs in {}", used.join(", ")));
            }
            if version["sha256"] == plugin["selected"] {
                state.push("chosen".to_owned());
            }
            if let Some(why) = version["rejected"].as_str() {
                state.push(format!("rejected: {why}"));
            }
            rows.push([
                text(&plugin["id"]),
                text(&version["version"]),
                text(&version["sha256"]).chars().take(12).collect(),
                text(&version["installed_at"]).chars().take(19).collect(),
                version["signed_by"].as_str().unwrap_or("-").to_owned(),
                state.join("; "),
            ]);
        }
    }
    if rows.is_empty() {
        return "no plugins are kept; `jackfield plugin install FILE` adds one".to_owned();
    }
    table(["PLUGIN", "VERSION", "SHA256", "INSTALLED", "SIGNED BY", "STATE"], rows)
}

fn connector_table(connectors: &Value) -> String {
    let rows = list(&connectors["items"]).iter().map(|connector| {
        let lifecycle = &connector["lifecycle"];
        let running = &lifecycle["running"];
        let version = match running["version"].as_str() {
            Some(version) => format!("{} {version}", text(&running["plugin"])),
            None => text(&lifecycle["plugin"]),
        };
        let why = [&lifecycle["waiting"]["why"], &lifecycle["reason"], &connector["reason"]];
        let why = why.into_iter().map(text).find(|why| !why.is_empty()).unwrap_or_default();
        [
            text(&connector["id"]),
            version,
            text(&lifecycle["status"]),
            text(&connector["status"]),
            lifecycle["restarts"].as_u64().unwrap_or(0).to_string(),
            why,
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return "no connectors".to_owned();
    }
    table(["CONNECTOR", "RUNS", "STATUS", "PBX", "RESTARTS", "WHY"], rows)
}

async fn stat(connector: Option<String>, show: &Show) -> Result<(), Trouble> {
    let client = Client::new(&show.host)?;
    let ids: Vec<String> = match connector {
        Some(connector) => vec![connector],
        None => {
            let all = client.get("/v1/connectors?limit=1000").await?;
            list(&all["items"]).iter().map(|connector| text(&connector["id"])).collect()
        }
    };
    let mut stats = Map::new();
    for id in ids {
        let stat = client.get(&of(&id, "/stat")).await?;
        stats.insert(id, stat);
    }
    if show.json {
        say(&format!("{:#}", Value::Object(stats)));
        return Ok(());
    }
    let parts: Vec<String> = stats.iter().map(|(id, stat)| stat_lines(id, stat)).collect();
    say(&if parts.is_empty() { "no connectors".to_owned() } else { parts.join("\n\n") });
    Ok(())
}

fn stat_lines(id: &str, stat: &Value) -> String {
    let rows = list(&stat["limits"]).iter().map(|limit| {
        let unit = text(&limit["unit"]);
        let shown = |value: &Value| match (value.as_u64(), unit.as_str()) {
            (None, _) => String::new(),
            (Some(count), "bytes") => bytes(count),
            (Some(count), "microseconds") => micros(count),
            (Some(count), unit) => format!("{count} {unit}"),
        };
        let used = limit["used"].as_u64().zip(limit["limit"].as_u64().filter(|limit| *limit > 0));
        let share = used.map(|(used, limit)| format!("{} %", used.saturating_mul(100) / limit));
        [
            text(&limit["name"]),
            shown(&limit["limit"]),
            shown(&limit["used"]),
            share.unwrap_or_default(),
            shown(&limit["most"]),
            limit["beyond"].as_u64().map(|count| count.to_string()).unwrap_or_default(),
        ]
    });
    let table = table(["LIMIT", "AT MOST", "NOW", "OF IT", "MOST SO FAR", "BEYOND"], rows);
    let counters = stat["counters"].as_object().into_iter().flatten();
    let counters: Vec<String> =
        counters.map(|(name, count)| format!("{} {count}", name.replace('_', " "))).collect();
    format!("connector {id}: {}\n{table}", counters.join(", "))
}

async fn install(file: &Path, signature: Option<PathBuf>, host: &HostArgs) -> Result<(), Trouble> {
    let client = Client::new(host)?;
    let wasm = read_file(file)?;
    let beside = || {
        let mut name = file.as_os_str().to_owned();
        name.push(".minisig");
        Some(PathBuf::from(name)).filter(|path| path.is_file())
    };
    let signature = signature.or_else(beside).map(|path| read_file(&path)).transpose()?;
    let signature = signature.map(|text| base64::engine::general_purpose::STANDARD.encode(text));
    complain(&format!("sending {}; the host checks and compiles it...", bytes(wasm.len() as u64)));
    let body = Sent::Component { wasm, signature };
    let report = client.ask(Method::POST, "/v1/plugins", body).await?;
    say(&report::lines(&report));
    Ok(())
}

fn read_file(file: &Path) -> Result<Vec<u8>, Trouble> {
    let shown = file.display();
    let unreadable = |error: io::Error| {
        Trouble::usage(format!("cannot read {shown}: {error}; fix: name an existing file"))
    };
    let mut content = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(MAX_COMPONENT_BYTES as u64 + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() > MAX_COMPONENT_BYTES {
        let most = MAX_COMPONENT_BYTES >> 20;
        return Err(Trouble::failed(format!(
            "{shown} is larger than {most} MiB, the most a plugin can have; fix: name the .wasm file of a plugin"
        )));
    }
    Ok(content)
}

async fn permissions(connector: &str, show: &Show) -> Result<(), Trouble> {
    shown(&of(connector, "/permissions"), show, |answer| {
        let mut lines = Vec::new();
        for permission in list(&answer["permissions"]) {
            let version = match permission["in_use"].as_bool() {
                Some(false) => ", asked for by a version that waits",
                _ => "",
            };
            let owner = &permission["owner"];
            let owner = match owner["line"].as_u64() {
                Some(line) => format!(" ({}, line {line})", text(&owner["file"])),
                None => String::new(),
            };
            lines.push(format!(
                "{}: {}{owner}{version}",
                text(&permission["grant"]),
                text(&permission["state"])
            ));
            let reason = text(&permission["reason"]);
            let reason = if reason.is_empty() { "it does not say".to_owned() } else { reason };
            lines.push(format!("  why it wants it: {reason}"));
            lines.push(format!("  what it means: {}", text(&permission["meaning"])));
        }
        if lines.is_empty() {
            lines.push("it asks for nothing".to_owned());
        }
        lines.push(text(&answer["honest_limit"]));
        let waiting: Vec<String> = list(&answer["waiting_for"]).iter().map(text).collect();
        if !waiting.is_empty() {
            let names = waiting.join(" ");
            lines.push(format!(
                "a newer version waits; `jackfield plugin grant {connector} {names}` lets it run, \
                 `jackfield plugin decline {connector} {names}` lets it run without"
            ));
        }
        lines.join("\n")
    })
    .await
}

/// Says yes or no to some permissions; what was said to the others stays.
async fn answer(
    connector: &str,
    named: &[String],
    yes: bool,
    host: &HostArgs,
) -> Result<(), Trouble> {
    let client = Client::new(host)?;
    let path = of(connector, "/permissions");
    let present = client.get(&path).await?;
    let asked = list(&present["permissions"]);
    let known = |name: &String| asked.iter().any(|it| it["grant"] == name.as_str());
    if let Some(unknown) = named.iter().find(|name| !known(name)) {
        return Err(Trouble::failed(format!(
            "the plugin of {connector} does not ask for `{unknown}`; fix: see `jackfield plugin permissions {connector}`"
        )));
    }
    let said = |state: &str| {
        let those =
            asked.iter().filter(move |it| it["state"] == state).map(|it| text(&it["grant"]));
        those.filter(|grant| !named.contains(grant)).collect::<Vec<_>>()
    };
    let (mut granted, mut declined) = (said("granted"), said("declined"));
    if yes { &mut granted } else { &mut declined }.extend_from_slice(named);
    let body = Sent::Json(json!({ "granted": granted, "declined": declined }));
    say(&report::lines(&client.ask(Method::PUT, &path, body).await?));
    Ok(())
}

async fn keys_of(connector: &str, show: &Show) -> Result<(), Trouble> {
    shown(&of(connector, ""), show, |connector| {
        let rows = list(&connector["lifecycle"]["keys"]).iter().map(|key| {
            let owner = &key["owner"];
            let owner = match owner["line"].as_u64() {
                Some(line) => format!("{}, line {line}", text(&owner["file"])),
                None => "rest".to_owned(),
            };
            let value = match &key["value"] {
                Value::Object(set) if set.contains_key("set") => "(set)".to_owned(),
                Value::String(value) => value.clone(),
                value => value.to_string(),
            };
            [text(&key["key"]), value, owner]
        });
        table(["KEY", "VALUE", "SET IN"], rows)
    })
    .await
}

/// The merge patch of `a.b=1 c=text d=`.
fn patch(keys: &[String], input: &mut impl Read) -> Result<Value, Trouble> {
    let mut patch = Map::new();
    for pair in keys {
        let (key, value) =
            pair.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                Trouble::usage(format!(
                    "`{pair}` sets nothing; fix: write KEY=VALUE, e.g. settings.country=DE"
                ))
            })?;
        let value = match (key.starts_with("secrets."), value) {
            (_, "") => Value::Null,
            (true, "-") => Value::String(secret(input)?),
            (true, _) => {
                return Err(Trouble::usage(format!(
                    "{key}: everybody on this machine can see the arguments of a command; fix: write {key}=- and \
                     give the secret on standard input"
                )));
            }
            (false, value) => serde_json::from_str(value).unwrap_or_else(|_| value.into()),
        };
        put(&mut patch, key, value);
    }
    Ok(Value::Object(patch))
}

fn put(into: &mut Map<String, Value>, key: &str, value: Value) {
    let Some((first, rest)) = key.split_once('.') else {
        into.insert(key.to_owned(), value);
        return;
    };
    let inner = into.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

fn secret(input: &mut impl Read) -> Result<String, Trouble> {
    const MOST: u64 = 4096;
    let mut text = String::new();
    let read = input.take(MOST + 1).read_to_string(&mut text);
    let line = text.trim_end_matches(['\r', '\n']);
    if read.is_err() || line.is_empty() || text.len() as u64 > MOST {
        return Err(Trouble::usage(
            "standard input holds no secret; fix: give it as one line of at most 4096 bytes",
        ));
    }
    Ok(line.to_owned())
}

async fn logs(connector: &str, show: &Show) -> Result<(), Trouble> {
    shown(&of(connector, "/logs"), show, |answer| {
        let line = |line: &Value| {
            format!("{} {:<5} {}", text(&line["at"]), text(&line["level"]), text(&line["text"]))
        };
        let lines: Vec<String> = list(&answer["items"]).iter().map(line).collect();
        if lines.is_empty() { "it has logged nothing".to_owned() } else { lines.join("\n") }
    })
    .await
}

async fn shadow(
    connector: &str,
    version: Option<String>,
    end: bool,
    show: &Show,
) -> Result<(), Trouble> {
    let path = of(connector, "/shadow");
    if let Some(version) = version {
        let body = Sent::Json(json!({ "version": version }));
        Client::new(&show.host)?.ask(Method::POST, &path, body).await?;
        say(&format!("it runs; `jackfield plugin shadow {connector}` shows what it finds"));
        return Ok(());
    }
    if end {
        Client::new(&show.host)?.ask(Method::DELETE, &path, Sent::Nothing).await?;
        say("ended");
        return Ok(());
    }
    shown(&path, show, |answer| {
        let mut lines = vec![format!(
            "version {}: {} steps; {} effects the same, {} only of the running version, {} only of this one",
            text(&answer["version"]),
            answer["steps"],
            answer["same"],
            answer["only_running"],
            answer["only_shadow"],
        )];
        for difference in list(&answer["differences"]) {
            let whose = if difference["by_shadow"] == true { "only this one" } else { "only the running one" };
            lines.push(format!("step {}, {whose}: {}", difference["step"], text(&difference["effect"])));
        }
        if let Some(failure) = answer["failure"].as_str() {
            lines.push(format!("it failed and ended: {failure}"));
        }
        lines.join("\n")
    })
    .await
}

async fn recordings(connector: &str, show: &Show) -> Result<(), Trouble> {
    shown(&of(connector, "/recordings"), show, |answer| {
        let rows = list(&answer["items"]).iter().map(|file| {
            let size = bytes(file["size_bytes"].as_u64().unwrap_or(0));
            [text(&file["name"]), text(&file["kind"]), size, text(&file["at"])]
        });
        let rows: Vec<_> = rows.collect();
        let mut told = if rows.is_empty() {
            "no files; `--fetch ring` gives the last minutes".to_owned()
        } else {
            table(["NAME", "KIND", "SIZE", "WRITTEN"], rows)
        };
        if answer["capturing"] == true {
            told += "\na capture is under way; --stop ends it";
        }
        told
    })
    .await
}

async fn capture(connector: &str, on: bool, redact: bool, host: &HostArgs) -> Result<(), Trouble> {
    let body = Sent::Json(json!({ "capture": on, "redact": redact }));
    let answer = Client::new(host)?.ask(Method::POST, &of(connector, "/recordings"), body).await?;
    say(&match answer["name"].as_str() {
        Some(name) => {
            format!("captured; `jackfield plugin record {connector} --fetch {name}` gives it")
        }
        None if on => format!("capturing; `jackfield plugin record {connector} --stop` ends it"),
        None => "nothing was being captured".to_owned(),
    });
    Ok(())
}

async fn fetch_recording(
    connector: &str,
    name: &str,
    redact: bool,
    host: &HostArgs,
) -> Result<(), Trouble> {
    let query = if redact { "?redact=true" } else { "" };
    let path = of(connector, &format!("/recordings/{}{query}", segment(name)));
    let content = Client::new(host)?.bytes(Method::GET, &path, Sent::Nothing).await?;
    let written = io::stdout().write_all(&content).and_then(|()| io::stdout().flush());
    written.map_err(|error| Trouble::failed(format!("cannot write the recording: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(keys: &[&str], input: &str) -> Result<Value, String> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        patch(&keys, &mut input.as_bytes()).map_err(|trouble| trouble.text)
    }

    #[test]
    fn keys_become_one_patch() {
        let keys =
            ["settings.country=DE", "settings.filters=true", "limits.step_ms=", "enabled=false"];
        let expected = json!({
            "settings": { "country": "DE", "filters": true }, "limits": { "step_ms": null }, "enabled": false,
        });
        assert_eq!(patched(&keys, "").unwrap(), expected);
        assert!(patched(&["settings.country"], "").unwrap_err().contains("KEY=VALUE"));
    }

    #[test]
    fn a_secret_is_never_an_argument() {
        let refused = patched(&["secrets.ami=hunter2"], "").unwrap_err();
        assert!(refused.contains("secrets.ami=-") && !refused.contains("hunter2"), "{refused}");
        let expected = json!({ "secrets": { "ami": "hunter2" } });
        assert_eq!(patched(&["secrets.ami=-"], "hunter2\n").unwrap(), expected);
        assert!(patched(&["secrets.ami=-"], "").is_err());
    }

    #[test]
    fn use_is_shown_as_a_share_of_its_limit() {
        let stat = json!({
            "limits": [{ "name": "memory_mib", "limit": 64 << 20, "used": 16 << 20, "unit": "bytes" }],
            "counters": { "traps": 3 },
        });
        let told = stat_lines("hq", &stat);
        for part in ["connector hq: traps 3", "64 MiB", "16 MiB", "25 %"] {
            assert!(told.contains(part), "{part} in\n{told}");
        }
    }
}
