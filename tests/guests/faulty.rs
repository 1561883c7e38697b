//! A connector for a small line protocol that breaks one law, as its settings say, and keeps all others.
//!
//! ```text
//! PBX:  SHOP 1 | BEGIN, LEG <id> <number> <state>.., EXT <number> <state>.., END
//!       RING <id> <number> | UP <id> | DOWN <id> | EXT <number> <state> | OK <id> | NO <id>
//! ours: LIST | PAUSE <id> <interface>
//! ```

use std::collections::BTreeMap;

use jackfield_sdk::{
    Action, Cause, Config, Connector, Error, Extension, Fact, Input, Leg, LegEnded, LegState, Now,
    Party, ResyncBegin, Snapshot, register_connector,
};
use serde::{Deserialize, Serialize};

const LINK: &str = "line";
/// A line that is longer is none.
const LONGEST: usize = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Breaks {
    #[default]
    None,
    /// Its second picture has no legs.
    Resync,
    /// Commands are done at once, and again when the PBX says so.
    Command,
    /// Legs end twice.
    TerminalEvent,
    /// Its snapshot forgets how many calls there were.
    Snapshot,
    /// The piece of a line that is there is taken for all of it.
    Chunking,
    /// It believes that what stands for a number is one.
    HostileBytes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    breaks: Breaks,
}

/// The plugin.
#[derive(Serialize, Deserialize)]
pub struct Faulty {
    breaks: Breaks,
    epoch: u64,
    up: bool,
    /// The picture that is under way.
    picture: Option<u64>,
    pictures: u64,
    calls: u64,
    /// Commands the PBX has not answered, and their deadlines.
    open: BTreeMap<u64, u64>,
}

impl Connector for Faulty {
    fn init(
        config: Config,
        state: Option<Snapshot>,
        _now: Now,
        _out: &mut Vec<Action>,
    ) -> Result<Self, Error> {
        let bad = |error: serde_json::Error| Error::new("bad-data", error.to_string());
        let Settings { breaks } = serde_json::from_str(&config.settings).map_err(bad)?;
        if let Some(snapshot) = state {
            let mut faulty: Self = serde_json::from_slice(&snapshot.data).map_err(bad)?;
            if breaks == Breaks::Snapshot {
                faulty.calls = 0;
            }
            return Ok(Self { breaks, ..faulty });
        }
        let (picture, open) = (None, BTreeMap::new());
        Ok(Self { breaks, epoch: 0, up: false, picture, pictures: 0, calls: 0, open })
    }

    fn step(&mut self, now: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        for input in inputs {
            match input {
                Input::LinkUp(up) => {
                    (self.epoch, self.up) = (up.epoch, true);
                    out.push(Action::send(LINK, self.epoch, "LIST\n"));
                }
                Input::LinkClosed(_) => {
                    (self.up, self.picture) = (false, None);
                    for (id, _) in std::mem::take(&mut self.open) {
                        let error = Error::retryable("link-lost", "the line broke");
                        out.push(Action::unknown(id, error));
                    }
                }
                Input::Bytes(bytes) => self.bytes(bytes.offset, &bytes.data, out),
                Input::Gap(_) if self.up => out.push(Action::send(LINK, self.epoch, "LIST\n")),
                Input::Command(command) => {
                    let interface = command.argument("interface").unwrap_or_default();
                    if command.kind != "pause" || interface.contains(char::is_control) {
                        let error = Error::new("not-supported", "it can only pause");
                        out.push(Action::rejected(command.id, error));
                        continue;
                    }
                    if !self.up {
                        let error = Error::retryable("not-connected", "the line is down");
                        out.push(Action::failed(command.id, error));
                        continue;
                    }
                    let line = format!("PAUSE {} {interface}\n", command.id);
                    out.push(Action::send(LINK, self.epoch, line));
                    if self.breaks == Breaks::Command {
                        out.push(Action::done(command.id, ""));
                    }
                    self.open.insert(command.id, command.deadline_ns);
                }
                _ => {}
            }
        }
        self.too_late(now, out);
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let data = serde_json::to_vec(self);
        let data = data.map_err(|error| Error::new("bad-state", error.to_string()))?;
        Ok(Snapshot { format: "faulty".into(), version: 1, data })
    }
}

impl Faulty {
    fn bytes(&mut self, offset: u64, data: &[u8], out: &mut Vec<Action>) {
        let mut at = 0;
        while let Some(length) = data[at..].iter().position(|byte| *byte == b'\n') {
            self.line(&data[at..at + length], out);
            at += length + 1;
        }
        if self.breaks == Breaks::Chunking || data.len() - at > LONGEST {
            at = data.len();
        }
        out.push(Action::consumed(LINK, offset + at as u64));
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<Action>) {
        let Ok(line) = std::str::from_utf8(line) else { return };
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["BEGIN"] => {
                self.pictures += 1;
                self.picture = Some(self.pictures);
                let id = self.pictures;
                out.push(Action::ResyncBegin(ResyncBegin { id, scope: "all".into() }));
            }
            ["END"] => out.extend(self.picture.take().map(Action::ResyncEnd)),
            // With its law broken it forgets what it sees after a reconnect.
            ["LEG", _, _, _] if self.breaks == Breaks::Resync && self.epoch >= 2 => {}
            ["LEG", id, number, state] if self.picture.is_some() => {
                self.tell(Fact::LegStarted(leg(id, number, state)), out);
            }
            ["RING", id, number] => {
                if self.breaks == Breaks::HostileBytes {
                    let _: u64 = number.parse().expect("a number is a number");
                }
                self.calls += 1;
                self.tell(Fact::LegStarted(leg(id, number, "alerting")), out);
            }
            ["UP", id] => {
                let (leg, state) = (id.to_string(), "answered".to_string());
                self.tell(Fact::LegState(LegState { leg, state }), out);
            }
            ["DOWN", id] => {
                let text = format!("call {} of this shop", self.calls);
                let cause = Cause { q850: 16, sip: 0, text };
                let ended = LegEnded { leg: id.to_string(), cause, ended_by: "far-end".into() };
                if self.breaks == Breaks::TerminalEvent {
                    self.tell(Fact::LegEnded(ended.clone()), out);
                }
                self.tell(Fact::LegEnded(ended), out);
            }
            ["EXT", number, state] => {
                let (number, device) = (number.to_string(), format!("line/{number}"));
                let (name, state) = (String::new(), state.to_string());
                self.tell(Fact::Extension(Extension { number, device, name, state }), out);
            }
            ["OK", id] | ["NO", id] => {
                let Some(id) = id.parse().ok().filter(|id| self.open.remove(id).is_some()) else {
                    return;
                };
                out.push(match words[0] {
                    "OK" => Action::done(id, ""),
                    _ => Action::failed(id, Error::new("refused", "the shop said no")),
                });
            }
            _ => {}
        }
    }

    /// Within a picture it is part of the picture.
    fn tell(&self, fact: Fact, out: &mut Vec<Action>) {
        out.push(match self.picture {
            Some(id) => Action::resync_item(id, fact),
            None => Action::fact(None, fact),
        });
    }

    fn too_late(&mut self, now: Now, out: &mut Vec<Action>) {
        self.open.retain(|id, deadline| {
            let over = *deadline <= now.monotonic_ns;
            if over {
                let error = Error::retryable("timed-out", "the shop did not answer");
                out.push(Action::unknown(*id, error));
            }
            !over
        });
        out.push(Action::WakeAt(self.open.values().min().copied().unwrap_or(0)));
    }
}

fn leg(id: &str, number: &str, state: &str) -> Leg {
    Leg {
        id: id.to_string(),
        related: None,
        direction: "from-device".into(),
        device: "line/trunk".into(),
        extension: None,
        state: state.to_string(),
        party: Party {
            number: number.to_string(),
            name: String::new(),
            presentation: String::new(),
        },
        dialled: "100".into(),
    }
}

register_connector!(Faulty, manifest = include_bytes!("faulty.json"));
