//! What `plugin run` tells: lines for a person, or a JSON object a line for a program.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::cli::{
    client::segment,
    complain, report, say,
    table::{bytes, plain},
};

/// An instance of the plugin on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Instance {
    pub id: String,
    /// `connectors` or `hooks`.
    pub group: &'static str,
    /// The version it runs.
    pub running: Option<String>,
    /// Somebody has disabled it.
    #[serde(skip)]
    pub is_off: bool,
    /// Why it is as it is, as the host says.
    #[serde(skip)]
    pub reason: String,
}

impl Instance {
    /// Where its log lines are.
    pub fn logs(&self) -> String {
        format!("/v1/{}/{}/logs", self.group, segment(&self.id))
    }

    /// One that has not taken a version up.
    pub fn does_not_run(&self, why: &str) -> String {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        match &self.running {
            Some(before) => format!("{} does not run it, and goes on with {before}{why}", self.id),
            None => format!("{} does not run{why}", self.id),
        }
    }
}

/// One thing that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum News<'a> {
    /// The next save is waited for.
    Watching,
    /// Files were saved.
    Saved { files: &'a [PathBuf] },
    /// There is a component.
    Built { plugin: &'a str, version: &'a str, secs: f64, bytes: usize },
    /// The host has it; `changes`: what it says that this changed.
    Installed { plugin: &'a str, version: &'a str, changes: &'a Value },
    /// What an instance runs after that, or null. `missing`: grants that the new version waits for; `why`: what keeps
    /// it from running.
    Running {
        #[serde(flatten)]
        instance: &'a Instance,
        is_new: bool,
        missing: &'a [String],
        #[serde(skip_serializing_if = "str::is_empty")]
        why: &'a str,
    },
    /// Nothing in the host's config uses the plugin.
    Unused { plugin: &'a str, fix: &'a str },
    /// It was not built or not installed, or what became of it is not known.
    Failed { message: &'a str, goes_on: Option<&'a str> },
    /// A line of the plugin's.
    Log { instance: &'a str, group: &'a str, at: &'a str, level: &'a str, text: &'a str },
    /// Nobody watches any more.
    Ended(&'a Ending),
}

/// How things are on the host when nobody watches any more.
#[derive(Debug, Default, Serialize)]
pub(super) struct Ending {
    pub plugin: String,
    /// The last version that was installed.
    pub installed: Option<String>,
    /// A version that was on its way when this ended: the host may have it.
    pub sent: Option<String>,
    /// What the instances run.
    pub instances: Vec<Instance>,
    /// The version that ran before, if another one runs now, or will.
    pub before: Option<String>,
}

/// Tells it.
pub(super) fn tell(news: &News<'_>, json: bool) {
    if json {
        // Keys are texts, and no value can fail.
        say(&serde_json::to_string(news).unwrap_or_default());
        return;
    }
    match news {
        News::Watching => {
            say("\nwatching; save a file and it is built and installed again. Ctrl-C ends this.");
        }
        News::Saved { files } => {
            let Some(first) = files.first() else { return };
            let more = match files.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            say(&format!("\n{} was saved{more}", shown(first)));
        }
        News::Built { plugin, version, secs, bytes: size } => {
            say(&format!("{plugin} {version}: built in {secs:.1} s, {}", bytes(*size as u64)));
        }
        News::Installed { changes, .. } => say(&report::lines(changes)),
        News::Running { instance, is_new, why, .. } => {
            if !is_new {
                complain(&instance.does_not_run(why));
            }
        }
        News::Unused { plugin, fix } => {
            say(&format!("nothing in the host's config uses `{plugin}` yet; fix: {fix}"));
        }
        News::Failed { message, goes_on } => {
            complain(message);
            if let Some(version) = goes_on {
                complain(&format!("{version} goes on; the next save is tried again"));
            }
        }
        News::Log { instance, at, level, text, .. } => {
            say(&format!("{instance} {} {:<5} {}", plain(at), plain(level), plain(text)));
        }
        News::Ended(ending) => say(&format!("\n{}", ending.text())),
    }
}

impl Ending {
    fn text(&self) -> String {
        let Self { plugin, installed, sent, instances, before } = self;
        let mut parts = Vec::new();
        if let Some(sent) = sent {
            parts.push(format!(
                "{plugin} {sent} was on its way: `jackfield plugin list` says whether the host has it"
            ));
        }
        match (installed, self.common()) {
            (None, _) if sent.is_none() => parts.push("nothing was installed".to_owned()),
            (None, _) => {}
            (Some(_), Some(Some(now))) => {
                parts.push(format!("the host goes on with {plugin} {now}"));
            }
            (Some(_), _) => parts.extend(instances.iter().map(|it| match &it.running {
                Some(now) => format!("{} goes on with {plugin} {now}", it.id),
                None => format!("{} does not run", it.id),
            })),
        }
        if let Some(installed) = installed
            && !instances.iter().any(|it| it.running.as_ref() == Some(installed))
        {
            parts.push(format!("{plugin} {installed} is installed, and nothing runs it"));
        }
        if let Some(before) = before {
            parts.push(format!(
                "`jackfield plugin use {plugin} {before}` brings back the version that ran before"
            ));
        }
        parts.join("; ")
    }

    /// What all of them run, if that is the same.
    fn common(&self) -> Option<Option<&str>> {
        let mut running = self.instances.iter().map(|it| it.running.as_deref());
        let first = running.next()?;
        running.all(|other| other == first).then_some(first)
    }
}

fn shown(file: &Path) -> String {
    let here = std::env::current_dir().ok();
    let inner = here.and_then(|here| file.strip_prefix(here).ok().map(Path::to_owned));
    inner.unwrap_or_else(|| file.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(
        installed: Option<&str>,
        sent: Option<&str>,
        running: &[Option<&str>],
        before: Option<&str>,
    ) -> String {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let instances = running.iter().zip(["a", "b"]).map(|(running, id)| Instance {
            id: id.to_owned(),
            group: "hooks",
            running: owned(*running),
            is_off: false,
            reason: String::new(),
        });
        let ending = Ending {
            plugin: "desk".to_owned(),
            installed: owned(installed),
            sent: owned(sent),
            instances: instances.collect(),
            before: owned(before),
        };
        ending.text()
    }

    #[test]
    fn the_last_line_is_true_however_it_ends() {
        assert_eq!(told(None, None, &[Some("1")], None), "nothing was installed");
        assert_eq!(
            told(Some("2"), None, &[Some("2")], Some("1")),
            "the host goes on with desk 2; `jackfield plugin use desk 1` brings back the version that ran before"
        );
        assert_eq!(
            told(Some("2"), None, &[Some("1")], None),
            "the host goes on with desk 1; desk 2 is installed, and nothing runs it"
        );
        assert_eq!(
            told(Some("2"), None, &[Some("2"), None], None),
            "a goes on with desk 2; b does not run"
        );
        assert_eq!(told(Some("2"), None, &[], None), "desk 2 is installed, and nothing runs it");
        assert_eq!(
            told(None, Some("2"), &[Some("1")], None),
            "desk 2 was on its way: `jackfield plugin list` says whether the host has it"
        );
        assert_eq!(
            told(Some("2"), Some("3"), &[Some("2")], None),
            "desk 3 was on its way: `jackfield plugin list` says whether the host has it; the host goes on with desk 2"
        );
    }
}
