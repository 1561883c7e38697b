//! Between the component's exports and a hook.

use super::{
    Action, Answer, Answers, Call, Cause, Config, Decision, Error, Input, Now, Observer, Plan,
    Router, WaitTreatment, Waiting, Wishes,
};
use crate::{
    bindings::{observer, router, wait_treatment},
    guest::{Slot, say_last_words},
};

impl<S: Slot<Plugin: Router>> router::exports::jackfield::router::router::Guest for S {
    fn init(config: Config) -> Result<Wishes, Error> {
        begin::<S>(S::Plugin::init(config), Router::wishes)
    }

    fn route(now: Now, call: Call, answers: Vec<Answer>) -> Result<Decision, Error> {
        S::with(|slot| begun(slot)?.route(now, &call, &Answers(answers)))
    }
}

impl<S: Slot<Plugin: WaitTreatment>>
    wait_treatment::exports::jackfield::treatment::wait_treatment::Guest for S
{
    fn init(config: Config) -> Result<Wishes, Error> {
        begin::<S>(S::Plugin::init(config), WaitTreatment::wishes)
    }

    fn next(
        now: Now,
        waiting: Waiting,
        state: Vec<u8>,
        cause: Cause,
        answers: Vec<Answer>,
    ) -> Result<Plan, Error> {
        S::with(|slot| begun(slot)?.next(now, &waiting, &state, &cause, &Answers(answers)))
    }
}

impl<S: Slot<Plugin: Observer>> observer::exports::jackfield::observer::observer::Guest for S {
    fn init(config: Config) -> Result<Wishes, Error> {
        begin::<S>(S::Plugin::init(config), Observer::wishes)
    }

    fn step(now: Now, inputs: Vec<Input>) -> Result<Vec<Action>, Error> {
        S::with(|slot| {
            let mut out = Vec::new();
            begun(slot)?.step(now, inputs, &mut out)?;
            Ok(out)
        })
    }
}

fn begin<S: Slot>(
    hook: Result<S::Plugin, Error>,
    wishes: impl FnOnce(&S::Plugin) -> Wishes,
) -> Result<Wishes, Error> {
    say_last_words();
    let hook = hook?;
    let wishes = wishes(&hook);
    S::with(|slot| *slot = Some(hook));
    Ok(wishes)
}

fn begun<H>(slot: &mut Option<H>) -> Result<&mut H, Error> {
    slot.as_mut()
        .ok_or_else(|| Error::new("not-initialised", "the host called the hook before init"))
}
