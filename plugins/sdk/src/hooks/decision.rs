//! What a router answers.

use super::{Decision, Lookup, Patch, Store, Target, Treat, Verdict};

impl Decision {
    /// No opinion: the next router is asked.
    pub fn pass() -> Self {
        Self::new(Verdict::Pass)
    }

    /// Not yet: asks again with the answers. At most 4 lookups for each decision.
    pub fn need(lookups: impl IntoIterator<Item = Lookup>) -> Self {
        Self::new(Verdict::Need(lookups.into_iter().collect()))
    }

    /// The caller goes there.
    pub fn send(target: Target) -> Self {
        Self::new(Verdict::Send(target))
    }

    /// A treatment comforts the caller first.
    pub fn treat(treat: Treat) -> Self {
        Self::new(Verdict::Treat(treat))
    }

    /// Ends the call with this Q.850 cause: 16 politely, 17 busy, 21 rejected.
    pub fn hang_up(q850: u16) -> Self {
        Self::send(Target::hang_up(q850))
    }

    fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            patch: Patch::default(),
            stores: Vec::new(),
            reason: String::new(),
            facts: Vec::new(),
        }
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

    /// Tells the hooks after this one what it found out.
    pub fn with_fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.patch.facts.push((name.into(), value.into()));
        self
    }

    /// Keeps a value in the instance's own store, if the decision counts.
    pub fn storing(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.stores.push(Store::put(key, value));
        self
    }
}

impl Treat {
    /// By the site's usual treatment.
    pub fn usual() -> Self {
        Self::with("")
    }

    /// By the treatment of that name in the config.
    pub fn with(treatment: impl Into<String>) -> Self {
        Self { treatment: treatment.into(), then: None, facts: Vec::new() }
    }

    /// Where the caller goes when the treatment says no other place.
    pub fn then(mut self, target: Target) -> Self {
        self.then = Some(target);
        self
    }

    /// Tells the treatment something, e.g. `message` and `closed`.
    pub fn with_fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.push((name.into(), value.into()));
        self
    }
}

impl Store {
    /// Keeps a value: a key of at most 256 bytes, a value of at most 64 KiB.
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: Some(value.into()), facts: Vec::new() }
    }

    /// Removes a key.
    pub fn remove(key: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, facts: Vec::new() }
    }
}
