//! Connector plugins at work: one OS thread each, so that a plugin that computes for long holds up nobody else.
//!
//! ```text
//! PBX <--links--> [ supervisor thread: plugin_runtime::Connector ] --facts--> switch
//!                                                  ^------------commands-------'
//! ```
//!
//! Every arrow is bounded. When the switch does not take facts, the thread waits, its links are not read, and
//! the PBX's own socket buffer fills: nothing is dropped on the way.

mod errands;
mod mask;
mod notices;
mod plan;
mod supervisor;

use std::{io, thread, time::Duration};

use calls::{CommandId, ConnectorId};
use plugin_runtime::{OnRefusal, Recording, SwapError, Swapped, Version};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use errands::{host_of, rules as http_rules};
pub use plan::{LoadedPlugin, Plan, PlannedLink, find, load, plan, plan_one};
pub(crate) use plan::{said_of_settings, settings_key};

use crate::{
    clock::Clock,
    status::{
        ConnectorStatus, LastError, LinkStatus, LinkWord, PluginInfo, StatusBoard, StatusWord,
    },
    switch::FactsHandle,
};

/// Commands that may wait for a connector; more are answered `busy`.
pub const MAX_WAITING_COMMANDS: usize = 256;
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// A command on its way to a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which.
    pub command: CommandId,
    /// E.g. `pause`.
    pub kind: String,
    /// Names and values.
    pub arguments: Vec<(String, String)>,
    /// Monotonic: after this nobody waits.
    pub deadline: Duration,
}

/// What every connector's thread works with.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The host's clocks.
    pub clock: Clock,
    /// Where facts go.
    pub switch: FactsHandle,
    /// Where it shows how it is.
    pub board: StatusBoard,
    /// Where the keeper hears what it must know.
    pub news: mpsc::Sender<News>,
    /// Says why, when the connector shall stop.
    pub stop: watch::Receiver<Option<String>>,
}

/// What the keeper asks of a running connector.
#[derive(Debug)]
pub enum Control {
    /// Run this instead, on the same links.
    Swap {
        /// The plan; its links are those that it has.
        plan: Box<Plan>,
        /// What to do when the state cannot be handed over.
        on_refusal: OnRefusal,
        /// How long it can be undone by itself.
        probation: Duration,
        /// How it went.
        answer: oneshot::Sender<Result<Swapped, SwapError>>,
    },
    /// Undo the swap that is on probation.
    RollBack {
        /// One sentence.
        reason: String,
        /// How it went.
        answer: oneshot::Sender<Result<(), SwapError>>,
    },
    /// Run this beside it with its effects discarded; none ends that.
    Shadow {
        /// The plan; its links are not used.
        plan: Option<Box<Plan>>,
        /// How it went.
        answer: oneshot::Sender<Result<(), SwapError>>,
    },
    /// Hand out the recording of the last minutes.
    Recording {
        /// None: nothing runs.
        answer: oneshot::Sender<Option<Recording>>,
    },
    /// Begin a capture, or end it.
    Capture {
        /// It grows to so many bytes; none ends it.
        most: Option<usize>,
        /// What was captured, at its end.
        answer: oneshot::Sender<Option<Recording>>,
    },
}

/// What the keeper hears of a connector.
#[derive(Debug)]
pub enum News {
    /// The version on probation failed; the one before it goes on.
    RolledBack {
        /// Which.
        connector: ConnectorId,
        /// What failed.
        from: Version,
        /// What goes on.
        to: Version,
        /// Why.
        reason: String,
    },
    /// The version has proved itself.
    ProbationPassed {
        /// Which.
        connector: ConnectorId,
    },
    /// The plugin failed; this led to it.
    Crashed {
        /// Which.
        connector: ConnectorId,
        /// From its last snapshot to the step that failed.
        bundle: Box<Recording>,
    },
}

/// Puts a connector on the status board, before it runs.
pub fn announce(plan: &Plan, board: &StatusBoard, clock: Clock) {
    let links = plan
        .links
        .iter()
        .map(|link| LinkStatus {
            name: link.name.clone(),
            peer: link.target.peer(),
            state: LinkWord::Down,
            epoch: 0,
            next_dial_at: None,
        })
        .collect();
    // What was counted before it was stopped counts on.
    let known = board.get(&plan.id);
    board.put(ConnectorStatus {
        id: plan.id.clone(),
        word: StatusWord::Starting,
        reason: String::new(),
        since: clock.now().wall,
        last_error: known.as_ref().and_then(|known| known.last_error.clone()),
        links,
        counters: known.as_ref().map(|known| known.counters.clone()).unwrap_or_default(),
        usage: plugin_runtime::Usage::default(),
        plugin: Some(plan.plugin.info.clone()),
        alive: false,
        swaps: known.as_ref().map(|known| known.swaps).unwrap_or_default(),
        probation: None,
        shadow: None,
        restarts: known.as_ref().map_or(0, |known| known.restarts),
        log: known.and_then(|known| known.log),
        capturing: false,
    });
}

/// Puts a connector on the board that does not run.
pub(crate) fn announce_idle(
    id: &str,
    plugin: Option<PluginInfo>,
    failed: bool,
    reason: &str,
    last_error: Option<LastError>,
    board: &StatusBoard,
    clock: Clock,
) {
    let known = board.get(&id.into());
    let word = if failed { StatusWord::Failed } else { StatusWord::Disabled };
    let now = clock.now().wall;
    let since = match &known {
        Some(known) if known.word == word => known.since,
        _ => now,
    };
    let down = |link: LinkStatus| LinkStatus { state: LinkWord::Down, next_dial_at: None, ..link };
    let links = known.iter().flat_map(|known| known.links.clone()).map(down).collect();
    board.put(ConnectorStatus {
        id: id.into(),
        word,
        reason: reason.to_owned(),
        since,
        last_error,
        links,
        counters: known.as_ref().map(|known| known.counters.clone()).unwrap_or_default(),
        usage: known.as_ref().map(|known| known.usage.clone()).unwrap_or_default(),
        plugin,
        alive: false,
        swaps: known.as_ref().map(|known| known.swaps).unwrap_or_default(),
        probation: None,
        shadow: None,
        restarts: known.as_ref().map_or(0, |known| known.restarts),
        log: known.and_then(|known| known.log),
        capturing: false,
    });
}

/// Starts a connector's thread. It ends when `stop` says why.
pub fn spawn(
    plan: Plan,
    commands: mpsc::Receiver<Delivery>,
    controls: mpsc::Receiver<Control>,
    surroundings: Surroundings,
) -> io::Result<thread::JoinHandle<()>> {
    let id = plan.id.clone();
    thread::Builder::new().name(format!("connector-{id}")).stack_size(STACK_BYTES).spawn(
        move || {
            let board = surroundings.board.clone();
            let clock = surroundings.clock;
            board.update(&id, |status| status.alive = true);
            let span = tracing::info_span!("connector", id = %id);
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _entered = span.enter();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(supervisor::run(plan, commands, controls, surroundings));
                // Tasks of links get a moment to say goodbye.
                runtime.shutdown_timeout(Duration::from_millis(200));
                Ok::<(), io::Error>(())
            }));
            let problem = match ran {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("its thread could not work: {error}")),
                Err(_) => Some("its thread panicked".to_owned()),
            };
            board.update(&id, |status| {
                status.alive = false;
                if let Some(problem) = problem {
                    tracing::error!(connector = %id, problem, "connector ended");
                    let now = clock.now().wall;
                    status.set(StatusWord::Failed, problem.clone(), now);
                    status.fail(problem, "restart jackfield, and report this with its log", now);
                }
            });
        },
    )
}

/// The id under which the switch knows a connector's inbox.
pub type Inboxes = std::collections::BTreeMap<ConnectorId, mpsc::Sender<Delivery>>;
