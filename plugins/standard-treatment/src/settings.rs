//! What the admin sets.

use jackfield_bundled::{Place, Reader, Service, json, settings};
use jackfield_sdk::Problem;

use crate::speech::Speech;

/// Keys of a telephone.
pub const KEYS: &str = "0123456789*#ABCD";

const MOST_MENUS: usize = 32;

/// Everything set.
#[derive(Debug)]
pub struct Settings {
    /// Is the call answered? Otherwise the caller hears what the network lets through.
    pub answer: bool,
    /// The language of those of whom nothing else is known.
    pub language: String,
    /// Heard first.
    pub greeting: Speech,
    /// Heard by everybody.
    pub consent: Option<Consent>,
    /// The menu to begin with; empty: none.
    pub menu: String,
    menus: Vec<(String, Menu)>,
    /// Asked while the greeting plays.
    pub lookup: Option<Lookup>,
    /// Music and announcements.
    pub hold: Hold,
    /// When nobody is there, and the router named no message.
    pub closed: Speech,
    /// When the place to go to took nobody for too long.
    pub overflow: Overflow,
    /// When the place to go to did not take the caller.
    pub apology: Speech,
}

/// A notice, e.g. that calls are recorded.
#[derive(Debug)]
pub struct Consent {
    /// What is heard.
    pub notice: Speech,
    /// The key of those who do not agree.
    pub decline: Option<char>,
    /// After the notice, for the key.
    pub wait_ms: u32,
    /// Channel variable that says `yes` or `no`.
    pub variable: String,
}

/// A choice by key.
#[derive(Debug)]
pub struct Menu {
    /// What is heard.
    pub prompt: Speech,
    keys: Vec<(char, Choice)>,
    /// For a key, after the prompt.
    pub timeout_ms: u32,
    /// How often it is heard at most.
    pub rounds: u32,
    /// After a key that means nothing.
    pub wrong: Speech,
    /// After no key.
    pub nothing: Speech,
    /// After the last round; none: where the router said.
    pub otherwise: Option<Place>,
}

/// What a key does.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Where the caller goes.
    pub to: Option<Place>,
    /// The next menu.
    pub menu: Option<String>,
    /// From now on.
    pub language: Option<String>,
    /// Hear the menu again.
    pub repeats: bool,
    /// Channel variables to set.
    pub variables: Vec<(String, String)>,
}

/// A service that is asked about the caller.
#[derive(Debug)]
pub struct Lookup {
    /// Where.
    pub service: Service,
    /// Field and the channel variable it goes to.
    pub variables: Vec<(String, String)>,
}

/// Waiting under music.
#[derive(Debug)]
pub struct Hold {
    /// The PBX's class of music; empty: its usual one.
    pub music: String,
    /// So long at least.
    pub least_ms: u64,
    /// In turn.
    pub announcements: Vec<Speech>,
    /// Between them.
    pub every_ms: u64,
    /// Between two tries to hand over.
    pub again_ms: u64,
    /// So long at most.
    pub most_ms: u64,
}

/// The end of a wait that was too long.
#[derive(Debug)]
pub struct Overflow {
    /// What is heard.
    pub message: Speech,
    /// Where the caller goes.
    pub to: Place,
}

impl Settings {
    /// Reads them; or everything that is wrong.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        settings(text, Self::of)
    }

    /// A menu by its name.
    pub fn menu(&self, name: &str) -> Option<&Menu> {
        self.menus.iter().find(|(known, _)| known == name).map(|(_, menu)| menu)
    }

    fn of(it: &Reader<'_>) -> Self {
        it.only(&[
            "answer", "language", "greeting", "consent", "menu", "menus", "lookup", "hold",
            "closed", "overflow", "apology",
        ]);
        let menus: Vec<(String, Menu)> = it
            .table("menus", MOST_MENUS)
            .into_iter()
            .map(|(name, it)| (name, Menu::read(&it)))
            .collect();
        let menu = it.text_of("menu").unwrap_or_default();
        let names: Vec<&str> = menus.iter().map(|(name, _)| name.as_str()).collect();
        let is_known = |name: &str| names.contains(&name);
        if !menu.is_empty() && !is_known(&menu) {
            it.complain_of(
                "menu",
                format!("{menu:?} is not among `menus`; there are: {}", said(&names)),
            );
        }
        if menu.is_empty() && !menus.is_empty() {
            it.complain_of("menu", "is missing: which of `menus` comes first?");
        }
        for (name, menu) in &menus {
            for (key, choice) in &menu.keys {
                if let Some(next) = choice.menu.as_ref().filter(|next| !is_known(next)) {
                    it.complain_of(
                        &format!("menus.{}.keys.{key}", json::one_line(name, 40)),
                        format!("{next:?} is not among `menus`; there are: {}", said(&names)),
                    );
                }
            }
        }
        Self {
            answer: it.flag_of("answer").unwrap_or(true),
            language: language(it, "language").unwrap_or_default(),
            greeting: Speech::of_setting(it, "greeting"),
            consent: it.get("consent").and_then(|it| Consent::read(&it)),
            menu,
            menus,
            lookup: it.get("lookup").and_then(|it| Lookup::read(&it)),
            hold: Hold::of_setting(it),
            closed: Speech::of_setting(it, "closed"),
            overflow: Overflow::of_setting(it),
            apology: Speech::of_setting(it, "apology"),
        }
    }
}

impl Consent {
    fn read(it: &Reader<'_>) -> Option<Self> {
        if !it.value().is_object() {
            let notice = Speech::read(it);
            return Some(Self { notice, decline: None, wait_ms: 0, variable: String::new() });
        }
        it.only(&["notice", "decline_key", "wait_secs", "variable"]);
        let notice = Speech::of_setting(it, "notice");
        if notice.is_empty() {
            it.complain_of("notice", "is missing: the recording that everybody hears");
        }
        let decline = it.get("decline_key").and_then(|it| {
            let text = it.text()?;
            let key = key(&text);
            if key.is_none() {
                it.complain(format!("{text:?} is no key; write one of {KEYS}"));
            }
            key
        });
        let variable = it.text_of("variable").unwrap_or_default();
        if !variable.is_empty() && !is_variable(&variable) {
            it.complain_of("variable", format!("{variable:?} is no channel variable"));
        }
        if decline.is_some() && variable.is_empty() {
            it.complain_of("variable", "is missing: which channel variable says `yes` or `no`?");
        }
        let wait_secs = it.number_of("wait_secs", 0..=60_u32).unwrap_or(3);
        let wait_ms = if decline.is_some() { wait_secs * 1000 } else { 0 };
        Some(Self { notice, decline, wait_ms, variable })
    }
}

impl Menu {
    /// What a key does.
    pub fn choice(&self, key: &str) -> Option<&Choice> {
        self.keys.iter().find(|(known, _)| key.chars().eq([*known])).map(|(_, choice)| choice)
    }

    fn read(it: &Reader<'_>) -> Self {
        it.only(&["prompt", "keys", "timeout_secs", "rounds", "wrong", "nothing", "otherwise"]);
        let prompt = Speech::of_setting(it, "prompt");
        if prompt.is_empty() {
            it.complain_of("prompt", "is missing: the recording that says which key is for what");
        }
        let mut keys = Vec::new();
        for (name, it) in it.table("keys", 16) {
            match key(&name) {
                Some(key) => keys.push((key, Choice::read(&it))),
                None => it.complain(format!("is no key; write one of {KEYS}")),
            }
        }
        if keys.is_empty() {
            it.complain_of("keys", "has no key; write e.g. { \"1\" = \"queue:sales\" }");
        }
        Self {
            prompt,
            keys,
            timeout_ms: it.number_of("timeout_secs", 1..=60_u32).unwrap_or(5) * 1000,
            rounds: it.number_of("rounds", 1..=20).unwrap_or(3),
            wrong: Speech::of_setting(it, "wrong"),
            nothing: Speech::of_setting(it, "nothing"),
            otherwise: Place::of_setting(it, "otherwise"),
        }
    }
}

impl Choice {
    fn read(it: &Reader<'_>) -> Self {
        match it.value().as_str() {
            Some("go-on") => return Self::default(),
            Some("repeat") => return Self { repeats: true, ..Self::default() },
            Some(text) if text.starts_with("menu:") => {
                let menu = text.strip_prefix("menu:").map(str::to_owned);
                return Self { menu, ..Self::default() };
            }
            Some(_) => return Self { to: Place::read(it), ..Self::default() },
            None => {}
        }
        it.only(&["to", "menu", "language", "repeat", "variables"]);
        let choice = Self {
            to: Place::of_setting(it, "to"),
            menu: it.text_of("menu"),
            language: language(it, "language"),
            repeats: it.flag_of("repeat").unwrap_or(false),
            variables: variables(it),
        };
        let ways = [choice.to.is_some(), choice.menu.is_some(), choice.repeats];
        if ways.iter().filter(|is_set| **is_set).count() > 1 {
            it.complain("does several things: write one of `to`, `menu` and `repeat`");
        }
        choice
    }
}

impl Lookup {
    fn read(it: &Reader<'_>) -> Option<Self> {
        let service = Service::read(it, "lookup", &["variables"]);
        let mut to = Vec::new();
        for (field, it) in it.table("variables", 16) {
            let known =
                service.as_ref().is_none_or(|service| service.field_names().any(|it| it == field));
            if !known {
                it.complain("is not among `fields`");
            }
            match it.text() {
                Some(name) if is_variable(&name) => to.push((field, name)),
                Some(name) => it.complain(format!("{name:?} is no channel variable")),
                None => {}
            }
        }
        Some(Self { service: service?, variables: to })
    }
}

impl Hold {
    fn of_setting(it: &Reader<'_>) -> Self {
        let hold = it.get("hold");
        if let Some(it) = &hold {
            it.only(&[
                "music",
                "at_least_secs",
                "announcements",
                "announce_secs",
                "again_secs",
                "at_most_secs",
            ]);
        }
        let secs = |name: &str, range, usual: u64| {
            hold.as_ref().and_then(|it| it.number_of(name, range)).unwrap_or(usual) * 1000
        };
        let music = hold.as_ref().and_then(|it| it.text_of("music")).unwrap_or_default();
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if music.len() > 80 || !music.chars().all(fine) {
            it.complain_of("hold.music", format!("{music:?} is no class of music"));
        }
        let announcements =
            hold.as_ref().map(|it| it.list("announcements", 20)).unwrap_or_default();
        let (least_ms, most_ms) =
            (secs("at_least_secs", 0..=3600, 0), secs("at_most_secs", 1..=14_400, 300));
        if least_ms > most_ms {
            it.complain_of("hold.at_least_secs", "is longer than `at_most_secs`");
        }
        Self {
            music,
            least_ms,
            announcements: announcements.iter().map(Speech::read).collect(),
            every_ms: secs("announce_secs", 5..=3600, 30),
            again_ms: secs("again_secs", 1..=3600, 20),
            most_ms,
        }
    }
}

impl Overflow {
    fn of_setting(it: &Reader<'_>) -> Self {
        let overflow = it.get("overflow");
        if let Some(it) = &overflow {
            it.only(&["message", "to"]);
        }
        Self {
            message: overflow
                .as_ref()
                .map(|it| Speech::of_setting(it, "message"))
                .unwrap_or_default(),
            to: overflow.and_then(|it| Place::of_setting(&it, "to")).unwrap_or_else(Place::hang_up),
        }
    }
}

fn said(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn key(text: &str) -> Option<char> {
    let mut letters = text.chars();
    let key = letters.next()?;
    (letters.next().is_none() && KEYS.contains(key)).then_some(key)
}

fn language(it: &Reader<'_>, name: &str) -> Option<String> {
    let text = it.text_of(name)?;
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if text.is_empty() || text.len() > 20 || !text.chars().all(fine) {
        it.complain_of(
            name,
            format!("{text:?} is no language; write e.g. \"de\", as the PBX has it"),
        );
        return None;
    }
    Some(text)
}

fn variables(it: &Reader<'_>) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for (name, it) in it.table("variables", 16) {
        match it.text() {
            Some(_) if !is_variable(&name) => {
                it.complain("is no channel variable: letters, digits and `_` only")
            }
            Some(value) if value.len() > 512 => it.complain("is longer than 512 bytes"),
            Some(value) => variables.push((name, value)),
            None => {}
        }
    }
    variables
}

/// What the PBX takes as the name of a channel variable; the host keeps some for itself.
fn is_variable(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let bare = name.trim_start_matches('_');
    bare.starts_with(|c: char| c.is_ascii_alphabetic())
        && !bare.to_ascii_uppercase().starts_with("JACKFIELD_")
        && name.len() <= 64
        && name.chars().all(fine)
}
