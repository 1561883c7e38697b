//! Commands: what the host may ask of the PBX, and how the answer becomes an outcome.

use std::collections::BTreeMap;

use jackfield_sdk::{Action, Command, Error};
use serde::{Deserialize, Serialize};

use crate::{
    frame::{Header, get, get_text},
    out::Out,
    session::{Asked, LONGEST_VALUE, Phase, Session, is_one_line},
};

/// Commands that wait for their answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Commands {
    running: BTreeMap<u64, Running>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Running {
    kind: Kind,
    queue: String,
    interface: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    MemberAdd,
    MemberRemove,
    Pause,
    Unpause,
}

impl Commands {
    /// Sends the action of a command, or ends it at once.
    pub fn handle(&mut self, command: &Command, session: &mut Session, out: &mut Out<'_>) {
        match self.send(command, session, out) {
            Ok(()) => {}
            Err(error) if error.retryable => out.push(Action::failed(command.id, error)),
            Err(error) => out.push(Action::rejected(command.id, error)),
        }
    }

    fn send(
        &mut self,
        command: &Command,
        session: &mut Session,
        out: &mut Out<'_>,
    ) -> Result<(), Error> {
        let kind = match command.kind.as_str() {
            "member-add" => Kind::MemberAdd,
            "member-remove" => Kind::MemberRemove,
            "pause" => Kind::Pause,
            "unpause" => Kind::Unpause,
            other => {
                let message = format!("this connector has no command `{other}`");
                return Err(Error::new("not-supported", message));
            }
        };
        let arguments = Arguments(command);
        let interface = arguments.needed("interface")?;
        let queue = arguments.get("queue")?;
        let mut headers = vec![("Interface", interface)];
        let penalty = arguments.get("penalty")?;
        if penalty.parse::<u32>().is_err() && !penalty.is_empty() {
            return Err(bad("penalty", "must be a whole number of 0 or more"));
        }
        match kind {
            Kind::MemberAdd => {
                headers.push(("Queue", arguments.needed("queue")?));
                headers.push(("Penalty", if penalty.is_empty() { "0" } else { penalty }));
                headers.extend(some("MemberName", arguments.get("name")?));
                headers.extend(some("StateInterface", arguments.get("state-interface")?));
                match arguments.get("paused")? {
                    "" | "false" => headers.push(("Paused", "false")),
                    "true" => {
                        headers.push(("Paused", "true"));
                        headers.extend(some("Reason", arguments.get("reason")?));
                    }
                    _ => return Err(bad("paused", "must be `true` or `false`")),
                }
            }
            Kind::MemberRemove => headers.push(("Queue", arguments.needed("queue")?)),
            Kind::Pause => {
                // Never an argument: Asterisk takes any other word for `false`.
                headers.push(("Paused", "true"));
                headers.extend(some("Queue", queue));
                headers.extend(some("Reason", arguments.get("reason")?));
            }
            Kind::Unpause => {
                headers.push(("Paused", "false"));
                headers.extend(some("Queue", queue));
            }
        }
        if session.phase != Phase::Live {
            return Err(Error::retryable(
                "not-connected",
                "the connector is not logged in to the PBX now",
            ));
        }
        let action = match kind {
            Kind::MemberAdd => "QueueAdd",
            Kind::MemberRemove => "QueueRemove",
            Kind::Pause | Kind::Unpause => "QueuePause",
        };
        session.ask(Asked::Command(command.id), action, &headers, out);
        let running = Running { kind, queue: queue.into(), interface: interface.into() };
        self.running.insert(command.id, running);
        Ok(())
    }

    /// The PBX answered.
    pub fn answered(&mut self, id: u64, headers: &[Header<'_>], out: &mut Out<'_>) {
        let Some(running) = self.running.remove(&id) else { return };
        let message = get_text(headers, b"Message");
        let success = get(headers, b"Response") == Some(b"Success");
        let already = match running.kind {
            Kind::MemberAdd => message.contains("Already there"),
            Kind::MemberRemove => message.contains("Not there"),
            Kind::Pause | Kind::Unpause => false,
        };
        if success || already {
            out.push(Action::done(id, ""));
        } else {
            out.push(Action::failed(id, running.refusal(&message)));
        }
    }

    /// The link is lost: nobody knows what became of what was sent.
    pub fn lost(&mut self, out: &mut Out<'_>) {
        for (id, _) in std::mem::take(&mut self.running) {
            let error =
                Error::retryable("link-lost", "the link to the PBX broke before it answered");
            out.push(Action::unknown(id, error));
        }
    }
}

impl Running {
    fn refusal(&self, message: &str) -> Error {
        let Self { queue, interface, .. } = self;
        if message.contains("not dynamic") {
            let text = format!(
                "{interface} is a member of {queue} by queues.conf; remove it there and run `queue reload all`, \
                 or pause it instead"
            );
            return Error::new("member-not-dynamic", text);
        }
        if message.contains("No such queue") || message.contains("not find queue") {
            return Error::new("no-such-queue", format!("the PBX has no queue named {queue}"));
        }
        if message.contains("Permission denied") {
            let text = "the PBX does not let this account do that: add `agent` to `write` of its section in manager.conf";
            return Error::new("permission-denied", text);
        }
        if message.contains("Interface not found") {
            return Error::new(
                "no-such-member",
                format!("{interface} is a member of no queue it could be paused in"),
            );
        }
        Error::new("refused", format!("the PBX refused: {message}"))
    }
}

fn some<'a>(key: &'a str, value: &'a str) -> Option<(&'a str, &'a str)> {
    (!value.is_empty()).then_some((key, value))
}

fn bad(name: &str, message: &str) -> Error {
    Error::new("bad-argument", format!("`{name}` {message}"))
}

struct Arguments<'a>(&'a Command);

impl<'a> Arguments<'a> {
    /// An argument that may be sent; empty when not given. A hyphen and an underscore are the same.
    fn get(&self, name: &str) -> Result<&'a str, Error> {
        let found = self.0.argument(name).or_else(|| self.0.argument(&name.replace('-', "_")));
        let value = found.unwrap_or_default();
        if is_one_line(value) {
            Ok(value)
        } else {
            Err(bad(name, &format!("must be one line of at most {LONGEST_VALUE} bytes")))
        }
    }

    fn needed(&self, name: &str) -> Result<&'a str, Error> {
        match self.get(name)? {
            "" => Err(bad(name, "is missing")),
            value => Ok(value),
        }
    }
}
