//! One caller who is held: what they hear now, what comes next, and how each instruction ended.
//!
//! Asterisk runs a channel's AGI commands one after the other; here they wait, so that a hand-over finds nothing
//! behind the one that runs.

use std::collections::VecDeque;

use jackfield_sdk::{Action, Error, Fact, LegOffered};
use serde::{Deserialize, Serialize};

use crate::{
    held::{
        instruction::{LANGUAGE, Spoken},
        offer::{Offer, decoded},
        place::Place,
    },
    out::Out,
    session::{Asked, Session},
};

/// At most so many instructions wait for the one that runs.
const MAX_WAITING: usize = 32;

/// A caller who is held.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Leg {
    /// Where they are in the dialplan.
    pub place: Place,
    /// The channel's.
    pub language: String,
    /// What they came with.
    offer: Offer,
    /// The class of the music that shall be heard between announcements; empty: the usual one.
    music: Option<String>,
    /// Their keys are told.
    pub listening: bool,
    running: Option<Running>,
    waiting: VecDeque<(u64, Spoken)>,
    /// They were sent on, by this command; the PBX has not let them go yet.
    pub leaving: Option<u64>,
    /// The link broke since they were offered.
    pub unseen: bool,
    /// An answer may be lost: the action that is under way, and what was asked behind it to find out.
    doubt: Option<(u64, Option<u64>)>,
}

/// A spoken instruction under way: the AGI command that runs, and those to come.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Running {
    /// None: ours, to bring the music back.
    command: Option<u64>,
    /// The number of the action, whose ActionID is the CommandID too.
    action: u64,
    line: Line,
    lines: VecDeque<Line>,
    /// Afterwards there is no music.
    silences: bool,
}

/// An AGI command and what its result means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Line {
    Do(String),
    /// Did these play?
    Played(Vec<String>),
}

/// What an AGI command came to.
enum Told {
    /// With what stands in parentheses.
    Good(String),
    HungUp,
    Refused(String),
}

impl Leg {
    /// A caller who was just handed over.
    pub fn new(place: Place, language: String, mut offer: Offer) -> Self {
        offer.dialled = match (offer.dialled.as_str(), place.extension.as_str()) {
            ("", "s") => String::new(),
            ("", extension) if !place.is_template() => extension.into(),
            _ => offer.dialled,
        };
        Self { place, language, offer, ..Self::default() }
    }

    /// The same caller as before the link broke: what they hear and whether somebody listens has not changed.
    pub fn after(mut self, before: Option<Self>) -> Self {
        if let Some(Self { music, listening, .. }) = before {
            (self.music, self.listening) = (music, listening);
        }
        self
    }

    /// As it is told.
    pub fn offered(&self, id: &str) -> Fact {
        let Offer { entry, dialled, returned_from, outcome, variables } = self.offer.clone();
        let mut facts = Vec::new();
        if !self.language.is_empty() {
            facts.push(("language".to_owned(), self.language.clone()));
        }
        let variable = |(name, value)| (format!("variable.{name}"), value);
        facts.extend(variables.into_iter().map(variable));
        Fact::LegOffered(LegOffered {
            leg: id.into(),
            entry,
            dialled,
            returned_from,
            outcome,
            facts,
        })
    }

    /// Takes an instruction; it runs when those before it are done.
    pub fn take(
        &mut self,
        command: u64,
        spoken: Spoken,
        channel: &Channel<'_>,
        session: &mut Session,
        out: &mut Out<'_>,
    ) {
        if self.waiting.len() >= MAX_WAITING {
            let text = format!("{MAX_WAITING} instructions wait already; wait for their outcomes");
            return out.push(Action::failed(command, Error::retryable("too-many", text)));
        }
        self.waiting.push_back((command, spoken));
        self.run_next(channel, session, out);
    }

    fn run_next(&mut self, channel: &Channel<'_>, session: &mut Session, out: &mut Out<'_>) {
        if self.running.is_some() || self.leaving.is_some() {
            return;
        }
        let Some((command, spoken)) = self.waiting.pop_front() else { return };
        let silences =
            matches!(spoken, Spoken::Play(_) | Spoken::SayNumber(..) | Spoken::SayDigits(..));
        match &spoken {
            Spoken::Music(class) => self.music = Some(class.clone()),
            Spoken::Silence => self.music = None,
            _ => {}
        }
        let lines = self.lines(spoken, channel.is_answered);
        self.run(Some(command), lines, silences, channel, session, out);
    }

    fn run(
        &mut self,
        command: Option<u64>,
        mut lines: VecDeque<Line>,
        silences: bool,
        channel: &Channel<'_>,
        session: &mut Session,
        out: &mut Out<'_>,
    ) {
        let Some(line) = lines.pop_front() else { return };
        let action = ask(&line, channel, session, out);
        self.running = Some(Running { command, action, line, lines, silences });
    }

    fn lines(&self, spoken: Spoken, is_answered: bool) -> VecDeque<Line> {
        let exec = |application: &str, data: &str| Line::Do(format!("EXEC {application} {data}"));
        // Early media: without it nobody hears what is played before the answer.
        let mut lines = VecDeque::new();
        if !is_answered && !matches!(spoken, Spoken::Answer | Spoken::Silence) {
            lines.push_back(Line::Do("EXEC Progress".into()));
        }
        let in_language = |lines: &mut VecDeque<Line>, line: Line, language: Option<String>| {
            let set = |language: &str| Line::Do(format!("SET VARIABLE {LANGUAGE} \"{language}\""));
            let other = language.filter(|language| *language != self.language);
            lines.extend(other.as_deref().map(set));
            lines.push_back(line);
            lines.extend(other.map(|_| set(&self.language)));
        };
        match spoken {
            Spoken::Answer => lines.push_back(Line::Do("ANSWER".into())),
            // Never STREAM FILE: a recording that is missing would end the call.
            Spoken::Play(media) => {
                lines.push_back(exec("Playback", &format!("{},noanswer", media.join("&"))));
                lines.push_back(Line::Played(media));
            }
            Spoken::SayNumber(number, language) => {
                in_language(&mut lines, exec("SayNumber", &number), language);
            }
            Spoken::SayDigits(digits, language) => {
                in_language(&mut lines, exec("SayDigits", &digits), language);
            }
            Spoken::Music(class) => lines.push_back(music_on(&class)),
            Spoken::Silence => lines.push_back(Line::Do("SET MUSIC OFF".into())),
        }
        lines
    }

    /// An AGI command ended.
    pub fn executed(
        &mut self,
        action: u64,
        result: &[u8],
        channel: &Channel<'_>,
        session: &mut Session,
        out: &mut Out<'_>,
    ) {
        if let Some((under_way, asked)) = self.doubt {
            if asked == Some(action) {
                self.doubt = None;
                // What runs on a channel ends in order: the answer before this one is lost.
                if let Some(running) = self.running.take_if(|running| running.action == under_way) {
                    let text =
                        "the PBX's word on how it ended was lost among forged or broken input";
                    running.end(Action::unknown, Error::retryable("answer-lost", text), out);
                    self.go_on(running.silences, channel, session, out);
                }
                return;
            }
        }
        let Some(mut running) = self.running.take_if(|running| running.action == action) else {
            return;
        };
        match (told(result), &running.line) {
            (Told::Good(status), Line::Played(media)) if status == "FAILED" => {
                let text = format!(
                    "the PBX cannot play {}: no such recording in the caller's language",
                    media.join(", ")
                );
                running.end(Action::failed, Error::new("media-not-found", text), out);
            }
            (Told::Good(_), _) => {
                if let Some(line) = running.lines.pop_front() {
                    running.action = ask(&line, channel, session, out);
                    running.line = line;
                    self.running = Some(running);
                    return;
                }
                running.done(out);
            }
            (Told::HungUp, _) => {
                // The end of the call follows; it ends what waits.
                running.end(Action::failed, gone(), out);
                return;
            }
            (Told::Refused(why), _) => {
                let text = format!("the PBX refused: {why}");
                running.end(Action::failed, Error::new("refused", text), out);
            }
        }
        self.go_on(running.silences, channel, session, out);
    }

    /// One instruction is over.
    fn go_on(
        &mut self,
        silenced: bool,
        channel: &Channel<'_>,
        session: &mut Session,
        out: &mut Out<'_>,
    ) {
        if self.leaving.is_some() {
            return;
        }
        match &self.music {
            // An announcement stops the music, and it does not come back by itself.
            Some(class) if silenced => {
                let lines = VecDeque::from([music_on(class)]);
                self.run(None, lines, false, channel, session, out);
            }
            _ => self.run_next(channel, session, out),
        }
    }

    /// The PBX did not take the AGI command of this action.
    pub fn refused(&mut self, action: u64, error: Error, out: &mut Out<'_>) {
        if let Some(running) = self.running.take_if(|running| running.action == action) {
            running.end(Action::failed, error, out);
        }
        if self.doubt.is_some_and(|(_, asked)| asked == Some(action)) {
            self.doubt = None;
        }
    }

    /// What waits will not be heard: the caller goes elsewhere. What runs ends by itself.
    pub fn drop_waiting(&mut self, error: &Error, out: &mut Out<'_>) {
        for (command, _) in self.waiting.drain(..) {
            out.push(Action::failed(command, error.clone()));
        }
    }

    /// The caller is not held any more.
    pub fn end(mut self, error: &Error, out: &mut Out<'_>) {
        if let Some(running) = self.running.take() {
            running.end(Action::failed, error.clone(), out);
        }
        self.drop_waiting(error, out);
    }

    /// The link is lost: nobody knows how far it was played.
    pub fn lost(&mut self, out: &mut Out<'_>) {
        let error =
            || Error::retryable("link-lost", "the link to the PBX broke before it was done");
        if let Some(running) = self.running.take() {
            running.end(Action::unknown, error(), out);
        }
        self.drop_waiting(&error(), out);
        (self.leaving, self.doubt, self.unseen) = (None, None, true);
    }

    /// The answer to what runs may be among what was not believed.
    pub fn doubt(&mut self) {
        if let Some(running) = &self.running {
            self.doubt = Some((running.action, None));
        }
    }

    /// Asks behind what runs, where an answer may be lost: its answer comes after the one that is waited for.
    pub fn make_certain(
        &mut self,
        channel: &Channel<'_>,
        session: &mut Session,
        out: &mut Out<'_>,
    ) {
        if let Some((_, asked @ None)) = &mut self.doubt {
            *asked = Some(ask(&Line::Do("NOOP".into()), channel, session, out));
        }
    }
}

impl Running {
    fn end(&self, how: impl Fn(u64, Error) -> Action, error: Error, out: &mut Out<'_>) {
        if let Some(command) = self.command {
            out.push(how(command, error));
        }
    }

    fn done(&self, out: &mut Out<'_>) {
        if let Some(command) = self.command {
            out.push(Action::done(command, ""));
        }
    }
}

/// The channel of a caller, as actions and announcements need it.
pub struct Channel<'a> {
    /// The leg's id.
    pub leg: &'a str,
    /// Its name now.
    pub name: &'a str,
    /// Before that there is only early media.
    pub is_answered: bool,
}

fn music_on(class: &str) -> Line {
    let space = if class.is_empty() { "" } else { " " };
    Line::Do(format!("SET MUSIC ON{space}{class}"))
}

fn ask(line: &Line, channel: &Channel<'_>, session: &mut Session, out: &mut Out<'_>) -> u64 {
    let command = match line {
        Line::Do(command) => command,
        Line::Played(_) => "GET VARIABLE PLAYBACKSTATUS",
    };
    session.ask_agi(Asked::Agi(channel.leg.into()), channel.name, command, out)
}

/// The caller is gone.
pub fn gone() -> Error {
    Error::new("hung-up", "the caller is gone")
}

/// `200 result=1 (FAILED)`, percent-encoded.
fn told(result: &[u8]) -> Told {
    let text = decoded(result).unwrap_or_default();
    let text = text.trim_end();
    let Some(result) = text.strip_prefix("200 result=") else {
        return Told::Refused(text.chars().take(200).collect());
    };
    match result.split(' ').next().unwrap_or_default() {
        "-1" => Told::HungUp,
        "-2" => Told::Refused("it has no such application".into()),
        _ => {
            let inside = result.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
            Told::Good(inside.unwrap_or_default().into())
        }
    }
}
