//! Calls are decided by routers in order, on a real Asterisk, with real callers; whatever a router does, each caller
//! gets somewhere.

#![expect(clippy::print_stdout, reason = "explanations for whoever reads the log")]

use anyhow::{Context, Result, ensure};
use jackfield_tests::{
    floor::SOON,
    world::{self, Jackfield, Site},
};
use lab::{ManagerUser, PbxConfig, Phone, PhoneConfig, Release, until};
use serde_json::Value;

const VIP: &str = "4930123456";
const ANYBODY: &str = "4930999999";

fn hooks() -> Result<String> {
    let moody = world::test_plugin("moody-router")?;
    Ok(format!(
        r#"
[hooks]
time_zone = "Europe/Berlin"
emergency = ["112"]

[hooks.instances.moody]
plugin = {:?}

[hooks.instances.vip]
plugin = "skills"
declined = ["http:*", "secret:crm"]
settings = {{ lists = {{ vip = ["+{VIP}"] }}, rules = [
    {{ name = "VIP", when = {{ lists = "vip" }}, to = "queue:vip", priority = 10 }},
    {{ name = "everybody", to = "queue:standard" }},
] }}

[hooks.router]
order = ["moody", "vip"]
fallback = "queue:fallback"
"#,
        moody.display().to_string()
    ))
}

/// A caller dials, the phone of that extension rings, and they talk; what is said about the call afterwards.
async fn call(
    site: &Site,
    jackfield: &Jackfield,
    from: &str,
    number: &str,
    phone: &Phone,
    words: &[&str],
) -> Result<Value> {
    let caller = Phone::start(PhoneConfig::trunk(site.pbx.sip(), from)).await?;
    let call = caller.call(number)?;
    let answered = phone.next_call(SOON).await.with_context(|| {
        format!("{from} dialled {number}; the host's log:\n{}", jackfield.log_end())
    })?;
    call.answered(SOON).await?;
    let explained = until(SOON, "the call to be explained", async || {
        let calls = jackfield.client.get("/v1/calls").await?;
        let known = calls["items"].as_array().context("calls")?;
        let id = known.last().and_then(|call| call["id"].as_str()).context("no call")?;
        let explained = jackfield.client.get(&format!("/v1/calls/{id}/explain")).await?;
        let text = explained.to_string();
        let missing = words.iter().find(|word| !text.contains(**word));
        ensure!(missing.is_none(), "no {missing:?} in {text}");
        Ok(explained)
    })
    .await?;
    answered.hang_up().await?;
    call.ended(SOON).await?;
    Ok(explained)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vips_go_to_one_queue_the_rest_to_another_and_nobody_is_lost_when_a_router_fails()
-> Result<()> {
    let Some(tree) = world::tree(Release::Asterisk22) else { return Ok(()) };
    let config = PbxConfig {
        managers: vec![ManagerUser::holding("jackfield", "lab-secret")],
        ..PbxConfig::default()
    };
    let site = Site::start("hq", &tree, config).await?;
    let mut phones = Vec::new();
    for extension in ["1003", "1004", "1008", "1009"] {
        let phone = Phone::start(PhoneConfig::extension(site.pbx.sip(), extension)).await?;
        phone.register().await?;
        phones.push(phone);
    }
    let [vip, standard, fallback, rescue] = &phones[..] else { unreachable!("four phones") };
    let jackfield = Jackfield::start(&[site.connector()], &hooks()?).await?;
    jackfield.connected("hq").await?;

    for (from, number, phone, words) in [
        (VIP, "720", vip, ["moody", "passed", "rule \\\"VIP\\\""]),
        (ANYBODY, "720", standard, ["vip", "decided", "rule \\\"everybody\\\""]),
        // It traps, runs for ever, refuses, names what no queue is called, and a queue that is not there.
        ("4930999661", "720", fallback, ["moody", "trapped", "fallback"]),
        ("4930999662", "720", fallback, ["moody", "late", "fallback"]),
        ("4930999663", "720", fallback, ["moody", "refused", "fallback"]),
        ("4930999664", "720", fallback, ["moody", "nonsense", "fallback"]),
        ("4930999665", "720", fallback, ["moody", "nonsense", "no-such-queue"]),
        // Nobody is asked about an emergency call.
        ("4930999661", "112", rescue, ["bypassed", "continue-in-dialplan", "112"]),
        // And the router that trapped is asked about the next call.
        (VIP, "720", vip, ["moody", "passed", "rule \\\"VIP\\\""]),
    ] {
        let explained = call(&site, &jackfield, from, number, phone, &words).await?;
        println!("{from} dialled {number}: {explained}");
    }
    let log = jackfield.log()?;
    for line in ["a hook trapped", "a hook was late", "a hook refused", "a hook talked nonsense"] {
        ensure!(log.contains(line), "no line `{line}`");
    }
    ensure!(!log.contains("4930999661"), "callers' numbers are not logged");
    Ok(())
}
