//! What a step makes happen, gathered in order.

use jackfield_sdk::{Action, Fact, Notice, Now};

/// The moment of a step, and the list of its actions.
pub struct Out<'a> {
    /// Both clocks.
    pub now: Now,
    /// The PBX's own time of the event at hand.
    pub at_pbx: Option<u64>,
    actions: &'a mut Vec<Action>,
}

impl<'a> Out<'a> {
    /// Starts with no PBX time.
    pub fn new(now: Now, actions: &'a mut Vec<Action>) -> Self {
        Self { now, at_pbx: None, actions }
    }

    /// Monotonic nanoseconds now.
    pub fn mono(&self) -> u64 {
        self.now.monotonic_ns
    }

    /// Any action.
    pub fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// A fact, seen now.
    pub fn fact(&mut self, fact: Fact) {
        self.actions.push(Action::fact(self.at_pbx, fact));
    }

    /// Something an operator must know.
    pub fn notice(&mut self, code: &str, severity: &str, message: impl Into<String>, fix: &str) {
        self.fact(Fact::Notice(Notice {
            code: code.into(),
            severity: severity.into(),
            message: message.into(),
            fix: fix.into(),
        }));
    }
}
