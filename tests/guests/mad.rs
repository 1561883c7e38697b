//! A plugin that does in every step what no plugin should. It is woken every millisecond, and wakes at noise.

use jackfield_sdk::{
    Action, Config, Connector, Error, Fact, Input, Notice, Now, Snapshot, log, register_connector,
};
use serde::{Deserialize, Serialize};

const MILLISECOND_NS: u64 = 1_000_000;
/// What `burn` wants to spend of a step's default 50 ms.
const BURN_NS: u64 = 30 * MILLISECOND_NS;
/// Within the default limits of a step, and beyond them.
const MANY_EFFECTS: usize = 1_000;
const TOO_MANY_EFFECTS: usize = 200_000;

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Madness {
    /// Never comes back.
    Loop,
    /// Comes back in time, and takes a processor as long as it may.
    Burn,
    /// Takes memory until there is none.
    Grow,
    /// As many facts as a step may tell.
    Effects,
    /// More of them.
    TooManyEffects,
    /// A thousand lines a step.
    Logs,
}

#[derive(Deserialize)]
struct Settings {
    madness: Madness,
}

/// The plugin.
pub struct Mad {
    madness: Madness,
    hoard: Vec<Vec<u8>>,
    /// Rounds that `burn` spins, and when its last step was.
    rounds: u64,
    last: u64,
}

impl Connector for Mad {
    fn init(
        config: Config,
        _state: Option<Snapshot>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<Self, Error> {
        let settings: Settings = serde_json::from_str(&config.settings)
            .map_err(|error| Error::new("bad-settings", error.to_string()))?;
        out.push(Action::WakeAt(now.monotonic_ns + MILLISECOND_NS));
        let Settings { madness } = settings;
        Ok(Self { madness, hoard: Vec::new(), rounds: 1_000_000, last: 0 })
    }

    fn step(&mut self, now: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        for input in inputs {
            if let Input::Bytes(bytes) = input {
                out.push(Action::consumed(&bytes.link, bytes.offset + bytes.data.len() as u64));
            }
        }
        out.push(Action::WakeAt(now.monotonic_ns + MILLISECOND_NS));
        match self.madness {
            Madness::Loop => loop {
                std::hint::spin_loop();
            },
            Madness::Burn => self.burn(now),
            Madness::Grow => loop {
                self.hoard.push(vec![1; 1 << 20]);
            },
            Madness::Effects => flood(MANY_EFFECTS, out),
            Madness::TooManyEffects => flood(TOO_MANY_EFFECTS, out),
            Madness::Logs => {
                for line in 0..1_000 {
                    log::warn(&format!("line {line} of many: {}", "la ".repeat(200)));
                }
            }
        }
        Ok(())
    }
}

impl Mad {
    /// It has no clock: the time between two steps tells it how long its last one took.
    fn burn(&mut self, now: Now) {
        let took = now.monotonic_ns.saturating_sub(self.last).max(MILLISECOND_NS);
        if self.last > 0 {
            let fitting = u128::from(self.rounds) * u128::from(BURN_NS) / u128::from(took);
            self.rounds = u64::try_from(fitting).unwrap_or(1).clamp(1_000, 1 << 40);
        }
        self.last = now.monotonic_ns;
        for round in 0..self.rounds {
            std::hint::black_box(round);
        }
    }
}

fn flood(facts: usize, out: &mut Vec<Action>) {
    for number in 0..facts {
        out.push(Action::fact(
            None,
            Fact::Notice(Notice {
                code: "mad".into(),
                severity: "info".into(),
                message: format!("fact {number} of many"),
                fix: String::new(),
            }),
        ));
    }
}

register_connector!(Mad, manifest = include_bytes!("mad.json"));
