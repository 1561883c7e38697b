//! Laws every connector keeps, tried on conversations with a PBX.
//!
//! | law | what it says |
//! | --- | --- |
//! | resync | after any cut the state is the PBX's picture |
//! | command | every command ends in exactly one outcome |
//! | terminal-event | a leg, a wait, an offer, a service, a stay with the host ends once, and nothing ends that did not begin |
//! | snapshot | a snapshot and a restore at every step change no effect |
//! | chunking | the pieces in which bytes come change nothing |
//! | hostile-bytes | no bytes make it trap or grow, and what comes of them is bounded |
//!
//! A conversation is a PBX that knows what it has ([`Pbx`]), and turns: moments at which something happens at it, or at
//! which a command is given. A law that a conversation cannot try (no commands, no snapshot) says so.

mod command;
mod hostile;
mod resync;
mod same;
mod terminal;

use std::{fmt, time::Duration};

use plugin_runtime::StartError;
use serde::Serialize;

use crate::{
    peer::{Pbx, ScriptedPbx},
    play,
    rig::{Rig, Setup, Told, Unkind, What},
    scenario::{Scenario, Script, connector::Happens},
};

/// Lines of evidence for a broken law.
const MAX_EVIDENCE: usize = 24;

/// A PBX and what happens at it.
pub struct Conversation<'a> {
    /// For the report.
    pub name: String,
    /// The connector.
    pub setup: Setup,
    /// A PBX that nothing has happened at yet.
    pub pbx: Box<dyn Fn() -> Box<dyn Pbx> + 'a>,
    /// In order of time.
    pub turns: Vec<Turn>,
}

/// A moment.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Since the beginning.
    pub at: Duration,
    /// A command that is given then, after the PBX's own turn.
    pub command: Option<Command>,
}

/// A command.
#[derive(Clone, Debug)]
pub struct Command {
    /// E.g. `pause`.
    pub kind: String,
    /// Names and values.
    pub arguments: Vec<(String, String)>,
    /// How long it may take.
    pub within: Duration,
}

/// How to try.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of the dice.
    pub seed: u64,
    /// How many hostile messages.
    pub rounds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, rounds: 2000 }
    }
}

/// A law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// After any cut the state is the PBX's picture.
    Resync,
    /// Every command ends in exactly one outcome.
    Command,
    /// What ends, ends once.
    TerminalEvent,
    /// A snapshot and a restore change nothing.
    Snapshot,
    /// The pieces of bytes change nothing.
    Chunking,
    /// No bytes do harm.
    HostileBytes,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Resync,
        Self::Command,
        Self::TerminalEvent,
        Self::Snapshot,
        Self::Chunking,
        Self::HostileBytes,
    ];

    /// As it is written.
    pub fn code(self) -> &'static str {
        match self {
            Self::Resync => "resync",
            Self::Command => "command",
            Self::TerminalEvent => "terminal-event",
            Self::Snapshot => "snapshot",
            Self::Chunking => "chunking",
            Self::HostileBytes => "hostile-bytes",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Does it hold?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// In everything that was tried.
    Holds,
    /// Not.
    Broken,
    /// Nothing could be tried.
    NotTried,
}

/// What was found about a law.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The law.
    pub law: Law,
    /// Does it hold?
    pub holds: Holds,
    /// One sentence.
    pub sentence: String,
    /// What shows it, when it is broken.
    pub evidence: Vec<String>,
}

/// What was found about a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The plugin's id.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Of the component.
    pub sha256: String,
    /// Of the dice.
    pub seed: u64,
    /// The conversations' names.
    pub conversations: Vec<String>,
    /// Each law.
    pub laws: Vec<Verdict>,
}

impl Report {
    /// Is no law broken?
    pub fn passed(&self) -> bool {
        self.laws.iter().all(|verdict| verdict.holds != Holds::Broken)
    }

    /// The laws that are.
    pub fn broken(&self) -> Vec<Law> {
        let broken = self.laws.iter().filter(|verdict| verdict.holds == Holds::Broken);
        broken.map(|verdict| verdict.law).collect()
    }
}

/// A connector that cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum ConformError {
    /// There is nothing to try it with.
    #[error("there is no conversation to try it with; give a scenario of a connector")]
    Nothing,
    /// A scenario of something else.
    #[error("{0} is about a {1}, not about a connector")]
    NoConnector(String, &'static str),
    /// It cannot be started as the scenario says.
    #[error(transparent)]
    Setup(#[from] play::TryError),
    /// It does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl<'a> Conversation<'a> {
    /// The conversation of a scenario. What it does to connections is left out: the laws have their own cuts.
    pub fn of(
        plugin: &plugin_runtime::Plugin,
        scenario: &'a Scenario,
    ) -> Result<Self, ConformError> {
        let Script::Connector(script) = &scenario.script else {
            let file = scenario.file.display().to_string();
            return Err(ConformError::NoConnector(file, scenario.kind().code()));
        };
        let turn = |step: &crate::scenario::connector::Step| Turn {
            at: step.at,
            command: match &step.happens {
                Happens::Command { kind, arguments, deadline } => Some(Command {
                    kind: kind.clone(),
                    arguments: arguments.clone(),
                    within: *deadline,
                }),
                _ => None,
            },
        };
        let turns = script.steps.iter().map(turn).collect();
        let setup = play::setup(plugin, scenario, script)?;
        let script = std::sync::Arc::new(script.clone());
        Ok(Self {
            name: scenario.title.clone(),
            setup,
            pbx: Box::new(move || Box::new(ScriptedPbx::new(script.clone()))),
            turns,
        })
    }

    fn rig(&self, unkind: Unkind) -> Result<Rig, ConformError> {
        Ok(Rig::start(self.setup.clone(), (self.pbx)(), unkind)?)
    }

    /// The links that are configured.
    fn links(&self) -> Vec<String> {
        self.setup.config.links.iter().map(|(link, _)| link.clone()).collect()
    }

    /// All turns with their commands, in their time. `each` is called after every turn, and may let time pass.
    fn run(
        &self,
        unkind: Unkind,
        mut each: impl FnMut(&mut Rig, usize),
    ) -> Result<(Rig, Vec<Told>), ConformError> {
        let mut rig = self.rig(unkind)?;
        let mut told = Vec::new();
        let mut late = Duration::ZERO;
        for (number, turn) in self.turns.iter().enumerate() {
            rig.run_until(turn.at + late);
            let before = rig.at();
            rig.turn(number);
            if let Some(Command { kind, arguments, within }) = &turn.command {
                rig.command(kind, arguments, *within);
            }
            rig.settle();
            each(&mut rig, number);
            late += rig.at() - before;
            told.append(&mut rig.told());
        }
        rig.run_until(rig.at() + REST);
        told.append(&mut rig.told());
        Ok((rig, told))
    }
}

/// How long everything has to come to rest: redial, login, picture.
const REST: Duration = Duration::from_secs(10);

/// Tries every law.
pub fn conform(
    conversations: &[Conversation<'_>],
    options: Options,
    progress: &dyn crate::Progress,
) -> Result<Report, ConformError> {
    let Some(first) = conversations.first() else { return Err(ConformError::Nothing) };
    let plugin = &first.setup.plugin;
    let mut laws = Vec::new();
    for law in Law::ALL {
        progress.say(&format!("{law}: trying"));
        laws.push(match law {
            Law::Resync => resync::judge(conversations, options)?,
            Law::Command => command::judge(conversations)?,
            Law::TerminalEvent => terminal::judge(conversations)?,
            Law::Snapshot => same::judge_snapshot(conversations)?,
            Law::Chunking => same::judge_chunking(conversations, options)?,
            Law::HostileBytes => hostile::judge(conversations, options)?,
        });
    }
    Ok(Report {
        plugin: plugin.manifest().id.clone(),
        version: plugin.manifest().version.clone(),
        sha256: plugin.sha256().to_owned(),
        seed: options.seed,
        conversations: conversations.iter().map(|it| it.name.clone()).collect(),
        laws,
    })
}

impl Law {
    fn holds(self, sentence: impl Into<String>) -> Verdict {
        Verdict { law: self, holds: Holds::Holds, sentence: sentence.into(), evidence: Vec::new() }
    }

    fn broken(self, sentence: impl Into<String>, mut evidence: Vec<String>) -> Verdict {
        if evidence.len() > MAX_EVIDENCE {
            let more = evidence.len() - MAX_EVIDENCE;
            evidence.truncate(MAX_EVIDENCE);
            evidence.push(format!(".. and {more} more lines"));
        }
        Verdict { law: self, holds: Holds::Broken, sentence: sentence.into(), evidence }
    }

    fn not_tried(self, sentence: impl Into<String>) -> Verdict {
        Verdict {
            law: self,
            holds: Holds::NotTried,
            sentence: sentence.into(),
            evidence: Vec::new(),
        }
    }
}

/// The first failure of the plugin: laws about answers say nothing about a connector that gives none.
fn failed(told: &[Told]) -> Option<String> {
    told.iter().find_map(|told| match &told.what {
        What::Failed(kind, message) => {
            let first = message.lines().next().unwrap_or_default();
            Some(format!(
                "at {} it failed ({kind}): {first}",
                crate::scenario::time::shown(told.at)
            ))
        }
        _ => None,
    })
}
