//! What a stage does, as steps: it follows from the settings, the caller and the state alone, so that the rest of a
//! script can be found again after a step that failed.

use jackfield_sdk::hooks::{Step, Target, Waiting};

use crate::{
    settings::{KEYS, Settings},
    speech::Speech,
    state::{Again, Stage, State},
};

/// More steps than a stage may have; the host takes 64.
const MOST: usize = 60;

/// A stage's steps and the keys that count while it lasts.
#[derive(Debug, Default)]
pub struct Script {
    /// All of them, from the first.
    pub steps: Vec<Step>,
    /// Keys listened to.
    pub keys: String,
}

impl Script {
    /// Of the stage a caller is in.
    pub fn of(settings: &Settings, waiting: &Waiting, state: &State) -> Self {
        let language = language(settings, waiting, state);
        let mut script = Self::default();
        match state.at {
            Stage::Begin => script.begin(settings, waiting, state, &language),
            Stage::Consent => script.consent(settings, &language),
            Stage::Menu => script.menu(settings, state, &language),
            Stage::Hold => script.hold(settings, state, &language),
            Stage::Leave | Stage::Unknown => script.leave(settings, state),
            Stage::Closed => script.closed(settings, waiting, &language),
            Stage::Overflow => {
                script.play(settings.overflow.message.heard_in(&language));
                script.steps.push(Step::HandOver(Some(settings.overflow.to.target())));
            }
            Stage::End => script.steps.push(Step::HandOver(Some(Target::hang_up(17)))),
        }
        script.steps.truncate(MOST);
        script
    }

    fn begin(&mut self, settings: &Settings, waiting: &Waiting, state: &State, language: &str) {
        self.answer(settings);
        if state.greeted {
            return;
        }
        if waiting.fact("greeting") != Some("no") {
            self.play(settings.greeting.heard_in(language));
        }
        if waiting.fact("overflow").is_some_and(|it| !it.is_empty() && it != "no") {
            self.play(settings.overflow.message.heard_in(language));
        }
        // A message of the router's, while somebody is there.
        self.play(&Speech::of_fact(waiting.fact("message").unwrap_or_default()));
    }

    fn consent(&mut self, settings: &Settings, language: &str) {
        let Some(consent) = &settings.consent else { return };
        self.play(consent.notice.heard_in(language));
        if let Some(key) = consent.decline {
            self.keys.push(key);
            self.steps.push(Step::Wait(consent.wait_ms));
        }
    }

    fn menu(&mut self, settings: &Settings, state: &State, language: &str) {
        let Some(menu) = settings.menu(&state.menu) else { return };
        match state.again {
            Again::Wrong => self.play(menu.wrong.heard_in(language)),
            Again::Nothing => self.play(menu.nothing.heard_in(language)),
            Again::No | Again::Unknown => {}
        }
        self.play(menu.prompt.heard_in(language));
        self.steps.push(Step::Wait(menu.timeout_ms));
        // All of them: a key that means nothing is answered, too.
        self.keys.push_str(KEYS);
    }

    fn hold(&mut self, settings: &Settings, state: &State, language: &str) {
        let announcements = &settings.hold.announcements;
        if state.announcing {
            let turn = state.announced.saturating_sub(1) % announcements.len().max(1);
            self.play(announcements.get(turn).map_or(&[], |it| it.heard_in(language)));
        } else if state.back == 1 {
            self.play(settings.apology.heard_in(language));
        }
        self.steps.push(Step::Music(settings.hold.music.clone()));
    }

    fn leave(&mut self, settings: &Settings, state: &State) {
        let chosen = state.chosen.as_ref().and_then(|(menu, key)| {
            let menu = settings.menu(menu)?;
            let place = match menu.choice(key) {
                Some(choice) => choice.to.as_ref(),
                None => menu.otherwise.as_ref(),
            };
            place.map(jackfield_bundled::Place::target)
        });
        self.steps.push(Step::HandOver(chosen));
    }

    fn closed(&mut self, settings: &Settings, waiting: &Waiting, language: &str) {
        self.answer(settings);
        let message = Speech::of_fact(waiting.fact("message").unwrap_or_default());
        self.play(if message.is_empty() { settings.closed.heard_in(language) } else { &message });
        let politely = waiting.then.is_none().then_some(Target::hang_up(16));
        self.steps.push(Step::HandOver(politely));
    }

    fn answer(&mut self, settings: &Settings) {
        if settings.answer {
            self.steps.push(Step::Answer);
        }
    }

    /// Each a step of its own: one that is missing does not take the others with it.
    fn play(&mut self, recordings: &[String]) {
        self.steps.extend(recordings.iter().map(Step::play));
    }
}

/// The caller's: chosen by key, known to the call, or the usual one.
pub fn language(settings: &Settings, waiting: &Waiting, state: &State) -> String {
    let known = [&state.language, &waiting.call.language, &settings.language];
    known.into_iter().find(|language| !language.is_empty()).cloned().unwrap_or_default()
}
