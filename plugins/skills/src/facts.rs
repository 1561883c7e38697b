//! What is known of a call while the rules look at it.

use std::cell::Cell;

use jackfield_bundled::service::Fields;
use jackfield_sdk::hooks::{Answers, Call, Decision, Lookup, Now, Patch, Store};

use crate::{cache, languages::Language, rules::Rule, settings::Settings};

/// The lookup of what was kept.
const KEPT: &str = "kept";
/// The lookup of what the CRM says.
const CRM: &str = "crm";

/// What the host takes of one decision.
const MOST_VARIABLES: usize = 32;
/// Of them, some places are for what the CRM says.
const MOST_FACTS: usize = 40;

/// Everything the rules may look at.
pub struct Knowledge<'s> {
    /// The settings.
    pub settings: &'s Settings,
    /// The call.
    pub call: &'s Call,
    service: Answered,
    /// Set by a rule.
    language: Option<String>,
    /// Has a rule looked at what the CRM said?
    used: Cell<bool>,
    now_secs: u64,
    /// As set by rules so far.
    priority: Option<i32>,
}

/// What is known of a field.
pub enum Told<'k> {
    /// It must be asked first.
    NotYet,
    /// This, or nothing.
    Value(Option<&'k str>),
}

/// What the CRM said.
enum Answered {
    /// There is none, or it needs a number that this caller does not have.
    NotAsked(&'static str),
    /// The next question.
    Ask(Lookup),
    /// These; from the store or fresh.
    Fields { fields: Fields, kept: bool },
    /// It did not answer, or nonsense.
    Failed(String),
}

impl<'s> Knowledge<'s> {
    /// What is known now.
    pub fn of(settings: &'s Settings, now: Now, call: &'s Call, answers: &Answers) -> Self {
        let now_secs = now.wall_ns / 1_000_000_000;
        let service = answered(settings, now_secs, call, answers);
        Self {
            settings,
            call,
            service,
            language: None,
            used: Cell::new(false),
            now_secs,
            priority: call.priority,
        }
    }

    /// What the CRM says of this field.
    pub fn field(&self, name: &str) -> Told<'_> {
        self.used.set(true);
        match &self.service {
            Answered::Ask(_) => Told::NotYet,
            Answered::Fields { fields, .. } => {
                let field = fields.iter().find(|(known, _)| known == name);
                Told::Value(field.map(|(_, value)| value.as_str()))
            }
            Answered::NotAsked(_) | Answered::Failed(_) => Told::Value(None),
        }
    }

    /// The caller's language, perhaps empty; none while only the CRM could tell.
    pub fn language(&self) -> Option<String> {
        if let Some(language) = &self.language {
            return Some(language.clone());
        }
        match self.settings.languages.of(self.call) {
            Language::Known(language) => Some(language),
            Language::Unless(likely) => {
                let Told::Value(field) = self.field(&self.settings.languages.field) else {
                    return None;
                };
                let told = field.filter(|it| crate::languages::is_language(it));
                Some(told.map_or(likely, ToOwned::to_owned))
            }
        }
    }

    /// The priority so far.
    pub fn priority(&self) -> Option<i32> {
        self.priority
    }

    /// A rule matched: what it sets is known to those after it.
    pub fn learn(&mut self, rule: &Rule) {
        if let Some(language) = &rule.language {
            self.language = Some(language.clone());
        }
        self.priority = rule.priority_after(self.priority);
    }

    /// Asks the CRM, or for what was kept.
    pub fn ask(&self) -> Decision {
        match &self.service {
            Answered::Ask(lookup) => Decision::need([lookup.clone()]).because("asks the CRM"),
            // Nobody is unsure when there is nothing to ask.
            _ => Decision::pass().because("nothing to ask"),
        }
    }

    /// The end of the reason: what the CRM had to do with it.
    pub fn about_the_service(&self) -> String {
        if !self.used.get() {
            return String::new();
        }
        match &self.service {
            Answered::NotAsked("") | Answered::Ask(_) => String::new(),
            Answered::NotAsked(why) => format!(" (CRM not asked: {why})"),
            Answered::Fields { fields, .. } if fields.is_empty() => {
                " (the CRM does not know the caller)".to_owned()
            }
            Answered::Fields { kept: true, .. } => " (CRM, kept)".to_owned(),
            Answered::Fields { kept: false, .. } => " (CRM)".to_owned(),
            Answered::Failed(why) => format!(" (without the CRM: {why})"),
        }
    }

    /// What is changed on the call, by these rules.
    pub fn patch<'r>(&self, rules: impl Iterator<Item = &'r Rule>) -> Patch {
        let mut patch = Patch::default();
        for rule in rules {
            set(&mut patch.variables, &rule.variables);
            set(&mut patch.facts, &rule.facts);
        }
        patch.facts.truncate(MOST_FACTS);
        if self.priority != self.call.priority {
            patch.priority = self.priority;
        }
        // Not worth a question of its own.
        let language =
            self.known_language().filter(|it| !it.is_empty() && *it != self.call.language);
        patch.language = language;
        if self.used.get() {
            let word = match &self.service {
                Answered::Fields { fields, .. } if fields.is_empty() => Some("unknown"),
                Answered::Fields { .. } => Some("known"),
                Answered::Failed(_) => Some("failed"),
                Answered::NotAsked(_) | Answered::Ask(_) => None,
            };
            patch.facts.extend(word.map(|word| ("crm".to_owned(), word.to_owned())));
            if let Answered::Fields { fields, .. } = &self.service {
                let told =
                    fields.iter().map(|(name, value)| (format!("crm-{name}"), value.clone()));
                patch.facts.extend(told);
            }
        }
        patch.variables.truncate(MOST_VARIABLES);
        patch
    }

    /// What is kept for the next call: only what the CRM just said.
    pub fn stores(&self) -> Vec<Store> {
        let secs = self.settings.service.as_ref().map_or(0, |(_, secs)| *secs);
        match &self.service {
            Answered::Fields { fields, kept: false } if secs > 0 => {
                cache::keep(&self.call.caller_e164, self.now_secs, fields).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn known_language(&self) -> Option<String> {
        match (self.settings.languages.of(self.call), &self.service) {
            (Language::Unless(likely), Answered::Ask(_)) if self.language.is_none() => Some(likely),
            _ => self.language(),
        }
    }
}

/// The last value of a name counts.
fn set(values: &mut Vec<(String, String)>, more: &[(String, String)]) {
    for (name, value) in more {
        values.retain(|(known, _)| known != name);
        values.push((name.clone(), value.clone()));
    }
}

fn answered(settings: &Settings, now_secs: u64, call: &Call, answers: &Answers) -> Answered {
    let Some((service, cache_secs)) = &settings.service else { return Answered::NotAsked("") };
    let number = call.caller_e164.as_str();
    if number.is_empty() && service.needs_e164() {
        return Answered::NotAsked("the caller shows no number");
    }
    if let Some(answer) = answers.get(CRM) {
        return match service.read_answer(answer) {
            Ok(fields) => Answered::Fields { fields, kept: false },
            Err(why) => Answered::Failed(why),
        };
    }
    let can_keep = *cache_secs > 0 && !number.is_empty();
    match answers.get(KEPT) {
        None if can_keep => Answered::Ask(Lookup::stored(KEPT, cache::key(number))),
        Some(kept) if kept.is_ok() => {
            match cache::read(&kept.body, number, now_secs, *cache_secs) {
                Some(fields) => Answered::Fields { fields, kept: true },
                None => Answered::Ask(service.ask(CRM, call)),
            }
        }
        _ => Answered::Ask(service.ask(CRM, call)),
    }
}
