//! Tells the calls of a PBX that speaks lines of text.
//!
//! | the connector says | the PBX answers |
//! | --- | --- |
//! | `HELLO client` | nothing |
//! | `LIST` | `HAS 17 ringing 5551234` for each call, then `END` |
//!
//! | by itself the PBX says | |
//! | --- | --- |
//! | `RING 17 5551234` | a call comes in |
//! | `UP 17` | it is answered |
//! | `BYE 17 16` | it is over, with its Q.850 cause |

use jackfield_sdk::{
    Action, Bytes, Cause, Command, Config, Connector, Error, Fact, Input, Leg, LegEnded, LegState,
    Now, Party, ResyncBegin, Snapshot, log, register_connector,
};
use serde::{Deserialize, Serialize};

/// The link's name in plugin.toml.
const LINK: &str = "line";

/// What the admin configures; see settings.schema.json, by which it is valid when it comes here.
#[derive(Default, Deserialize)]
struct Settings {
    client: Option<String>,
}

/// All it remembers. Everything else it may know comes in as data.
#[derive(Default, Serialize, Deserialize)]
pub struct {{type}} {
    client: String,
    /// The connection that is up; sends to an older one are dropped by the host.
    epoch: Option<u64>,
    /// Pictures asked for so far; the last one is being told while `listing`.
    pictures: u64,
    listing: bool,
}

impl Connector for {{type}} {
    fn init(
        config: Config,
        state: Option<Snapshot>,
        _: Now,
        _: &mut Vec<Action>,
    ) -> Result<Self, Error> {
        // With a snapshot it goes on in the middle of the same connection: after a crash, or as a newer version.
        if let Some(state) = state {
            return serde_json::from_slice(&state.data)
                .map_err(|error| Error::new("unknown-snapshot", error.to_string()));
        }
        let settings: Settings = serde_json::from_str(&config.settings)
            .map_err(|error| Error::new("bad-settings", error.to_string()))?;
        let client = settings.client.unwrap_or_else(|| "jackfield".into());
        Ok(Self {
            client,
            ..Self::default()
        })
    }

    /// One transaction: what it pushes onto `out` happens only if it returns `Ok`.
    fn step(&mut self, _: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        for input in inputs {
            match input {
                Input::LinkUp(link) => {
                    self.epoch = Some(link.epoch);
                    self.listing = false;
                    self.say(&format!("HELLO {}", self.client), out);
                    self.ask_for_picture(out);
                }
                Input::LinkClosed(_) => {
                    self.epoch = None;
                    self.listing = false;
                }
                Input::Bytes(bytes) => self.read(&bytes, out),
                // The host took bytes out. In the middle of a picture nobody can tell what it lacks: connect again.
                Input::Gap(_) if self.listing => {
                    out.push(Action::close(
                        LINK,
                        "bytes of a picture were lost",
                        "normal",
                    ));
                }
                Input::Gap(_) => self.ask_for_picture(out),
                Input::Command(command) => self.carry_out(&command, out),
                _ => {}
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let data = serde_json::to_vec(self)
            .map_err(|error| Error::new("no-snapshot", error.to_string()))?;
        Ok(Snapshot {
            format: "{{id}}".into(),
            version: 1,
            data,
        })
    }
}

register_connector!({{type}}, settings);

impl {{type}} {
    fn say(&self, line: &str, out: &mut Vec<Action>) {
        if let Some(epoch) = self.epoch {
            out.push(Action::send(LINK, epoch, format!("{line}\n")));
        }
    }

    /// Every command ends exactly once: done, failed, rejected or unknown.
    fn carry_out(&mut self, command: &Command, out: &mut Vec<Action>) {
        if command.kind != "resync" {
            let problem = format!("this connector does not know `{}`", command.kind);
            out.push(Action::rejected(
                command.id,
                Error::new("unknown-command", problem),
            ));
            return;
        }
        // One picture at a time; the one under way will do.
        if self.epoch.is_some() && !self.listing {
            self.ask_for_picture(out);
        }
        out.push(Action::done(command.id, ""));
    }

    /// After each connect, and whenever something may have been missed.
    fn ask_for_picture(&mut self, out: &mut Vec<Action>) {
        self.pictures += 1;
        self.listing = true;
        out.push(Action::ResyncBegin(ResyncBegin {
            id: self.pictures,
            scope: "calls".into(),
        }));
        self.say("LIST", out);
    }

    /// Deals with the whole lines. The rest stays with the host and comes again with what follows.
    fn read(&mut self, bytes: &Bytes, out: &mut Vec<Action>) {
        let mut consumed = 0;
        for line in bytes.data.split_inclusive(|&byte| byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                break;
            };
            consumed += line.len() as u64 + 1;
            // A caller may choose the bytes of their name: nothing here may panic.
            let line = String::from_utf8_lossy(line);
            self.hear(line.trim_end_matches('\r'), out);
        }
        out.push(Action::consumed(LINK, bytes.offset + consumed));
    }

    fn hear(&mut self, line: &str, out: &mut Vec<Action>) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["HAS", id, state, number] if self.listing => {
                let fact = Fact::LegStarted(leg(id, state_of(state), number));
                out.push(Action::resync_item(self.pictures, fact));
            }
            ["END"] if self.listing => {
                self.listing = false;
                out.push(Action::ResyncEnd(self.pictures));
            }
            ["RING", id, number] => tell(Fact::LegStarted(leg(id, "alerting", number)), out),
            ["UP", id] => {
                tell(
                    Fact::LegState(LegState {
                        leg: id.into(),
                        state: "answered".into(),
                    }),
                    out,
                );
            }
            ["BYE", id, cause] => {
                let cause = Cause {
                    q850: cause.parse().unwrap_or(0),
                    sip: 0,
                    text: String::new(),
                };
                let ended = LegEnded {
                    leg: id.into(),
                    cause,
                    ended_by: String::new(),
                };
                tell(Fact::LegEnded(ended), out);
            }
            // Its first word only: the rest may be somebody's name or number.
            [word, ..] => log::warn(&format!("a line that means nothing: {word} ...")),
            [] => {}
        }
    }
}

fn tell(fact: Fact, out: &mut Vec<Action>) {
    out.push(Action::fact(None, fact));
}

fn state_of(word: &str) -> &str {
    match word {
        "ringing" => "alerting",
        "up" => "answered",
        _ => "started",
    }
}

fn leg(id: &str, state: &str, number: &str) -> Leg {
    Leg {
        id: id.into(),
        related: None,
        direction: "from-device".into(),
        device: format!("line/{id}"),
        extension: None,
        state: state.into(),
        party: Party {
            number: number.into(),
            ..Party::default()
        },
        dialled: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jackfield_sdk::mock::{MockHost, Seen};

    /// A host, and a PBX that has one call.
    fn connected() -> MockHost<{{type}}> {
        let mut host = MockHost::start("{}").unwrap();
        // Between any two steps another version may take over.
        host.swap_at_every_step();
        host.link_up(LINK);
        assert_eq!(host.take_sent(LINK), b"HELLO jackfield\nLIST\n");
        host.receive(LINK, b"HAS 16 up 5550000\nEND\n");
        host
    }

    fn facts(host: &mut MockHost<{{type}}>) -> Vec<Fact> {
        let seen = host.take_seen().into_iter();
        seen.filter_map(|seen| {
            if let Seen::Fact(_, fact) = seen {
                Some(fact)
            } else {
                None
            }
        })
        .collect()
    }

    #[test]
    fn after_each_connect_the_picture_is_told() {
        let seen = connected().take_seen();
        assert!(
            matches!(
                &seen[..],
                [
                    Seen::ResyncBegin(1, _),
                    Seen::ResyncItem(1, Fact::LegStarted(_)),
                    Seen::ResyncEnd(1)
                ]
            ),
            "{seen:?}"
        );
    }

    #[test]
    fn however_the_bytes_are_cut_the_facts_are_the_same() {
        let mut whole = connected();
        let lines = b"RING 17 5551234\nUP 17\r\nBYE 17 16\n";
        whole.receive(LINK, lines);
        let expected = facts(&mut whole);
        assert_eq!(expected.len(), 3);
        for size in 1..lines.len() {
            let mut cut = connected();
            cut.receive_in_pieces(LINK, lines, size);
            assert_eq!(facts(&mut cut), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn nonsense_is_logged_and_costs_nothing() {
        let mut host = connected();
        host.receive(LINK, b"\xff\xfe\n\nBYE\nRING 17 5551234\n");
        assert_eq!(facts(&mut host).len(), 1);
    }

    #[test]
    fn every_command_ends_exactly_once() {
        let mut host = connected();
        host.command("pause", &[]);
        assert_eq!(host.pending_commands().count(), 0);
    }
}
