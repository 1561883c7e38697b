//! Gives snapshots and takes none.

use jackfield_asterisk::Asterisk;
use jackfield_sdk::{Action, Config, Connector, Error, Input, Now, Problem, Snapshot};
use jackfield_test_guests::register;

/// The connector.
pub struct Forgetful(Asterisk);

impl Connector for Forgetful {
    fn init(
        config: Config,
        state: Option<Snapshot>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<Self, Error> {
        match state {
            None => Asterisk::init(config, None, now, out).map(Self),
            Some(_) => Err(Error::new("unknown-snapshot", "this version takes no snapshot")),
        }
    }

    fn step(&mut self, now: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        self.0.step(now, inputs, out)
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        self.0.snapshot()
    }

    fn validate(settings: &str) -> Vec<Problem> {
        Asterisk::validate(settings)
    }
}

register!(Forgetful, "forgetful");
