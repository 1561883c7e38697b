//! What goes wrong inside a plugin, in words for the operator.

use calls::fact::{Notice, Severity};
use plugin_runtime::Incident;

use crate::redact::Redacted;

fn notice(code: &str, severity: Severity, message: String, fix: &str) -> Notice {
    Notice { code: code.to_owned(), severity, message, fix: fix.to_owned() }
}

/// The notice an incident deserves; `plugin` is `asterisk 0.1.0`.
pub(super) fn of(incident: &Incident, plugin: &str) -> Notice {
    match incident {
        Incident::Trapped { kind, message } => notice(
            "plugin-failed",
            Severity::Error,
            format!("{plugin} failed in a step ({}): {}", kind.code(), first_line(message)),
            "nothing was done half, and it goes on from its last state; report it to the plugin's author",
        ),
        Incident::Recovered { replayed } => notice(
            "plugin-recovered",
            Severity::Info,
            format!("{plugin} goes on from its last snapshot; {replayed} steps were replayed"),
            "",
        ),
        Incident::Quarantined { link, bytes, head, kind, .. } => notice(
            "input-quarantined",
            Severity::Error,
            format!(
                "{bytes} bytes of {link} made {plugin} fail twice ({}) and were left out: {head}",
                kind.code()
            ),
            "a resync follows by itself; report the bytes to the plugin's author",
        ),
        Incident::Skipped { what, kind } => notice(
            "input-skipped",
            Severity::Error,
            format!("{what} made {plugin} fail twice ({}) and was left out", kind.code()),
            "report it to the plugin's author",
        ),
        Incident::FrameTooLong { link, bytes, max_frame, .. } => notice(
            "frame-too-long",
            Severity::Error,
            format!(
                "{plugin} could not use {bytes} bytes of {link}: no frame ended within {max_frame} bytes; they were dropped"
            ),
            "a resync follows by itself; look at what the PBX sends there",
        ),
        Incident::Refused { what } => notice(
            "effect-refused",
            Severity::Warning,
            format!("{plugin} wanted something it may not: {what}"),
            "grant it in the config if it should; otherwise report it to the plugin's author",
        ),
        Incident::ColdStart { reason } => notice(
            "plugin-cold-start",
            Severity::Error,
            format!("{plugin} lost its state and begins anew: {reason}"),
            "its links are dialled again and a resync follows by itself",
        ),
        Incident::RolledBack { from, to, reason, .. } => notice(
            "plugin-rolled-back",
            Severity::Error,
            format!("{plugin}: version {from} was rolled back to {to}: {reason}"),
            "a resync follows by itself; report it to the plugin's author, and stay with the version that runs",
        ),
        Incident::ProbationPassed { version } => notice(
            "plugin-probation-passed",
            Severity::Info,
            format!("{plugin}: version {version} has proved itself"),
            "",
        ),
        Incident::GivenUp { reason } => notice(
            "plugin-given-up",
            Severity::Error,
            format!("{plugin} does not work: {reason}"),
            "it is tried again after a minute; use another version of the plugin, or raise its `limits`",
        ),
    }
}

/// The message of [`of`] without callers' numbers: input that was left out and the words of a plugin that failed on it
/// may hold some. Whoever may read the journal reads them there.
pub(super) fn for_log(incident: &Incident, notice: &Notice) -> String {
    let theirs = match incident {
        Incident::Quarantined { head, .. } => head,
        Incident::Trapped { message, .. } => first_line(message),
        _ => return notice.message.clone(),
    };
    match theirs {
        "" => notice.message.clone(),
        theirs => notice.message.replace(theirs, &Redacted(theirs).to_string()),
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use plugin_runtime::FailureKind;

    use super::*;

    #[test]
    fn the_journal_tells_what_was_left_out_and_the_log_no_callers_number() {
        let incident = Incident::Quarantined {
            link: "ami".to_owned(),
            epoch: 1,
            offset: 7,
            bytes: 120_000,
            head: "Event: Hangup\\r\\nCallerIDNum: 0301234567\\r\\n".to_owned(),
            kind: FailureKind::Deadline,
        };
        let notice = of(&incident, "asterisk 0.1.0");
        assert!(notice.message.contains("0301234567"), "{}", notice.message);
        let logged = for_log(&incident, &notice);
        assert!(logged.contains("CallerIDNum: ********67"), "{logged}");
        assert!(logged.starts_with("120000 bytes of ami"), "{logged}");
    }
}
