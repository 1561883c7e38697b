//! What a change brought about: told to whoever asked for it, to the log and to the audit log.

use crate::config::Complaint;

/// What was changed, what could not be, and what waits for a restart of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which it happened.
    pub changes: Vec<Change>,
    /// What stands in the way of connectors that do not run as wished; they and the others go on as they are.
    pub complaints: Vec<Complaint>,
    /// Differences that only a restart of the host applies.
    pub needs_restart: Vec<Complaint>,
    /// What can be used and still deserves a word.
    pub warnings: Vec<Complaint>,
}

/// One thing that changed, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What: `connector hq`, `plugin asterisk`, `agent anna`.
    pub subject: String,
    /// In one word.
    pub kind: ChangeKind,
    /// One sentence.
    pub detail: String,
}

/// A change in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It runs now.
    Started,
    /// It does not run any more, and is still there.
    Stopped,
    /// Its version, settings, limits or grants were replaced while it ran; its links stayed.
    Swapped,
    /// It was stopped and started: its links are others.
    Restarted,
    /// It went back to the version before.
    RolledBack,
    /// It waits: for consent, or for somebody to mend what is wrong.
    Waiting,
    /// It was put into the store.
    Installed,
    /// It was taken out of the store.
    Uninstalled,
    /// Something else about it.
    Changed,
}

impl ChangeKind {
    /// As on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Swapped => "swapped",
            Self::Restarted => "restarted",
            Self::RolledBack => "rolled-back",
            Self::Waiting => "waiting",
            Self::Installed => "installed",
            Self::Uninstalled => "uninstalled",
            Self::Changed => "changed",
        }
    }
}

impl Report {
    /// Nothing changed, and nothing is to be said.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.complaints.is_empty()
            && self.needs_restart.is_empty()
            && self.warnings.is_empty()
    }

    /// Notes a change.
    pub(crate) fn note(
        &mut self,
        subject: impl Into<String>,
        kind: ChangeKind,
        detail: impl Into<String>,
    ) {
        self.changes.push(Change { subject: subject.into(), kind, detail: detail.into() });
    }
}

/// Which grants came and which went, for a person.
pub(crate) fn grants_changed(before: &[String], after: &[String]) -> Vec<String> {
    let lacking = |list: &[String], of: &[String]| -> Vec<String> {
        of.iter().filter(|grant| !list.contains(grant)).cloned().collect()
    };
    let (new, gone) = (lacking(before, after), lacking(after, before));
    if new.is_empty() && gone.is_empty() && before != after {
        return vec!["its grants in another order".to_owned()];
    }
    let new = new.into_iter().map(|grant| format!("granted {grant}"));
    new.chain(gone.into_iter().map(|grant| format!("no longer granted {grant}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::grants_changed;

    #[test]
    fn grants_that_came_and_went_are_named() {
        let grants = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (before, after, expected) in [
            ("link:ami", "secret:crm link:ami http:a", "granted secret:crm, granted http:a"),
            ("link:ami http:a", "http:b link:ami", "granted http:b, no longer granted http:a"),
            ("link:ami http:a", "http:a link:ami", "its grants in another order"),
            ("link:ami", "link:ami", ""),
        ] {
            assert_eq!(grants_changed(&grants(before), &grants(after)).join(", "), expected);
        }
    }
}
