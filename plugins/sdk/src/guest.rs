//! Between the component's exports and what a plugin implements.

use crate::{
    Action, Config, Connector, Error, Input, Now, Snapshot,
    bindings::connector::exports::jackfield::connector as exports, log,
};

/// Where a plugin keeps its one instance; implemented by `register_connector!` and its like.
pub trait Slot {
    /// What is kept.
    type Plugin: 'static;

    /// Gives access to it.
    fn with<R>(work: impl FnOnce(&mut Option<Self::Plugin>) -> R) -> R;
}

impl<S: Slot<Plugin: Connector>> exports::connector::Guest for S {
    fn init(config: Config, state: Option<Snapshot>, now: Now) -> Result<Vec<Action>, Error> {
        say_last_words();
        let mut out = Vec::new();
        let connector = S::Plugin::init(config, state, now, &mut out)?;
        S::with(|slot| *slot = Some(connector));
        Ok(out)
    }

    fn step(now: Now, inputs: Vec<Input>) -> Result<Vec<Action>, Error> {
        S::with(|slot| {
            let connector = slot.as_mut().ok_or_else(before_init)?;
            let mut out = Vec::new();
            connector.step(now, inputs, &mut out)?;
            Ok(out)
        })
    }
}

impl<S: Slot<Plugin: Connector>> exports::state::Guest for S {
    fn snapshot() -> Result<Snapshot, Error> {
        S::with(|slot| slot.as_ref().ok_or_else(before_init)?.snapshot())
    }
}

fn before_init() -> Error {
    Error::new("not-initialised", "the host called a step before init")
}

/// A panic traps without a word; this leaves the word in the host's log first.
pub fn say_last_words() {
    if cfg!(target_arch = "wasm32") {
        std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
    }
}
