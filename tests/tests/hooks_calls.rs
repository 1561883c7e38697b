//! Callers under treatment, on a real Asterisk, through the real host: what they hear, where they end up, and what
//! becomes of them when the host dies.

#![expect(clippy::print_stdout, reason = "explanations for whoever reads the log")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jackfield_tests::{
    ami::{self, Picture},
    author::Example,
    floor::SOON,
    peers::{BadPeer, Manners},
    world::{self, Jackfield, Site},
};
use lab::{Call, ManagerUser, PbxConfig, Phone, PhoneConfig, Release, config::MUSIC_TONE, until};
use tokio::time::Instant;

/// Short, so that three of them are.
const LEASE: Duration = Duration::from_secs(10);

/// Everybody is greeted by one tone, asked by another, and goes to the queue `vip` by the key 1.
const HOOKS: &str = r#"
# The usual deadlines are for a machine on which no other tests run.
[hooks]
time_zone = "Europe/Berlin"
lease_secs = 10

[hooks.instances.skills]
plugin = "skills"
limits = { route_ms = 500 }
settings = { rules = [{ name = "everybody", to = "queue:standard", treatment = "comfort" }] }

[hooks.instances.comfort]
plugin = "standard-treatment"
limits = { treatment_ms = 500 }

[hooks.instances.comfort.settings]
greeting = "lab/tone-600"
menu = "main"
menus.main = { prompt = "lab/tone-800", keys = { "1" = "queue:vip" } }

[hooks.router]
order = ["skills"]
"#;

async fn site() -> Result<Option<Site>> {
    let Some(tree) = world::tree(Release::Asterisk22) else { return Ok(None) };
    let config = PbxConfig {
        managers: vec![ManagerUser::holding("jackfield", "lab-secret"), ami::account()],
        ..PbxConfig::default()
    };
    Site::start("hq", &tree, config).await.map(Some)
}

async fn agent(site: &Site, extension: &str) -> Result<Phone> {
    let phone = Phone::start(PhoneConfig::extension(site.pbx.sip(), extension)).await?;
    phone.register().await?;
    Ok(phone)
}

async fn hears(call: &Call, hertz: u32, jackfield: &Jackfield) -> Result<()> {
    let heard = until(SOON, "a tone", async || {
        let heard = call.recording(Duration::ZERO).tone(hertz);
        ensure!(heard > Duration::from_millis(500), "{heard:?} of {hertz} Hz");
        Ok(())
    });
    heard.await.with_context(|| format!("the host's log:\n{}", jackfield.log_end()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_greeted_presses_a_key_and_talks_longer_than_three_leases() -> Result<()> {
    let Some(site) = site().await? else { return Ok(()) };
    let agent = agent(&site, "1003").await?;
    let jackfield = Jackfield::start(&[site.connector()], HOOKS).await?;
    jackfield.connected("hq").await?;
    let caller = Phone::start(PhoneConfig::trunk(site.pbx.sip(), "4930123456")).await?;
    let call = caller.call("720")?;
    call.answered(SOON)
        .await
        .with_context(|| format!("the host's log:\n{}", jackfield.log_end()))?;
    hears(&call, 600, &jackfield).await?;
    hears(&call, 800, &jackfield).await?;
    call.press("1").await?;
    let picked_up = agent.next_call(SOON).await?;
    picked_up.answered(SOON).await?;
    assert_eq!(call.recording(Duration::ZERO).order(&[600, 800]), [600, 800]);

    call.speak(Some(1000));
    picked_up.speak(Some(1300));
    call.lasts(3 * LEASE + Duration::from_secs(3)).await?;
    let by_caller = call.recording(Duration::ZERO).tone(1300);
    let by_agent = picked_up.recording(Duration::ZERO).tone(1000);
    assert!(by_caller.min(by_agent) > 2 * LEASE, "{by_caller:?} and {by_agent:?}");
    call.hang_up().await?;
    Ok(())
}

/// One way for each caller, by who they are; whoever is on no list waits for a CRM.
fn ways(crm: &BadPeer) -> String {
    format!(
        r#"
[hooks]
time_zone = "Europe/Berlin"
lease_secs = 10

[hooks.instances.skills]
plugin = "skills"
grants = ["http:127.0.0.1", "http-private:127.0.0.1:{port}"]
declined = ["secret:crm"]
limits = {{ route_ms = 500 }}

[hooks.instances.skills.settings]
lists = {{ comforted = ["+4930111111"], talks = ["+4930222222"], queued = ["+4930333333"] }}
rules = [
    {{ name = "comforted", when = {{ lists = "comforted" }}, to = "queue:standard", treatment = "comfort" }},
    {{ name = "talks", when = {{ lists = "talks" }}, to = "extension:1002" }},
    {{ name = "queued", when = {{ lists = "queued" }}, to = "queue:parked" }},
    {{ name = "gold", when = {{ fields = {{ tier = "gold" }} }}, to = "queue:vip" }},
]

[hooks.instances.skills.settings.crm]
url = "http://127.0.0.1:{port}/callers/{{e164}}"
timeout_ms = 10000
fields = {{ tier = "/tier" }}

[hooks.instances.comfort]
plugin = "standard-treatment"
limits = {{ treatment_ms = 500 }}
# Longer than what is tried here takes.
settings = {{ greeting = ["lab/tone-600", "lab/long-700", "lab/long-700", "lab/long-700", "lab/long-700"] }}

[hooks.router]
order = ["skills"]
decision_ms = 60000
"#,
        port = crm.address().port()
    )
}

/// Who waits in this queue, by the PBX's own word.
async fn waiting(site: &Site, queue: &str) -> Result<usize> {
    Ok(Picture::of(&site.pbx).await?.waiting.get(queue).map_or(0, Vec::len))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_host_is_killed_each_caller_it_holds_is_in_the_fallback_queue_soon_and_the_others_stay()
-> Result<()> {
    let Some(site) = site().await? else { return Ok(()) };
    let crm = BadPeer::start(Manners::Silent).await?;
    let agent = agent(&site, "1002").await?;
    let mut jackfield = Jackfield::start(&[site.connector()], &ways(&crm)).await?;
    jackfield.connected("hq").await?;
    let mut callers = Vec::new();
    for number in ["4930222222", "4930333333", "4930111111", "4930444444"] {
        callers.push(Phone::start(PhoneConfig::trunk(site.pbx.sip(), number)).await?);
    }
    let [talks, queued, comforted, deciding] = &callers[..] else { unreachable!("four phones") };

    let talk = talks.call("720")?;
    let picked_up = agent.next_call(SOON).await?;
    picked_up.answered(SOON).await?;
    let queued = queued.call("720")?;
    until(SOON, "a caller in a queue", async || {
        ensure!(waiting(&site, "parked").await? == 1, "nobody waits");
        Ok(())
    })
    .await?;
    let comforted = comforted.call("720")?;
    hears(&comforted, 600, &jackfield).await?;
    let deciding = deciding.call("720")?;
    until(SOON, "a look-up", async || {
        ensure!(crm.dialled() > 0, "nobody asks the CRM");
        Ok(())
    })
    .await?;
    // Long enough for the first renewal of a lease, too short for a look-up.
    deciding.lasts(LEASE / 2).await?;
    for queue in ["standard", "vip", "fallback"] {
        ensure!(waiting(&site, queue).await? == 0, "somebody is in the queue {queue} already");
    }

    let killed = Instant::now();
    jackfield.kill();
    until(LEASE + Duration::from_secs(5), "both held callers in the fallback queue", async || {
        let fallen = waiting(&site, "fallback").await?;
        ensure!(fallen == 2, "{fallen} in the fallback queue");
        Ok(())
    })
    .await?;
    println!("both were in the fallback queue {:?} after the host died", killed.elapsed());
    talk.speak(Some(1000));
    picked_up.speak(Some(1300));
    talk.lasts(2 * LEASE).await?;
    let by_caller = talk.recording(Duration::ZERO).tone(1300);
    let by_agent = picked_up.recording(Duration::ZERO).tone(1000);
    ensure!(by_caller.min(by_agent) > LEASE, "the talk goes on: {by_caller:?}, {by_agent:?}");
    assert_eq!((waiting(&site, "parked").await?, waiting(&site, "fallback").await?), (1, 2));
    for call in [talk, queued, comforted, deciding] {
        call.hang_up().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_call_is_put_through_at_once_while_the_host_is_dead() -> Result<()> {
    let Some(site) = site().await? else { return Ok(()) };
    site.pbx.cli("dialplan set global JACKFIELD_EMERGENCY 110|112").await?;
    let rescue = agent(&site, "1009").await?;
    let mut jackfield = Jackfield::start(&[site.connector()], HOOKS).await?;
    jackfield.connected("hq").await?;
    jackfield.kill();
    let caller = Phone::start(PhoneConfig::trunk(site.pbx.sip(), "4930123456")).await?;
    let dialled = Instant::now();
    let call = caller.call("112")?;
    let picked_up = rescue.next_call(SOON).await?;
    picked_up.answered(SOON).await?;
    let after = dialled.elapsed();
    // Nothing here waits for a lease, which would be 45 s; the rest is a busy machine's.
    ensure!(after < Duration::from_secs(5), "{after:?}");
    println!("they talk {after:?} after 112 was dialled");
    call.answered(SOON).await?;
    call.hang_up().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_in_a_menu_is_asked_again_and_not_greeted_again_when_the_host_was_restarted()
-> Result<()> {
    let Some(site) = site().await? else { return Ok(()) };
    let agent = agent(&site, "1003").await?;
    let hooks = HOOKS.replace("lease_secs = 10", "lease_secs = 120");
    let mut jackfield = Jackfield::start(&[site.connector()], &hooks).await?;
    jackfield.connected("hq").await?;
    let caller = Phone::start(PhoneConfig::trunk(site.pbx.sip(), "4930123456")).await?;
    let call = caller.call("720")?;
    hears(&call, 600, &jackfield).await?;
    hears(&call, 800, &jackfield).await?;
    jackfield.stop().await?;
    jackfield.boot().await?;
    jackfield.explained("4930123456", &["resumed"]).await?;
    let resumed = call.recording(Duration::ZERO).length();
    let asked = until(SOON, "the menu again", async || {
        let heard = call.recording(resumed).tone(800);
        ensure!(heard > Duration::from_millis(500), "{heard:?}");
        Ok(())
    });
    asked.await.with_context(|| format!("the host's log:\n{}", jackfield.log_end()))?;
    // The connector began anew as well, and hears keys all the same.
    call.press("1").await?;
    let picked_up = agent.next_call(SOON).await?;
    picked_up.answered(SOON).await?;
    assert_eq!(
        call.recording(Duration::ZERO).order(&[600, 800]),
        [600, 800],
        "nobody is greeted twice"
    );
    call.hang_up().await?;
    println!("{}", jackfield.explained("4930123456", &["resumed", "vip at 1"]).await?);
    Ok(())
}

/// Music, an announcement, music again, by a treatment in TypeScript; the key 1 leads to the queue `vip`.
fn in_typescript(treatment: &Example) -> String {
    format!(
        r#"
[hooks]
time_zone = "Europe/Berlin"

[hooks.instances.skills]
plugin = "skills"
limits = {{ route_ms = 500 }}
settings = {{ rules = [{{ name = "everybody", to = "queue:standard", treatment = "wait" }}] }}

[hooks.instances.wait]
plugin = {:?}
settings = {{ music = "tone", announcement = "lab/tone-600", every_secs = 3, queue = "vip" }}
# The usual deadlines are for a machine on which no other tests run.
limits = {{ treatment_ms = 500 }}

[hooks.router]
order = ["skills"]
"#,
        treatment.component.display().to_string()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_treatment_in_typescript_plays_music_an_announcement_music_and_a_key_leads_to_an_agent()
-> Result<()> {
    let fix = "apt-get install nodejs npm";
    let Some(treatment) = Example::built("announced-wait", &["node", "npm"], fix)? else {
        return Ok(());
    };
    let Some(site) = site().await? else { return Ok(()) };
    let agent = agent(&site, "1003").await?;
    let jackfield = Jackfield::start(&[site.connector()], &in_typescript(&treatment)).await?;
    jackfield.connected("hq").await?;
    let caller = Phone::start(PhoneConfig::trunk(site.pbx.sip(), "4930123456")).await?;
    let call = caller.call("720")?;
    let heard = until(2 * SOON, "music, an announcement and music again", async || {
        let order = call.recording(Duration::ZERO).order(&[MUSIC_TONE, 600]);
        ensure!(order.starts_with(&[MUSIC_TONE, 600, MUSIC_TONE]), "{order:?}");
        Ok(())
    });
    heard.await.with_context(|| format!("the host's log:\n{}", jackfield.log_end()))?;
    call.press("1").await?;
    let picked_up = agent.next_call(SOON).await?;
    picked_up.answered(SOON).await?;
    call.speak(Some(1000));
    picked_up.speak(Some(1300));
    hears(&call, 1300, &jackfield).await?;
    hears(&picked_up, 1000, &jackfield).await?;
    let order = call.recording(Duration::ZERO).order(&[MUSIC_TONE, 600, 1300]);
    println!("the caller heard {order:?}");
    assert!(order.starts_with(&[MUSIC_TONE, 600, MUSIC_TONE]), "{order:?}");
    assert_eq!(order.last(), Some(&1300));
    call.hang_up().await?;
    let words =
        ["wait announced-wait 0.1.0", "pressed * after", "vip at 1, priority 5", "with PJSIP/1003"];
    println!("{}", jackfield.explained("4930123456", &words).await?);
    Ok(())
}
