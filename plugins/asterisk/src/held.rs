//! Callers whom the dialplan handed over by `AGI(agi:async)`: offered, told what to hear, sent on.
//!
//! ```text
//! AsyncAGIStart -> leg-offered -> instructions, one AGI command at a time -> AsyncAGIEnd -> leg-released
//!                                 hand-over: Setvar + Redirect into the template's context
//! ```
//! A hand-over never uses `EXEC Queue` or `EXEC Dial`: a caller who comes out of those while nobody listens would be
//! stranded. The template's own lines do it, and hand the caller over again afterwards.

mod instruction;
mod leg;
mod offer;
mod place;
mod seen;

use std::collections::{BTreeMap, BTreeSet};

use jackfield_sdk::{Action, Command, Error, Fact, LegKey, LegReleased, log};
use serde::{Deserialize, Serialize};

use crate::{
    calls::{Calls, Told},
    extensions::Extensions,
    frame::{Header, get, get_number, get_text},
    out::Out,
    queues::Queues,
    session::{Asked, Phase, Session},
};
use instruction::{AtOnce, Instruction, LANGUAGE, Leave};
use leg::{Channel, Leg, gone};
pub use offer::Offer;
pub use place::{Place, TEMPLATE};
pub use seen::Seen;
use seen::place;

/// All callers who are held.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Held {
    legs: BTreeMap<String, Leg>,
    /// Commands that an action was sent for, and their legs: each ends once.
    open: BTreeMap<u64, String>,
    /// Legs that were sent to a queue with a priority: it stays on the channel, and no event of the queue tells it.
    priorities: BTreeMap<String, i32>,
}

/// What an action for a caller was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum For {
    /// One of several of this command: only its failure matters.
    Part(u64),
    /// The command is done with it.
    All(u64),
    /// The caller goes with it.
    Leaving(u64),
    /// Is there such a place to go to? Then it goes on.
    Check(u64, Leave),
    /// What did this caller come with?
    Offer,
    /// The lease comes off a caller whom somebody else has now; nothing depends on it.
    Freed,
    /// In which context is a caller whom we did not send away, and who is no more held?
    Where,
}

/// What instructions need beside the callers.
pub struct Desk<'a> {
    /// The channels.
    pub calls: &'a Calls,
    /// To know a queue by its name.
    pub queues: &'a Queues,
    /// To know a phone by its number.
    pub extensions: &'a Extensions,
    /// A picture of the PBX is complete: who is not known to be held is not.
    pub is_pictured: bool,
    /// Whom we gave instructions since they are held: the lease on them is ours.
    pub leased: &'a mut BTreeSet<String>,
    /// To act.
    pub session: &'a mut Session,
}

impl Held {
    /// AsyncAGIStart: why, when what came with it cannot be believed.
    pub fn started(
        &mut self,
        told: Told<'_, '_>,
        headers: &[Header<'_>],
        desk: Desk<'_>,
        out: &mut Out<'_>,
    ) -> Result<(), &'static str> {
        let Desk { calls, session, leased, .. } = desk;
        let offer = Offer::of_env(get(headers, b"Env").unwrap_or_default())?;
        let id = told.id();
        leased.remove(&id);
        // Its end was not told, or not believed.
        self.release(&id, "went-on", &went_on(), out);
        if !calls.is_leg(&id) {
            // Half of a `Local/` pair: nobody is there to be asked what they want.
            log::warn(&format!("{} is no caller and goes on in the dialplan", told.name()));
            session.ask_agi(Asked::Agi(id.clone()), &told.name(), "ASYNCAGI BREAK", out);
            return Ok(());
        }
        self.offer(id, place(told), told.language(), offer, out);
        Ok(())
    }

    fn offer(
        &mut self,
        id: String,
        place: Place,
        language: String,
        offer: Offer,
        out: &mut Out<'_>,
    ) {
        let leg = Leg::new(place, language, offer);
        out.fact(leg.offered(&id));
        self.legs.insert(id, leg);
    }

    /// AsyncAGIEnd.
    pub fn ended(&mut self, told: Told<'_, '_>, desk: Desk<'_>, out: &mut Out<'_>) {
        let Desk { calls, session, leased, .. } = desk;
        let id = told.id();
        let Some(leg) = self.legs.get(&id) else { return };
        let hanging_up = calls.get(&id).is_none_or(|channel| channel.is_hanging_up());
        match (leg.leaving, hanging_up) {
            (Some(_), _) => self.release(&id, "handed-over", &went_on(), out),
            (None, true) => self.release(&id, "hung-up", &gone(), out),
            (None, false) => {
                // Another manager may have sent them anywhere. The event does not say: in it the place is the old one.
                if leased.contains(&id)
                    && let Some(channel) = channel(&id, calls)
                {
                    let headers = [("Channel", channel.name), ("Variable", "CONTEXT")];
                    session.ask(Asked::Held(id.clone(), For::Where), "Getvar", &headers, out);
                }
                self.release(&id, "went-on", &went_on(), out);
            }
        }
    }

    /// The caller's channel is over.
    pub fn hung_up(&mut self, id: &str, out: &mut Out<'_>) {
        self.priorities.remove(id);
        self.release(id, "hung-up", &gone(), out);
    }

    /// The priority with which a queue takes this caller, as far as it is ours.
    pub fn priority(&self, id: &str) -> i32 {
        self.priorities.get(id).copied().unwrap_or_default()
    }

    /// The caller talks with somebody whom another manager put them through to: that is not told by an end.
    pub fn bridged(&mut self, id: &str, desk: Desk<'_>, out: &mut Out<'_>) {
        if self.legs.contains_key(id) {
            free(id, desk, out);
            self.release(id, "bridged", &went_on(), out);
        }
    }

    fn release(&mut self, id: &str, reason: &str, error: &Error, out: &mut Out<'_>) {
        let Some(leg) = self.legs.remove(id) else { return };
        leg.end(error, out);
        out.fact(Fact::LegReleased(LegReleased { leg: id.into(), reason: reason.into() }));
    }

    /// AsyncAGIExec. False: it is none of ours, from a session before this one, and the caller is held by nobody.
    pub fn executed(
        &mut self,
        id: &str,
        headers: &[Header<'_>],
        calls: &Calls,
        session: &mut Session,
        out: &mut Out<'_>,
    ) -> bool {
        let command_id = get(headers, b"CommandId").or_else(|| get(headers, b"CommandID"));
        let Some(action) = session.own(command_id.unwrap_or_default()) else {
            return self.legs.get(id).is_some_and(|leg| !leg.unseen);
        };
        if let (Some(leg), Some(channel)) = (self.legs.get_mut(id), channel(id, calls)) {
            let result = get(headers, b"Result").unwrap_or_default();
            leg.executed(action, result, &channel, session, out);
        }
        true
    }

    /// DTMFEnd.
    pub fn key(&self, id: &str, headers: &[Header<'_>], out: &mut Out<'_>) {
        let listens = self.legs.get(id).is_some_and(|leg| leg.listening && leg.leaving.is_none());
        if !listens || get(headers, b"Direction") != Some(b"Received") {
            return;
        }
        let [key @ (b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D')] =
            get(headers, b"Digit").unwrap_or_default()
        else {
            return;
        };
        let held_ms = u32::try_from(get_number(headers, b"DurationMs")).unwrap_or(u32::MAX);
        let key = char::from(*key).to_string();
        out.fact(Fact::LegKey(LegKey { leg: id.into(), key, held_ms }));
    }

    /// Does as the host says, or says why not.
    pub fn instruct(&mut self, command: &Command, desk: Desk<'_>, out: &mut Out<'_>) {
        let (id, instruction) = match Instruction::read(command) {
            Ok(read) => read,
            Err(error) => return out.push(Action::rejected(command.id, error)),
        };
        if desk.session.phase != Phase::Live {
            let text = "the connector is not logged in to the PBX now";
            return out.push(Action::failed(command.id, Error::retryable("not-connected", text)));
        }
        let channel = channel(&id, desk.calls);
        let (Some(leg), Some(channel)) = (self.legs.get_mut(&id), channel) else {
            let error = if desk.is_pictured { not_held() } else { not_shown() };
            return out.push(Action::failed(command.id, error));
        };
        if leg.unseen {
            // Whether they are held at all, the picture of the PBX says; until then they may talk with somebody.
            return out.push(Action::failed(command.id, not_shown()));
        }
        if leg.leaving.is_some() && !matches!(instruction, Instruction::Leave(Leave::HangUp(_))) {
            return out.push(Action::failed(command.id, not_held()));
        }
        desk.leased.insert(id.clone());
        match instruction {
            Instruction::Spoken(spoken) => {
                leg.take(command.id, spoken, &channel, desk.session, out);
            }
            Instruction::AtOnce(at_once) => self.at_once(command.id, at_once, &channel, desk, out),
            Instruction::Leave(leave) => self.check(command.id, leave, &channel, desk, out),
        }
    }

    fn at_once(
        &mut self,
        command: u64,
        at_once: AtOnce,
        channel: &Channel<'_>,
        desk: Desk<'_>,
        out: &mut Out<'_>,
    ) {
        let Some(leg) = self.legs.get_mut(channel.leg) else { return };
        match at_once {
            AtOnce::Listen(on) => {
                leg.listening = on;
                out.push(Action::done(command, ""));
            }
            AtOnce::Lease(secs) => {
                self.open.insert(command, channel.leg.into());
                lease(secs, For::All(command), channel, desk.session, out);
            }
            AtOnce::Set(variables) if variables.is_empty() => {
                out.push(Action::done(command, ""));
            }
            AtOnce::Set(variables) => {
                if let Some((_, language)) = variables.iter().find(|(name, _)| name == LANGUAGE) {
                    leg.language.clone_from(language);
                }
                self.open.insert(command, channel.leg.into());
                let last = variables.len() - 1;
                for (index, (name, value)) in variables.iter().enumerate() {
                    let what = if index == last { For::All(command) } else { For::Part(command) };
                    set(name, value, what, channel, desk.session, out);
                }
            }
        }
    }

    /// Sends a caller on, or asks the PBX first whether there is such a place.
    fn check(
        &mut self,
        command: u64,
        leave: Leave,
        channel: &Channel<'_>,
        desk: Desk<'_>,
        out: &mut Out<'_>,
    ) {
        let in_template = self.legs.get(channel.leg).is_some_and(|leg| leg.place.is_template());
        let question = match &leave {
            Leave::Queue { .. } | Leave::Extension { .. } if !in_template => {
                let text = "the dialplan handed this caller over by a bare AGI(agi:async); use \
                            Gosub(jackfield,ask,1(entry)) of the template that `jackfield check` prints";
                return out.push(Action::failed(command, Error::new("no-template", text)));
            }
            Leave::Queue { queue, .. } if !desk.queues.settings.contains_key(queue) => {
                // It may be a realtime queue that nobody has used yet.
                format!("QUEUE_EXISTS({queue})")
            }
            Leave::Extension { extension, .. } => {
                if dial_string(extension, desk.extensions).is_none() {
                    let text = format!("the PBX has no phone for the extension {extension}");
                    return out
                        .push(Action::failed(command, Error::new("no-such-extension", text)));
                }
                return self.leave(command, leave, channel, desk, out);
            }
            Leave::Dialplan(context, extension, priority) => {
                format!("DIALPLAN_EXISTS({context},{extension},{priority})")
            }
            _ => return self.leave(command, leave, channel, desk, out),
        };
        self.open.insert(command, channel.leg.into());
        let headers = [("Channel", channel.name), ("Variable", question.as_str())];
        let asked = Asked::Held(channel.leg.into(), For::Check(command, leave));
        desk.session.ask(asked, "Getvar", &headers, out);
    }

    fn leave(
        &mut self,
        command: u64,
        leave: Leave,
        channel: &Channel<'_>,
        desk: Desk<'_>,
        out: &mut Out<'_>,
    ) {
        let Some(leg) = self.legs.get_mut(channel.leg) else { return };
        leg.leaving = Some(command);
        leg.drop_waiting(&went_on(), out);
        self.open.insert(command, channel.leg.into());
        let session = desk.session;
        let part = For::Part(command);
        match leave {
            Leave::Queue { queue, priority, timeout_secs, variables } => {
                for (name, value) in &variables {
                    set(name, value, part.clone(), channel, session, out);
                }
                match priority {
                    Some(priority) => self.priorities.insert(channel.leg.into(), priority),
                    None => self.priorities.remove(channel.leg),
                };
                let priority = priority.map(|priority| priority.to_string()).unwrap_or_default();
                let timeout = limit(timeout_secs);
                set("QUEUE_PRIO", &priority, part.clone(), channel, session, out);
                set("JACKFIELD_QUEUE", &queue, part.clone(), channel, session, out);
                set("JACKFIELD_TIMEOUT", &timeout, part, channel, session, out);
                redirect(TEMPLATE, "queue", 1, command, channel, session, out);
            }
            Leave::Extension { extension, timeout_secs } => {
                let dial = dial_string(&extension, desk.extensions).unwrap_or_default();
                let timeout = limit(timeout_secs);
                set("JACKFIELD_DIAL", &dial, part.clone(), channel, session, out);
                set("JACKFIELD_TIMEOUT", &timeout, part, channel, session, out);
                redirect(TEMPLATE, "dial", 1, command, channel, session, out);
            }
            Leave::Dialplan(context, extension, priority) if leg.place.is_template() => {
                let place = format!("{context},{extension},{priority}");
                set("JACKFIELD_GOTO", &place, part, channel, session, out);
                redirect(TEMPLATE, "goto", 1, command, channel, session, out);
            }
            Leave::Dialplan(context, extension, priority) => {
                lease(0, part, channel, session, out);
                redirect(&context, &extension, priority, command, channel, session, out);
            }
            Leave::Continue if leg.place.is_template() => {
                redirect(TEMPLATE, "continue", 1, command, channel, session, out);
            }
            Leave::Continue => {
                let Place { context, extension, priority } = leg.place.clone();
                lease(0, part, channel, session, out);
                redirect(&context, &extension, priority + 1, command, channel, session, out);
            }
            Leave::HangUp(q850) => {
                let cause = q850.to_string();
                let headers = [("Channel", channel.name), ("Cause", cause.as_str())];
                let asked = Asked::Held(channel.leg.into(), For::Leaving(command));
                session.ask(asked, "Hangup", &headers, out);
            }
        }
    }

    /// The PBX answered an action for a caller.
    pub fn answered(
        &mut self,
        id: &str,
        what: For,
        headers: &[Header<'_>],
        desk: Desk<'_>,
        out: &mut Out<'_>,
    ) {
        let success = get(headers, b"Response") == Some(b"Success");
        let error = || refusal(&get_text(headers, b"Message"));
        match what {
            For::Part(command) | For::All(command) | For::Leaving(command) if !success => {
                if let Some(leg) = self.legs.get_mut(id) {
                    leg.leaving.take_if(|leaving| *leaving == command);
                }
                self.conclude(command, Action::failed(command, error()), out);
            }
            For::Part(_) => {}
            // The picture takes it.
            For::Offer => {}
            For::Where => {
                let context = get(headers, b"Value").filter(|_| success);
                // The template's own places take the lease off, or put one on.
                let elsewhere = context.is_some_and(|context| context != TEMPLATE.as_bytes());
                if elsewhere && !self.legs.contains_key(id) {
                    free(id, desk, out);
                }
            }
            For::Freed if success => {}
            For::Freed => {
                let error = error();
                if error.code != gone().code {
                    let why = error.message;
                    log::warn(&format!("the lease of {id}, who left, was not taken off: {why}"));
                }
            }
            For::All(command) | For::Leaving(command) => {
                self.conclude(command, Action::done(command, ""), out);
            }
            For::Check(command, leave) => {
                if self.open.remove(&command).is_none() {
                    return;
                }
                let (held, channel) = (self.legs.get(id), channel(id, desk.calls));
                let there = success && get(headers, b"Value") == Some(b"1");
                match (held, channel, there) {
                    (Some(leg), Some(channel), true) if leg.leaving.is_none() => {
                        self.leave(command, leave, &channel, desk, out);
                    }
                    (Some(_), _, false) if success => {
                        out.push(Action::failed(command, no_such(&leave)));
                    }
                    (Some(_), _, false) => out.push(Action::failed(command, error())),
                    _ => out.push(Action::failed(command, not_held())),
                }
            }
        }
    }

    fn conclude(&mut self, command: u64, outcome: Action, out: &mut Out<'_>) {
        if self.open.remove(&command).is_some() {
            out.push(outcome);
        }
    }

    /// The PBX did not take an AGI command.
    pub fn agi_refused(
        &mut self,
        id: &str,
        action: u64,
        headers: &[Header<'_>],
        out: &mut Out<'_>,
    ) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg.refused(action, refusal(&get_text(headers, b"Message")), out);
        }
    }

    /// The link is lost: what was sent may have been done or not.
    pub fn lost(&mut self, out: &mut Out<'_>) {
        self.open_are_unknown("link-lost", "the link to the PBX broke before it answered", out);
        for leg in self.legs.values_mut() {
            leg.lost(out);
        }
    }

    /// Answers may be among what was taken out.
    pub fn missed_answers(&mut self, out: &mut Out<'_>) {
        self.open_are_unknown(
            "answer-lost",
            "the PBX's answer was lost with bytes that were taken out",
            out,
        );
        self.doubt();
    }

    fn open_are_unknown(&mut self, code: &str, text: &str, out: &mut Out<'_>) {
        for command in std::mem::take(&mut self.open).into_keys() {
            out.push(Action::unknown(command, Error::retryable(code, text)));
        }
    }

    /// Events may be among what is not believed.
    pub fn doubt(&mut self) {
        self.legs.values_mut().for_each(Leg::doubt);
    }

    /// A complete list of all channels shows who is held. Says who is somewhere else with our lease on them.
    pub fn take_picture(&mut self, seen: Seen, calls: &Calls, out: &mut Out<'_>) -> Vec<String> {
        let Seen { held, others, touched, .. } = seen;
        let mut elsewhere = Vec::new();
        self.priorities.retain(|id, _| calls.is_leg(id));
        let known: Vec<String> = self.legs.keys().cloned().collect();
        for id in known.iter().filter(|id| !touched.contains(*id)) {
            let Some(leg) = self.legs.get_mut(id) else { continue };
            if held.contains_key(id) {
                // Sent on, it was thought, and here all the same.
                leg.leaving.take_if(|command| !self.open.contains_key(command));
            } else if others.get(id).is_none_or(|(place, _)| *place != leg.place) {
                // In the same place with another application an announcement is played, or was.
                if others.get(id).is_some_and(|(place, _)| !place.is_template()) {
                    elsewhere.push(id.clone());
                }
                self.release(id, "went-on", &went_on(), out);
            }
        }
        for (id, (place, language, offer)) in held {
            let known = self.legs.get(&id).is_some_and(|leg| !leg.unseen);
            if !known && !touched.contains(&id) && calls.is_leg(&id) {
                let leg = Leg::new(place, language, offer).after(self.legs.remove(&id));
                self.legs.insert(id, leg);
            }
        }
        elsewhere
    }

    /// Everybody who is held, as they were offered.
    pub fn picture(&self) -> impl Iterator<Item = Fact> {
        self.legs.iter().map(|(id, leg)| leg.offered(id))
    }

    /// Asks what those came with whom the list shows in the template's `held` while another application runs.
    pub fn ask(&self, seen: &mut Seen, calls: &Calls, session: &mut Session, out: &mut Out<'_>) {
        for (id, (place, _)) in &seen.others {
            let known = self.legs.get(id).is_some_and(|leg| !leg.unseen);
            if !place.is_held() || known || seen.touched.contains(id) || !calls.is_leg(id) {
                continue;
            }
            let Some(channel) = channel(id, calls) else { continue };
            let headers = [("Channel", channel.name), ("Variable", "JACKFIELD_OFFER")];
            session.ask(Asked::Held(id.clone(), For::Offer), "Getvar", &headers, out);
            seen.asked.insert(id.clone());
        }
    }

    /// Finds out what became of instructions whose answer may be lost.
    pub fn make_certain(&mut self, calls: &Calls, session: &mut Session, out: &mut Out<'_>) {
        for (id, leg) in &mut self.legs {
            if let Some(channel) = channel(id, calls) {
                leg.make_certain(&channel, session, out);
            }
        }
    }
}

fn channel<'a>(id: &'a str, calls: &'a Calls) -> Option<Channel<'a>> {
    let channel = calls.get(id)?;
    Some(Channel { leg: id, name: channel.name(), is_answered: channel.is_answered() })
}

fn set(
    name: &str,
    value: &str,
    what: For,
    channel: &Channel<'_>,
    session: &mut Session,
    out: &mut Out<'_>,
) {
    let headers = [("Channel", channel.name), ("Variable", name), ("Value", value)];
    session.ask(Asked::Held(channel.leg.into(), what), "Setvar", &headers, out);
}

fn lease(secs: u32, what: For, channel: &Channel<'_>, session: &mut Session, out: &mut Out<'_>) {
    if secs == 0 {
        // AbsoluteTimeout takes no 0: "No timeout specified".
        return set("TIMEOUT(absolute)", "0", what, channel, session, out);
    }
    let secs = secs.to_string();
    let headers = [("Channel", channel.name), ("Timeout", secs.as_str())];
    session.ask(Asked::Held(channel.leg.into(), what), "AbsoluteTimeout", &headers, out);
}

/// Takes our lease off a caller whom somebody else sent or put through to a place that knows of none: nobody renews it
/// any more, and it would end whatever they do there. A time limit that somebody else put on is not ours to take off.
pub fn free(id: &str, desk: Desk<'_>, out: &mut Out<'_>) {
    if desk.leased.remove(id)
        && let Some(channel) = channel(id, desk.calls)
    {
        lease(0, For::Freed, &channel, desk.session, out);
    }
}

fn redirect(
    context: &str,
    extension: &str,
    priority: u32,
    command: u64,
    channel: &Channel<'_>,
    session: &mut Session,
    out: &mut Out<'_>,
) {
    let priority = priority.to_string();
    let headers = [
        ("Channel", channel.name),
        ("Context", context),
        ("Exten", extension),
        ("Priority", priority.as_str()),
    ];
    let asked = Asked::Held(channel.leg.into(), For::Leaving(command));
    session.ask(asked, "Redirect", &headers, out);
}

/// What the template's `dial` dials for an extension.
fn dial_string(extension: &str, extensions: &Extensions) -> Option<String> {
    let device = extensions.fact(extension)?.device;
    let (technology, name) = device.split_once('/')?;
    let is_plain = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.+".contains(&byte))
    };
    (is_plain(technology) && is_plain(name)).then_some(device)
}

/// Empty: none.
fn limit(secs: u32) -> String {
    if secs == 0 { String::new() } else { secs.to_string() }
}

fn went_on() -> Error {
    Error::new("interrupted", "the caller went on before it was done")
}

fn not_held() -> Error {
    Error::new("not-held", "the caller waits for no instructions now")
}

fn not_shown() -> Error {
    let text = "the link to the PBX is new, and it has not shown yet who is held";
    Error::retryable("not-connected", text)
}

fn no_such(leave: &Leave) -> Error {
    match leave {
        Leave::Queue { queue, .. } => {
            Error::new("no-such-queue", format!("the PBX has no queue named {queue}"))
        }
        Leave::Dialplan(context, extension, priority) => {
            let text = format!("the dialplan has no {context},{extension},{priority}");
            Error::new("no-such-place", text)
        }
        _ => not_held(),
    }
}

fn refusal(message: &str) -> Error {
    if message.contains("Permission denied") {
        let text = "the PBX does not let this account do that: add `agi` and `call` to `write` of its section in manager.conf";
        return Error::new("permission-denied", text);
    }
    if message.contains("not exist") || message.contains("No such channel") {
        return gone();
    }
    Error::new("refused", format!("the PBX refused: {message}"))
}
