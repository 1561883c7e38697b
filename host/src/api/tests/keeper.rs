//! A keeper that keeps nothing: it has one plugin and two connectors, and remembers what it was asked.

use std::{
    fs::File,
    io::{Seek, Write},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ::calls::{Actor, Timestamp};
use plugin_runtime::{
    Difference, Limits, LogLevel, LogLine, Manifest, ShadowReport, Usage, Version,
    hooks::HookLimits,
};
use serde_json::{Value, json};

use super::world::EVENING;
use crate::{
    api::{Keep, Kept},
    config::{CanaryConfig, Complaint, Place},
    hooks::{
        canary::{Budgets, Tally},
        meter::{Figures, Lag},
        store::Pair,
    },
    plugins::{
        AuditEntry, CanaryView, Change, ChangeKind, HookView, InstanceView, InstanceWord,
        KeeperError, KeyView, Owner, PermissionState, PermissionView, PluginView, ProbationView,
        RecordingFile, RecordingKind, Report, RunningVersion, Swaps, VersionView, WaitingVersion,
    },
    status::{LastError, StatusWord},
};

#[derive(Default)]
pub(crate) struct FakeKeeper {
    asked: Mutex<Vec<String>>,
    recordings: Mutex<Vec<RecordingFile>>,
}

pub(crate) const OLD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const NEW: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

impl FakeKeeper {
    /// What was asked of it, oldest first, and forgets that.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn keep_recording(&self, name: &str, path: PathBuf) {
        let (size, at, kind) = (3, Timestamp(EVENING), RecordingKind::Crash);
        let file = RecordingFile { name: name.to_owned(), path, size, at, kind };
        self.recordings.lock().unwrap().push(file);
    }

    fn ask(&self, what: String, actor: &Actor) -> Result<Report, KeeperError> {
        let Actor::Token(who) = actor else { panic!("the API asks for tokens") };
        self.asked.lock().unwrap().push(format!("{who}: {what}"));
        let detail = "aaaaaaaa to bbbbbbbb in 80 us".to_owned();
        let change =
            Change { subject: "connector hq".to_owned(), kind: ChangeKind::Swapped, detail };
        Ok(Report { changes: vec![change], ..Report::default() })
    }

    fn known(&self, plugin: &str) -> Result<(), KeeperError> {
        let (what, fix) = (format!("plugin `{plugin}`"), "install it".to_owned());
        self.plugin(plugin).map(drop).ok_or(KeeperError::NotFound { what, fix })
    }

    fn instance_known(&self, connector: &str) -> Result<(), KeeperError> {
        let (what, fix) = (format!("connector `{connector}`"), "look at the list".to_owned());
        self.instance(connector).map(drop).ok_or(KeeperError::NotFound { what, fix })
    }
}

fn now<'a, T: Send + 'a>(answer: Result<T, KeeperError>) -> Kept<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Keep for FakeKeeper {
    fn reload<'a>(&'a self, actor: &'a Actor) -> Kept<'a, Report> {
        now(self.ask("reload".to_owned(), actor))
    }

    fn install<'a>(
        &'a self,
        wasm: Vec<u8>,
        signature: Option<String>,
        actor: &'a Actor,
    ) -> Kept<'a, Report> {
        now(match wasm.as_slice() {
            b"zip" => Err(KeeperError::Install {
                message: "this is a zip archive".to_owned(),
                fix: "send the .wasm file in it".to_owned(),
                ours: false,
            }),
            b"full" => Err(KeeperError::Install {
                message: "the disk is full".to_owned(),
                fix: "free some space".to_owned(),
                ours: true,
            }),
            _ => self.ask(format!("install {} {signature:?}", wasm.len()), actor),
        })
    }

    fn use_version<'a>(
        &'a self,
        plugin: &'a str,
        version: &'a str,
        actor: &'a Actor,
    ) -> Kept<'a, Report> {
        now(self.known(plugin).and_then(|()| self.ask(format!("use {plugin} {version}"), actor)))
    }

    fn roll_back<'a>(&'a self, plugin: &'a str, actor: &'a Actor) -> Kept<'a, Report> {
        now(self.known(plugin).and_then(|()| self.ask(format!("roll back {plugin}"), actor)))
    }

    fn uninstall<'a>(&'a self, plugin: &'a str, _: &'a Actor) -> Kept<'a, Report> {
        now(self.known(plugin).and_then(|()| {
            Err(KeeperError::Conflict {
                message: "connector hq runs asterisk 0.1.0".to_owned(),
                fix: "disable it first".to_owned(),
            })
        }))
    }

    fn change<'a>(
        &'a self,
        connector: &'a str,
        patch: Value,
        actor: &'a Actor,
    ) -> Kept<'a, Report> {
        if patch.pointer("/settings/username").is_some() {
            return now(Err(KeeperError::OwnedByFile {
                file: "/etc/jackfield/jackfield.toml".into(),
                line: 7,
                key: format!("connectors.{connector}.settings.username"),
            }));
        }
        if patch.pointer("/settings/country").is_some_and(Value::is_number) {
            let complaint = |key: &str, message: &str, fix: &str| Complaint {
                place: Place::default(),
                key: key.to_owned(),
                message: message.to_owned(),
                fix: fix.to_owned(),
            };
            return now(Err(KeeperError::Invalid(vec![
                complaint("settings.country", "is not a text", "write e.g. \"DE\""),
                complaint("settings.time_zone", "is no zone", "write e.g. \"Europe/Berlin\""),
            ])));
        }
        now(self.ask(format!("change {connector} {patch}"), actor))
    }

    fn remove<'a>(&'a self, connector: &'a str, actor: &'a Actor) -> Kept<'a, Report> {
        let removed = self.instance_known(connector);
        now(removed.and_then(|()| self.ask(format!("remove {connector}"), actor)))
    }

    fn shadow<'a>(
        &'a self,
        connector: &'a str,
        version: Option<&'a str>,
        actor: &'a Actor,
    ) -> Kept<'a, ()> {
        let known = self.instance_known(connector);
        let asked = format!("shadow {connector} {version:?}");
        now(known.and_then(|()| self.ask(asked, actor).map(drop)))
    }

    fn capture<'a>(
        &'a self,
        connector: &'a str,
        on: bool,
        redact: bool,
        actor: &'a Actor,
    ) -> Kept<'a, Option<PathBuf>> {
        let known = self.instance_known(connector);
        let what = format!("capture {connector} {on} {redact}");
        let asked = known.and_then(|()| self.ask(what, actor));
        now(asked.map(|_| (!on).then(|| "/var/lib/jackfield/hq-1.jsonl".into())))
    }

    fn ring<'a>(&'a self, connector: &'a str, redact: bool) -> Kept<'a, File> {
        now(self.instance_known(connector).map(|()| {
            let mut file = tempfile::tempfile().unwrap();
            writeln!(file, "redacted: {redact}").unwrap();
            file.rewind().unwrap();
            file
        }))
    }

    fn plugins(&self) -> Vec<PluginView> {
        vec![PluginView {
            id: "asterisk".to_owned(),
            versions: vec![version("0.2.0", NEW, &[]), version("0.1.0", OLD, &["hq"])],
            selected: Some(OLD.to_owned()),
            previous: None,
            used_by: vec!["hq".to_owned(), "off".to_owned()],
        }]
    }

    fn plugin(&self, id: &str) -> Option<PluginView> {
        self.plugins().into_iter().find(|plugin| plugin.id == id)
    }

    fn instances(&self) -> Vec<InstanceView> {
        let recordings = self.recordings.lock().unwrap().clone();
        vec![InstanceView { recordings, ..running() }, disabled()]
    }

    fn instance(&self, connector: &str) -> Option<InstanceView> {
        self.instances().into_iter().find(|instance| instance.id == connector)
    }

    fn log(&self, connector: &str) -> Option<Vec<LogLine>> {
        let text = "logged in".to_owned();
        (connector == "hq")
            .then(|| vec![LogLine { at: Timestamp(EVENING), level: LogLevel::Info, text }])
    }

    fn difference(&self) -> Result<Report, KeeperError> {
        let place = Place { line: 3, column: 1 };
        let (key, message) = ("api.listen".to_owned(), "differs".to_owned());
        let complaint = Complaint { place, key, message, fix: "restart jackfield".to_owned() };
        Ok(Report { needs_restart: vec![complaint], ..Report::default() })
    }

    fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, KeeperError> {
        let entry = |id| AuditEntry {
            id,
            at: Timestamp(EVENING),
            actor: "token chat".to_owned(),
            action: "plugin.swap".to_owned(),
            subject: "connector hq".to_owned(),
            detail: "0.1.0 to 0.2.0".to_owned(),
            hash: format!("{id:064x}"),
        };
        Ok((after + 1..=5).take(limit).map(entry).collect())
    }

    fn hooks(&self) -> Vec<HookView> {
        vec![vip()]
    }

    fn hook_log(&self, hook: &str) -> Option<Vec<LogLine>> {
        let at = Timestamp(EVENING);
        let line = LogLine { at, level: LogLevel::Warn, text: "no CRM".to_owned() };
        (hook == "vip").then(|| vec![line])
    }

    fn hook_pairs(
        &self,
        hook: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Pair>, KeeperError> {
        assert_eq!(hook, "vip");
        let keys = ["dead/1", "dead/2", "seen"].into_iter();
        let keys = keys.filter(|key| key.starts_with(prefix) && *key > after).take(limit);
        let pair = |key: &str| Pair { key: key.to_owned(), value: b"caf\xff".to_vec() };
        Ok(keys.map(pair).collect())
    }

    fn canary<'a>(
        &'a self,
        hook: &'a str,
        wish: Option<CanaryConfig>,
        actor: &'a Actor,
    ) -> Kept<'a, Report> {
        let wish = wish.map(|it| {
            let Budgets { traps, late, differences_percent } = it.budgets;
            format!("{} {} {traps} {late} {differences_percent}", it.version, it.percent)
        });
        now(self.ask(format!("canary {hook} {}", wish.as_deref().unwrap_or("-")), actor))
    }
}

fn version(version: &str, sha256: &str, used_by: &[&str]) -> VersionView {
    let manifest = json!({
        "id": "asterisk", "name": "Asterisk", "version": version, "author": "A", "license": "MIT",
        "description": "Speaks AMI.",
        "settings": { "type": "object", "properties": { "username": { "type": "string", "title": "User" } } },
        "links": [{ "name": "ami", "transports": ["tls"], "max_frame": 65536, "secrets": ["md5-hex"] }],
    });
    VersionView {
        version: version.to_owned(),
        sha256: sha256.to_owned(),
        size: 400_000,
        source: "/home/anna/asterisk.wasm".to_owned(),
        signed_by: None,
        installed_at: Timestamp(EVENING),
        rejected: None,
        used_by: used_by.iter().map(|id| (*id).to_owned()).collect(),
        manifest: Some(Manifest::from_json(manifest.to_string().as_bytes()).unwrap()),
    }
}

fn running() -> InstanceView {
    let file = Owner::File { file: "/etc/jackfield/jackfield.toml".into(), line: 7 };
    let key = |key: &str, value: Value, owner: &Owner| KeyView {
        key: key.to_owned(),
        value,
        owner: owner.clone(),
    };
    let permission = |grant: &str, state, owner: Option<&Owner>, in_use| PermissionView {
        grant: grant.to_owned(),
        reason: "to see the queues".to_owned(),
        meaning: "it may speak with the PBX".to_owned(),
        state,
        owner: owner.cloned(),
        in_use,
    };
    InstanceView {
        id: "hq".to_owned(),
        plugin: "asterisk".to_owned(),
        running: Some(RunningVersion {
            plugin: "asterisk".to_owned(),
            version: "0.1.0".to_owned(),
            sha256: OLD.to_owned(),
        }),
        waiting: Some(WaitingVersion {
            version: "0.2.0".to_owned(),
            sha256: NEW.to_owned(),
            why: "it asks for more than is granted".to_owned(),
            missing: vec!["http:crm.example.org".to_owned()],
        }),
        keys: vec![
            key("settings.username", json!("jackfield"), &file),
            key("settings.country", json!("DE"), &Owner::Rest),
            key("secrets.ami", json!("set"), &Owner::Rest),
        ],
        settings: json!({ "username": "jackfield", "country": "DE" }),
        running_settings: None,
        refused: Vec::new(),
        status: InstanceWord::AutoEnabled,
        reason: String::new(),
        since: Timestamp(EVENING),
        link_status: Some(StatusWord::Connected),
        last_error: None,
        restarts: 2,
        permissions: vec![
            permission("link:ami", PermissionState::Granted, Some(&file), true),
            permission("http:crm.example.org", PermissionState::Missing, None, false),
        ],
        probation: Some(ProbationView {
            from: "asterisk 0.0.9".to_owned(),
            from_sha256: NEW.to_owned(),
            to: "asterisk 0.1.0".to_owned(),
            until: Timestamp(EVENING),
        }),
        shadow: Some(ShadowReport {
            version: Version { version: "0.2.0".to_owned(), sha256: NEW.to_owned() },
            since: EVENING,
            cold: false,
            steps: 12,
            same: 30,
            only_running: 1,
            only_shadow: 0,
            differences: vec![Difference { step: 7, by_shadow: false, effect: "fact".to_owned() }],
            failure: None,
            max_step_us: 90,
            memory_bytes: 1 << 20,
        }),
        links: Vec::new(),
        limits: Limits::default(),
        usage: Usage { memory_bytes: 3 << 20, traps: 4, max_step_us: 1_500, ..Usage::default() },
        swaps: Swaps { done: 9, max_pause_us: 120, ..Swaps::default() },
        recordings: Vec::new(),
        capturing: false,
    }
}

fn disabled() -> InstanceView {
    InstanceView {
        id: "off".to_owned(),
        running: None,
        waiting: None,
        status: InstanceWord::ManuallyDisabled,
        reason: "disabled by token chat".to_owned(),
        probation: None,
        shadow: None,
        keys: Vec::new(),
        permissions: Vec::new(),
        usage: Usage::default(),
        swaps: Swaps::default(),
        ..running()
    }
}

fn vip() -> HookView {
    let error = LastError {
        message: "it was late: not done after 5 ms".to_owned(),
        fix: "mend it".to_owned(),
        at: Timestamp(EVENING),
    };
    HookView {
        id: "vip".to_owned(),
        plugin: "skills".to_owned(),
        running: Some(RunningVersion {
            plugin: "skills".to_owned(),
            version: "0.1.0".to_owned(),
            sha256: OLD.to_owned(),
        }),
        waiting: None,
        kinds: vec!["router", "observer"],
        roles: vec!["router 1".to_owned(), "observer".to_owned()],
        status: InstanceWord::AutoEnabled,
        reason: String::new(),
        since: Timestamp(EVENING),
        refused: Vec::new(),
        settings: json!({ "numbers": [] }),
        secrets: vec!["crm".to_owned()],
        permissions: vec![PermissionView {
            grant: "secret:crm".to_owned(),
            reason: "to ask your CRM".to_owned(),
            meaning: "It is put in by Jackfield.".to_owned(),
            state: PermissionState::Granted,
            owner: None,
            in_use: true,
        }],
        limits: HookLimits::default(),
        http_per_minute: 600,
        canary: Some(CanaryView {
            version: "0.2.0".to_owned(),
            sha256: NEW.to_owned(),
            percent: 10,
            budgets: Budgets::default(),
            tally: Tally { asked: 7, compared: 7, differences: 1, ..Tally::default() },
            owner: Some(Owner::Rest),
        }),
        figures: Figures {
            outcomes: [("answered".to_owned(), 9), ("late".to_owned(), 1)].into(),
            p50: Some(Duration::from_micros(3)),
            p99: Some(Duration::from_micros(25)),
            last_error: Some(error),
            failing: 0,
            lag: Lag { events: 3, age: Duration::from_millis(12), cursor: 40 },
        },
    }
}
