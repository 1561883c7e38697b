//! `[hooks]` and what is below it.

use std::{collections::BTreeSet, time::Duration};

use toml::de::DeValue;

use super::{Reader, is_connector_id};
use crate::{
    config::{
        CanaryConfig, HookInstanceConfig, HookLimitsConfig, HooksConfig, PluginSource,
        document::{At, Section, nearest},
    },
    hooks::{canary::Budgets, plan::Fallback},
};

/// More are not asked one after the other while somebody waits.
const MAX_CHAIN: usize = 32;
/// Whoever opens more means all of them.
const MAX_CONTEXTS: usize = 64;
/// Bytes of a name that the PBX is told, as hooks and connectors have it.
const MAX_NAME: usize = 80;

impl<'d, 't> Reader<'d, 't> {
    pub(super) fn hooks(&self, root: &mut Section<'d, 't>) -> HooksConfig {
        let mut hooks = HooksConfig::default();
        let Some(mut section) = root.section("hooks") else { return hooks };
        hooks.time_zone = section.string("time_zone").and_then(|at| self.time_zone(at));
        if let Some(numbers) = section.strings("emergency") {
            hooks.emergency =
                numbers.into_iter().filter_map(|number| self.emergency(number)).collect();
        }
        if let Some(contexts) = section.strings("contexts") {
            hooks.contexts = self.contexts(contexts);
        }
        if let Some(threads) = section.number("threads", 1..=64) {
            hooks.threads = threads as usize;
        }
        if let Some(secs) = section.number("lease_secs", 10..=3600) {
            hooks.lease = Duration::from_secs(u64::from(secs));
        }
        hooks.instances = section
            .entries("instances")
            .into_iter()
            .filter_map(|(id, at)| self.hook_instance(&id, &at))
            .collect();
        let known: Vec<String> = hooks.instances.iter().map(|it| it.id.clone()).collect();
        if let Some(mut router) = section.section("router") {
            hooks.order = self.instances_named(router.strings("order"), &known);
            if let Some(word) = router.string("fallback") {
                hooks.fallback = self.fallback(&word).unwrap_or(hooks.fallback);
            }
            if let Some(ms) = router.number("decision_ms", 50..=60_000) {
                hooks.decision = Duration::from_millis(u64::from(ms));
            }
            router.finish();
        }
        if let Some(mut treatment) = section.section("treatment") {
            if let Some(id) = treatment.string("default") {
                hooks.treatment = self.instances_named(Some(vec![id]), &known).pop();
            }
            treatment.finish();
        }
        if let Some(mut observers) = section.section("observers") {
            hooks.observers = self.instances_named(observers.strings("run"), &known);
            observers.finish();
        }
        section.finish();
        hooks
    }

    fn emergency(&self, number: At<String>) -> Option<String> {
        let good = |byte: u8| byte.is_ascii_digit() || b"*#+".contains(&byte);
        let text = &number.value;
        if !text.is_empty() && text.len() <= 32 && text.bytes().all(good) {
            return Some(number.value);
        }
        self.complain(
            &number,
            format!("{text:?} cannot be dialled"),
            "write the number as callers dial it, e.g. \"112\"",
        );
        None
    }

    fn contexts(&self, written: Vec<At<String>>) -> BTreeSet<String> {
        let mut contexts = BTreeSet::new();
        for context in written {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
            let text = &context.value;
            if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(good) {
                self.complain(
                    &context,
                    format!("{text:?} is no context that a hook can name"),
                    "write the name of one in the dialplan, of letters, digits, `_` and `-`, at most 80",
                );
            } else if contexts.len() == MAX_CONTEXTS {
                self.complain(&context, "these are too many", "write at most 64");
                break;
            } else {
                contexts.insert(context.value);
            }
        }
        contexts
    }

    /// An unknown one is no reason to leave the others out: it is a warning, and the record of every call says it.
    fn instances_named(&self, named: Option<Vec<At<String>>>, known: &[String]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut ids = Vec::new();
        for at in named.unwrap_or_default() {
            if !seen.insert(at.value.clone()) {
                self.complain(&at, format!("{:?} stands here twice", at.value), "keep one");
                continue;
            }
            if ids.len() == MAX_CHAIN {
                self.complain(&at, "these are too many", "write at most 32");
                break;
            }
            if !known.contains(&at.value) {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                let fix = match nearest(&at.value, &names) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => format!("add [hooks.instances.{}], or remove it here", at.value),
                };
                self.document.warn(
                    &at.span,
                    &at.key,
                    format!("there is no hook {:?}; it is left out", at.value),
                    fix,
                );
            }
            ids.push(at.value);
        }
        ids
    }

    fn fallback(&self, word: &At<String>) -> Option<Fallback> {
        // As hooks and connectors have them: queues may be named in any language.
        let good = |name: &str, may: fn(char) -> bool| {
            (1..=MAX_NAME).contains(&name.len()) && name.chars().all(may)
        };
        let of_queue = |letter: char| letter.is_alphanumeric() || "_-.+@".contains(letter);
        let of_extension =
            |letter: char| letter.is_ascii_alphanumeric() || "_-.+*#".contains(letter);
        let found = match word.value.split_once(':') {
            None if word.value == "continue-in-dialplan" => Some(Fallback::ContinueInDialplan),
            None if word.value == "reject" => Some(Fallback::HangUp(21)),
            Some(("queue", name)) if good(name, of_queue) => Some(Fallback::Queue(name.to_owned())),
            Some(("extension", number)) if good(number, of_extension) => {
                Some(Fallback::Extension(number.to_owned()))
            }
            _ => None,
        };
        if found.is_none() {
            self.complain(
                word,
                format!("{:?} is not a place for calls that nobody decides about", word.value),
                "write \"continue-in-dialplan\", \"queue:NAME\", \"extension:NUMBER\" or \"reject\"",
            );
        }
        found
    }

    fn hook_instance(&self, id: &str, at: &At<&'d DeValue<'t>>) -> Option<HookInstanceConfig> {
        let id_is_good = is_connector_id(id);
        if !id_is_good {
            self.complain(
                at,
                format!("{id:?} cannot be a hook's name"),
                "use lower-case letters, digits and `-`, at most 32, beginning with a letter, e.g. [hooks.instances.vip]",
            );
        }
        let mut section = self.document.as_section(at)?;
        let raw = self.document.as_json(at).unwrap_or_default();
        let plugin = self.plugin(&mut section);
        let version = section.string("version");
        if let (Some(version), Some(PluginSource::File(_))) = (&version, &plugin) {
            self.complain(
                version,
                "a plugin named by its file has the version that is in the file",
                "remove it, or name the plugin by its id",
            );
        }
        let enabled = section.bool("enabled");
        let secrets = section
            .entries("secrets")
            .into_iter()
            .filter_map(|(name, at)| Some((name, self.secret(&at)?)))
            .collect();
        let settings = section
            .value("settings")
            // Places of its keys are remembered by the way.
            .filter(|at| self.document.as_section(at).is_some())
            .and_then(|at| self.document.as_json(&at))
            .unwrap_or_else(|| serde_json::json!({}));
        let mut grants = |name| {
            let written = section.strings(name).unwrap_or_default();
            written.into_iter().filter_map(|grant| self.hook_grant(grant)).collect()
        };
        let (granted, declined) = (grants("grants"), grants("declined"));
        let limits = section.section("limits").map(read_limits).unwrap_or_default();
        let canary = section.section("canary").and_then(|it| self.canary(it));
        section.finish();
        Some(HookInstanceConfig {
            id: id.to_owned(),
            plugin: plugin?,
            version: version.map(|version| version.value),
            enabled,
            secrets,
            settings,
            grants: granted,
            declined,
            limits,
            canary,
            raw,
        })
        .filter(|_| id_is_good)
    }

    fn hook_grant(&self, grant: At<String>) -> Option<String> {
        match grant.value.split_once(':') {
            Some(("http" | "http-private" | "secret", name)) if !name.is_empty() => {
                Some(grant.value)
            }
            _ => {
                self.complain(
                    &grant,
                    format!("{:?} is not a grant of a hook", grant.value),
                    "write \"http:<host>\", \"http-private:<host>:<port>\" or \"secret:<name>\"",
                );
                None
            }
        }
    }

    fn canary(&self, mut section: Section<'_, '_>) -> Option<CanaryConfig> {
        let version = section.string("version");
        if version.is_none() {
            self.missing(&section, "version", "write the version to try, e.g. version = \"0.2.0\"");
        }
        let percent = section.number("percent", 1..=100);
        if percent.is_none() && section.value("percent").is_none() {
            self.missing(
                &section,
                "percent",
                "write how many of 100 calls it gets, e.g. percent = 10",
            );
        }
        let usual = Budgets::default();
        let budgets = Budgets {
            traps: section.number("traps", 1..=1_000_000).unwrap_or(usual.traps),
            late: section.number("late", 1..=1_000_000).unwrap_or(usual.late),
            differences_percent: section
                .number("differences_percent", 0..=100)
                .and_then(|percent| u8::try_from(percent).ok())
                .unwrap_or(usual.differences_percent),
        };
        section.finish();
        Some(CanaryConfig {
            version: version?.value,
            percent: u8::try_from(percent?).unwrap_or(100),
            budgets,
        })
    }
}

fn read_limits(mut section: Section<'_, '_>) -> HookLimitsConfig {
    let limits = HookLimitsConfig {
        memory_mib: section.number("memory_mib", 1..=4096),
        route_ms: section.number("route_ms", 1..=10_000),
        treatment_ms: section.number("treatment_ms", 1..=10_000),
        step_ms: section.number("step_ms", 1..=10_000),
        bytes_per_call: section.number("bytes_per_call", 4096..=67_108_864),
        actions_per_step: section.number("actions_per_step", 16..=65_536),
        log_lines_per_sec: section.number("log_lines_per_sec", 0..=10_000),
        http_per_minute: section.number("http_per_minute", 0..=100_000),
    };
    section.finish();
    limits
}
