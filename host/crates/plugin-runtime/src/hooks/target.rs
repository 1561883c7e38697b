//! Where a caller goes.

use std::{fmt, time::Duration};

use super::Attributes;

/// Where a caller goes. Every name in it holds only what a PBX may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into a queue.
    Queue(QueueTarget),
    /// To an extension.
    Extension(ExtensionTarget),
    /// To a place in the PBX's dialplan.
    Dialplan(DialplanTarget),
    /// On in the dialplan, behind the place where the call was handed over.
    ContinueInDialplan,
    /// The call ends.
    HangUp(HangUpTarget),
}

/// A queue, and how to wait in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueTarget {
    /// The PBX's name of it.
    pub name: String,
    /// Higher is served earlier; none: the call's.
    pub priority: Option<i32>,
    /// The call comes back after this; none: the queue's own rules.
    pub timeout: Option<Duration>,
    /// Growing knowledge.
    pub facts: Attributes,
}

/// An extension, and how long it rings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionTarget {
    /// E.g. `1001`.
    pub number: String,
    /// The call comes back when nobody answers within this; none: the host's usual time.
    pub timeout: Option<Duration>,
    /// Growing knowledge.
    pub facts: Attributes,
}

/// A place in the dialplan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialplanTarget {
    /// Its context.
    pub context: String,
    /// Its extension.
    pub extension: String,
    /// 1 is the first.
    pub priority: u32,
    /// Growing knowledge.
    pub facts: Attributes,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HangUpTarget {
    /// Q.850 cause: 16 politely, 17 busy, 21 rejected.
    pub q850: u16,
    /// Growing knowledge.
    pub facts: Attributes,
}

impl Target {
    /// A queue by its own rules. The name is not checked.
    pub fn queue(name: impl Into<String>) -> Self {
        Self::Queue(QueueTarget { name: name.into(), ..QueueTarget::default() })
    }

    /// An extension for the usual time. The number is not checked.
    pub fn extension(number: impl Into<String>) -> Self {
        Self::Extension(ExtensionTarget { number: number.into(), ..ExtensionTarget::default() })
    }

    /// The call ends, with this Q.850 cause.
    pub fn hang_up(q850: u16) -> Self {
        Self::HangUp(HangUpTarget { q850, facts: Attributes::new() })
    }
}

/// As people write it: `queue:vip`, `extension:1001`, `dialplan:from-inside,500,1`, `continue-in-dialplan`,
/// `hang-up:21`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue) => write!(f, "queue:{}", queue.name),
            Self::Extension(extension) => write!(f, "extension:{}", extension.number),
            Self::Dialplan(DialplanTarget { context, extension, priority, .. }) => {
                write!(f, "dialplan:{context},{extension},{priority}")
            }
            Self::ContinueInDialplan => f.write_str("continue-in-dialplan"),
            Self::HangUp(end) => write!(f, "hang-up:{}", end.q850),
        }
    }
}
