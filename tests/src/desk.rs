//! The supervisor's desk: what one reads and does over REST.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Result, ensure};
use lab::until;
use serde_json::{Value, json};

use crate::{
    ami::{Picture, Seat},
    client::Client,
    floor::{self, LANES, SOON, Seats},
    ledger::text,
    world::{Site, test_plugin},
};

/// `[agents.*]` for every extension of these connectors, named like `north-1001`.
pub fn agents_config(connectors: &[&str]) -> String {
    let mut config = String::new();
    for connector in connectors {
        for extension in 1001..=1009 {
            let _ = writeln!(
                config,
                "[agents.{connector}-{extension}]\nname = {:?}\ndevices = [{{ connector = {connector:?}, extension = \"{extension}\" }}]",
                floor::agent_name(extension)
            );
        }
    }
    config
}

/// All pages of a list.
pub async fn list(client: &Client, path: &str) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{mark}limit=100{cursor}")).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(items),
        }
    }
}

/// A connector's queues by native name.
pub async fn queues(client: &Client, connector: &str) -> Result<BTreeMap<String, Value>> {
    let queues = list(client, "/v1/queues").await?.into_iter();
    let of_connector = queues.filter(|queue| text(queue, "connector") == connector);
    Ok(of_connector.map(|queue| (text(&queue, "name").to_owned(), queue)).collect())
}

/// All agents.
pub async fn agents(client: &Client) -> Result<Vec<Value>> {
    list(client, "/v1/agents").await
}

/// Calls that have not ended.
pub async fn running_calls(client: &Client) -> Result<Vec<Value>> {
    let calls = list(client, "/v1/calls").await?;
    Ok(calls.into_iter().filter(|call| text(call, "status") == "running").collect())
}

/// Who waits in a queue, next first: entry ids.
pub fn callers(queue: &Value) -> Vec<String> {
    let callers = queue["callers"].as_array().map(Vec::as_slice).unwrap_or_default();
    callers.iter().map(|caller| text(caller, "entry").to_owned()).collect()
}

/// Members by queue and interface, as [`crate::ami::Picture`] has them.
pub fn seats(queues: &BTreeMap<String, Value>) -> BTreeMap<(String, String), Seat> {
    let mut seats = BTreeMap::new();
    for (name, queue) in queues {
        for member in queue["members"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let seat = Seat {
                name: text(member, "name").to_owned(),
                paused: member["paused"] == true,
                reason: text(member, "pause_reason").to_owned(),
                dynamic: text(member, "membership") == "dynamic",
            };
            seats.insert((name.clone(), text(member, "interface").to_owned()), seat);
        }
    }
    seats
}

/// Waits until REST has the seats that the PBX has, and returns them.
pub async fn same_seats(client: &Client, site: &Site) -> Result<BTreeMap<(String, String), Seat>> {
    let same = until(SOON, "REST and the PBX to have the same seats", async || {
        let picture = Picture::of(&site.pbx).await?;
        let seats = seats(&queues(client, &site.id).await?);
        ensure!(seats == picture.members, "REST {seats:?}\nPBX {:?}", picture.members);
        Ok(seats)
    });
    Ok(same.await?)
}

/// A request that becomes commands: their ends are waited for, and each must be `done`.
pub async fn done(client: &Client, method: &str, path: &str, body: Value) -> Result<Value> {
    let answer = ended(client, method, path, body.clone()).await?;
    for command in answer["commands"].as_array().map(Vec::as_slice).unwrap_or_default() {
        ensure!(text(command, "status") == "done", "{method} {path} {body}: {command}");
    }
    Ok(answer)
}

/// A request that becomes commands: their ends are waited for, whatever they are.
pub async fn ended(client: &Client, method: &str, path: &str, body: Value) -> Result<Value> {
    let body = (!body.is_null()).then_some(&body);
    let answer = client.command(method, path, body).await?;
    ensure!(answer.status == 200, "{method} {path} {body:?}: {} {}", answer.status, answer.body);
    Ok(answer.body)
}

/// Installs a plugin that only tests run, as an upload.
pub async fn install(client: &Client, guest: &str) -> Result<Value> {
    let wasm = std::fs::read(test_plugin(guest)?)?;
    let answer = client.upload("/v1/plugins", "application/wasm", wasm).await?;
    ensure!(answer.status == 200, "install {guest}: {} {}", answer.status, answer.body);
    Ok(answer.body)
}

/// Makes every connector of the plugin run this version, and returns what changed.
pub async fn use_version(client: &Client, plugin: &str, version: &str) -> Result<Value> {
    let path = format!("/v1/plugins/{plugin}/use");
    let body = json!({ "version": version });
    let answer = client.request("POST", &path, &[], Some(&body)).await?;
    ensure!(answer.status == 200, "use {plugin} {version}: {} {}", answer.status, answer.body);
    let faults = answer.body["complaints"].as_array().map_or(0, Vec::len);
    ensure!(faults == 0, "use {plugin} {version}: {}", answer.body);
    Ok(answer.body)
}

/// Gives the agents of the lane with dynamic seats their seats.
pub async fn seat_dynamic_agents(client: &Client, connector: &str) -> Result<()> {
    for lane in (0..LANES).filter(|lane| Seats::of(*lane) == Seats::Dynamic) {
        for extension in floor::agents_of(lane) {
            let member = json!({
                "interface": floor::interface_of(extension, Seats::Dynamic),
                "name": floor::agent_name(extension),
            });
            done(
                client,
                "POST",
                &format!("/v1/queues/lane{lane}/members?connector={connector}"),
                member,
            )
            .await?;
        }
    }
    Ok(())
}
