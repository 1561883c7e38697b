//! A caller under treatment as bytes: JSON, so that the next version of the host can read it.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use calls::Timestamp;
use plugin_runtime::hooks::{
    Attributes, DialplanTarget, ExtensionTarget, HangUpTarget, Patch, QueueTarget, Target,
};
use serde::{Deserialize, Serialize};

use super::{desk::Kept, private::Private};

#[derive(Serialize, Deserialize)]
struct OnDisk {
    treatment: String,
    /// Base64.
    state: String,
    then: Option<Place>,
    facts: Attributes,
    priority: Option<i32>,
    language: Option<String>,
    variables: Attributes,
    call_facts: Attributes,
    #[serde(default)]
    keys_given: bool,
    #[serde(default)]
    private: BTreeSet<String>,
    attempt: u32,
    returned_from: String,
    waited_ms: u64,
    age_ms: u64,
    at_ns: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    Queue {
        name: String,
        priority: Option<i32>,
        timeout_ms: Option<u64>,
        facts: Attributes,
    },
    Extension {
        number: String,
        timeout_ms: Option<u64>,
        facts: Attributes,
    },
    Dialplan {
        context: String,
        extension: String,
        priority: u32,
        #[serde(default)]
        facts: Attributes,
    },
    Continue,
    HangUp {
        q850: u16,
        #[serde(default)]
        facts: Attributes,
    },
}

pub(super) fn encode(kept: Kept) -> Vec<u8> {
    let Kept {
        treatment,
        state,
        then,
        facts,
        patch,
        private,
        attempt,
        returned_from,
        waited,
        age,
        at,
    } = kept;
    let on_disk = OnDisk {
        treatment,
        state: BASE64.encode(state),
        then: then.map(Place::from),
        facts,
        priority: patch.priority,
        language: patch.language,
        variables: patch.variables,
        call_facts: patch.facts,
        keys_given: private.keys_given,
        private: private.names,
        attempt,
        returned_from,
        waited_ms: millis(waited),
        age_ms: millis(age),
        at_ns: at.0,
    };
    serde_json::to_vec(&on_disk).expect("texts and numbers are JSON")
}

/// None: it is nothing that [`encode`] makes.
pub(super) fn decode(bytes: &[u8]) -> Option<Kept> {
    let it: OnDisk = serde_json::from_slice(bytes).ok()?;
    Some(Kept {
        treatment: it.treatment,
        state: BASE64.decode(it.state).ok()?,
        then: it.then.map(Target::from),
        facts: it.facts,
        patch: Patch {
            priority: it.priority,
            language: it.language,
            variables: it.variables,
            facts: it.call_facts,
        },
        private: Private { keys_given: it.keys_given, names: it.private },
        attempt: it.attempt,
        returned_from: it.returned_from,
        waited: Duration::from_millis(it.waited_ms),
        age: Duration::from_millis(it.age_ms),
        at: Timestamp(it.at_ns),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<Target> for Place {
    fn from(target: Target) -> Self {
        match target {
            Target::Queue(QueueTarget { name, priority, timeout, facts }) => {
                Self::Queue { name, priority, timeout_ms: timeout.map(millis), facts }
            }
            Target::Extension(ExtensionTarget { number, timeout, facts }) => {
                Self::Extension { number, timeout_ms: timeout.map(millis), facts }
            }
            Target::Dialplan(DialplanTarget { context, extension, priority, facts }) => {
                Self::Dialplan { context, extension, priority, facts }
            }
            Target::ContinueInDialplan => Self::Continue,
            Target::HangUp(HangUpTarget { q850, facts }) => Self::HangUp { q850, facts },
        }
    }
}

impl From<Place> for Target {
    fn from(place: Place) -> Self {
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        match place {
            Place::Queue { name, priority, timeout_ms, facts } => {
                Self::Queue(QueueTarget { name, priority, timeout: time(timeout_ms), facts })
            }
            Place::Extension { number, timeout_ms, facts } => {
                Self::Extension(ExtensionTarget { number, timeout: time(timeout_ms), facts })
            }
            Place::Dialplan { context, extension, priority, facts } => {
                Self::Dialplan(DialplanTarget { context, extension, priority, facts })
            }
            Place::Continue => Self::ContinueInDialplan,
            Place::HangUp { q850, facts } => Self::HangUp(HangUpTarget { q850, facts }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_caller_comes_back_as_it_was() {
        let pairs = |text: &str| vec![(text.to_owned(), "ü\n".to_owned())];
        let targets = [
            None,
            Some(Target::Queue(QueueTarget {
                name: "vip".into(),
                priority: Some(-3),
                timeout: Some(Duration::from_secs(30)),
                facts: pairs("a"),
            })),
            Some(Target::extension("1001")),
            Some(Target::Dialplan(DialplanTarget {
                context: "c".into(),
                extension: "s".into(),
                priority: 7,
                facts: pairs("d"),
            })),
            Some(Target::ContinueInDialplan),
            Some(Target::hang_up(21)),
        ];
        for then in targets {
            let kept = Kept {
                treatment: "standard".into(),
                state: vec![0, 255, 10],
                then,
                facts: pairs("f"),
                patch: Patch {
                    priority: Some(10),
                    language: Some("de".into()),
                    variables: pairs("V"),
                    facts: pairs("g"),
                },
                private: Private { keys_given: true, names: ["variable.V".to_owned()].into() },
                attempt: 3,
                returned_from: "queue".into(),
                waited: Duration::from_millis(1500),
                age: Duration::from_secs(9),
                at: Timestamp(77),
            };
            assert_eq!(decode(&encode(kept.clone())), Some(kept));
        }
        assert_eq!(decode(b"{\"treatment\":1}"), None);
    }
}
