//! How the switch tells the engine what happened.

use std::{collections::VecDeque, sync::Arc};

use calls::{
    CallId, CommandId, LegId,
    event::{CommandEnd, Problem},
    switchboard::Offered,
};
use tokio::sync::{mpsc, watch};

use crate::connectors::Inboxes;

/// Ids of instructions begin here; below are the commands of the journal. Small enough for connectors in JavaScript,
/// whose numbers are exact up to 2^53.
pub const FIRST_INSTRUCTION: u64 = 1 << 52;

/// What may wait for the engine.
const WAITING: usize = 4096;
/// What is kept while that is full. Beyond it the engine is broken, and the leases run out.
const MOST_BACKLOG: usize = 65_536;

/// Is this the id of an instruction?
pub fn is_instruction(command: CommandId) -> bool {
    command.0 >= FIRST_INSTRUCTION
}

/// What happened to a caller whom the PBX handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookInput {
    /// Where does this caller go? A leg offered before is offered anew.
    Offered(Box<Offered>),
    /// The leg takes no instructions any more, or is gone.
    Released {
        /// Which.
        leg: LegId,
        /// Its call.
        call: CallId,
        /// In the PBX's words, or `ended`.
        reason: String,
    },
    /// The caller pressed a key.
    Key {
        /// Which leg.
        leg: LegId,
        /// One of 0-9, *, #, A-D.
        key: String,
        /// How long it was pressed.
        held_ms: u32,
    },
    /// An instruction is over: exactly once for each.
    Outcome {
        /// Which.
        id: CommandId,
        /// How.
        end: CommandEnd,
        /// What was wrong.
        problem: Option<Problem>,
        /// JSON text with what came of it.
        detail: String,
    },
}

/// The switch's end.
#[derive(Debug)]
pub struct HooksInbox {
    inputs: mpsc::Sender<HookInput>,
    connectors: watch::Sender<Arc<Inboxes>>,
    /// What did not fit, in order.
    backlog: VecDeque<HookInput>,
}

/// The engine's end.
#[derive(Debug)]
pub struct HooksOutlet {
    /// What happened, in order.
    pub inputs: mpsc::Receiver<HookInput>,
    /// Where instructions go.
    pub connectors: watch::Receiver<Arc<Inboxes>>,
}

/// Both ends.
pub fn inbox() -> (HooksInbox, HooksOutlet) {
    let (inputs_in, inputs) = mpsc::channel(WAITING);
    let (connectors_in, connectors) = watch::channel(Arc::default());
    let inbox =
        HooksInbox { inputs: inputs_in, connectors: connectors_in, backlog: VecDeque::new() };
    (inbox, HooksOutlet { inputs, connectors })
}

impl HooksInbox {
    /// Tells the engine; never waits for it, and never changes the order.
    pub fn tell(&mut self, input: HookInput) {
        self.backlog.push_back(input);
        while let Some(input) = self.backlog.pop_front() {
            match self.inputs.try_send(input) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(input)) => {
                    self.backlog.push_front(input);
                    break;
                }
                // The engine has ended: the host is stopping, and the leases run out.
                Err(mpsc::error::TrySendError::Closed(_)) => return self.backlog.clear(),
            }
        }
        if self.backlog.len() > MOST_BACKLOG {
            tracing::error!(
                "the hooks do not take what happens any more; callers fall back when their leases end"
            );
            self.backlog.clear();
        }
    }

    /// Something waits for room.
    pub fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Waits for room and tells one thing that waits for it. It may be given up at any moment.
    pub async fn flush(&mut self) {
        match self.inputs.reserve().await {
            Ok(room) => {
                if let Some(input) = self.backlog.pop_front() {
                    room.send(input);
                }
            }
            Err(_) => self.backlog.clear(),
        }
    }

    /// These connectors can be reached from now on.
    pub fn connectors(&self, inboxes: &Inboxes) {
        self.connectors.send_replace(Arc::new(inboxes.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> HookInput {
        HookInput::Key { leg: LegId(1), key: n.to_string(), held_ms: 0 }
    }

    #[tokio::test]
    async fn what_waited_for_room_is_told_in_order_although_nothing_new_happens() {
        let (mut inbox, mut outlet) = inbox();
        for n in 0..WAITING + 2 {
            inbox.tell(key(n));
        }
        for n in 0..WAITING + 2 {
            while inbox.is_behind() && outlet.inputs.len() < WAITING {
                inbox.flush().await;
            }
            assert_eq!(outlet.inputs.recv().await, Some(key(n)));
        }
        assert!(!inbox.is_behind());
    }
}
