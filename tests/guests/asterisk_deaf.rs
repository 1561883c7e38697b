//! Breaks a law: no command ever gets an outcome.

use jackfield_asterisk::Asterisk;
use jackfield_sdk::{Action, Config, Connector, Error, Input, Now, Problem, Snapshot};
use jackfield_test_guests::register;

/// The connector.
pub struct Deaf(Asterisk);

impl Connector for Deaf {
    fn init(
        config: Config,
        state: Option<Snapshot>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<Self, Error> {
        Asterisk::init(config, state, now, out).map(Self)
    }

    fn step(
        &mut self,
        now: Now,
        mut inputs: Vec<Input>,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        inputs.retain(|input| !matches!(input, Input::Command(_)));
        self.0.step(now, inputs, out)
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        self.0.snapshot()
    }

    fn validate(settings: &str) -> Vec<Problem> {
        Asterisk::validate(settings)
    }
}

register!(Deaf, "deaf");
