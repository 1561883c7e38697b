//! Observers: they see what happened, after it is committed, in order.

use std::time::Duration;

use calls::{Now, Timestamp};

use super::{
    Answer, HookConfig, HookFailure, HookUsage, Lookup, Store, Wishes,
    instance::Instance,
    lift,
    lower::{self, AnswerLists},
};
use crate::{Plugin, bindings::hooks::exports::jackfield::observer::observer::Guest};

/// One committed event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number in the journal.
    pub seq: u64,
    /// E.g. `call.ended`.
    pub kind: String,
    /// When, by the host's clock.
    pub at: Timestamp,
    /// The call's id; empty for events of no call.
    pub call: String,
    /// The event as the stream has it: JSON text.
    pub json: String,
}

/// Something an observer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObserverInput {
    /// Something happened.
    Event(Event),
    /// What came of a lookup.
    Answer(Answer),
    /// The time asked for by [`ObserverAction::WakeAt`] has come.
    Wake,
    /// Events up to this number are gone.
    Lost(u64),
}

/// Something an observer wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObserverAction {
    /// Everything up to this number is dealt with.
    Ack(u64),
    /// A question; the answer comes as an input.
    Lookup(Lookup),
    /// To be kept, in one transaction with the `Ack` of the same step.
    Store(Store),
    /// Monotonic time of the next wake-up; replaces the one before. None: never.
    WakeAt(Option<Duration>),
}

/// An instance of an observer.
pub struct Observer {
    instance: Instance<Guest>,
    wishes: Wishes,
    /// The highest event it was told of.
    seen: u64,
}

impl Observer {
    /// Makes an instance and calls its `init`.
    pub fn start(plugin: &Plugin, config: HookConfig) -> Result<Self, HookFailure> {
        let (instance, wishes) = Instance::start(plugin, config)?;
        Ok(Self { instance, wishes, seen: 0 })
    }

    /// What it needs.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// One transaction: nothing counts of a step that failed. After a trap or a late answer the next step makes a
    /// new instance first. It may acknowledge no event that this `Observer` was not given.
    pub fn step(
        &mut self,
        now: Now,
        inputs: &[ObserverInput],
    ) -> Result<Vec<ObserverAction>, HookFailure> {
        let seq = |input: &ObserverInput| match input {
            ObserverInput::Event(event) => Some(event.seq),
            ObserverInput::Lost(seq) => Some(*seq),
            ObserverInput::Answer(_) | ObserverInput::Wake => None,
        };
        self.seen = inputs.iter().filter_map(seq).fold(self.seen, u64::max);
        let limits = &self.instance.config().limits;
        let deadline = Duration::from_millis(limits.step_ms.into());
        let (most, seen) = (limits.actions_per_step as usize, self.seen);
        let answers = AnswerLists::of(inputs.iter().filter_map(|input| match input {
            ObserverInput::Answer(answer) => Some(answer),
            _ => None,
        }));
        self.instance.call(
            now,
            deadline,
            |guest, store| {
                guest.call_step(store, lower::now(now), &lower::inputs(inputs, &answers))
            },
            |actions| lift::actions(actions, most, seen),
        )
    }

    /// What it has done and uses now.
    pub fn usage(&self) -> HookUsage {
        self.instance.usage()
    }
}
