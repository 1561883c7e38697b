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

/// Acknowledges what it sees. With the word `in-order` in its settings it takes nothing but the next event.
pub struct Onlooker {
    in_order: bool,
    last: Option<u64>,
}

impl Observer for Onlooker {
    fn init(config: Config) -> Result<Self, Error> {
        Ok(Self { in_order: config.settings.contains("in-order"), last: None })
    }

    fn step(&mut self, _: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        let mut seen = None;
        for input in inputs {
            let seq = match input {
                Input::Event(event) => event.seq,
                Input::Lost(seq) => seq,
                _ => continue,
            };
            if self.in_order && self.last.is_some_and(|last| seq != last + 1) {
                let said = format!("event {seq} came after {:?}", self.last);
                return Err(Error::new("out-of-order", said));
            }
            self.last = Some(seq);
            seen = self.last;
        }
        out.extend(seen.map(Action::ack));
        Ok(())
    }
}

register_router!(ByCountry, manifest = include_bytes!("hooks.json"));
register_treatment!(Music);
register_observer!(Onlooker);
