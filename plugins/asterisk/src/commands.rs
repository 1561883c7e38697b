//! Commands: what the host may ask of the PBX, and how the answer becomes an outcome.

use std::collections::BTreeMap;

use jackfield_sdk::{Action, Command, Error};
use serde::{Deserialize, Serialize};

use crate::{
    frame::{Header, get, get_text},
    out::Out,
    queues::Queues,
    session::{Asked, LONGEST_VALUE, Phase, Session, is_one_line},
};

/// How long after the answer its event may come. Asterisk sends it from another thread, and a command whose
/// event never comes (the account may not see it) is done all the same.
const SEEN_WITHIN_NS: u64 = 2_000_000_000;

/// Commands that wait for their answer, or for the PBX's own event about what they did: whoever hears "done"
/// can act on it at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Commands {
    running: BTreeMap<u64, Running>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Running {
    kind: Kind,
    queue: String,
    interface: String,
    /// The PBX said yes: until this monotonic time its event is waited for.
    confirmed_until: Option<u64>,
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
        let (queue, interface) = (queue.into(), interface.into());
        let running = Running { kind, queue, interface, confirmed_until: None };
        self.running.insert(command.id, running);
        Ok(())
    }

    /// The PBX answered.
    pub fn answered(&mut self, id: u64, headers: &[Header<'_>], out: &mut Out<'_>) {
        let Some(mut running) = self.running.remove(&id) else { return };
        let message = get_text(headers, b"Message");
        let success = get(headers, b"Response") == Some(b"Success");
        let already = match running.kind {
            Kind::MemberAdd => message.contains("Already there"),
            Kind::MemberRemove => message.contains("Not there"),
            Kind::Pause | Kind::Unpause => false,
        };
        if already {
            out.push(Action::done(id, ""));
        } else if success {
            running.confirmed_until = Some(out.mono() + SEEN_WITHIN_NS);
            self.running.insert(id, running);
        } else {
            out.push(Action::failed(id, running.refusal(&message)));
        }
    }

    /// Ends what the PBX has confirmed and what is seen to be so, or was waited for long enough.
    pub fn settle(&mut self, queues: &Queues, out: &mut Out<'_>) {
        self.running.retain(|id, running| {
            let Some(until) = running.confirmed_until else { return true };
            let over = until <= out.mono() || running.is_seen(queues);
            if over {
                out.push(Action::done(*id, ""));
            }
            !over
        });
    }

    /// When [`Commands::settle`] ends the next one in any case.
    pub fn deadline(&self) -> Option<u64> {
        self.running.values().filter_map(|running| running.confirmed_until).min()
    }

    /// The link is lost: nobody knows what became of what was sent.
    pub fn lost(&mut self, out: &mut Out<'_>) {
        for (id, running) in std::mem::take(&mut self.running) {
            if running.confirmed_until.is_some() {
                out.push(Action::done(id, ""));
                continue;
            }
            let error =
                Error::retryable("link-lost", "the link to the PBX broke before it answered");
            out.push(Action::unknown(id, error));
        }
    }
}

impl Running {
    /// Are the queues as the command wants them?
    fn is_seen(&self, queues: &Queues) -> bool {
        let mut seats = queues.members().filter(|((queue, interface), _)| {
            *interface == self.interface && (self.queue.is_empty() || *queue == self.queue)
        });
        match self.kind {
            Kind::MemberAdd => seats.next().is_some(),
            Kind::MemberRemove => seats.next().is_none(),
            Kind::Pause => seats.all(|(_, seat)| seat.is_paused()),
            Kind::Unpause => seats.all(|(_, seat)| !seat.is_paused()),
        }
    }

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
