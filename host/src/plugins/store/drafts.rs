//! Drafts: what `jackfield plugin run` makes of a project at each save. Old ones go by themselves.

use std::collections::BTreeSet;

use calls::Actor;
use serde_json::json;

use super::{Change, StoreError, Version, registry};

/// Drafts of one plugin that are kept beside those that somebody uses. Older ones go by themselves.
pub const MAX_DRAFTS: usize = 20;

const MARK: &str = "-dev.";
/// Of a time in milliseconds since 1970, between 2001 and 2286.
const DIGITS: usize = 13;

/// Versions that are used, named by somebody, or on trial.
#[derive(Debug, Default)]
pub struct InUse {
    /// SHA-256 of what runs, ran last, waits, or is on trial.
    pub hashes: BTreeSet<String>,
    /// Versions as a config names them: a number, a SHA-256, or its beginning.
    pub names: BTreeSet<String>,
}

impl InUse {
    fn has(&self, version: &Version) -> bool {
        self.hashes.contains(&version.sha256)
            || self.names.iter().any(|name| version.is_called(name))
    }
}

/// The number of the version that a save makes, so many milliseconds after 1970, of a project with that version.
pub fn draft_of(version: &str, millis: u64) -> String {
    format!("{version}{MARK}{millis:0DIGITS$}")
}

/// Was this number made by [`draft_of`]? A vendor's own `2.0.0-dev.1` or `-dev.20261122` was not.
pub fn is_draft(version: &str) -> bool {
    version.rsplit_once(MARK).is_some_and(|(_, time)| {
        time.len() == DIGITS && time.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl Change<'_> {
    /// Forgets the oldest drafts of a plugin, all but [`MAX_DRAFTS`] and those in use, and answers their hashes. The
    /// version that was chosen and the one before it are in use.
    pub fn drop_drafts(&mut self, plugin: &str, in_use: &InUse) -> Result<Vec<String>, StoreError> {
        let chosen =
            registry::selection(self.transaction, plugin).map_err(|source| self.failed(source))?;
        let kept = registry::versions(self.transaction).map_err(|source| self.failed(source))?;
        let chosen: Vec<String> = chosen.used.into_iter().chain(chosen.before).collect();
        // The newest come first.
        let old: Vec<Version> = kept
            .into_iter()
            .filter(|it| it.plugin == plugin && is_draft(&it.version))
            .skip(MAX_DRAFTS)
            .filter(|it| !chosen.contains(&it.sha256) && !in_use.has(it))
            .collect();
        for draft in &old {
            self.remove_version(&draft.sha256)?;
            let detail = json!({
                "version": draft.version,
                "sha256": draft.sha256,
                "why": format!("an old draft: the last {MAX_DRAFTS} are kept, and those in use"),
            });
            self.audit(&Actor::Host, "plugin.forget", &format!("plugin {plugin}"), &detail)?;
        }
        Ok(old.into_iter().map(|draft| draft.sha256).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_what_a_save_made_and_no_version_of_a_vendor() {
        for version in ["0.1.0", "1.0.0-rc.1", "2.0.0-dev.1", "1.0.0+exp.7"] {
            assert!(is_draft(&draft_of(version, 1_795_338_000_123)), "{version}");
        }
        for version in [
            "0.1.0",
            "2.0.0-dev.1",
            "2.0.0-dev.20261122",
            "2.0.0-dev.20261122093000",
            "2.0.0-dev.1795338000",
            "2.0.0-dev.179533800012x",
            "2.0.0-rc.1795338000123",
            "2.0.0-dev.1795338000123+build.7",
        ] {
            assert!(!is_draft(version), "{version}");
        }
    }
}
