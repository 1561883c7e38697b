//! Words for the operator: the only thing a plugin can do besides answering.
//!
//! The host limits the rate and cuts long lines. Natively, in tests, lines go to standard error, or
//! into the list that [`capture`] returns.

/// Something does not work.
pub fn error(message: &str) {
    write(0, message);
}

/// Somebody should look.
pub fn warn(message: &str) {
    write(1, message);
}

/// For the record.
pub fn info(message: &str) {
    write(2, message);
}

/// For whoever writes the plugin.
pub fn debug(message: &str) {
    write(3, message);
}

#[cfg(target_arch = "wasm32")]
fn write(level: u8, message: &str) {
    crate::bindings::connector::jackfield::log::log::log(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
pub use native::capture;
#[cfg(not(target_arch = "wasm32"))]
use native::write;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;

    thread_local! {
        static SINK: RefCell<Option<Vec<(u8, String)>>> = const { RefCell::new(None) };
    }

    pub(super) fn write(level: u8, message: &str) {
        SINK.with_borrow_mut(|sink| match sink {
            Some(lines) => lines.push((level, message.to_owned())),
            None => eprintln!(
                "[plugin {}] {message}",
                ["error", "warn", "info", "debug"][usize::from(level.min(3))]
            ),
        });
    }

    /// Runs `work` and returns what it logged in this thread: level (0 error to 3 debug) and line.
    pub fn capture<R>(work: impl FnOnce() -> R) -> (R, Vec<(u8, String)>) {
        let before = SINK.replace(Some(Vec::new()));
        let result = work();
        let lines = SINK.replace(before).unwrap_or_default();
        (result, lines)
    }
}
