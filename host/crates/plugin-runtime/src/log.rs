//! What plugins log: so many lines a second, the last of them kept for people to read.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use calls::Timestamp;

use crate::convert::cut;

/// Lines that are kept.
const MAX_LINES: usize = 500;
/// Their text, in bytes: a plugin that logs long lines has fewer of them kept.
const MAX_KEPT: usize = 256 << 10;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Something happened.
    Info,
    /// For the plugin's author.
    Debug,
}

impl LogLevel {
    /// As people write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Error,
            1 => Self::Warn,
            2 => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// A line a plugin has logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The time of the step in which it was logged.
    pub at: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// One line, without control characters.
    pub text: String,
}

/// The log of one connector or hook, for reading, from any thread. It outlives instances and versions.
#[derive(Clone)]
pub struct Log(Arc<LogGate>);

impl Log {
    /// An empty one, for the hook of that id.
    pub fn new(id: &str) -> Self {
        Self(Arc::new(LogGate { of_hook: true, ..LogGate::new(id) }))
    }

    pub(crate) fn gate(&self) -> &Arc<LogGate> {
        &self.0
    }

    /// The last lines, oldest first.
    pub fn lines(&self) -> Vec<LogLine> {
        self.0.window().lines.iter().cloned().collect()
    }

    /// Lines the plugin wrote faster than it may, never kept nor logged.
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("lines", &self.0.window().lines.len()).finish_non_exhaustive()
    }
}

/// Where log lines of a connector go, so many per second. It outlives instances.
pub(crate) struct LogGate {
    id: String,
    /// Of a hook, not of a connector.
    of_hook: bool,
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    taken: u32,
    dropped: u64,
    lines: VecDeque<LogLine>,
    kept_bytes: usize,
}

impl LogGate {
    /// Of a connector.
    pub(crate) fn new(id: &str) -> Self {
        let window = Window {
            began: Instant::now(),
            taken: 0,
            dropped: 0,
            lines: VecDeque::new(),
            kept_bytes: 0,
        };
        Self { id: id.to_owned(), of_hook: false, window: Mutex::new(window) }
    }

    /// For readers.
    pub(crate) fn reader(self: &Arc<Self>) -> Log {
        Log(self.clone())
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.window().dropped
    }

    /// Writes a line, unless there were `most` in this second already.
    pub(crate) fn write(&self, at: Timestamp, most: u32, level: u8, message: String) {
        if !self.take_a_place(Instant::now(), most) {
            return;
        }
        let text = plain(cut(message));
        // None is in no line.
        let (connector, hook) = match self.of_hook {
            true => (None, Some(self.id.as_str())),
            false => (Some(self.id.as_str()), None),
        };
        let level = LogLevel::from_code(level);
        match level {
            LogLevel::Error => tracing::error!(target: "plugin", connector, hook, "{text}"),
            LogLevel::Warn => tracing::warn!(target: "plugin", connector, hook, "{text}"),
            LogLevel::Info => tracing::info!(target: "plugin", connector, hook, "{text}"),
            LogLevel::Debug => tracing::debug!(target: "plugin", connector, hook, "{text}"),
        }
        self.window().keep(LogLine { at, level, text });
    }

    fn take_a_place(&self, now: Instant, most: u32) -> bool {
        let mut window = self.window();
        if now.duration_since(window.began) >= Duration::from_secs(1) {
            (window.began, window.taken) = (now, 0);
        }
        if window.taken < most {
            window.taken += 1;
            return true;
        }
        window.dropped += 1;
        false
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn keep(&mut self, line: LogLine) {
        self.kept_bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.kept_bytes > MAX_KEPT {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.kept_bytes -= oldest.text.len();
        }
    }
}

/// Without control characters: a guest writes one line, and does not steer anybody's terminal.
pub(crate) fn plain(message: String) -> String {
    if !message.contains(char::is_control) {
        return message;
    }
    message.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_one_line_and_steers_no_terminal() {
        assert_eq!(plain("a\r\nERROR \u{1b}[2Jb\u{9b}c".to_owned()), "a  ERROR  [2Jb c");
        assert_eq!(plain("Zoë \u{1F4DE}".to_owned()), "Zoë \u{1F4DE}");
    }

    /// The fields of every line that has a value.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl tracing::field::Visit for Seen {
        fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
            self.0.lock().unwrap().push(format!("{field}={value:?}"));
        }
    }

    impl tracing::Subscriber for Seen {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn a_line_says_whether_a_hook_or_a_connector_wrote_it() {
        let seen = Seen::default();
        tracing::subscriber::with_default(seen.clone(), || {
            Log::new("vip").gate().write(Timestamp(1), 9, 0, "one".to_owned());
            LogGate::new("hq").write(Timestamp(1), 9, 2, "two".to_owned());
        });
        let seen = seen.0.lock().unwrap().clone();
        assert_eq!(seen, ["message=one", "hook=\"vip\"", "message=two", "connector=\"hq\""]);
    }

    #[test]
    fn log_lines_beyond_the_rate_are_counted_not_written() {
        let gate = LogGate::new("hq");
        let now = Instant::now();
        let places: Vec<bool> = (0..4).map(|_| gate.take_a_place(now, 2)).collect();
        assert_eq!(places, [true, true, false, false]);
        assert_eq!(gate.dropped(), 2);
        assert!(gate.take_a_place(now + Duration::from_secs(1), 2));
    }

    #[test]
    fn the_last_lines_are_kept_oldest_first_with_their_time_and_level() {
        let gate = Arc::new(LogGate::new("hq"));
        let log = gate.reader();
        for number in 0..MAX_LINES as u64 + 3 {
            gate.write(Timestamp(number), u32::MAX, (number % 5) as u8, format!("line {number}"));
        }
        let lines = log.lines();
        assert_eq!(lines.len(), MAX_LINES);
        let first = LogLine { at: Timestamp(3), level: LogLevel::Debug, text: "line 3".into() };
        assert_eq!(lines[0], first);
        assert_eq!(lines.last().unwrap().text, "line 502");
        assert_eq!(lines[2].level, LogLevel::Error, "line 5");
    }

    #[test]
    fn long_lines_leave_room_for_fewer() {
        let gate = Arc::new(LogGate::new("hq"));
        for number in 0..400 {
            gate.write(Timestamp(number), u32::MAX, 2, "x".repeat(4000));
        }
        let lines = gate.reader().lines();
        let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
        assert!(bytes <= MAX_KEPT && bytes > MAX_KEPT - 5000, "{bytes}");
        assert_eq!(lines.last().unwrap().at, Timestamp(399));
    }
}
