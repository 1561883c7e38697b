//! All hooks in one component, each as small as a sensible one is: what the bench measures, here and natively.

use std::time::Duration;

use jackfield_sdk::hooks::{
    Action, Answers, Call, Cause, Config, Decision, Error, Input, Now, Observer, Plan, Router,
    Step, Target, WaitTreatment, Waiting,
};
use jackfield_sdk::{register_observer, register_router, register_treatment};

/// Callers from one country have a queue of their own, and those who come back are served earlier.
pub struct ByCountry;

impl Router for ByCountry {
    fn init(_: Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn route(&self, _: Now, call: &Call, _: &Answers) -> Result<Decision, Error> {
        Ok(by_country(call))
    }
}

fn by_country(call: &Call) -> Decision {
    assert_ne!(call.entry, "trap", "asked for");
    if !call.is_new() {
        return Decision::pass()
            .with_priority(call.attempt as i32)
            .because("the caller waits longer");
    }
    if call.caller_e164.starts_with("+49") && call.fact("tier") != Some("basic") {
        return Decision::send(Target::queue("german"))
            .with_priority(10)
            .because("the caller is in Germany");
    }
    Decision::pass()
}

/// Music, with a sentence every half minute.
pub struct Music;

impl WaitTreatment for Music {
    fn init(_: Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn next(
        &self,
        _: Now,
        _: &Waiting,
        state: &[u8],
        cause: &Cause,
        _: &Answers,
    ) -> Result<Plan, Error> {
        let told = state.first().copied().unwrap_or_default();
        let plan = match cause {
            Cause::Started | Cause::Resumed => Plan::steps([Step::Answer, Step::music()]),
            Cause::Woke => {
                Plan::steps([Step::play("queue-thankyou")]).with_state([told.saturating_add(1)])
            }
            Cause::Key(key) if key == "1" => {
                return Ok(Plan::hand_over().because("the caller pressed 1"));
            }
            _ => Plan::go_on().with_state([told]),
        };
        Ok(plan.with_keys("1").wake_in(Duration::from_secs(30)))
    }
}

/// Acknowledges what it sees.
pub struct Onlooker;

impl Observer for Onlooker {
    fn init(_: Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn step(&mut self, _: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        let last = inputs.iter().rev().find_map(|input| match input {
            Input::Event(event) => Some(event.seq),
            Input::Lost(seq) => Some(*seq),
            _ => None,
        });
        out.extend(last.map(Action::ack));
        Ok(())
    }
}

register_router!(ByCountry, manifest = include_bytes!("hooks.json"));
register_treatment!(Music);
register_observer!(Onlooker);
