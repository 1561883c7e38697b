//! What an admin writes, and what is said about it. `config/*.toml` are read as they are; beside each stands
//! what must be said about it.

use std::{fs, path::Path};

use calls::{AgentId, ConnectorId};
use jackfield::{
    config::{Config, ConfigError, PluginSource, RestoreConfig, Transport},
    hooks::{canary::Budgets, plan::Fallback},
};

fn environment(name: &str) -> Option<String> {
    match name {
        "HQ_AMI_SECRET" => Some("open sesame".to_owned()),
        "TWO_LINES" => Some("open\nsesame".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(name: &str) -> Result<Config, ConfigError> {
    let text = fs::read_to_string(folder().join(name)).expect(name);
    Config::parse(&text, Path::new(name), &environment)
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config"))
}

#[test]
fn every_file_gets_exactly_its_complaints() {
    let mut names: Vec<String> = fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    assert!(names.len() >= 10);
    for name in names {
        let said = match read(&name) {
            Ok(_) => "fine\n".to_owned(),
            Err(error) => format!("{error}\n"),
        };
        assert!(!said.contains("hunter2"), "{name}: a secret is repeated");
        let expected = folder().join(&name).with_extension("complaints");
        assert_eq!(said, fs::read_to_string(&expected).unwrap_or_default(), "{name}");
    }
}

#[test]
fn the_sample_of_the_design_is_accepted_and_hooks_that_are_not_there_are_warned_about() {
    let config = read("sample.toml").expect("the sample is good");
    let [hq] = config.connectors.as_slice() else { panic!("one connector") };
    assert_eq!(hq.id, ConnectorId::from("hq"));
    assert_eq!(hq.plugin, PluginSource::Id("asterisk".to_owned()));
    assert_eq!(hq.links["ami"].url.to_string(), "tls://pbx.example.org:5039");
    assert_eq!(hq.secrets["ami"].expose(), "open sesame");
    assert_eq!(hq.settings["username"], "jackfield");
    assert_eq!(hq.numbers.country.as_deref(), Some("DE"));
    assert_eq!(hq.time_zone.as_deref(), Some("Europe/Berlin"));
    assert_eq!(hq.grants, ["link:ami"]);
    assert_eq!((hq.limits.memory_mib, hq.limits.step_ms), (Some(64), Some(50)));
    assert_eq!(config.hooks.order, ["vip", "hours"]);
    let [warning, _] = config.warnings.as_slice() else { panic!("two warnings") };
    assert_eq!((warning.key.as_str(), warning.place.line), ("hooks.router.order[0]", 13));
    assert_eq!(warning.fix, "add [hooks.instances.vip], or remove it here");
}

#[test]
fn everything_can_be_said() {
    let config = read("full.toml").expect("it is good");
    assert!(config.warnings.is_empty());
    assert_eq!(config.api.cors, ["https://chat.example.org"]);
    let tls = config.api.tls.as_ref().expect("written");
    assert_eq!(tls.key, Path::new("/etc/jackfield/key.pem"));
    assert_eq!((config.journal.keep_days, config.journal.keep_mib), (90, 8192));
    let branch = &config.connectors[0];
    assert_eq!(branch.id.as_str(), "branch");
    assert!(branch.allow_plaintext);
    assert_eq!(branch.links["ami"].url.transport, Transport::Tcp);
    let support = &config.connectors[1].queues["support"];
    assert_eq!(support.restore, Some(RestoreConfig::Nothing));
    assert_eq!(support.time_zone.as_deref(), Some("Europe/London"));
    let [anna] = config.agents.as_slice() else { panic!("one agent") };
    assert_eq!(
        (anna.id.clone(), anna.devices.len(), anna.from_config),
        (AgentId::from("anna"), 2, true)
    );
    assert_eq!(anna.external["rocketchat_user_id"], "aobEdbYhXfu5hkeqG");
    let hooks = &config.hooks;
    assert_eq!(hooks.time_zone.as_deref(), Some("Europe/Berlin"));
    assert!(hooks.emergency.iter().eq(["110", "112"]));
    assert_eq!((hooks.threads, hooks.lease.as_secs(), hooks.decision.as_millis()), (4, 60, 1500));
    assert_eq!(hooks.order, ["hours", "vip"]);
    assert_eq!(hooks.fallback, Fallback::Queue("Köln".to_owned()));
    assert!(hooks.contexts.iter().eq(["from-inside", "ivr"]), "{:?}", hooks.contexts);
    assert_eq!((hooks.treatment.as_deref(), hooks.observers.len()), (Some("standard"), 1));
    let [feed, hours, standard, vip] = hooks.instances.as_slice() else { panic!("four") };
    assert_eq!(
        (feed.id.as_str(), hours.enabled, standard.version.as_deref()),
        ("crm-feed", Some(false), Some("0.1.0"))
    );
    assert_eq!(vip.secrets["crm"].expose(), "open sesame");
    assert_eq!(vip.grants, ["http:crm.example.org", "secret:crm"]);
    assert_eq!(vip.settings["numbers"][0], "+4930123456");
    assert_eq!((vip.limits.memory_mib, vip.limits.route_ms), (Some(64), Some(5)));
    let canary = vip.canary.as_ref().expect("written");
    assert_eq!((canary.version.as_str(), canary.percent), ("0.2.0", 10));
    assert_eq!(canary.budgets, Budgets { traps: 2, late: 4, differences_percent: 7 });
}

#[test]
fn relative_paths_start_at_the_file() {
    let text = fs::read_to_string(folder().join("full.toml")).expect("there");
    let config =
        Config::parse(&text, Path::new("/etc/jackfield/full.toml"), &environment).expect("good");
    assert_eq!(config.journal.path, Path::new("/etc/jackfield/data/journal.db"));
    assert_eq!(config.plugins.dir.as_deref(), Some(Path::new("/etc/jackfield/plugins")));
    assert_eq!(
        config.connectors[0].plugin,
        PluginSource::File("/etc/jackfield/components/asterisk.wasm".into())
    );
    assert_eq!(
        config.connectors[1].links["ami"].ca.as_deref(),
        Some(Path::new("/etc/jackfield/pbx.pem"))
    );
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config =
        Config::parse("", Path::new("/etc/jackfield.toml"), &environment).expect("defaults");
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.journal.path, Path::new("/etc/jackfield.db"));
}

#[test]
fn a_complaint_found_later_still_has_its_line() {
    let config = read("sample.toml").expect("good");
    let complaint = config.complaint("connectors.hq.settings.username", "is unknown", "ask");
    assert_eq!((complaint.place.line, complaint.place.column), (8, 25));
    let missing = config.complaint("connectors.hq.settings.nothing.here", "is missing", "add it");
    assert_eq!(missing.place.line, 8);
}

#[cfg(unix)]
#[test]
fn a_secret_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("ami");
    fs::write(&secret, "open sesame\n").expect("written");
    let read = || {
        let text = "[connectors.hq]\nplugin = \"asterisk\"\nsecrets.ami = { file = \"ami\" }\n";
        Config::parse(text, &folder.path().join("jackfield.toml"), &environment)
    };
    for mode in [0o644, 0o640, 0o660, 0o602] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).expect("changed");
        let said = read().expect_err("others can read it").to_string();
        assert!(said.contains(&format!("chmod 600 {}", secret.display())), "{said}");
        assert!(said.contains(":3:24: connectors.hq.secrets.ami.file"), "{said}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).expect("changed");
        let config = read().expect("only we can read it");
        assert_eq!(config.connectors[0].secrets["ami"].expose(), "open sesame");
        assert!(!format!("{config:?}").contains("sesame"), "secrets are not shown");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said =
        Config::load(Path::new("/nowhere/jackfield.toml")).expect_err("not there").to_string();
    assert!(said.contains("/nowhere/jackfield.toml") && said.contains("fix:"), "{said}");
}
