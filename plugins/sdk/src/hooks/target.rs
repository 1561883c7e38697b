//! Where a caller goes.

use super::{DialplanTarget, ExtensionTarget, HangUpTarget, QueueTarget, Target};

impl Target {
    /// Into a queue, by the PBX's name of it.
    pub fn queue(name: impl Into<String>) -> Self {
        Self::Queue(QueueTarget {
            name: name.into(),
            priority: None,
            timeout_secs: 0,
            facts: Vec::new(),
        })
    }

    /// To an extension.
    pub fn extension(number: impl Into<String>) -> Self {
        Self::Extension(ExtensionTarget {
            number: number.into(),
            timeout_secs: 0,
            facts: Vec::new(),
        })
    }

    /// To a place in the PBX's dialplan, its first priority.
    pub fn dialplan(context: impl Into<String>, extension: impl Into<String>) -> Self {
        Self::Dialplan(DialplanTarget {
            context: context.into(),
            extension: extension.into(),
            priority: 1,
            facts: Vec::new(),
        })
    }

    /// The call ends, with this Q.850 cause: 16 politely, 17 busy, 21 rejected.
    pub fn hang_up(q850: u16) -> Self {
        Self::HangUp(HangUpTarget { q850, facts: Vec::new() })
    }

    /// The call comes back after so many seconds in the queue, or when the extension did not answer within them.
    /// Other targets have no such time.
    pub fn for_secs(mut self, secs: u32) -> Self {
        match &mut self {
            Self::Queue(queue) => queue.timeout_secs = secs,
            Self::Extension(extension) => extension.timeout_secs = secs,
            _ => {}
        }
        self
    }

    /// The priority in this queue; otherwise it is the call's. Other targets have none.
    pub fn with_priority(mut self, priority: i32) -> Self {
        if let Self::Queue(queue) = &mut self {
            queue.priority = Some(priority);
        }
        self
    }
}
