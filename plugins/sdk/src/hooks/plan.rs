//! What a wait treatment answers.

use std::time::Duration;

use super::{Collect, Lookup, Patch, Plan, Say, Step, Store, Target};

impl Plan {
    /// From now on these steps; what has not begun of an earlier plan is dropped. At most 64.
    pub fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: Some(steps.into_iter().collect()), ..Self::default() }
    }

    /// The earlier plan goes on. Its keys and its wake-up do not: say again which are wanted.
    pub fn go_on() -> Self {
        Self::default()
    }

    /// The treatment ends: the caller goes where the router said.
    pub fn hand_over() -> Self {
        Self::steps([Step::HandOver(None)])
    }

    /// The treatment ends: the caller goes there.
    pub fn hand_over_to(target: Target) -> Self {
        Self::steps([Step::HandOver(Some(target))])
    }

    /// Given back at the next call; at most 16 KiB.
    pub fn with_state(mut self, state: impl Into<Vec<u8>>) -> Self {
        self.state = state.into();
        self
    }

    /// Keys listened to while the plan runs, e.g. `12*`.
    pub fn with_keys(mut self, keys: impl Into<String>) -> Self {
        self.keys = keys.into();
        self
    }

    /// Be called again after this time.
    pub fn wake_in(mut self, time: Duration) -> Self {
        self.wake_ms = Some(millis(time));
        self
    }

    /// Asks for something; the steps go on meanwhile, and [`Cause::LookedUp`](super::Cause::LookedUp) follows.
    pub fn looking_up(mut self, lookup: Lookup) -> Self {
        self.lookups.push(lookup);
        self
    }

    /// One sentence for whoever asks why; it stays with the call.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Higher is served earlier.
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.patch.priority = Some(priority);
        self
    }

    /// The caller's language, e.g. `de`.
    pub fn with_language(mut self, language: impl Into<String>) -> Self {
        self.patch.language = Some(language.into());
        self
    }

    /// Sets a channel variable, also seen by the PBX.
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.patch.variables.push((name.into(), value.into()));
        self
    }

    /// Tells other hooks what it found out.
    pub fn with_fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.patch.facts.push((name.into(), value.into()));
        self
    }

    /// Keeps a value in the instance's own store.
    pub fn storing(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.stores.push(Store::put(key, value));
        self
    }
}

/// Nothing to do, nothing to wait for.
impl Default for Plan {
    fn default() -> Self {
        Self {
            state: Vec::new(),
            steps: None,
            keys: String::new(),
            wake_ms: None,
            lookups: Vec::new(),
            patch: Patch::default(),
            stores: Vec::new(),
            reason: String::new(),
            facts: Vec::new(),
        }
    }
}

impl Step {
    /// Plays one recording, by the PBX's name of it, e.g. `queue-thankyou`.
    pub fn play(media: impl Into<String>) -> Self {
        Self::Play(vec![media.into()])
    }

    /// Plays recordings, one after the other.
    pub fn play_all(media: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Play(media.into_iter().map(Into::into).collect())
    }

    /// Says a number: "twelve".
    pub fn say_number(number: i32) -> Self {
        Self::Say(Say { kind: "number".into(), value: number.to_string() })
    }

    /// Says digits: "one two".
    pub fn say_digits(digits: impl Into<String>) -> Self {
        Self::Say(Say { kind: "digits".into(), value: digits.into() })
    }

    /// The PBX's usual music from now on, also between and after announcements.
    pub fn music() -> Self {
        Self::Music(String::new())
    }

    /// Does nothing for a while, at most an hour.
    pub fn wait(time: Duration) -> Self {
        Self::Wait(millis(time))
    }

    /// Gathers up to `most` keys (at most 32), waiting so long for the first, and 3 s between them; `#` ends it
    /// sooner. [`Cause::Collected`](super::Cause::Collected) follows.
    pub fn collect(most: u32, timeout: Duration) -> Self {
        Self::Collect(Collect {
            most,
            timeout_ms: millis(timeout),
            between_ms: 3000,
            end_keys: "#".into(),
            facts: Vec::new(),
        })
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
