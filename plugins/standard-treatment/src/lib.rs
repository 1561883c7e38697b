//! The standard treatment: greets the caller, says what must be said, asks by keys where to, and hands over.
//!
//! ```text
//! begin --> consent --> menu --> hold --> leave --> (gone)
//!   |                            ^ |        |
//!   '--> closed                  | '--------|--> overflow     hold: music and announcements, while a lookup
//!                                '----------'                 runs or the place to go to takes nobody
//! ```
//!
//! Each stage is a script: a list of steps that follows from the settings and the state alone. When a step fails,
//! e.g. because a recording is missing, the script goes on behind it: nobody is lost for a missing file.

mod script;
pub mod settings;
mod speech;
mod stage;
pub mod state;

use jackfield_bundled::reader::refusal;
use jackfield_sdk::{
    Problem,
    hooks::{Answers, Cause, Config, Error, Now, Plan, WaitTreatment, Waiting},
    register_treatment,
};

use crate::{settings::Settings, stage::Visit, state::State};

/// An instance.
pub struct StandardTreatment {
    settings: Settings,
}

register_treatment!(StandardTreatment, manifest = include_bytes!("../manifest.json"));

impl WaitTreatment for StandardTreatment {
    fn init(config: Config) -> Result<Self, Error> {
        let settings = Settings::read(&config.settings).map_err(|problems| refusal(&problems))?;
        Ok(Self { settings })
    }

    fn next(
        &self,
        _: Now,
        waiting: &Waiting,
        state: &[u8],
        cause: &Cause,
        answers: &Answers,
    ) -> Result<Plan, Error> {
        let state =
            if matches!(cause, Cause::Started) { State::default() } else { State::read(state) };
        Ok(Visit::new(&self.settings, waiting, state).next(cause, answers))
    }

    fn validate(settings: &str) -> Vec<Problem> {
        Settings::read(settings).err().unwrap_or_default()
    }
}
