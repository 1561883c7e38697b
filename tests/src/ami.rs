//! A second manager at the PBX: redirects and withdraws callers, and tells what the PBX itself has.
//!
//! Deliberately not the connector's code: a witness that shared its parser would agree with its mistakes.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use lab::{ManagerUser, Pbx, until};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::floor::SOON;

/// The account that [`Ami::witness`] logs in with.
pub fn account() -> ManagerUser {
    ManagerUser::stock("witness", SECRET)
}

const SECRET: &str = "witness-secret";
const PATIENCE: Duration = SOON;

/// One message: keys and values in order.
#[derive(Debug, Clone, Default)]
pub struct Message(Vec<(String, String)>);

impl Message {
    /// The first value of a key; empty when it is not there.
    pub fn get(&self, key: &str) -> &str {
        let found = self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// A session without events.
#[derive(Debug)]
pub struct Ami {
    stream: BufReader<TcpStream>,
    actions: u32,
}

impl Ami {
    /// Logs in to `pbx` as [`account`].
    pub async fn witness(pbx: &Pbx) -> Result<Ami> {
        Ami::login(pbx.ami()).await.context("the witness's manager session")
    }

    async fn login(address: SocketAddr) -> Result<Ami> {
        let stream = TcpStream::connect(address).await?;
        let mut ami = Ami { stream: BufReader::new(stream), actions: 0 };
        let banner = ami.line().await?;
        ensure!(banner.starts_with("Asterisk Call Manager/"), "not a manager interface: {banner}");
        let login = [("Username", "witness"), ("Secret", SECRET), ("Events", "off")];
        ami.action("Login", &login).await?;
        Ok(ami)
    }

    /// One action and its answer; an error answer is an error.
    pub async fn action(&mut self, name: &str, headers: &[(&str, &str)]) -> Result<Message> {
        self.actions += 1;
        let id = format!("witness-{}", self.actions);
        let mut text = format!("Action: {name}\r\nActionID: {id}\r\n");
        for (key, value) in headers {
            text += &format!("{key}: {value}\r\n");
        }
        text += "\r\n";
        self.stream.get_mut().write_all(text.as_bytes()).await?;
        loop {
            let message = self.message().await?;
            if message.get("ActionID") != id {
                continue;
            }
            if message.get("Response") == "Error" {
                bail!("{name}: {}", message.get("Message"));
            }
            return Ok(message);
        }
    }

    /// An action that answers with a list: its items.
    pub async fn list(&mut self, name: &str, headers: &[(&str, &str)]) -> Result<Vec<Message>> {
        let id = self.action(name, headers).await?.get("ActionID").to_owned();
        let mut items = Vec::new();
        loop {
            let message = self.message().await?;
            if message.get("ActionID") != id {
                continue;
            }
            if message.get("EventList") == "Complete" {
                return Ok(items);
            }
            items.push(message);
        }
    }

    async fn message(&mut self) -> Result<Message> {
        let mut message = Message::default();
        loop {
            let line = self.line().await?;
            if !line.is_empty() {
                let (key, value) = line.split_once(':').unwrap_or((&line, ""));
                message.0.push((key.to_owned(), value.trim_start().to_owned()));
            } else if !message.0.is_empty() {
                return Ok(message);
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_until(b'\n', &mut line)).await;
        ensure!(read.context("the PBX says nothing")?? > 0, "the PBX closed the connection");
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// What a PBX has now, by its own word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// Uniqueids of all channels but the halves of `Local/`.
    pub channels: Vec<String>,
    /// Uniqueids of waiting callers by queue, next first.
    pub waiting: BTreeMap<String, Vec<String>>,
    /// Members by queue and interface.
    pub members: BTreeMap<(String, String), Seat>,
}

/// A member as the PBX has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Display name.
    pub name: String,
    /// Paused.
    pub paused: bool,
    /// Why.
    pub reason: String,
    /// Can be removed.
    pub dynamic: bool,
}

impl Picture {
    /// The picture when nobody is on the phone any more: a channel may outlive its last event by a moment.
    pub async fn quiet(pbx: &Pbx) -> Result<Picture> {
        let picture = until(SOON, "the end of all channels at the PBX", async || {
            let picture = Picture::of(pbx).await?;
            ensure!(picture.channels.is_empty(), "{:?}", picture.channels);
            Ok(picture)
        });
        Ok(picture.await?)
    }

    /// Asks `QueueStatus` and `CoreShowChannels`.
    pub async fn of(pbx: &Pbx) -> Result<Picture> {
        let mut ami = Ami::witness(pbx).await?;
        let mut picture = Picture::default();
        for channel in ami.list("CoreShowChannels", &[]).await? {
            if !channel.get("Channel").starts_with("Local/") {
                picture.channels.push(channel.get("Uniqueid").to_owned());
            }
        }
        picture.channels.sort();
        let mut places: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
        for item in ami.list("QueueStatus", &[]).await? {
            let queue = item.get("Queue").to_owned();
            match item.get("Event") {
                "QueueParams" => {
                    places.entry(queue).or_default();
                }
                "QueueEntry" => {
                    let position = item.get("Position").parse().context("a position")?;
                    places
                        .entry(queue)
                        .or_default()
                        .insert(position, item.get("Uniqueid").to_owned());
                }
                "QueueMember" => {
                    let seat = Seat {
                        name: item.get("Name").to_owned(),
                        paused: item.get("Paused") == "1",
                        reason: item.get("PausedReason").to_owned(),
                        dynamic: item.get("Membership") == "dynamic",
                    };
                    picture.members.insert((queue, item.get("Location").to_owned()), seat);
                }
                _ => {}
            }
        }
        picture.waiting = places
            .into_iter()
            .map(|(queue, callers)| (queue, callers.into_values().collect()))
            .collect();
        Ok(picture)
    }
}
