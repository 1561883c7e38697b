//! What the test plugins share. None of them is ever shipped.
//!
//! | plugin | what it is |
//! | --- | --- |
//! | `asterisk-next`, `asterisk-after-next` | the real connector with snapshot formats 2 and 3; each reads 1, 2 and 3 |
//! | `asterisk-trap-nth` | traps on every 50th message, see [`traps`] |
//! | `asterisk-trap-on` | traps on every Hangup, QueueCallerLeave and BridgeLeave |
//! | `asterisk-forgetful` | refuses every snapshot |
//! | `asterisk-deaf` | answers no command |
//! | `asterisk-stuck` | never comes back from an `init` with a snapshot |
//! | `asterisk-curious` | asks for an HTTP host that the real one does not ask for |
//! | `faulty` | a connector of its own that breaks one law, as its settings say |
//! | `mad` | loops, burns, grows or floods, as its settings say |
//!
//! All but `faulty` and `mad` are versions of the plugin `asterisk`, and read what it leaves in its snapshots.

pub mod formats;
pub mod frames;
pub mod traps;

/// Registers a version of the Asterisk connector with the manifest that the build script made for it.
#[macro_export]
macro_rules! register {
    ($connector:ty, $name:literal) => {
        jackfield_sdk::register_connector!(
            $connector,
            manifest = include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".json"))
        );
    };
}
