//! Asks a CRM who is calling, and sends its important customers to a queue of their own.

use std::time::Duration;

use jackfield_sdk::{
    hooks::{Answers, Call, Config, Decision, Error, Lookup, Now, Router, Target},
    register_router,
};
use serde::Deserialize;

/// What the admin configures; see settings.schema.json.
#[derive(Deserialize)]
pub struct CrmRouter {
    #[serde(default = "usual_queue")]
    queue: String,
}

/// What the CRM says of a caller. It may say more.
#[derive(Deserialize)]
struct Customer {
    #[serde(default)]
    vip: bool,
    #[serde(default)]
    language: Option<String>,
}

impl Router for CrmRouter {
    fn init(config: Config) -> Result<Self, Error> {
        serde_json::from_str(&config.settings)
            .map_err(|error| Error::new("bad-settings", error.to_string()))
    }

    fn route(&self, _: Now, call: &Call, answers: &Answers) -> Result<Decision, Error> {
        if !call.is_new() || call.caller_e164.is_empty() {
            return Ok(Decision::pass().because("nobody to look up"));
        }
        let Some(answer) = answers.get("crm") else {
            // The host asks, with the token put in, and calls again with the answer. The caller waits meanwhile.
            let number = call.caller_e164.trim_start_matches('+');
            let url = format!("https://crm.example.org/customers/{number}");
            let lookup = Lookup::get("crm", url)
                .with_bearer("crm")
                .within(Duration::from_millis(800));
            return Ok(Decision::need([lookup]));
        };
        // No answer, or no sense in it, is no reason to keep a caller waiting.
        let customer = answer.text().map(serde_json::from_str::<Customer>);
        let Some(Ok(customer)) = customer else {
            return Ok(Decision::pass().because("the CRM does not know the caller"));
        };
        let decision = match customer.vip {
            true => Decision::send(Target::queue(&self.queue))
                .with_priority(10)
                .because("the CRM says: VIP"),
            false => Decision::pass().because("a customer like others"),
        };
        Ok(match customer.language {
            Some(language) => decision.with_language(language),
            None => decision,
        })
    }
}

register_router!(CrmRouter, settings);

fn usual_queue() -> String {
    "vip".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jackfield_sdk::hooks::{Answer, Verdict};

    fn decide(answers: Answers) -> Decision {
        let config = Config {
            id: "test".into(),
            settings: "{}".into(),
            facts: Vec::new(),
        };
        let call = Call {
            caller_e164: "+4930123456".into(),
            ..Call::default()
        };
        let router = CrmRouter::init(config).unwrap();
        router.route(Now::default(), &call, &answers).unwrap()
    }

    #[test]
    fn the_crm_is_asked_first() {
        assert!(matches!(decide(Answers::none()).verdict, Verdict::Need(_)));
    }

    #[test]
    fn who_is_important_goes_to_the_queue_in_their_language() {
        let answer = Answer::new(
            "crm",
            200,
            r#"{ "vip": true, "language": "de", "more": 1 }"#,
        );
        let expected = Decision::send(Target::queue("vip"))
            .with_priority(10)
            .because("the CRM says: VIP")
            .with_language("de");
        assert_eq!(decide(Answers::from([answer])), expected);
    }

    #[test]
    fn whatever_is_wrong_with_the_crm_costs_nobody_a_call() {
        for answer in [
            Answer::failed("crm", "timed-out", "timed out"),
            Answer::new("crm", 500, ""),
            Answer::new("crm", 200, "<html>"),
        ] {
            let expected = Decision::pass().because("the CRM does not know the caller");
            assert_eq!(decide(Answers::from([answer])), expected);
        }
    }
}
