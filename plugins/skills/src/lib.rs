//! Skills: sends each caller to the queue that suits them, by rules in order.
//!
//! What a rule looks at is the number dialled, the caller's number, the language, lists such as VIPs, what the CRM
//! says, and how often the call came back. The CRM is asked only when a rule cannot be judged without it, and if it
//! does not answer, the rules go on without it and the reason says so.

pub mod cache;
pub mod facts;
pub mod languages;
pub mod rules;
pub mod settings;

use jackfield_bundled::reader::refusal;
use jackfield_sdk::{
    Problem,
    hooks::{Answers, Call, Config, Decision, Error, Now, Router},
    register_router,
};

use crate::{
    facts::Knowledge,
    rules::{Match, Rule},
    settings::Settings,
};

/// An instance.
pub struct Skills {
    settings: Settings,
}

register_router!(Skills, manifest = include_bytes!("../manifest.json"));

impl Router for Skills {
    fn init(config: Config) -> Result<Self, Error> {
        let settings = Settings::read(&config.settings).map_err(|problems| refusal(&problems))?;
        Ok(Self { settings })
    }

    fn route(&self, now: Now, call: &Call, answers: &Answers) -> Result<Decision, Error> {
        let mut known = Knowledge::of(&self.settings, now, call, answers);
        let mut applied = Applied::default();
        for rule in &self.settings.rules {
            match rule.judge(&known) {
                Match::No => {}
                Match::Unknown => return Ok(known.ask()),
                Match::Yes if rule.goes_on => {
                    known.learn(rule);
                    applied.rules.push(rule);
                }
                Match::Yes => {
                    // Which queue a skill means may depend on what the CRM says of the language.
                    if rule.needs_language() && known.language().is_none() {
                        return Ok(known.ask());
                    }
                    known.learn(rule);
                    applied.rules.push(rule);
                    return Ok(applied.end(Some(rule), &known));
                }
            }
        }
        Ok(applied.end(None, &known))
    }

    fn validate(settings: &str) -> Vec<Problem> {
        Settings::read(settings).err().unwrap_or_default()
    }
}

/// The rules that matched, in order; the last may decide.
#[derive(Default)]
struct Applied<'s> {
    rules: Vec<&'s Rule>,
}

impl Applied<'_> {
    fn end(self, deciding: Option<&Rule>, known: &Knowledge<'_>) -> Decision {
        let mut decision = match deciding {
            Some(rule) => rule.decision(known),
            None => Decision::pass(),
        };
        let names: Vec<String> =
            self.rules.iter().map(|rule| format!("rule \"{}\"", rule.name)).collect();
        let what = match (names.is_empty(), deciding) {
            (true, _) => "no rule is for this call".to_owned(),
            (false, Some(_)) => names.join(", "),
            (false, None) => format!("{}, none that decides", names.join(", ")),
        };
        decision.reason = what + &decision.reason + &known.about_the_service();
        decision.patch = known.patch(self.rules.iter().copied());
        decision.stores = known.stores();
        decision
    }
}
