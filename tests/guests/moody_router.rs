//! A router that fails in each way there is, by the end of the caller's number, and has no opinion on the rest.

use jackfield_sdk::hooks::{Answers, Call, Config, Decision, Error, Now, Router, Target};
use jackfield_sdk::register_router;

/// The plugin.
pub struct Moody;

impl Router for Moody {
    fn init(_: Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn route(&self, _: Now, call: &Call, answers: &Answers) -> Result<Decision, Error> {
        let digits = &call.caller.number;
        Ok(match &digits[digits.len().saturating_sub(3)..] {
            "661" => panic!("in a bad mood"),
            "662" => loop {
                std::hint::black_box(answers);
            },
            "663" => return Err(Error::new("moody", "not today")),
            "664" => Decision::send(Target::queue("vip&PJSIP/1001,,,1")),
            "665" => Decision::send(Target::queue("nowhere")),
            _ => Decision::pass(),
        })
    }
}

register_router!(Moody, manifest = include_bytes!("moody_router.json"));
