//! Greets the caller, plays music, lets a key choose a queue, and hands over.

use std::{collections::BTreeMap, time::Duration};

use jackfield_sdk::{
    hooks::{
        Answers, Cause, Config, Error, Now, Plan, Problem, Step, Target, WaitTreatment, Waiting,
    },
    register_treatment,
};
use serde::Deserialize;

/// What the admin configures; see settings.schema.json, by which it is valid when it comes here.
#[derive(Deserialize)]
pub struct {{type}} {
    /// A recording, by the PBX's name of it.
    greeting: String,
    /// The queue each key leads to.
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[serde(default = "usual_wait")]
    wait_secs: u64,
}

impl WaitTreatment for {{type}} {
    fn init(config: Config) -> Result<Self, Error> {
        serde_json::from_str(&config.settings)
            .map_err(|error| Error::new("bad-settings", error.to_string()))
    }

    /// Called when something happened to this caller. A plan replaces what has not begun of the one before it.
    fn next(
        &self,
        _: Now,
        _: &Waiting,
        _: &[u8],
        cause: &Cause,
        _: &Answers,
    ) -> Result<Plan, Error> {
        Ok(match cause {
            Cause::Started => {
                let mut steps = vec![Step::Answer, Step::play(&self.greeting)];
                steps.extend(self.music_then_on());
                self.listening(Plan::steps(steps))
            }
            Cause::Key(key) => match self.keys.get(key) {
                Some(queue) => Plan::hand_over_to(Target::queue(queue))
                    .because(format!("the caller pressed {key}")),
                None => self.listening(Plan::go_on()),
            },
            // A recording that the PBX does not have must not cost the caller anything.
            Cause::Failed(step) => {
                let reason = format!("step {} failed: {}", step.step, step.error.code);
                self.listening(Plan::steps(self.music_then_on()))
                    .because(reason)
            }
            // The place did not take the caller, or the host began anew: some music, and on.
            Cause::CameBack(_) | Cause::Resumed => {
                self.listening(Plan::steps(self.music_then_on()))
            }
            _ => self.listening(Plan::go_on()),
        })
    }

    /// What a schema cannot say. An admin sees it before anything runs.
    fn validate(settings: &str) -> Vec<Problem> {
        let Ok(settings) = serde_json::from_str::<Self>(settings) else {
            return Vec::new();
        };
        let is_key = |key: &str| key.len() == 1 && "0123456789*#ABCD".contains(key);
        let wrong = settings.keys.keys().filter(|key| !is_key(key));
        wrong
            .map(|key| {
                Problem::new(
                    format!("keys.{key}"),
                    format!("`{key}` is no key; use 0-9, *, # or A-D"),
                )
            })
            .collect()
    }
}

register_treatment!({{type}}, settings);

impl {{type}} {
    fn music_then_on(&self) -> Vec<Step> {
        let wait = Step::wait(Duration::from_secs(self.wait_secs));
        // `None`: where the router said.
        vec![Step::music(), wait, Step::HandOver(None)]
    }

    /// Every plan says which keys it listens to. Other keys are not heard by anybody.
    fn listening(&self, plan: Plan) -> Plan {
        plan.with_keys(self.keys.keys().map(String::as_str).collect::<String>())
    }
}

fn usual_wait() -> u64 {
    20
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(cause: Cause) -> Plan {
        let settings = r#"{ "greeting": "welcome", "keys": { "1": "sales" } }"#;
        let config = Config {
            id: "test".into(),
            settings: settings.into(),
            facts: Vec::new(),
        };
        let treatment = {{type}}::init(config).unwrap();
        treatment
            .next(
                Now::default(),
                &Waiting::default(),
                &[],
                &cause,
                &Answers::none(),
            )
            .unwrap()
    }

    #[test]
    fn a_caller_is_greeted_hears_music_and_is_handed_over() {
        let steps = [
            Step::Answer,
            Step::play("welcome"),
            Step::music(),
            Step::wait(Duration::from_secs(20)),
            Step::HandOver(None),
        ];
        assert_eq!(plan(Cause::Started), Plan::steps(steps).with_keys("1"));
    }

    #[test]
    fn a_key_chooses_the_queue() {
        let expected = Plan::hand_over_to(Target::queue("sales")).because("the caller pressed 1");
        assert_eq!(plan(Cause::Key("1".into())), expected);
    }

    #[test]
    fn a_key_that_means_nothing_changes_nothing() {
        assert_eq!(plan(Cause::Key("9".into())), Plan::go_on().with_keys("1"));
    }
}
