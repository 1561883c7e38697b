//! The keys that a caller pressed stay out of the record of the call.
//!
//! They are given to the treatment that asked for them, which may put them anywhere: into variables for the PBX, facts
//! for those after it, its sentences. So from its first key on each digit, `*` and `#` in what a treatment sets or says
//! is a `*` in the record. Those who are told what it set are told it as it is.

use std::collections::BTreeSet;

use plugin_runtime::hooks::{Cause, Patch};

/// What must not be read in the record of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Private {
    /// A treatment was given keys.
    pub keys_given: bool,
    /// What treatments set since then: `variable.NAME` and `fact.NAME`.
    pub names: BTreeSet<String>,
}

impl Private {
    /// A treatment is told this.
    pub fn told(&mut self, cause: &Cause) {
        self.keys_given |= match cause {
            Cause::Key(_) => true,
            Cause::Collected(collected) => !collected.keys.is_empty(),
            _ => false,
        };
    }

    /// A treatment set this.
    pub fn treatment_set(&mut self, patch: &Patch) {
        if self.keys_given {
            self.names.extend(names(patch));
        }
    }

    /// What a word was said on, as the record has it.
    pub fn facts(&self, mut facts: Vec<(String, String)>) -> Vec<(String, String)> {
        for (_, value) in facts.iter_mut().filter(|(name, _)| self.names.contains(name)) {
            *value = without_keys(value);
        }
        facts
    }

    /// A treatment's sentence, as the record has it.
    pub fn sentence(&self, text: String) -> String {
        if self.keys_given { without_keys(&text) } else { text }
    }
}

fn names(patch: &Patch) -> impl Iterator<Item = String> {
    let variables = patch.variables.iter().map(|(name, _)| format!("variable.{name}"));
    variables.chain(patch.facts.iter().map(|(name, _)| format!("fact.{name}")))
}

fn without_keys(text: &str) -> String {
    text.replace(|letter: char| letter.is_numeric() || letter == '#', "*")
}

#[cfg(test)]
mod tests {
    use plugin_runtime::hooks::{CollectEnd, Collected};

    use super::*;

    fn set(name: &str, value: &str) -> Patch {
        let pairs = vec![(name.to_owned(), value.to_owned())];
        Patch { variables: pairs.clone(), facts: pairs, ..Patch::default() }
    }

    /// The record of a call with this variable and this fact.
    fn record(private: &Private, value: &str) -> Vec<String> {
        let pair = |kind: &str| (format!("{kind}.PIN"), value.to_owned());
        let facts = private.facts(vec![pair("variable"), pair("fact"), pair("answer")]);
        facts.into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn what_a_treatment_sets_after_a_key_is_recorded_without_digits() {
        let mut private = Private::default();
        let nothing = Collected { keys: String::new(), ended_by: CollectEnd::Timeout };
        private.told(&Cause::Collected(nothing));
        private.treatment_set(&set("PIN", "early 1"));
        assert_eq!(record(&private, "early 1"), ["early 1", "early 1", "early 1"]);
        assert_eq!(private.sentence("rule 7".into()), "rule 7");
        private.told(&Cause::Key('4'));
        private.treatment_set(&set("PIN", "DE-47#1*"));
        assert_eq!(record(&private, "DE-47#1*"), ["DE-*****", "DE-*****", "DE-47#1*"]);
        assert_eq!(private.sentence("the PIN is ４7".into()), "the PIN is **");
        // Whoever sets it later: a router may write back what it was told.
        assert_eq!(record(&private, "tier 2"), ["tier *", "tier *", "tier 2"]);
    }
}
