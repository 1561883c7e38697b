//! Playing a scenario of a connector: as written, then with chaos.

use std::{sync::Arc, time::Duration};

use plugin_runtime::{InstanceConfig, Limits, Plugin, SecretForm, StartError};

use super::{Again, Exactly, Options, Place, Played, compare};
use crate::{
    dice::Dice,
    peer::ScriptedPbx,
    picture::Picture,
    rig::{Rig, Setup, Split, Told, Unkind, What},
    scenario::{
        Scenario,
        connector::{Expect, Happens, Script},
    },
};

/// How often chaos with dice is tried.
const TIMES: u32 = 12;
/// How many places a connection is cut at.
const CUTS: u64 = 48;
/// How long everything has to come to rest after the last step of a run that was cut.
const REST: Duration = Duration::from_secs(30);

/// A scenario that cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum TryError {
    /// Its limits make no sense.
    #[error("the limits of the scenario make no sense: {0}")]
    Limits(serde_json::Error),
    /// The connector does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// What a connector is tried with: all its manifest asks for is granted.
pub fn setup(plugin: &Plugin, scenario: &Scenario, script: &Script) -> Result<Setup, TryError> {
    let limits = match &scenario.limits {
        Some(limits) => serde_json::from_value(limits.clone()).map_err(TryError::Limits)?,
        None => Limits::default(),
    };
    let manifest = plugin.manifest();
    let plain = SecretForm::Plain.code();
    let mut grants = Vec::new();
    for link in &manifest.links {
        grants.push(format!("link:{}", link.name));
        if link.secrets.iter().any(|form| form == plain) {
            grants.push(format!("plain:{}", link.name));
        }
    }
    grants.extend(manifest.http.iter().map(|request| format!("http:{}", request.host)));
    let links = script.peers.keys().map(|link| (link.clone(), format!("tcp://{link}.test")));
    let config = InstanceConfig {
        id: "try".into(),
        settings: scenario.settings.clone(),
        links: links.collect(),
        grants,
        limits,
    };
    Ok(Setup {
        plugin: plugin.clone(),
        config,
        secrets: script.secrets.clone(),
        begin: scenario.clock.begin(),
    })
}

pub(super) fn play(
    plugin: &Plugin,
    scenario: &Scenario,
    script: &Script,
    options: Options,
    played: &mut Played,
) {
    let setup = match setup(plugin, scenario, script) {
        Ok(setup) => setup,
        Err(error) => return played.fail(&Place::start(), "the scenario", error.to_string()),
    };
    let script = Arc::new(script.clone());
    let plain = Run {
        setup: &setup,
        script: &script,
        reorder: None,
        duplicate: None,
        rest: Duration::ZERO,
    };
    let windows = match plain.go(Unkind::default(), Some(played)) {
        Ok(windows) => windows,
        Err(error) => return played.fail(&Place::start(), "the start", error.to_string()),
    };
    for (number, window) in windows.iter().enumerate() {
        let (place, expect) = match number.checked_sub(1).and_then(|index| script.steps.get(index))
        {
            None => (Place::start(), &script.expect),
            Some(step) => (Place::of(number, &step.title, step.line, step.at), &step.expect),
        };
        judge(window, &place, expect, played);
    }
    // What is wrong as written is not worth being tried in other ways.
    if played.passed() {
        let seed = options.seed.or(script.chaos.seed).unwrap_or(1);
        Chaos { plain, base: windows, seed, played }.all();
    }
}

/// What happened between two steps.
struct Window {
    told: Vec<Told>,
    complaints: Vec<String>,
}

/// One way to play it.
#[derive(Clone)]
struct Run<'a> {
    setup: &'a Setup,
    script: &'a Arc<Script>,
    reorder: Option<Dice>,
    duplicate: Option<Dice>,
    /// Time after the end.
    rest: Duration,
}

impl Run<'_> {
    fn go(
        &self,
        unkind: Unkind,
        mut played: Option<&mut Played>,
    ) -> Result<Vec<Window>, StartError> {
        let script = self.script;
        let mut pbx = ScriptedPbx::new(Arc::clone(script));
        pbx.reorder = self.reorder.clone();
        pbx.duplicate = self.duplicate.clone();
        let mut rig = Rig::start(self.setup.clone(), Box::new(pbx), unkind)?;
        let mut windows = Vec::new();
        for (number, step) in script.steps.iter().enumerate() {
            // A first step at the beginning is there before anybody connects.
            if number > 0 || !step.at.is_zero() {
                rig.run_until(step.at);
            }
            windows.push(window(&mut rig, &mut played));
            if let Happens::Cut { restart: true, .. } = step.happens {
                rig.pbx.restart();
            }
            note(&mut played, rig.at(), step);
            rig.turn(number);
            match &step.happens {
                Happens::Nothing | Happens::Sends(_) | Happens::Gets { .. } => {}
                Happens::Command { kind, arguments, deadline } => {
                    rig.command(kind, arguments, *deadline);
                }
                Happens::Cut { down, .. } => rig.cut(&step.link, *down),
                Happens::Settings(settings) => rig.swap(Some(settings.clone())),
                Happens::Swap => rig.swap(None),
            }
        }
        let end = script.until.unwrap_or_default().max(rig.at());
        rig.run_until(end + self.rest);
        windows.push(window(&mut rig, &mut played));
        if let Some(played) = played {
            played.lasted = rig.at();
            played.log = rig.log().iter().map(|line| line.text.clone()).collect();
        }
        Ok(windows)
    }
}

fn note(played: &mut Option<&mut Played>, at: Duration, step: &crate::scenario::connector::Step) {
    let Some(played) = played else { return };
    let text = match &step.happens {
        Happens::Sends(frames) => {
            for frame in frames {
                played.happened(at, "pbx", frame.clone());
            }
            return;
        }
        Happens::Nothing => return,
        Happens::Gets { frame, .. } => format!("waits for {frame}"),
        Happens::Command { kind, .. } => {
            return played.happened(at, "host", format!("command {kind}"));
        }
        Happens::Cut { restart: false, .. } => "the connection breaks".to_owned(),
        Happens::Cut { restart: true, .. } => "restarts".to_owned(),
        Happens::Settings(_) => return played.happened(at, "host", "the settings change"),
        Happens::Swap => return played.happened(at, "host", "swaps the connector"),
    };
    played.happened(at, "pbx", text);
}

fn window(rig: &mut Rig, played: &mut Option<&mut Played>) -> Window {
    let told = rig.told();
    let complaints = rig.pbx.complaints(rig.at());
    if let Some(played) = played {
        for Told { at, what } in &told {
            let text = match what {
                What::Sent(_, frame) => format!("sends {frame}"),
                What::Link(..) => {
                    played.happened(*at, "host", what.line());
                    continue;
                }
                what => what.line(),
            };
            played.happened(*at, "plugin", text);
        }
    }
    Window { told, complaints }
}

fn judge(window: &Window, place: &Place, expect: &Expect, played: &mut Played) {
    let lines = |wanted: fn(&What) -> bool| -> Vec<(Duration, String)> {
        let told = window.told.iter().filter(|told| wanted(&told.what));
        told.map(|told| (told.at, told.what.line())).collect()
    };
    let mut failed_as_expected = false;
    for Told { at, what } in &window.told {
        let What::Failed(kind, message) = what else { continue };
        let place = Place { at: *at, ..place.clone() };
        // A consequence of the failure before it.
        if matches!(kind.as_str(), "quarantined" | "skipped") && failed_as_expected {
            continue;
        }
        failed_as_expected =
            played.plugin_failed(&place, expect.fails.as_ref(), code(kind), message);
    }
    if let Some(failing) = &expect.fails
        && !window.told.iter().any(|told| matches!(told.what, What::Failed(..)))
    {
        played.fail(place, "fails", format!("it works; expected was that it {}", failing.code));
    }
    if let Some(tells) = &expect.tells {
        played.compare(place, "tells", tells, &lines(What::is_told));
    }
    if let Some(sends) = &expect.sends {
        played.compare(place, "sends", sends, &lines(|what| matches!(what, What::Sent(..))));
    }
    let refused = lines(|what| matches!(what, What::Refused(_)));
    match &expect.refused {
        Some(expected) => played.compare(place, "refused", expected, &refused),
        None => {
            for (at, what) in refused {
                let place = Place { at, ..place.clone() };
                played.fail(&place, "refused", format!("the host refuses what it wants: {what}"));
            }
        }
    }
    for complaint in &window.complaints {
        // `sends` has judged what was sent.
        if expect.sends.is_none() || !complaint.starts_with("the PBX got") {
            played.fail(place, "the PBX", complaint.clone());
        }
    }
}

/// As hooks call it.
fn code(kind: &str) -> &str {
    match kind {
        "deadline" => "late",
        "error" => "refused",
        "too-much" => "nonsense",
        "trap" | "memory" | "host-panic" => "trapped",
        other => other,
    }
}

/// Playing it again, less kindly.
struct Chaos<'a> {
    plain: Run<'a>,
    base: Vec<Window>,
    seed: u64,
    played: &'a mut Played,
}

impl Chaos<'_> {
    fn all(mut self) {
        let chaos = self.plain.script.chaos.clone();
        if chaos.split {
            let every = [1, 2, 3, 7, 64].map(Split::Every);
            let random = (0..u64::from(TIMES)).map(|n| Split::Random(40, Dice::new(self.seed + n)));
            let splits: Vec<Split> = every.into_iter().chain(random).collect();
            self.again("split", splits.len() as u32);
            for split in splits {
                let how = match &split {
                    Split::Every(size) => format!("split in pieces of {size}"),
                    Split::Random(..) => format!("split by seed {}", self.seed),
                };
                let unkind = Unkind { split: Some(split), ..Unkind::default() };
                self.exactly(&how, &self.plain.clone(), unkind);
            }
        }
        if chaos.restart {
            self.again("restart", 1);
            let unkind = Unkind { swap: true, ..Unkind::default() };
            self.exactly("crashed and restored after every step", &self.plain.clone(), unkind);
        }
        if chaos.reorder {
            self.again("reorder", TIMES);
            for seed in self.seed..self.seed + u64::from(TIMES) {
                let run = Run { reorder: Some(Dice::new(seed)), ..self.plain.clone() };
                self.as_sets(&format!("reordered by seed {seed}"), &run);
            }
        }
        if chaos.duplicate {
            self.again("duplicate", TIMES);
            for seed in self.seed..self.seed + u64::from(TIMES) {
                let run = Run { duplicate: Some(Dice::new(seed)), ..self.plain.clone() };
                self.as_sets(&format!("duplicated by seed {seed}"), &run);
            }
        }
        if chaos.cut {
            self.cuts();
        }
    }

    fn again(&mut self, how: &'static str, times: u32) {
        self.played.again.push(Again { how, times, seed: self.seed });
    }

    fn go(&mut self, how: &str, run: &Run<'_>, unkind: Unkind) -> Option<Vec<Window>> {
        match run.go(unkind, None) {
            Ok(windows) => {
                let failed = windows.iter().flat_map(|window| &window.told).find_map(|told| {
                    let What::Failed(kind, message) = &told.what else { return None };
                    Some((told.at, kind.clone(), message.clone()))
                });
                if let Some((at, kind, message)) = failed {
                    let place = Place { step: how.to_owned(), line: 1, at };
                    self.played.plugin_failed(&place, None, code(&kind), &message);
                    return None;
                }
                Some(windows)
            }
            Err(error) => {
                let place = Place { step: how.to_owned(), ..Place::start() };
                self.played.fail(&place, "the start", error.to_string());
                None
            }
        }
    }

    /// Everything must be told as it was.
    fn exactly(&mut self, how: &str, run: &Run<'_>, unkind: Unkind) {
        let Some(windows) = self.go(how, run, unkind) else { return };
        for (number, (base, window)) in self.base.iter().zip(&windows).enumerate() {
            let (wanted, got) = (told_lines(base), told_lines(window));
            let expected: Vec<Exactly<'_>> = wanted.iter().map(|(_, text)| Exactly(text)).collect();
            if let Some(diff) = compare(&expected, &got) {
                let place = self.place(how, number);
                let message = "it is told otherwise than in the plain run";
                self.played.failures.push(place.failure("tells", message, diff));
                return;
            }
        }
    }

    /// The same lines in any order, or once more.
    fn as_sets(&mut self, how: &str, run: &Run<'_>) {
        let Some(windows) = self.go(how, run, Unkind::default()) else { return };
        for (number, (base, window)) in self.base.iter().zip(&windows).enumerate() {
            let sorted = |window: &Window| {
                let mut lines = told_lines(window);
                lines.sort_by(|(_, one), (_, other)| one.cmp(other));
                lines.dedup_by(|(_, one), (_, other)| one == other);
                lines
            };
            let (wanted, got) = (sorted(base), sorted(window));
            let expected: Vec<Exactly<'_>> = wanted.iter().map(|(_, text)| Exactly(text)).collect();
            if let Some(diff) = compare(&expected, &got) {
                let place = self.place(how, number);
                let message = "it tells other things than in the plain run";
                self.played.failures.push(place.failure("tells", message, diff));
                return;
            }
        }
    }

    /// After any cut the picture is the one without it.
    fn cuts(&mut self) {
        let run = Run { rest: REST, ..self.plain.clone() };
        let Some(base) = self.go("cut", &run, Unkind::default()) else { return };
        let wanted = picture(&base);
        let bytes = self.bytes();
        let places: Vec<u64> = if bytes <= CUTS {
            (0..bytes).collect()
        } else {
            let mut dice = Dice::new(self.seed);
            (0..CUTS).map(|_| dice.roll() % bytes).collect()
        };
        self.again("cut", places.len() as u32);
        for place in places {
            let unkind = Unkind { cut_after: Some(place), ..Unkind::default() };
            let how = format!("cut after byte {place}");
            let Some(windows) = self.go(&how, &run, unkind) else { return };
            let got: Vec<(Duration, String)> =
                picture(&windows).into_iter().map(|line| (Duration::ZERO, line)).collect();
            let expected: Vec<Exactly<'_>> = wanted.iter().map(|line| Exactly(line)).collect();
            if let Some(diff) = compare(&expected, &got) {
                let place = Place { step: how, ..Place::start() };
                let message = "the picture at the end is not the one without the cut";
                self.played.failures.push(place.failure("the picture", message, diff));
                return;
            }
        }
    }

    /// How many bytes the PBX sends in the plain run.
    fn bytes(&self) -> u64 {
        let run = &self.plain;
        let pbx = ScriptedPbx::new(Arc::clone(run.script));
        let Ok(mut rig) = Rig::start(run.setup.clone(), Box::new(pbx), Unkind::default()) else {
            return 0;
        };
        for (number, step) in run.script.steps.iter().enumerate() {
            rig.run_until(step.at);
            rig.turn(number);
        }
        rig.settle();
        rig.received().max(1)
    }

    fn place(&self, how: &str, window: usize) -> Place {
        match window.checked_sub(1).and_then(|index| self.plain.script.steps.get(index)) {
            None => Place { step: how.to_owned(), ..Place::start() },
            Some(step) => {
                Place { step: format!("{how}, step {window}"), line: step.line, at: step.at }
            }
        }
    }
}

fn told_lines(window: &Window) -> Vec<(Duration, String)> {
    let told = window.told.iter().filter(|told| told.what.is_told());
    told.map(|told| (told.at, told.what.line())).collect()
}

fn picture(windows: &[Window]) -> Vec<String> {
    let mut picture = Picture::new();
    for told in windows.iter().flat_map(|window| &window.told) {
        picture.take(&told.what);
    }
    picture.lines()
}
