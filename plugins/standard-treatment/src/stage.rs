//! From one stage to the next.

use std::time::Duration;

use jackfield_bundled::json;
use jackfield_sdk::hooks::{Answers, Cause, Patch, Plan, Waiting};

use crate::{
    script::Script,
    settings::{Choice, Settings},
    state::{Again, Stage, State},
};

/// The lookup's id.
const ASKED: &str = "lookup";

/// Wake-ups are at least so far apart.
const SHORTEST_MS: u64 = 20;

/// One call of the hook for one caller.
pub struct Visit<'a> {
    settings: &'a Settings,
    waiting: &'a Waiting,
    state: State,
    patch: Patch,
    /// What happened, for whoever asks why.
    reason: String,
}

/// What follows.
enum Then {
    /// The script of the stage, from the step in the state.
    Play,
    /// What is under way goes on.
    GoOn,
}

impl<'a> Visit<'a> {
    /// Of a caller.
    pub fn new(settings: &'a Settings, waiting: &'a Waiting, state: State) -> Self {
        Self { settings, waiting, state, patch: Patch::default(), reason: String::new() }
    }

    /// What is done now.
    pub fn next(mut self, cause: &Cause, answers: &Answers) -> Plan {
        let mut ask = false;
        let then = match cause {
            Cause::Started => {
                ask = self.started();
                Then::Play
            }
            Cause::Finished => self.finished(),
            Cause::Failed(failed) if self.state.at == Stage::Leave => {
                self.came_back(&failed.error.code)
            }
            Cause::Failed(failed) => {
                // The rest of the script, without what failed.
                let index = usize::try_from(failed.step).unwrap_or(usize::MAX);
                self.reason = format!(
                    "{}: {}",
                    json::one_line(&failed.error.code, 40),
                    json::one_line(&failed.error.message, 120)
                );
                self.state.from = self.state.from.saturating_add(index).saturating_add(1);
                Then::Play
            }
            Cause::Key(key) => self.key(key),
            Cause::LookedUp => self.looked_up(answers),
            Cause::Woke => self.held(),
            Cause::CameBack(why) => self.came_back(why),
            Cause::Resumed => self.resumed(),
            Cause::Collected(_) | Cause::Changed(_) | Cause::Other(_) => Then::GoOn,
        };
        self.plan(&then, ask)
    }

    fn plan(mut self, then: &Then, ask: bool) -> Plan {
        let mut script = Script::of(self.settings, self.waiting, &self.state);
        let mut plan = Plan::go_on();
        if let Then::Play = then {
            // A script of which nothing is left is over; there are fewer stages than this.
            for _ in 0..16 {
                if self.state.from < script.steps.len() {
                    break;
                }
                self.advance();
                script = Script::of(self.settings, self.waiting, &self.state);
            }
            let from = self.state.from.min(script.steps.len());
            plan = Plan::steps(script.steps.split_off(from));
        }
        plan.keys = script.keys;
        plan.wake_ms = self.wake_ms();
        if ask && let Some(lookup) = &self.settings.lookup {
            plan.lookups.push(lookup.service.ask(ASKED, &self.waiting.call));
        }
        plan.patch = self.patch;
        plan.reason = json::one_line(&self.reason, 300);
        plan.state = self.state.write();
        plan
    }

    /// Is there something to ask?
    fn started(&mut self) -> bool {
        if self.waiting.fact("closed").is_some_and(|closed| !closed.is_empty() && closed != "no") {
            self.because("closed");
            self.state.enter(Stage::Closed);
            return false;
        }
        self.because("greeting");
        let Some(lookup) = &self.settings.lookup else { return false };
        self.state.asked =
            !lookup.service.needs_e164() || !self.waiting.call.caller_e164.is_empty();
        self.state.asked
    }

    fn finished(&mut self) -> Then {
        match self.state.at {
            Stage::Menu => self.menu_again(Again::Nothing),
            // Music has no end: this is the end of an announcement.
            Stage::Hold => return self.held(),
            _ => self.advance(),
        }
        Then::Play
    }

    /// To the next stage that has something to do.
    fn advance(&mut self) {
        match self.state.at {
            Stage::Begin if self.settings.consent.is_some() => self.state.enter(Stage::Consent),
            Stage::Begin | Stage::Consent => {
                if self.state.at == Stage::Consent {
                    self.consented("yes");
                }
                self.enter_first_menu();
            }
            Stage::Menu => self.enter_hold(),
            Stage::Hold | Stage::Unknown => self.state.enter(Stage::Leave),
            Stage::Leave | Stage::Closed | Stage::Overflow | Stage::End => {
                self.state.enter(Stage::End)
            }
        }
    }

    fn consented(&mut self, word: &str) {
        if let Some(consent) = &self.settings.consent
            && !consent.variable.is_empty()
        {
            self.patch.variables.push((consent.variable.clone(), word.to_owned()));
        }
    }

    /// The router's menu, the usual one, or none.
    fn enter_first_menu(&mut self) {
        let wished = self.waiting.fact("menu").unwrap_or(&self.settings.menu);
        if self.settings.menu(wished).is_none() {
            return self.enter_hold();
        }
        self.enter_menu(wished.to_owned());
    }

    fn enter_menu(&mut self, name: String) {
        self.because(&format!("menu {name}"));
        self.state.menu = name;
        self.state.enter(Stage::Menu);
        (self.state.rounds, self.state.again) = (0, Again::No);
    }

    /// Another round, or the end of the menu.
    fn menu_again(&mut self, why: Again) {
        let Some(menu) = self.settings.menu(&self.state.menu) else { return self.enter_hold() };
        self.state.rounds += 1;
        if self.state.rounds < menu.rounds {
            self.state.again = why;
            self.state.enter(Stage::Menu);
            return;
        }
        self.because("no choice in the menu");
        if menu.otherwise.is_some() {
            // No key has this name: what the menu says for nobody's choice.
            self.state.chosen = Some((self.state.menu.clone(), String::new()));
        }
        self.enter_hold();
    }

    fn key(&mut self, key: &str) -> Then {
        match self.state.at {
            Stage::Consent => {
                let declines = self.settings.consent.as_ref().and_then(|consent| consent.decline);
                if !declines.is_some_and(|decline| key.chars().eq([decline])) {
                    return Then::GoOn;
                }
                self.because("declined");
                self.consented("no");
                self.enter_first_menu();
            }
            Stage::Menu => {
                let menu = self.settings.menu(&self.state.menu);
                match menu.and_then(|menu| menu.choice(key)) {
                    Some(choice) => self.chose(key, &choice.clone()),
                    None => self.menu_again(Again::Wrong),
                }
            }
            _ => return Then::GoOn,
        }
        Then::Play
    }

    fn chose(&mut self, key: &str, choice: &Choice) {
        self.because(&format!("key {key}"));
        self.patch.variables.extend(choice.variables.iter().cloned());
        if let Some(language) = &choice.language {
            self.state.language.clone_from(language);
            self.patch.language = Some(language.clone());
        }
        let only_language =
            choice.language.is_some() && choice.to.is_none() && choice.menu.is_none();
        if let Some(menu) = &choice.menu {
            self.enter_menu(menu.clone());
        } else if choice.repeats || only_language {
            self.state.enter(Stage::Menu);
            self.state.again = Again::No;
        } else {
            self.state.chosen = Some((self.state.menu.clone(), key.to_owned()));
            self.enter_hold();
        }
    }

    /// Music, if there is something to wait for.
    fn enter_hold(&mut self) {
        if self.has_to_wait() {
            self.state.enter(Stage::Hold);
            self.state.announcing = false;
            self.announce_later();
        } else {
            self.state.enter(Stage::Leave);
        }
    }

    fn has_to_wait(&self) -> bool {
        self.state.asked || self.waiting.waited_ms < self.settings.hold.least_ms
    }

    fn looked_up(&mut self, answers: &Answers) -> Then {
        let (Some(answer), Some(lookup)) = (answers.get(ASKED), &self.settings.lookup) else {
            return Then::GoOn;
        };
        self.state.asked = false;
        match lookup.service.read_answer(answer) {
            Ok(fields) => {
                self.because(if fields.is_empty() { "looked up: not known" } else { "looked up" });
                for (name, value) in fields {
                    let variable = lookup.variables.iter().find(|(field, _)| *field == name);
                    if let Some((_, variable)) = variable {
                        self.patch.variables.push((variable.clone(), value.clone()));
                    }
                    self.patch.facts.push((format!("lookup-{name}"), value));
                }
            }
            Err(why) => self.because(&format!("looked up: {why}")),
        }
        if self.state.at == Stage::Hold { self.held() } else { Then::GoOn }
    }

    /// Under music: what is due?
    fn held(&mut self) -> Then {
        if self.state.at != Stage::Hold {
            return Then::GoOn;
        }
        let waited = self.waiting.waited_ms;
        if waited >= self.settings.hold.most_ms && self.state.back > 0 {
            self.because("waited too long");
            self.state.enter(Stage::Overflow);
            return Then::Play;
        }
        let may_leave = match self.state.again_at {
            Some(at) => waited >= at,
            // A lookup that never ends holds nobody for ever.
            None => !self.has_to_wait() || waited >= self.settings.hold.most_ms,
        };
        if may_leave {
            self.state.again_at = None;
            self.state.enter(Stage::Leave);
            return Then::Play;
        }
        if self.state.announce_at.is_some_and(|at| waited >= at) {
            self.state.announced = self.state.announced.saturating_add(1);
            self.state.announcing = true;
            self.state.enter(Stage::Hold);
            self.announce_later();
            return Then::Play;
        }
        Then::GoOn
    }

    fn announce_later(&mut self) {
        let hold = &self.settings.hold;
        let is_any = !hold.announcements.is_empty();
        self.state.announce_at = is_any.then(|| self.waiting.waited_ms + hold.every_ms);
    }

    fn came_back(&mut self, why: &str) -> Then {
        self.because(&format!("came back: {}", json::one_line(why, 100)));
        self.state.back = self.state.back.saturating_add(1);
        match self.state.at {
            // Nobody takes them at all: the call ends politely.
            Stage::Overflow | Stage::Closed | Stage::End => self.state.enter(Stage::End),
            _ if self.waiting.waited_ms >= self.settings.hold.most_ms => {
                self.state.enter(Stage::Overflow);
            }
            _ => {
                self.state.enter(Stage::Hold);
                self.state.again_at = Some(self.waiting.waited_ms + self.settings.hold.again_ms);
                self.state.announcing = false;
                if self.state.announce_at.is_none() {
                    self.announce_later();
                }
            }
        }
        Then::Play
    }

    /// The stage again from its beginning, but nobody is greeted twice.
    fn resumed(&mut self) -> Then {
        self.because("resumed");
        let stage = self.state.at;
        self.state.enter(stage);
        self.state.greeted = true;
        Then::Play
    }

    fn wake_ms(&self) -> Option<u32> {
        if self.state.at != Stage::Hold {
            return None;
        }
        let hold = &self.settings.hold;
        let least = (self.state.again_at.is_none() && !self.state.asked).then_some(hold.least_ms);
        let at = [self.state.again_at, self.state.announce_at, least, Some(hold.most_ms)]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.waiting.waited_ms)
            .min()
            // Everything is over: soon, to leave.
            .unwrap_or(self.waiting.waited_ms);
        let wait = at.saturating_sub(self.waiting.waited_ms).clamp(SHORTEST_MS, 3_600_000);
        u32::try_from(Duration::from_millis(wait).as_millis()).ok()
    }

    fn because(&mut self, what: &str) {
        if !self.reason.is_empty() {
            self.reason.push_str("; ");
        }
        self.reason.push_str(what);
    }
}
