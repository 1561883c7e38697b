//! Keeps the last calls that ended, as the events told them.

use jackfield_sdk::{
    hooks::{Action, Config, Error, Input, Now, Observer},
    log, register_observer,
};
use serde::Deserialize;

/// What the admin configures; see settings.schema.json, by which it is valid when it comes here.
#[derive(Deserialize)]
pub struct {{type}} {
    #[serde(default = "usual_number")]
    keep: u64,
    /// How many ended since this instance began. Gone after a crash, and so is everything else in memory: what must
    /// stay is stored.
    #[serde(skip)]
    ended: u64,
}

impl Observer for {{type}} {
    fn init(config: Config) -> Result<Self, Error> {
        serde_json::from_str(&config.settings)
            .map_err(|error| Error::new("bad-settings", error.to_string()))
    }

    /// One transaction: what it stores and how far it came are kept together, or not at all.
    fn step(&mut self, _: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        for input in inputs {
            match input {
                Input::Event(event) => {
                    if event.kind == "call.ended" {
                        self.ended += 1;
                        // The same event may come again after a crash: its number makes the key the same, too.
                        out.push(Action::put(
                            format!("ended.{}", event.seq % self.keep),
                            event.json,
                        ));
                    }
                    out.push(Action::ack(event.seq));
                }
                Input::Lost(seq) => log::warn(&format!("events up to {seq} are gone")),
                _ => {}
            }
        }
        Ok(())
    }
}

register_observer!({{type}}, settings);

fn usual_number() -> u64 {
    100
}

#[cfg(test)]
mod tests {
    use super::*;
    use jackfield_sdk::hooks::Event;

    fn event(seq: u64, kind: &str) -> Input {
        Input::Event(Event {
            seq,
            kind: kind.into(),
            at_ns: 0,
            call: "c1".into(),
            json: format!("{{\"seq\":{seq}}}"),
        })
    }

    fn observe(inputs: Vec<Input>) -> Vec<Action> {
        let config = Config {
            id: "test".into(),
            settings: r#"{ "keep": 10 }"#.into(),
            facts: Vec::new(),
        };
        let mut out = Vec::new();
        {{type}}::init(config)
            .unwrap()
            .step(Now::default(), inputs, &mut out)
            .unwrap();
        out
    }

    #[test]
    fn a_call_that_ended_is_kept_and_acknowledged() {
        let expected = [Action::put("ended.7", r#"{"seq":17}"#), Action::ack(17)];
        assert_eq!(observe(vec![event(17, "call.ended")]), expected);
    }

    #[test]
    fn other_events_are_acknowledged_only() {
        assert_eq!(observe(vec![event(3, "call.started")]), [Action::ack(3)]);
    }

    #[test]
    fn an_event_that_comes_again_changes_nothing() {
        assert_eq!(
            observe(vec![event(17, "call.ended")]),
            observe(vec![event(17, "call.ended")])
        );
    }
}
