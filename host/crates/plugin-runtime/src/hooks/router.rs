//! Routers: where a call goes.

use std::time::Duration;

use calls::Now;

use super::{
    Answer, Attributes, Call, HookConfig, HookFailure, HookUsage, Lookup, Patch, Store, Target,
    Wishes,
    instance::Instance,
    lift,
    lower::{self, AnswerLists, CallLists},
};
use crate::{Plugin, bindings::hooks::exports::jackfield::router::router::Guest};

/// What a router said about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where to.
    pub verdict: Verdict,
    /// What it changes for those after it.
    pub patch: Patch,
    /// To be kept when the decision counts.
    pub stores: Vec<Store>,
    /// Why, in one sentence, without control characters.
    pub reason: String,
    /// Growing knowledge; this host knows none of it.
    pub facts: Attributes,
}

/// The heart of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No opinion: the next router is asked.
    Pass,
    /// Not yet: look these up and ask again, with all answers so far. 1 to [`MAX_LOOKUPS`](super::MAX_LOOKUPS).
    Need(Vec<Lookup>),
    /// There.
    Send(Target),
    /// A treatment comforts the caller first.
    Treat(Treat),
}

/// A treatment, and what comes after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Treat {
    /// The instance that does it; empty: the site's usual one.
    pub treatment: String,
    /// Where the caller goes when the treatment says no other place.
    pub then: Option<Target>,
    /// For the treatment.
    pub facts: Attributes,
}

/// An instance of a router.
pub struct Router {
    instance: Instance<Guest>,
    wishes: Wishes,
}

impl Router {
    /// Makes an instance and calls its `init`.
    pub fn start(plugin: &Plugin, config: HookConfig) -> Result<Self, HookFailure> {
        let (instance, wishes) = Instance::start(plugin, config)?;
        Ok(Self { instance, wishes })
    }

    /// What it needs with every call.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// Asks where the call goes. After a trap or a late answer this makes a new instance first.
    pub fn route(
        &mut self,
        now: Now,
        call: &Call,
        answers: &[Answer],
    ) -> Result<Decision, HookFailure> {
        let deadline = Duration::from_millis(self.instance.config().limits.route_ms.into());
        let (lists, answers) = (CallLists::of(call), AnswerLists::of(answers));
        self.instance.call(
            now,
            deadline,
            |guest, store| {
                guest.call_route(store, lower::now(now), lists.call(call), &answers.answers())
            },
            lift::decision,
        )
    }

    /// What it has done and uses now.
    pub fn usage(&self) -> HookUsage {
        self.instance.usage()
    }
}
