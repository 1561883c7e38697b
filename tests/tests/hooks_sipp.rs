//! Callers by sipp, routed through the hooks of the real host on a real Asterisk: who goes where, who is refused and
//! with which status, and what `jackfield explain` says of each.

#![expect(clippy::print_stdout, reason = "explanations for whoever reads the log")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jackfield_tests::{
    floor::SOON,
    world::{self, Jackfield, Site},
};
use lab::{ManagerUser, PbxConfig, Phone, PhoneConfig, Release, Scenario, Sipp, SippReport, Tree};

const VIP: &str = "4930123456";
const ANYBODY: &str = "4930999999";
/// Of the list of those who wait three seconds in a queue without agents.
const PATIENT: &str = "4930777777";
/// The first router traps on it.
const TRAPS: &str = "4930999661";

/// Ways in with hours: 722 is `office`, 723 is `fair`.
const NUMBERS: &str = "
[internal](+)
exten => 722,1,Gosub(jackfield,ask,1(office))
 same => n,Goto(801,1)
exten => 723,1,Gosub(jackfield,ask,1(fair))
 same => n,Goto(801,1)
";

const OVERFLOW: &str = "
[overflow](q)
member => PJSIP/1005,0,Agent Five,PJSIP/1005
";

fn hooks() -> Result<String> {
    let moody = world::test_plugin("moody-router")?;
    Ok(format!(
        r#"
[hooks]
time_zone = "Europe/Berlin"

# The usual deadlines are for a machine on which no other tests run.
[hooks.instances.moody]
plugin = {:?}
limits = {{ route_ms = 500 }}

[hooks.instances.hours]
plugin = "business-hours"
limits = {{ route_ms = 500 }}

[hooks.instances.hours.settings.calendars.office]
week = {{ daily = "closed" }}

[hooks.instances.hours.settings.calendars.fair]
week = {{ daily = "closed" }}
openings = [{{ name = "The fair", from = "01-01", to = "12-31", hours = "00:00-24:00" }}]

[[hooks.instances.hours.settings.rules]]
entries = ["office"]
calendar = "office"
closed = "reject"

[[hooks.instances.hours.settings.rules]]
entries = ["fair"]
calendar = "fair"
closed = "reject"

[hooks.instances.skills]
plugin = "skills"
limits = {{ route_ms = 500 }}
declined = ["http:*", "secret:crm"]
settings = {{ lists = {{ vip = ["+{VIP}"], patient = ["+{PATIENT}"] }}, rules = [
    {{ name = "overflow", when = {{ returned_from = "queue", outcomes = ["timed-out"] }}, to = "queue:overflow", raise_priority = 5 }},
    {{ name = "VIP", when = {{ lists = "vip" }}, to = "queue:vip", priority = 10 }},
    {{ name = "patient", when = {{ lists = "patient" }}, to = {{ to = "queue:sales", timeout_secs = 3 }} }},
    {{ name = "everybody", to = "queue:standard" }},
] }}

[hooks.router]
order = ["moody", "hours", "skills"]
fallback = "queue:fallback"
"#,
        moody.display().to_string()
    ))
}

/// A PBX, its agents' phones, and the host.
struct Floor {
    tree: Tree,
    site: Site,
    jackfield: Jackfield,
    /// Of the queues `vip`, `standard`, `overflow` and `fallback`.
    phones: [Phone; 4],
}

impl Floor {
    async fn start() -> Result<Option<Floor>> {
        let Some(tree) = world::tree(Release::Asterisk22) else { return Ok(None) };
        let config = PbxConfig {
            managers: vec![ManagerUser::holding("jackfield", "lab-secret")],
            queues_extra: OVERFLOW.to_owned(),
            extensions_extra: NUMBERS.to_owned(),
            ..PbxConfig::default()
        };
        let site = Site::start("hq", &tree, config).await?;
        let phone = async |extension| -> Result<Phone> {
            let phone = Phone::start(PhoneConfig::extension(site.pbx.sip(), extension)).await?;
            phone.register().await?;
            Ok(phone)
        };
        let phones = [
            phone("1003").await?,
            phone("1004").await?,
            phone("1005").await?,
            phone("1008").await?,
        ];
        let jackfield = Jackfield::start(&[site.connector()], &hooks()?).await?;
        jackfield.connected("hq").await?;
        Ok(Some(Floor { tree, site, jackfield, phones }))
    }

    /// One caller after the other from these numbers, a second apart; sipp's words to its end.
    async fn sipp(&self, text: &str, dialled: &str, from: &[&str]) -> Result<SippReport> {
        let folder = tempfile::tempdir()?;
        let callers = Sipp {
            scenario: Scenario::Text(text.to_owned()),
            fields: from.iter().map(|number| (*number).to_owned()).collect(),
            calls_per_second: 1,
            pause: Duration::from_secs(8),
            keeps_messages: true,
            ..Sipp::callers(dialled, u32::try_from(from.len())?)
        };
        Ok(callers.run(&self.tree, self.site.pbx.sip(), folder.path()).await?)
    }

    /// They all got through and stayed as long as they wanted.
    async fn come_in(&self, dialled: &str, from: &[&str]) -> Result<()> {
        let report = self.sipp(include_str!("../scenarios/number.xml"), dialled, from).await?;
        ensure!(report.failed == 0, "{}\n{}", report.errors, self.jackfield.log_end());
        Ok(())
    }

    /// The only call that came to this phone so far, or since the last time, is from this number.
    async fn rang(&self, phone: usize, number: &str) -> Result<()> {
        let call = self.phones[phone].next_call(SOON).await.with_context(|| {
            format!("{number} is waited for; the host's log:\n{}", self.jackfield.log_end())
        })?;
        let from = call.from().unwrap_or_default();
        ensure!(from.contains(number), "{number} is waited for, and it is {from}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vips_the_rest_those_who_come_back_and_those_nobody_decides_about_each_get_their_queue()
-> Result<()> {
    let Some(floor) = Floor::start().await? else { return Ok(()) };
    floor.come_in("720", &[VIP, ANYBODY, PATIENT, TRAPS]).await?;
    for (phone, number) in [VIP, ANYBODY, PATIENT, TRAPS].into_iter().enumerate() {
        floor.rang(phone, number).await?;
    }
    for (what, number, words) in [
        (
            "routed",
            VIP,
            &["rule \"VIP\"", "queue:vip", "vip at 1, priority 10", "with PJSIP/1003"][..],
        ),
        ("routed", ANYBODY, &["rule \"everybody\"", "queue:standard", "with PJSIP/1004"]),
        (
            "re-routed",
            PATIENT,
            &[
                "rule \"patient\"",
                "sales at 1, priority 0",
                "timed-out",
                "back from queue, where to now?",
                "rule \"overflow\"",
                "overflow at 1, priority 5",
                "with PJSIP/1005",
            ],
        ),
        ("fallback", TRAPS, &["moody", "trapped", "fallback", "queue:fallback", "with PJSIP/1008"]),
    ] {
        let explained = floor.jackfield.explained(number, &[words, &["ended"]].concat()).await?;
        println!("{what}, {number}:\n{explained}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_the_hours_callers_are_refused_with_403_and_an_exceptional_opening_lets_them_in()
-> Result<()> {
    let Some(floor) = Floor::start().await? else { return Ok(()) };
    let refused = include_str!("../scenarios/refused.xml");
    let report = floor.sipp(refused, "722", &[VIP, ANYBODY]).await?;
    let log = || floor.jackfield.log_end();
    ensure!((report.successful, report.failed) == (2, 0), "{}\n{}", report.errors, log());
    // RFC 3326 says which cause it was: call rejected.
    let messages = report.messages.context("kept")?;
    ensure!(messages.contains("Q.850;cause=21"), "{messages}");
    for number in [VIP, ANYBODY] {
        let words = [
            "hours business-hours 0.1.0",
            "closed: hours of",
            "(office)",
            "refused",
            "21",
            "ended",
        ];
        println!("closed:\n{}", floor.jackfield.explained(number, &words).await?);
    }
    for phone in &floor.phones {
        ensure!(phone.next_call(Duration::ZERO).await.is_err(), "a phone rang");
    }

    floor.come_in("723", &[PATIENT]).await?;
    let words = ["open: fair, opening \"The fair\", 00:00-24:00", "rule \"patient\""];
    println!("open:\n{}", floor.jackfield.explained(PATIENT, &words).await?);
    floor.rang(2, PATIENT).await
}
