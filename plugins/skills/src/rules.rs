//! A rule: when it is for a call, and what it makes of it.

use std::rc::Rc;

use jackfield_bundled::{Numbers, Place, Reader, json};
use jackfield_sdk::hooks::{Decision, Treat};

use crate::{
    facts::{Knowledge, Told},
    languages::{is_variable, language},
};

/// A rule. The first that matches and decides, decides.
#[derive(Debug)]
pub struct Rule {
    /// For people who ask why.
    pub name: String,
    when: When,
    what: What,
    /// Sets what it sets, and the next rule is looked at.
    pub goes_on: bool,
    priority: Option<i32>,
    raise_priority: i32,
    /// Set on the call.
    pub language: Option<String>,
    /// Set on the call.
    pub variables: Vec<(String, String)>,
    /// For the hooks after this one.
    pub facts: Vec<(String, String)>,
    treatment: Option<String>,
    treatment_facts: Vec<(String, String)>,
}

/// Is a rule for a call?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Only the CRM could tell.
    Unknown,
}

#[derive(Debug)]
enum What {
    /// Nothing: the next router is asked.
    Pass,
    To(Place),
    /// The queue of this skill in the caller's language.
    Skill {
        name: String,
        timeout_secs: Option<u32>,
    },
}

/// All of it must hold; what is not set holds always.
#[derive(Debug, Default)]
struct When {
    entries: Vec<String>,
    connectors: Vec<String>,
    dialled: Option<Numbers>,
    callers: Option<Numbers>,
    /// Shared: a list may be long, and in many rules.
    lists: Vec<Rc<Numbers>>,
    languages: Vec<String>,
    variables: Vec<(String, Vec<String>)>,
    facts: Vec<(String, Vec<String>)>,
    fields: Vec<(String, Vec<String>)>,
    returned: Option<bool>,
    returned_from: Vec<String>,
    outcomes: Vec<String>,
    attempts: u32,
    waited_secs: u64,
}

/// What other settings a rule refers to.
pub struct Known<'k> {
    /// Lists of numbers by name.
    pub lists: &'k [(String, Rc<Numbers>)],
    /// Names of skills.
    pub skills: Vec<&'k str>,
    /// Names of the CRM's fields.
    pub fields: Vec<&'k str>,
}

const SETTINGS: [&str; 13] = [
    "name",
    "when",
    "to",
    "skill",
    "timeout_secs",
    "go_on",
    "priority",
    "raise_priority",
    "language",
    "variables",
    "facts",
    "treatment",
    "treatment_facts",
];

impl Rule {
    /// Reads one.
    pub fn read(it: &Reader<'_>, known: &Known<'_>) -> Self {
        it.only(&SETTINGS);
        let name = it.text_of("name").unwrap_or_default();
        if name.is_empty() {
            it.complain_of(
                "name",
                "is missing: it is what you read when you ask why a call went there",
            );
        }
        let goes_on = it.flag_of("go_on").unwrap_or(false);
        let what = what(it, known);
        if goes_on && !matches!(what, What::Pass) {
            it.complain_of("go_on", "does not go with `to` or `skill`: a caller goes to one place");
        }
        if matches!(what, What::Pass) && it.get("treatment").is_some() {
            it.complain_of("treatment", "needs `to` or `skill`: where the caller goes afterwards");
        }
        if it.get("treatment").is_none() && it.get("treatment_facts").is_some() {
            it.complain_of("treatment_facts", "are for a `treatment`, and there is none");
        }
        Self {
            name: json::one_line(&name, 80),
            when: it.get("when").map(|it| When::read(&it, known)).unwrap_or_default(),
            what,
            goes_on,
            priority: it.number_of("priority", 0..=1_000_000),
            raise_priority: it.number_of("raise_priority", -1000..=1000).unwrap_or(0),
            language: it.get("language").and_then(|it| language(&it)),
            variables: variables(it),
            facts: pairs(it, "facts"),
            treatment: it.get("treatment").and_then(|it| it.text()),
            treatment_facts: pairs(it, "treatment_facts"),
        }
    }

    /// Is it for this call? What needs no question is looked at first.
    pub fn judge(&self, known: &Knowledge<'_>) -> Match {
        if !self.when.holds_without_asking(known) {
            return Match::No;
        }
        let languages = &self.when.languages;
        if !languages.is_empty() {
            match known.language() {
                None => return Match::Unknown,
                Some(language) if !languages.contains(&language) => return Match::No,
                Some(_) => {}
            }
        }
        for (name, values) in &self.when.fields {
            match known.field(name) {
                Told::NotYet => return Match::Unknown,
                Told::Value(value) if !is_among(values, value) => return Match::No,
                Told::Value(_) => {}
            }
        }
        Match::Yes
    }

    /// Does what it does depend on the language?
    pub fn needs_language(&self) -> bool {
        matches!(self.what, What::Skill { .. }) && self.language.is_none()
    }

    /// The priority after this rule.
    pub fn priority_after(&self, before: Option<i32>) -> Option<i32> {
        match (self.priority.or(before), self.raise_priority) {
            (priority, 0) => priority,
            // No PBX has priorities below 0.
            (priority, raise) => Some(priority.unwrap_or(0).saturating_add(raise).max(0)),
        }
    }

    /// Where the caller goes.
    pub fn decision(&self, known: &Knowledge<'_>) -> Decision {
        let target = match &self.what {
            What::Pass => return Decision::pass(),
            What::To(place) => place.target(),
            What::Skill { name, timeout_secs } => {
                let language = known.language().unwrap_or_default();
                match known.settings.queue_of(name, &language) {
                    Some(queue) => Place::queue(queue).target().for_secs(timeout_secs.unwrap_or(0)),
                    // The next router may know one, or there is the fallback.
                    None => {
                        let why = format!(
                            ", but no queue of skill \"{name}\" is for language \"{language}\""
                        );
                        return Decision::pass().because(why);
                    }
                }
            }
        };
        match &self.treatment {
            None => Decision::send(target),
            Some(treatment) => {
                let mut treat = Treat::with(treatment).then(target);
                treat.facts.clone_from(&self.treatment_facts);
                Decision::treat(treat)
            }
        }
    }
}

impl When {
    fn read(it: &Reader<'_>, known: &Known<'_>) -> Self {
        it.only(&[
            "entries",
            "connectors",
            "dialled",
            "callers",
            "lists",
            "languages",
            "variables",
            "facts",
            "fields",
            "returned",
            "returned_from",
            "outcomes",
            "attempts",
            "waited_secs",
        ]);
        let mut lists = Vec::new();
        for name in it.texts_of("lists", 100) {
            match known.lists.iter().find(|(list, _)| *list == name) {
                Some((_, list)) => lists.push(list.clone()),
                None => {
                    let names: Vec<&str> =
                        known.lists.iter().map(|(name, _)| name.as_str()).collect();
                    it.complain_of(
                        "lists",
                        format!("{name:?} is not among `lists`; there are: {}", said(&names)),
                    );
                }
            }
        }
        let fields = conditions(it, "fields");
        for (name, _) in fields.iter().filter(|(name, _)| !known.fields.contains(&name.as_str())) {
            let message =
                format!("{name:?} is no field of `crm`; there are: {}", said(&known.fields));
            it.complain_of("fields", message);
        }
        let outcomes = it.texts_of("outcomes", 20);
        let words = [
            "timed-out",
            "full",
            "join-empty",
            "leave-empty",
            "busy",
            "no-answer",
            "unreachable",
            "failed",
        ];
        for outcome in outcomes.iter().filter(|outcome| !words.contains(&outcome.as_str())) {
            it.complain_of(
                "outcomes",
                format!("{outcome:?} is no outcome; there are: {}", words.join(", ")),
            );
        }
        let returned_from = it.texts_of("returned_from", 5);
        let places = ["queue", "extension", "treatment"];
        for place in returned_from.iter().filter(|place| !places.contains(&place.as_str())) {
            it.complain_of(
                "returned_from",
                format!("{place:?} is no place; there are: {}", places.join(", ")),
            );
        }
        Self {
            entries: it.texts_of("entries", 200),
            connectors: it.texts_of("connectors", 64),
            dialled: Numbers::of_setting(it, "dialled"),
            callers: Numbers::of_setting(it, "callers"),
            lists,
            languages: it.texts_of("languages", 100),
            variables: conditions(it, "variables"),
            facts: conditions(it, "facts"),
            fields,
            returned: it.flag_of("returned"),
            returned_from,
            outcomes,
            attempts: it.number_of("attempts", 1..=1000).unwrap_or(1),
            waited_secs: it.number_of("waited_secs", 0..=86_400).unwrap_or(0),
        }
    }

    /// One of the callers, or on one of the lists.
    fn is_from(&self, number: &[&str]) -> bool {
        let is_any = self.callers.is_none() && self.lists.is_empty();
        is_any
            || self.callers.as_ref().is_some_and(|set| set.contain(number))
            || self.lists.iter().any(|list| list.contain(number))
    }

    fn holds_without_asking(&self, known: &Knowledge<'_>) -> bool {
        let call = known.call;
        let among =
            |list: &[String], value: &str| list.is_empty() || list.iter().any(|it| it == value);
        among(&self.entries, &call.entry)
            && among(&self.connectors, &call.connector)
            && self.dialled.as_ref().is_none_or(|set| set.contain(&[&call.dialled]))
            && self.is_from(&[&call.caller.number, &call.caller_e164])
            && self.returned.is_none_or(|returned| returned != call.is_new())
            && among(&self.returned_from, &call.returned_from)
            && among(&self.outcomes, &call.outcome)
            && call.attempt >= self.attempts
            && call.age_ms / 1000 >= self.waited_secs
            && self.variables.iter().all(|(name, values)| is_among(values, call.variable(name)))
            && self.facts.iter().all(|(name, values)| is_among(values, call.fact(name)))
    }
}

/// `*` stands for any value that is not empty. The CRM's lists are joined with commas: one entry is enough.
fn is_among(values: &[String], value: Option<&str>) -> bool {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return false };
    values.iter().any(|wanted| {
        wanted == "*" || wanted == value || value.split(',').any(|part| part == wanted)
    })
}

fn what(it: &Reader<'_>, known: &Known<'_>) -> What {
    let timeout_secs = it.number_of("timeout_secs", 1..=86_400);
    if timeout_secs.is_some() && it.get("skill").is_none() {
        it.complain_of(
            "timeout_secs",
            "is for `skill`; with `to` write { to = \"queue:NAME\", timeout_secs = .. }",
        );
    }
    match (it.get("to"), it.get("skill")) {
        (Some(_), Some(skill)) => {
            skill.complain("does not go with `to`: a caller goes to one place");
            What::Pass
        }
        (Some(to), None) => Place::read(&to).map_or(What::Pass, What::To),
        (None, Some(skill)) => match skill.text() {
            Some(name) if known.skills.contains(&name.as_str()) => {
                What::Skill { name, timeout_secs }
            }
            Some(name) => {
                skill.complain(format!(
                    "{name:?} is not among `skills`; there are: {}",
                    said(&known.skills)
                ));
                What::Pass
            }
            None => What::Pass,
        },
        (None, None) => What::Pass,
    }
}

fn said(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn conditions(it: &Reader<'_>, name: &str) -> Vec<(String, Vec<String>)> {
    it.table(name, 50).into_iter().map(|(name, it)| (name, it.texts(200))).collect()
}

fn pairs(it: &Reader<'_>, name: &str) -> Vec<(String, String)> {
    let text = |(name, it): (String, Reader<'_>)| Some((json::one_line(&name, 64), it.text()?));
    it.table(name, 16).into_iter().filter_map(text).collect()
}

fn variables(it: &Reader<'_>) -> Vec<(String, String)> {
    let pairs = pairs(it, "variables");
    for (name, _) in pairs.iter().filter(|(name, _)| !is_variable(name)) {
        it.complain_of(
            "variables",
            format!("{name:?} is no channel variable: letters, digits and `_` only"),
        );
    }
    for (name, _) in pairs.iter().filter(|(_, value)| value.len() > 512) {
        it.complain_of("variables", format!("the value of {name} is longer than 512 bytes"));
    }
    pairs
}
