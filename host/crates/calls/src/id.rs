//! Public ids. Numbered ones are made from the number of the event that created the thing, so they are
//! unique for the life of the journal, need no randomness, and tell a client nothing.

use std::{fmt, str::FromStr, sync::Arc};

/// A text that is not an id of the expected kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an id that begins with `{prefix}-`")]
pub struct NotAnId {
    text: String,
    prefix: &'static str,
}

macro_rules! numbered_id {
    ($($(#[$meta:meta])* $name:ident = $prefix:literal,)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{:x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.strip_prefix(concat!($prefix, "-"))
                    .filter(|digits| !digits.starts_with('+'))
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .map(Self)
                    .ok_or_else(|| NotAnId { text: text.to_owned(), prefix: $prefix })
            }
        }
    )*};
}

numbered_id! {
    /// A call: what a person means by it. It outlives transfers, and ends or is merged exactly once.
    CallId = "call",
    /// One device's or trunk's part in a call.
    LegId = "leg",
    /// One wait of one caller in one queue.
    EntryId = "entry",
    /// A queue of a connector.
    QueueId = "queue",
    /// An extension of a connector.
    ExtensionId = "ext",
    /// A command.
    CommandId = "cmd",
}

macro_rules! named_id {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

named_id! {
    /// A connector, as the config names it.
    ConnectorId,
    /// An agent, as whoever created the agent named it.
    AgentId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself_and_as_nothing_else() {
        assert_eq!("call-1f".parse(), Ok(CallId(31)));
        assert_eq!(CallId(31).to_string(), "call-1f");
        for wrong in ["leg-1f", "call-", "call-xyz", "1f", "call-+1f", ""] {
            assert!(wrong.parse::<CallId>().is_err(), "{wrong}");
        }
    }
}
