//! Logs: to standard error, in colour for people or as JSON lines for machines.

use std::io;

use tracing_subscriber::EnvFilter;

use super::{Color, complain};

/// Starts logging, with what `JACKFIELD_LOG` says or else this level.
pub(super) fn start(color: Color, usual: &str) {
    let wish = std::env::var("JACKFIELD_LOG").unwrap_or_default();
    let json = wish.split(',').any(|part| part.trim() == "json");
    let filters: Vec<&str> =
        wish.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "json").collect();
    let filters = if filters.is_empty() { usual.to_owned() } else { filters.join(",") };
    let filter = EnvFilter::try_new(&filters).unwrap_or_else(|error| {
        complain(&format!(
            "JACKFIELD_LOG: {error}; logging {usual} instead (write e.g. JACKFIELD_LOG=debug)"
        ));
        EnvFilter::new(usual)
    });
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(color.on(&io::stderr()));
    // A test may have set one already; its output is as good.
    let _ = if json { subscriber.json().try_init() } else { subscriber.try_init() };
}
