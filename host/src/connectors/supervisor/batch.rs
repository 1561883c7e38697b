//! What one step gets.

use calls::{CommandId, Now};
use plugin_runtime::Input;

use crate::connectors::Delivery;

/// One step gets at most this much, so that its effects stay within limits.
const BATCH_BYTES: usize = 256 * 1024;
const BATCH_INPUTS: usize = 256;

/// What one step gets.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) inputs: Vec<Input>,
    pub(super) commands: Vec<CommandId>,
    pub(super) bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, input: Input) {
        // Two reads in a row are one piece of news.
        if let (Some(Input::Received { link: last, data: so_far }), Input::Received { link, data }) =
            (self.inputs.last_mut(), &input)
            && last == link
        {
            so_far.extend_from_slice(data);
            return;
        }
        if let Input::Received { data, .. } = &input
            && data.is_empty()
        {
            return;
        }
        self.inputs.push(input);
    }

    pub(super) fn command(&mut self, delivery: Delivery, now: Now) {
        let Delivery { command, kind, arguments, deadline } = delivery;
        // The switch has said that it timed out: it must not happen after that.
        if deadline <= now.monotonic {
            tracing::debug!(%command, kind, "too late for a command");
            return;
        }
        self.commands.push(command);
        self.inputs.push(Input::Command { id: command.0, kind, arguments, deadline });
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.inputs.len() >= BATCH_INPUTS
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use calls::Timestamp;

    use super::*;

    #[test]
    fn a_command_past_its_deadline_is_dropped() {
        let deadline = Duration::from_secs(5);
        let delivery = |id| Delivery {
            command: CommandId(id),
            kind: "pause".to_owned(),
            arguments: Vec::new(),
            deadline,
        };
        let at = |monotonic| Now { monotonic, wall: Timestamp(0) };
        let mut batch = Batch::default();
        batch.command(delivery(1), at(deadline - Duration::from_millis(1)));
        batch.command(delivery(2), at(deadline));
        assert_eq!(batch.commands, [CommandId(1)]);
        assert_eq!(batch.inputs.len(), 1);
    }
}
