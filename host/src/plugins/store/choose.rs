//! Which of the kept versions somebody means.

use std::cmp::Ordering;

use super::{Store, StoreError, Version};
use crate::wire::Time;

/// Digits of a hash that are shown to people, and that `find` takes.
const SHOWN: usize = 12;
/// Least digits of a hash that name a version.
const LEAST: usize = 8;

impl Version {
    /// Is this its number, its SHA-256, or the beginning of that with at least eight digits?
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.version == name || name.len() >= LEAST && self.sha256.starts_with(name)
    }

    /// The beginning of its SHA-256, long enough to name it.
    pub fn short_hash(&self) -> &str {
        self.sha256.get(..SHOWN).unwrap_or(&self.sha256)
    }

    /// What tells it from other builds of its number: `0a60416921d3, installed 2026-11-22T01:48:00Z`.
    pub fn build(&self) -> String {
        format!("{}, installed {}", self.short_hash(), Time::from(self.installed_at))
    }
}

impl Store {
    /// One version of a plugin: by its number, its SHA-256, or the beginning of that with at least eight digits.
    pub fn find(&self, plugin: &str, wanted: &str) -> Result<Version, StoreError> {
        let all = self.versions_of(plugin)?;
        let mut builds: Vec<Version> =
            all.iter().filter(|version| version.is_called(wanted)).cloned().collect();
        match builds.len() {
            0 => Err(no_version(plugin, wanted, &all)),
            1 => Ok(builds.remove(0)),
            _ => {
                let (plugin, wanted) = (plugin.to_owned(), wanted.to_owned());
                Err(StoreError::Ambiguous { plugin, wanted, builds })
            }
        }
    }

    /// The version of a plugin that was installed last, if nobody can mean another one by `latest`: no kept version
    /// has a higher number, and it was not rolled back.
    pub fn latest(&self, plugin: &str) -> Result<Version, StoreError> {
        let all = self.versions_of(plugin)?;
        let Some(latest) = all.first() else { return Err(no_version(plugin, LATEST, &all)) };
        let higher = |it: &&Version| compare(&it.version, &latest.version) == Ordering::Greater;
        let problem = if let Some(why) = &latest.rejected {
            format!("{} ({}) was rolled back: {why}", latest.version, latest.build())
        } else if let Some(higher) = all.iter().find(higher) {
            format!(
                "{} ({}) was installed last, and {} ({}) has a higher number",
                latest.version,
                latest.build(),
                higher.version,
                higher.build()
            )
        } else {
            return Ok(latest.clone());
        };
        Err(StoreError::NoLatest { plugin: plugin.to_owned(), problem })
    }

    /// The newest installed first.
    fn versions_of(&self, plugin: &str) -> Result<Vec<Version>, StoreError> {
        let mut all = self.versions()?;
        all.retain(|version| version.plugin == plugin);
        Ok(all)
    }
}

/// What [`Store::latest`] is called where people name versions; no version can be called so.
pub const LATEST: &str = "latest";
/// Builds that a list for people names.
const LISTED: usize = 10;

/// `0a60416921d3, installed 2026-11-22T01:48:00Z; ...`, with what else is known of each; of very many the first.
pub fn listed(builds: &[Version], more: impl Fn(&Version) -> String) -> String {
    let shown = builds.iter().take(LISTED).map(|it| it.build() + &more(it));
    let left = builds.len().saturating_sub(LISTED);
    let left = (left > 0).then(|| format!("and {left} more"));
    shown.chain(left).collect::<Vec<_>>().join("; ")
}

fn no_version(plugin: &str, wanted: &str, all: &[Version]) -> StoreError {
    let name = |version: &Version| format!("{} ({})", version.version, version.short_hash());
    StoreError::NoVersion {
        plugin: plugin.to_owned(),
        wanted: wanted.to_owned(),
        known: all.iter().map(name).collect(),
    }
}

/// By the rules of semver.org; what is no number there is compared as text.
fn compare(one: &str, other: &str) -> Ordering {
    let parts = |version: &str| {
        let version = version.split('+').next().unwrap_or_default();
        let (core, pre) = version.split_once('-').unwrap_or((version, ""));
        (fields(core), fields(pre))
    };
    let ((one, one_pre), (other, other_pre)) = (parts(one), parts(other));
    one.cmp(&other).then_with(|| match (one_pre.is_empty(), other_pre.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => one_pre.cmp(&other_pre),
    })
}

/// Numbers come before words, as semver.org has it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Number(u64),
    Word(String),
}

fn fields(text: &str) -> Vec<Field> {
    let field =
        |text: &str| text.parse().map_or_else(|_| Field::Word(text.to_owned()), Field::Number);
    text.split('.').filter(|text| !text.is_empty()).map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_in_the_order_of_semver() {
        // The example of semver.org, section 11, and a draft of `plugin run` before its release.
        let ascending = [
            "0.9.10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-dev.1795338000123",
            "1.0.0-rc.1",
            "1.0.0",
            "1.2.0",
            "1.10.0",
        ];
        for (at, one) in ascending.iter().enumerate() {
            for (other_at, other) in ascending.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} and {other}");
            }
        }
        assert_eq!(compare("1.0.0+a", "1.0.0+b"), Ordering::Equal);
    }
}
