//! The engine: one task that holds a desk for each caller whom the PBX handed over.

use std::sync::Arc;

use calls::CommandId;
use tokio::sync::watch;

use super::{FIRST_INSTRUCTION, HookInput, HooksOutlet, plan::HookPlan, store::HookStore};
use crate::{clock::Clock, connectors::Delivery, http::Fetcher, switch::FactsHandle};

/// How long anybody waits for an instruction.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// What the engine works with.
#[derive(Debug)]
pub struct EngineParts {
    /// What happens, and where instructions go.
    pub outlet: HooksOutlet,
    /// Which hooks there are; a desk keeps the one it began with.
    pub plan: watch::Receiver<Arc<HookPlan>>,
    /// What hooks keep.
    pub store: HookStore,
    /// For their lookups.
    pub fetcher: Fetcher,
    /// The host's clocks.
    pub clock: Clock,
    /// Where words on calls go.
    pub switch: FactsHandle,
    /// True: stop. The switch waits for that.
    pub stop: watch::Receiver<bool>,
}

/// Works until it is told to stop, or the switch is gone. Without hooks every caller goes on in the dialplan.
pub async fn run(mut parts: EngineParts) {
    let mut next = FIRST_INSTRUCTION;
    loop {
        let input = tokio::select! {
            input = parts.outlet.inputs.recv() => input,
            _ = parts.stop.wait_for(|stop| *stop) => return,
        };
        let offered = match input {
            Some(HookInput::Offered(offered)) => offered,
            Some(_) => continue,
            None => return,
        };
        let delivery = Delivery {
            command: CommandId(next),
            kind: "leg-continue".to_owned(),
            arguments: vec![("leg".to_owned(), offered.native.to_string())],
            deadline: parts.clock.now().monotonic + PATIENCE,
        };
        next += 1;
        let inbox = parts.outlet.connectors.borrow().get(&offered.connector).cloned();
        if inbox.is_none_or(|inbox| inbox.try_send(delivery).is_err()) {
            tracing::warn!(call = %offered.call, "the connector takes no instruction; the caller's lease will end");
        }
    }
}
