//! Sends callers on a list to a queue of their own, and leaves everybody else to the next router.

use jackfield_sdk::{
    hooks::{Answers, Call, Config, Decision, Error, Now, Problem, Router, Target},
    register_router,
};
use serde::Deserialize;

/// What the admin configures; see settings.schema.json, by which it is valid when it comes here.
#[derive(Deserialize)]
pub struct {{type}} {
    /// Numbers in E.164, e.g. `+4930123456`.
    vip: Vec<String>,
    /// The queue they go to.
    queue: String,
    #[serde(default = "usual_priority")]
    priority: i32,
}

impl Router for {{type}} {
    fn init(config: Config) -> Result<Self, Error> {
        serde_json::from_str(&config.settings)
            .map_err(|error| Error::new("bad-settings", error.to_string()))
    }

    fn route(&self, _: Now, call: &Call, _: &Answers) -> Result<Decision, Error> {
        // It has waited in that queue already, and nobody came: the next router may know better.
        if !call.is_new() {
            let reason = format!("came back from a {}: {}", call.returned_from, call.outcome);
            return Ok(Decision::pass().because(reason));
        }
        if !self.vip.contains(&call.caller_e164) {
            return Ok(Decision::pass().because("not on the list"));
        }
        // The reason stays with the call: `jackfield explain` shows it.
        let queue = Target::queue(&self.queue).with_priority(self.priority);
        Ok(Decision::send(queue)
            .with_variable("VIP", "yes")
            .because("on the VIP list"))
    }

    /// What a schema cannot say. An admin sees it before anything runs.
    fn validate(settings: &str) -> Vec<Problem> {
        let Ok(settings) = serde_json::from_str::<Self>(settings) else {
            return Vec::new();
        };
        let wrong = settings
            .vip
            .iter()
            .enumerate()
            .filter(|(_, number)| !is_e164(number));
        wrong
            .map(|(index, number)| {
                let message = format!("`{number}` is no number in E.164; write it as +4930123456");
                Problem::new(format!("vip.{index}"), message)
            })
            .collect()
    }
}

register_router!({{type}}, settings);

fn usual_priority() -> i32 {
    10
}

fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (4..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.chars().all(|c| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = r#"{ "vip": ["+4930123456"], "queue": "vip" }"#;

    fn decide(call: &Call) -> Decision {
        let config = Config {
            id: "test".into(),
            settings: SETTINGS.into(),
            facts: Vec::new(),
        };
        {{type}}::init(config)
            .unwrap()
            .route(Now::default(), call, &Answers::none())
            .unwrap()
    }

    #[test]
    fn a_caller_on_the_list_goes_to_their_queue() {
        let decision = decide(&Call {
            caller_e164: "+4930123456".into(),
            ..Call::default()
        });
        let expected = Decision::send(Target::queue("vip").with_priority(10))
            .with_variable("VIP", "yes")
            .because("on the VIP list");
        assert_eq!(decision, expected);
    }

    #[test]
    fn everybody_else_is_left_to_the_next_router() {
        assert_eq!(
            decide(&Call::default()),
            Decision::pass().because("not on the list")
        );
    }

    #[test]
    fn a_number_that_is_none_is_told_by_its_place() {
        let problems =
            {{type}}::validate(r#"{ "vip": ["+4930123456", "030 123"], "queue": "vip" }"#);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path, "vip.1");
    }
}
