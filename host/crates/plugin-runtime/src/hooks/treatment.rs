//! Wait treatments: what a waiting caller hears, and what their keys do.

use std::time::Duration;

use calls::Now;

use super::{
    Answer, Attributes, Call, HookConfig, HookError, HookFailure, HookUsage, Lookup, Patch, Store,
    Target, Wishes,
    instance::Instance,
    lift,
    lower::{self, AnswerLists, Pairs, WaitingLists},
};
use crate::{Plugin, bindings::hooks::exports::jackfield::treatment::wait_treatment::Guest};

/// The caller, and what is known of the wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The call.
    pub call: Call,
    /// Since the treatment began.
    pub waited: Duration,
    /// Where the router wants the caller to go afterwards.
    pub then: Option<Target>,
    /// The router's facts for the treatment.
    pub facts: Attributes,
    /// Place in the queue, 1 is next, where the host keeps the queue itself.
    pub position: Option<u32>,
    /// Estimated wait, where the host keeps the queue itself.
    pub estimate_secs: Option<u32>,
}

/// Why a treatment is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The caller begins to wait.
    Started,
    /// The time asked for by [`Plan::wake`] has come.
    Woke,
    /// A key the plan listens to: one of 0-9, `*`, `#`, A-D.
    Key(char),
    /// A [`Step::Collect`] ended.
    Collected(Collected),
    /// All steps are done.
    Finished,
    /// A step did not work.
    Failed(FailedStep),
    /// All lookups asked for are answered.
    LookedUp,
    /// The place to go to did not take the caller.
    CameBack(String),
    /// The host began anew; the caller has heard whatever was under way, or not.
    Resumed,
    /// Something about the wait changed.
    Changed(Attributes),
}

/// A step that did not work. The steps after it are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// Its index in the steps it came with.
    pub step: u32,
    /// Its code is e.g. `media-not-found`.
    pub error: HookError,
}

/// What [`Step::Collect`] gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// Empty when nothing was pressed.
    pub keys: String,
    /// What ended it.
    pub ended_by: CollectEnd,
}

/// What ended a [`Step::Collect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectEnd {
    /// As many keys as asked for.
    Most,
    /// One of [`Collect::end_keys`].
    EndKey,
    /// The caller was too slow for the first or the next key.
    Timeout,
}

impl CollectEnd {
    /// `most`, `end-key` or `timeout`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Most => "most",
            Self::EndKey => "end-key",
            Self::Timeout => "timeout",
        }
    }
}

/// What a treatment wants done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Given back at the next call; at most [`MAX_STATE`](super::MAX_STATE) bytes.
    pub state: Vec<u8>,
    /// What to do from now on, at most [`MAX_STEPS`](super::MAX_STEPS). None: the earlier plan goes on.
    pub steps: Option<Vec<Step>>,
    /// Keys listened to while the plan runs: 0-9, `*`, `#`, A-D, each once. Empty: none.
    pub keys: String,
    /// Call again after this, [`MIN_WAKE`](super::MIN_WAKE) to [`MAX_WAIT`](super::MAX_WAIT).
    pub wake: Option<Duration>,
    /// The treatment is called when all are answered; the steps go on meanwhile.
    pub lookups: Vec<Lookup>,
    /// What it changes on the call.
    pub patch: Patch,
    /// To be kept.
    pub stores: Vec<Store>,
    /// Why, in one sentence, without control characters.
    pub reason: String,
    /// Growing wishes; this host knows none.
    pub facts: Attributes,
}

/// One thing to do for a waiting caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Answer the call.
    Answer,
    /// Play recordings by the PBX's names, one after the other. 1 to 16.
    Play(Vec<String>),
    /// Say a number or digits.
    Say(Say),
    /// Music of this class from now on; empty: the PBX's usual class.
    Music(String),
    /// No music from now on.
    Silence,
    /// Gather keys.
    Collect(Collect),
    /// At most [`MAX_WAIT`](super::MAX_WAIT).
    Wait(Duration),
    /// The treatment ends. None: where the router said.
    HandOver(Option<Target>),
}

/// Something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// How.
    pub kind: SayKind,
    /// A whole number of at most 9 digits, perhaps negative; or up to 40 of 0-9, `*`, `#`.
    pub value: String,
}

/// How something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SayKind {
    /// "Twelve".
    Number,
    /// "One two".
    Digits,
}

impl SayKind {
    /// `number` or `digits`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Digits => "digits",
        }
    }
}

/// Keys to gather.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collect {
    /// Ends it after so many keys, 1 to 32.
    pub most: u32,
    /// Until the first key.
    pub timeout: Duration,
    /// Between keys.
    pub between: Duration,
    /// Keys that end it, not part of the result.
    pub end_keys: String,
    /// Growing wishes; this host knows none.
    pub facts: Attributes,
}

/// An instance of a wait treatment. It may comfort many callers: each one's state is kept by the host.
pub struct Treatment {
    instance: Instance<Guest>,
    wishes: Wishes,
}

impl Treatment {
    /// Makes an instance and calls its `init`.
    pub fn start(plugin: &Plugin, config: HookConfig) -> Result<Self, HookFailure> {
        let (instance, wishes) = Instance::start(plugin, config)?;
        Ok(Self { instance, wishes })
    }

    /// What it needs with every call.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// Asks what to do for the caller now. `state` is that of the last plan, empty the first time. After a trap or
    /// a late answer this makes a new instance first.
    pub fn next(
        &mut self,
        now: Now,
        waiting: &Waiting,
        state: &[u8],
        cause: &Cause,
        answers: &[Answer],
    ) -> Result<Plan, HookFailure> {
        let deadline = Duration::from_millis(self.instance.config().limits.treatment_ms.into());
        let (lists, answers) = (WaitingLists::of(waiting), AnswerLists::of(answers));
        let mut key = [0; 4];
        let key =
            if let Cause::Key(pressed) = cause { &*pressed.encode_utf8(&mut key) } else { "" };
        let changed = if let Cause::Changed(facts) = cause { facts } else { &Vec::new() };
        let changed = Pairs::of(changed);
        self.instance.call(
            now,
            deadline,
            |guest, store| {
                let (waiting, cause) = (lists.waiting(waiting), lower::cause(cause, key, &changed));
                guest.call_next(store, lower::now(now), waiting, state, cause, &answers.answers())
            },
            lift::plan,
        )
    }

    /// What it has done and uses now.
    pub fn usage(&self) -> HookUsage {
        self.instance.usage()
    }
}
