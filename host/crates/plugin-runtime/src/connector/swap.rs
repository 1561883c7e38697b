//! Replacing the running version between two steps.
//!
//! ```text
//! snapshot old -> init(config, some(snapshot)) new --> goes on: same links, epochs, bytes, commands, brackets
//!       | none             | refuses        | fails
//!       +------------------+                +--> the old one stays
//!       v
//!  init(config, none) new, links are dialled again; or the old one stays, as was asked
//! ```
//!
//! What must survive a guest is the host's, so there is nothing else to hand over.

use std::{
    fmt,
    time::{Duration, Instant},
};

use calls::Now;
use serde::Serialize;

use super::{
    Connector, History, InstanceConfig, Link, Pending, StartError,
    probation::{Predecessor, Probation},
    recovery::brief,
};
use crate::{
    FailureKind, Incident, Outcome, Plugin,
    bindings::types::{self, Action, Snapshot},
    convert::{self, cut},
    guest::{Failure, Guest, Seed},
};

/// One version of a plugin: what its manifest calls itself, and which component it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// From the manifest, e.g. `0.1.0`.
    pub version: String,
    /// Of the component, lower-case hex.
    pub sha256: String,
}

impl Version {
    pub(crate) fn of(plugin: &Plugin) -> Self {
        let (version, sha256) = (plugin.manifest().version.clone(), plugin.sha256().to_owned());
        Self { version, sha256 }
    }
}

/// `0.1.0 (1f2e3d4c)`: two versions may bear the same number.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.sha256.get(..8).unwrap_or(&self.sha256))
    }
}

/// What shall run from now on: another version, or the same one with another configuration.
#[derive(Clone, Debug)]
pub struct Successor {
    /// The version.
    pub plugin: Plugin,
    /// Its configuration. The links must be those of the running one.
    pub config: InstanceConfig,
    /// What to do when the state cannot be handed over.
    pub on_refusal: OnRefusal,
    /// How long the old instance is kept, to go back to it if the new one fails; zero: not at all.
    pub probation: Duration,
}

/// What to do when the new version refuses the old one's state, or there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// Begin anew: the links are dialled again, and a resync follows.
    Redial,
    /// Keep the old one.
    Keep,
}

/// A swap that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Swapped {
    /// The state was not handed over: the links must be dialled again ([`Incident::ColdStart`] says so too).
    pub cold: bool,
    /// How long nothing was handled.
    pub pause: Duration,
    /// Size of the state that was handed over.
    pub snapshot_bytes: u64,
}

/// A swap that did not happen. The connector goes on as it was.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// There is nothing to replace.
    #[error("connector `{connector}` is given up; start it anew")]
    GivenUp {
        /// The connector.
        connector: String,
    },
    /// More changes than a swap can do.
    #[error("connector `{connector}` cannot get {what} by a swap; stop it and start it anew")]
    Restart {
        /// The connector.
        connector: String,
        /// What would change.
        what: String,
    },
    /// The new configuration is no good.
    #[error(transparent)]
    Config(#[from] StartError),
    /// The new version's frames are shorter than one that is under way.
    #[error(
        "{version} takes frames of at most {max_frame} bytes on link `{link}`, but {buffered} bytes of one that \
         did not end yet are there; try again, or use a version with a larger `max_frame`"
    )]
    FrameUnderWay {
        /// The new version.
        version: Version,
        /// The link.
        link: String,
        /// Bytes that are not consumed.
        buffered: u64,
        /// The new manifest's.
        max_frame: u32,
    },
    /// The state cannot be handed over, and the old version shall stay then.
    #[error(
        "connector `{connector}` keeps its version: {reason}; allow a redial, or use another version"
    )]
    Refused {
        /// The connector.
        connector: String,
        /// Why the state cannot be handed over.
        reason: String,
    },
    /// The new version fails before its first step.
    #[error("{version} does not start as connector `{connector}` ({}): {message}", .kind.code())]
    Failed {
        /// The connector.
        connector: String,
        /// The new version.
        version: Version,
        /// How.
        kind: FailureKind,
        /// In its own words.
        message: String,
    },
    /// There is no old version to go back to.
    #[error(
        "connector `{connector}` is not on probation, so no old instance is kept; swap to the old version instead"
    )]
    NoProbation {
        /// The connector.
        connector: String,
    },
}

/// Why the state does not get from one to the other.
pub(super) enum NoState {
    /// The old one gives none, or the new one does not take it.
    Refused(String),
    /// The new one failed on it.
    Failed(Failure),
}

impl Connector {
    /// Replaces the running version, or its configuration, between two calls of [`handle`](Self::handle).
    /// Links stay up and no byte is lost. A probation that is still on ends well by this, without a word.
    ///
    /// When the new version takes longer than 500 ms to start, or traps, the old one goes on.
    pub fn swap(
        &mut self,
        successor: Successor,
        now: Now,
    ) -> Result<(Swapped, Outcome), SwapError> {
        let began = Instant::now();
        let mut out = std::mem::take(&mut self.owed);
        self.clock = now.monotonic;
        let swapped = self.replace(successor, now, &mut out);
        match swapped {
            Ok(mut swapped) => {
                swapped.pause = began.elapsed();
                self.usage.swaps += 1;
                self.work(now, &mut out);
                Ok((swapped, out))
            }
            Err(error) => {
                self.owed.append(out);
                Err(error)
            }
        }
    }

    fn replace(
        &mut self,
        successor: Successor,
        now: Now,
        out: &mut Outcome,
    ) -> Result<Swapped, SwapError> {
        let Successor { plugin, config, on_refusal, probation } = successor;
        self.check_successor(&plugin, &config)?;
        let seed = Seed::new(&plugin, config, self.seed.log.clone());
        let at = convert::now(now);
        let failed = |failure: Failure| SwapError::Failed {
            connector: seed.config.id.clone(),
            version: Version::of(&plugin),
            kind: failure.kind,
            message: failure.message,
        };
        let refusal = match self.hand_over(&seed, now, out) {
            Ok((guest, actions, snapshot)) => {
                let snapshot_bytes = snapshot.data.len() as u64;
                let history = History::take_over(&seed, snapshot, at, &actions);
                let settings = seed.config.settings.clone();
                let is_changed = settings != self.seed.config.settings;
                self.succeed(seed, guest, history, probation, now);
                self.apply(actions, out);
                if is_changed {
                    // It has them already, but what the old ones made of the PBX is in its state.
                    let input = types::Input::SettingsChanged(settings);
                    self.queue.push_back(Pending::Prepared(input));
                }
                return Ok(Swapped { cold: false, pause: Duration::ZERO, snapshot_bytes });
            }
            Err(NoState::Failed(failure)) => return Err(failed(failure)),
            Err(NoState::Refused(reason)) => reason,
        };
        if on_refusal == OnRefusal::Keep {
            let connector = seed.config.id.clone();
            return Err(SwapError::Refused { connector, reason: cut(refusal) });
        }
        let (guest, actions) = Guest::start(&seed, None, at).map_err(failed)?;
        let history = History::begin(&seed, at, &actions);
        self.usage.cold_starts += 1;
        self.succeed(seed, guest, history, probation, now);
        self.forget("plugin-replaced", now, out);
        out.incidents.push(Incident::ColdStart { reason: cut(refusal) });
        self.apply(actions, out);
        Ok(Swapped { cold: true, pause: Duration::ZERO, snapshot_bytes: 0 })
    }

    /// Can this take over without a new start?
    pub(super) fn check_successor(
        &self,
        plugin: &Plugin,
        config: &InstanceConfig,
    ) -> Result<(), SwapError> {
        let connector = || self.seed.config.id.clone();
        if self.is_given_up() {
            return Err(SwapError::GivenUp { connector: connector() });
        }
        let restart = |what: String| SwapError::Restart { connector: connector(), what };
        if config.id != self.seed.config.id {
            return Err(restart(format!("another id (`{}`)", config.id)));
        }
        let (old, new) = (&self.seed.plugin.manifest().id, &plugin.manifest().id);
        if old != new {
            return Err(restart(format!("another plugin (`{new}` instead of `{old}`)")));
        }
        let links = config.check(plugin)?;
        let sorted = |mut links: Vec<(String, String)>| {
            links.sort_unstable();
            links
        };
        if sorted(config.links.clone()) != sorted(self.seed.config.links.clone()) {
            return Err(restart("other links".to_owned()));
        }
        for (name, link) in links {
            let buffered = self.links.get(&name).map_or(0, Link::under_way);
            let max_frame = link.request.max_frame;
            if buffered > max_frame.into() {
                let version = Version::of(plugin);
                return Err(SwapError::FrameUnderWay { version, link: name, buffered, max_frame });
            }
        }
        Ok(())
    }

    /// Asks the old one for its state and gives it to a new instance.
    pub(super) fn hand_over(
        &mut self,
        seed: &Seed,
        now: Now,
        out: &mut Outcome,
    ) -> Result<(Guest, Vec<Action>, Snapshot), NoState> {
        let old = Version::of(&self.seed.plugin);
        let snapshot = match self.guest.as_mut().and_then(Guest::snapshot) {
            Some(Ok(snapshot)) => snapshot,
            None => {
                return Err(NoState::Refused(format!(
                    "{old} cannot hand over its state (no `state` export)"
                )));
            }
            Some(Err(failure)) => {
                if failure.kind != FailureKind::Error {
                    self.usage.traps += 1;
                    // It is needed if the new one does not start.
                    let _ = self.restore(failure.kind, now, out);
                }
                let message = brief(&failure.message);
                return Err(NoState::Refused(format!("{old} gives no snapshot: {message}")));
            }
        };
        match Guest::start(seed, Some(&snapshot), convert::now(now)) {
            Ok((guest, actions)) => Ok((guest, actions, snapshot)),
            Err(failure) if failure.kind == FailureKind::Error => {
                let (new, message) = (Version::of(&seed.plugin), failure.message);
                Err(NoState::Refused(format!("{new} does not take the state of {old}: {message}")))
            }
            Err(failure) => Err(NoState::Failed(failure)),
        }
    }

    /// The new one is the one that runs; the old one is kept for its probation.
    fn succeed(
        &mut self,
        seed: Seed,
        guest: Guest,
        history: History,
        probation: Duration,
        now: Now,
    ) {
        self.probation = None;
        let ghost = (probation > Duration::ZERO).then(|| self.ghost());
        let old_seed = std::mem::replace(&mut self.seed, seed);
        let old_guest = self.guest.replace(guest);
        let old_history = self.history.succeed(history);
        if let Some(ghost) = ghost
            && let Some(guest) = old_guest
        {
            let old = Predecessor { seed: old_seed, guest, history: old_history, ghost };
            let new = Version::of(&self.seed.plugin);
            self.probation = Some(Box::new(Probation::new(old, new, now, probation)));
        }
        self.take_terms();
    }

    /// What manifest, grants and limits of the running version allow.
    pub(super) fn take_terms(&mut self) {
        let seed = &self.seed;
        self.http_hosts = seed.http_hosts();
        for (name, link) in &mut self.links {
            if let Some(request) = seed.plugin.manifest().link(name) {
                link.take_terms(request.clone(), seed.is_granted("plain", name));
            }
        }
    }
}
