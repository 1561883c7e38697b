//! What the admin sets: lists of numbers, languages, a CRM, which queue has which skill, and the rules.

use std::rc::Rc;

use jackfield_bundled::{Numbers, Reader, Service, place::is_queue, settings};
use jackfield_sdk::Problem;

use crate::{
    languages::Languages,
    rules::{Known, Rule},
};

/// Most rules. A call that fits none is looked at by all of them.
const MOST_RULES: usize = 200;

/// Everything set.
#[derive(Debug)]
pub struct Settings {
    /// In order.
    pub rules: Vec<Rule>,
    /// Where a caller's language comes from.
    pub languages: Languages,
    /// The CRM, and how many seconds its answers are kept.
    pub service: Option<(Service, u64)>,
    /// Skill, and its queues by language; `*` is for all others.
    skills: Vec<(String, Vec<(String, String)>)>,
}

impl Settings {
    /// Reads them; or everything that is wrong.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        settings(text, Self::of)
    }

    /// The queue of a skill in a language.
    pub fn queue_of(&self, skill: &str, language: &str) -> Option<&str> {
        let (_, queues) = self.skills.iter().find(|(name, _)| name == skill)?;
        let queue = |wanted: &str| queues.iter().find(|(language, _)| language == wanted);
        // `pt_BR` without a queue of its own is served by `pt`.
        let short = language.split(['_', '-']).next().unwrap_or_default();
        let (_, name) = queue(language).or_else(|| queue(short)).or_else(|| queue("*"))?;
        Some(name)
    }

    fn of(it: &Reader<'_>) -> Self {
        it.only(&["crm", "lists", "languages", "skills", "rules"]);
        let lists: Vec<(String, Rc<Numbers>)> = it
            .table("lists", 100)
            .into_iter()
            .map(|(name, it)| (name, Rc::new(Numbers::read(&it))))
            .collect();
        let service = it.get("crm").and_then(|it| {
            let service = Service::read(&it, "crm", &["cache_secs"]);
            let cache_secs = it.number_of("cache_secs", 0..=604_800).unwrap_or(600);
            service.map(|service| (service, cache_secs))
        });
        let languages = it.get("languages").map(|it| Languages::read(&it)).unwrap_or_default();
        let skills: Vec<_> =
            it.table("skills", 200).into_iter().map(|(name, it)| (name, queues(&it))).collect();
        let known = Known {
            lists: &lists,
            skills: skills.iter().map(|(name, _)| name.as_str()).collect(),
            fields: service.iter().flat_map(|(service, _)| service.field_names()).collect(),
        };
        if !languages.field.is_empty() && !known.fields.contains(&languages.field.as_str()) {
            it.complain_of("languages.field", "names no field of `crm`");
        }
        let rules: Vec<Rule> =
            it.list("rules", MOST_RULES).iter().map(|it| Rule::read(it, &known)).collect();
        if rules.is_empty() && it.list("rules", MOST_RULES).is_empty() {
            it.complain_of("rules", "has no rule; write e.g. [{ name = \"VIP\", when = { lists = \"vip\" }, to = \"queue:vip\" }]");
        }
        Self { rules, languages, service, skills }
    }
}

/// A queue for all languages, or a table of them.
fn queues(it: &Reader<'_>) -> Vec<(String, String)> {
    let queue = |it: &Reader<'_>| {
        let name = it.text()?;
        if !is_queue(&name) {
            it.complain(format!("{name:?} is no name of a queue"));
            return None;
        }
        Some(name)
    };
    if it.value().is_string() {
        return queue(it).map(|name| ("*".to_owned(), name)).into_iter().collect();
    }
    it.entries(100).into_iter().filter_map(|(language, it)| Some((language, queue(&it)?))).collect()
}
