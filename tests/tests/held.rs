//! Callers who are held, at a real Asterisk: what the connector does is what they hear.

#![expect(clippy::print_stdout, reason = "what the PBX said, for whoever reads a failure")]

#[path = "held/pilot.rs"]
mod pilot;

use std::time::Duration;

use anyhow::{Context, Result};
use jackfield_sdk::{CommandOutcome, Fact, mock::Seen};
use jackfield_tests::{
    ami::{self, Ami},
    world,
};
use lab::{
    Answering, ManagerUser, Pbx, PbxConfig, Phone, PhoneConfig, Release, Tree, config::MUSIC_TONE,
    until,
};
use pilot::{Pilot, SOON};
use tempfile::TempDir;

const SECOND: Duration = Duration::from_secs(1);

/// A PBX, the connector at it, and somebody in the telephone network.
struct Site {
    pbx: Pbx,
    pilot: Pilot,
    caller: Phone,
    _tree: Tree,
    _folder: TempDir,
}

impl Site {
    async fn start(release: Release) -> Result<Option<Site>> {
        let Some(tree) = world::tree(release) else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let config = PbxConfig {
            managers: vec![ManagerUser::holding("jackfield", "lab-secret"), ami::account()],
            ..PbxConfig::default()
        };
        let pbx = Pbx::start(&tree, folder.path(), config).await?;
        let pilot = Pilot::start(&pbx).await?;
        let caller = Phone::start(PhoneConfig::trunk(pbx.sip(), "4930123456")).await?;
        Ok(Some(Site { pbx, pilot, caller, _tree: tree, _folder: folder }))
    }

    async fn agent(&self, extension: &str) -> Result<Phone> {
        let phone = Phone::start(PhoneConfig::extension(self.pbx.sip(), extension)).await?;
        phone.register().await?;
        Ok(phone)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Shown when the test fails.
        let log = std::fs::read_to_string(self.pbx.folder().join("log/full")).unwrap_or_default();
        println!("the PBX's log:\n{log}\nthe last facts:");
        let seen = &self.pilot.seen;
        for seen in &seen[seen.len().saturating_sub(20)..] {
            println!("{seen:?}");
        }
    }
}

fn code(outcome: &CommandOutcome) -> &str {
    outcome.error.as_ref().map_or("", |error| error.code.as_str())
}

/// Both say a tone of their own, and each hears the other's for most of two seconds.
async fn talk(pilot: &mut Pilot, caller: &lab::Call, agent: &lab::Call) -> Result<()> {
    caller.speak(Some(1000));
    agent.speak(Some(1300));
    let heard = until(SOON, "audio both ways", async || {
        pilot.listen(SECOND / 5).await.map_err(|error| error.to_string())?;
        let by_caller = caller.recording(Duration::ZERO).tone(1300);
        let by_agent = agent.recording(Duration::ZERO).tone(1000);
        if by_caller.min(by_agent) > 2 * SECOND {
            return Ok(());
        }
        Err(format!("the caller heard {by_caller:?} of the agent, who heard {by_agent:?} of them"))
    });
    Ok(heard.await?)
}

async fn a_caller_hears_what_they_are_told_and_talks_to_an_agent(release: Release) -> Result<()> {
    let Some(mut site) = Site::start(release).await? else { return Ok(()) };
    let agent = site.agent("1003").await?;
    let Site { pilot, caller, .. } = &mut site;
    let call = caller.call("720")?;
    let offered = pilot.offered().await?;
    let leg = offered.leg.as_str();
    assert_eq!((offered.entry.as_str(), offered.dialled.as_str()), ("main", "720"));
    assert_eq!((offered.returned_from.as_str(), offered.outcome.as_str()), ("", ""));
    assert!(!call.is_up());

    pilot.done("leg-answer", &[("leg", leg)]).await?;
    call.answered(SOON).await?;
    pilot.done("leg-music", &[("leg", leg), ("class", "tone")]).await?;
    pilot.listen(SECOND).await?;
    let media = [("leg", leg), ("media", "lab/tone-600"), ("media", "lab/tone-800")];
    pilot.done("leg-play", &media).await?;
    pilot.listen(SECOND).await?;
    let missing = pilot.order("leg-play", &[("leg", leg), ("media", "lab/nowhere")]).await?;
    assert_eq!((missing.outcome.as_str(), code(&missing)), ("failed", "media-not-found"));
    pilot.done("leg-say", &[("leg", leg), ("kind", "number"), ("value", "42")]).await?;
    pilot.listen(SECOND).await?;
    let heard = call.recording(Duration::ZERO);
    assert_eq!(heard.order(&[MUSIC_TONE, 600, 800]), [MUSIC_TONE, 600, 800, MUSIC_TONE]);
    assert!(heard.tone(600) > SECOND && heard.tone(800) > SECOND, "both to their ends: {heard:?}");

    // Nobody listens: not told.
    call.press("7").await?;
    pilot.listen(SECOND / 2).await?;
    pilot.done("leg-listen", &[("leg", leg), ("on", "true")]).await?;
    call.press("1").await?;
    assert_eq!(pilot.key().await?, "1");
    pilot.done("leg-silence", &[("leg", leg)]).await?;
    pilot.listen(SECOND / 2).await?;
    let quiet = call.recording(Duration::ZERO).length();
    pilot.listen(SECOND).await?;
    assert!(call.recording(quiet).sound() < SECOND / 5, "no music any more");

    let queue =
        [("leg", leg), ("queue", "vip"), ("priority", "7"), ("variable.LEVEL", "gold, silver")];
    pilot.done("leg-to-queue", &queue).await?;
    assert_eq!(pilot.released().await?, "handed-over");
    let picked_up = agent.next_call(SOON).await?;
    picked_up.answered(SOON).await?;
    talk(pilot, &call, &picked_up).await?;
    let late = pilot.order("leg-play", &[("leg", leg), ("media", "lab/tone-600")]).await?;
    assert_eq!((late.outcome.as_str(), code(&late)), ("failed", "not-held"));
    call.hang_up().await?;
    // Recorded for the connector's own tests.
    if let Some(folder) = std::env::var_os("JACKFIELD_TRANSCRIPTS") {
        std::fs::write(std::path::Path::new(&folder).join("talked.ami"), &pilot.transcript)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_caller_hears_what_they_are_told_and_talks_to_an_agent_at_asterisk_22() -> Result<()> {
    a_caller_hears_what_they_are_told_and_talks_to_an_agent(Release::Asterisk22).await
}

#[tokio::test]
async fn a_caller_hears_what_they_are_told_and_talks_to_an_agent_at_asterisk_16() -> Result<()> {
    a_caller_hears_what_they_are_told_and_talks_to_an_agent(Release::Asterisk16).await
}

/// Out of a queue by its time-out, away from a busy phone, and at last to one that answers.
async fn who_is_not_served_is_offered_again(release: Release) -> Result<()> {
    let Some(mut site) = Site::start(release).await? else { return Ok(()) };
    let busy = site.agent("1001").await?;
    let free = site.agent("1002").await?;
    busy.set_answering(Answering::Busy);
    let Site { pilot, caller, .. } = &mut site;
    let call = caller.call("721")?;
    let offered = pilot.offered().await?;
    let leg = offered.leg.as_str();
    assert_eq!(offered.entry, "reception");
    assert!(offered.facts.contains(&("variable.TARIFF".into(), "gold".into())), "{offered:?}");

    let nowhere = pilot.order("leg-to-queue", &[("leg", leg), ("queue", "nowhere")]).await?;
    assert_eq!((nowhere.outcome.as_str(), code(&nowhere)), ("failed", "no-such-queue"));
    let bad = [("leg", leg), ("queue", "vip,t,,,1&x")];
    assert_eq!(pilot.order("leg-to-queue", &bad).await?.outcome, "rejected");
    let nobody = pilot.order("leg-to-extension", &[("leg", leg), ("extension", "1999")]).await?;
    assert_eq!(code(&nobody), "no-such-extension");
    let place = [("leg", leg), ("context", "internal"), ("extension", "4711")];
    assert_eq!(code(&pilot.order("leg-to-dialplan", &place).await?), "no-such-place");

    pilot.done("leg-to-queue", &[("leg", leg), ("queue", "parked"), ("timeout-secs", "2")]).await?;
    let again = pilot.offered().await?;
    assert_eq!(again.leg, leg);
    assert_eq!((again.returned_from.as_str(), again.outcome.as_str()), ("queue", "timed-out"));
    assert_eq!((again.entry.as_str(), again.dialled.as_str()), ("reception", "721"));
    pilot.done("leg-to-queue", &[("leg", leg), ("queue", "joinempty")]).await?;
    assert_eq!(pilot.offered().await?.outcome, "join-empty");
    pilot.done("leg-to-extension", &[("leg", leg), ("extension", "1001")]).await?;
    let again = pilot.offered().await?;
    assert_eq!((again.returned_from.as_str(), again.outcome.as_str()), ("extension", "busy"));
    pilot.done("leg-to-extension", &[("leg", leg), ("extension", "1003")]).await?;
    assert_eq!(pilot.offered().await?.outcome, "unreachable");
    pilot.done("leg-to-extension", &[("leg", leg), ("extension", "1002")]).await?;
    let picked_up = free.next_call(SOON).await?;
    talk(pilot, &call, &picked_up).await?;
    picked_up.hang_up().await?;
    call.ended(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn who_is_not_served_is_offered_again_at_asterisk_22() -> Result<()> {
    who_is_not_served_is_offered_again(Release::Asterisk22).await
}

#[tokio::test]
async fn who_is_not_served_is_offered_again_at_asterisk_16() -> Result<()> {
    who_is_not_served_is_offered_again(Release::Asterisk16).await
}

#[tokio::test]
async fn a_hand_over_cuts_what_is_being_played_and_goes_on_behind_the_gosub() -> Result<()> {
    let Some(mut site) = Site::start(Release::Asterisk22).await? else { return Ok(()) };
    let Site { pilot, caller, .. } = &mut site;
    let call = caller.call("721")?;
    let leg = pilot.offered().await?.leg;
    let leg = leg.as_str();
    pilot.done("leg-music", &[("leg", leg), ("class", "tone")]).await?;
    let playing = pilot.tell("leg-play", &[("leg", leg), ("media", "lab/long-700")]).await?;
    let waiting = pilot.tell("leg-play", &[("leg", leg), ("media", "lab/tone-600")]).await?;
    pilot.listen(SECOND).await?;
    pilot.done("leg-continue", &[("leg", leg)]).await?;
    for cut in [playing, waiting] {
        let outcome = pilot.outcome(cut).await?;
        assert!(["interrupted", "hung-up"].contains(&code(&outcome)), "{outcome:?}");
    }
    assert_eq!(pilot.released().await?, "handed-over");
    // The echo behind the Gosub.
    let before = call.recording(Duration::ZERO).length();
    call.speak(Some(1000));
    pilot.listen(2 * SECOND).await?;
    let heard = call.recording(before);
    assert!(heard.tone(1000) > SECOND, "{:?}", heard.tone(1000));
    assert!(call.recording(Duration::ZERO).tone(700) < 3 * SECOND);
    assert_eq!(call.recording(Duration::ZERO).tone(600), Duration::ZERO);
    call.hang_up().await?;

    // To another place: the echo that has a number.
    let call = caller.call("720")?;
    let leg = pilot.offered().await?.leg;
    let place = [("leg", leg.as_str()), ("context", "internal"), ("extension", "500")];
    pilot.done("leg-to-dialplan", &place).await?;
    call.answered(SOON).await?;
    call.speak(Some(1300));
    pilot.listen(3 * SECOND).await?;
    assert!(call.recording(Duration::ZERO).tone(1300) > SECOND);
    Ok(())
}

#[tokio::test]
async fn a_caller_is_rejected_with_the_cause_that_was_said() -> Result<()> {
    let Some(mut site) = Site::start(Release::Asterisk22).await? else { return Ok(()) };
    let Site { pilot, caller, .. } = &mut site;
    for (cause, status) in [("17", 486), ("21", 403)] {
        let call = caller.call("720")?;
        let leg = pilot.offered().await?.leg;
        pilot.done("leg-hang-up", &[("leg", &leg), ("q850", cause)]).await?;
        assert_eq!(call.ended(SOON).await?.status, Some(status));
        pilot.released().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_caller_who_hangs_up_ends_what_runs_and_what_waits() -> Result<()> {
    let Some(mut site) = Site::start(Release::Asterisk22).await? else { return Ok(()) };
    let Site { pilot, caller, .. } = &mut site;
    let call = caller.call("721")?;
    let leg = pilot.offered().await?.leg;
    let long = [("leg", leg.as_str()), ("media", "lab/long-700")];
    let instructions = [pilot.tell("leg-play", &long).await?, pilot.tell("leg-play", &long).await?];
    pilot.listen(SECOND).await?;
    call.hang_up().await?;
    for instruction in instructions {
        assert_eq!(code(&pilot.outcome(instruction).await?), "hung-up");
    }
    assert_eq!(pilot.released().await?, "hung-up");
    Ok(())
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_in_the_fallback_queue() -> Result<()> {
    let Some(mut site) = Site::start(Release::Asterisk22).await? else { return Ok(()) };
    let agent = site.agent("1008").await?;
    let Site { pilot, caller, .. } = &mut site;
    let call = caller.call("720")?;
    let leg = pilot.offered().await?.leg;
    let music = [("leg", leg.as_str()), ("class", "tone")];
    pilot.done("leg-music", &music).await?;
    // Renewed, it does not run out.
    for _ in 0..4 {
        pilot.done("leg-lease", &[("leg", &leg), ("secs", "3")]).await?;
        pilot.listen(SECOND).await?;
    }
    assert_eq!(pilot.released().await?, "went-on");
    let picked_up = agent.next_call(SOON).await?;
    call.answered(SOON).await?;
    talk(pilot, &call, &picked_up).await?;
    // Three times the lease later they still talk.
    call.lasts(9 * SECOND).await?;
    Ok(())
}

/// The name of a channel, by its Uniqueid.
async fn channel(ami: &mut Ami, leg: &str) -> Result<String> {
    let channels = ami.list("CoreShowChannels", &[]).await?;
    let found = channels.iter().find(|channel| channel.get("Uniqueid") == leg);
    Ok(found.with_context(|| format!("no channel {leg}"))?.get("Channel").to_owned())
}

/// A caller who is held, hears music, and is on a lease of three seconds.
async fn on_a_short_lease(pilot: &mut Pilot, number: &str) -> Result<String> {
    let leg = pilot.offered().await?.leg;
    if number == "720" {
        pilot.done("leg-answer", &[("leg", &leg)]).await?;
    }
    pilot.done("leg-music", &[("leg", &leg), ("class", "tone")]).await?;
    pilot.done("leg-lease", &[("leg", &leg), ("secs", "3")]).await?;
    Ok(leg)
}

async fn who_is_put_through_by_another_manager_talks_longer_than_the_lease(
    release: Release,
) -> Result<()> {
    let Some(mut site) = Site::start(release).await? else { return Ok(()) };
    let agent = site.agent("1002").await?;
    let mut ami = Ami::witness(&site.pbx).await?;
    let Site { pilot, caller, .. } = &mut site;
    let theirs = agent.call("500")?;
    theirs.answered(SOON).await?;
    let agents: Vec<String> = ami
        .list("CoreShowChannels", &[])
        .await?
        .iter()
        .map(|channel| channel.get("Channel").to_owned())
        .collect();
    let call = caller.call("720")?;
    let leg = on_a_short_lease(pilot, "720").await?;
    let channels = [channel(&mut ami, &leg).await?, agents.concat()];
    let bridge = [("Channel1", channels[0].as_str()), ("Channel2", channels[1].as_str())];
    ami.action("Bridge", &bridge).await?;
    assert_eq!(pilot.released().await?, "bridged");
    talk(pilot, &call, &theirs).await?;
    call.lasts(9 * SECOND).await?;
    let before = call.recording(Duration::ZERO).length();
    pilot.listen(2 * SECOND).await?;
    let heard = call.recording(before).tone(1300);
    assert!(heard > SECOND, "they still talk three leases later: {heard:?}");
    call.hang_up().await?;
    Ok(())
}

#[tokio::test]
async fn who_is_put_through_by_another_manager_talks_longer_than_the_lease_at_asterisk_22()
-> Result<()> {
    who_is_put_through_by_another_manager_talks_longer_than_the_lease(Release::Asterisk22).await
}

#[tokio::test]
async fn who_is_put_through_by_another_manager_talks_longer_than_the_lease_at_asterisk_16()
-> Result<()> {
    who_is_put_through_by_another_manager_talks_longer_than_the_lease(Release::Asterisk16).await
}

#[tokio::test]
async fn who_is_redirected_by_another_manager_stays_there_longer_than_the_lease() -> Result<()> {
    let Some(mut site) = Site::start(Release::Asterisk22).await? else { return Ok(()) };
    let mut ami = Ami::witness(&site.pbx).await?;
    let Site { pilot, caller, .. } = &mut site;
    let call = caller.call("721")?;
    let leg = on_a_short_lease(pilot, "721").await?;
    let channel = channel(&mut ami, &leg).await?;
    // To the echo that has a number.
    let place = [("Channel", channel.as_str()), ("Context", "internal"), ("Exten", "500")];
    ami.action("Redirect", &[&place[..], &[("Priority", "1")]].concat()).await?;
    assert_eq!(pilot.released().await?, "went-on");
    call.speak(Some(1000));
    pilot.listen(9 * SECOND).await?;
    let before = call.recording(Duration::ZERO).length();
    pilot.listen(2 * SECOND).await?;
    let heard = call.recording(before).tone(1000);
    assert!(heard > SECOND, "the echo still answers three leases later: {heard:?}");
    call.hang_up().await?;
    Ok(())
}

async fn an_emergency_call_goes_on_behind_the_gosub_and_asks_nobody(
    release: Release,
) -> Result<()> {
    let Some(mut site) = Site::start(release).await? else { return Ok(()) };
    let rescue = site.agent("1009").await?;
    let Site { pbx, pilot, caller, .. } = &mut site;
    let set = async |pbx: &Pbx, list: &str| {
        pbx.cli(&format!("dialplan set global JACKFIELD_EMERGENCY \"{list}\"")).await
    };
    // Nobody answers these offers: the host might be as deaf.
    for list in ["112", "110|112", "*5|+49112|(|112|.*", "112|"] {
        set(pbx, list).await?;
        let call = caller.call("112")?;
        let picked_up = rescue.next_call(SOON).await?;
        picked_up.answered(SOON).await?;
        call.answered(SOON).await?;
        call.hang_up().await?;
    }
    pilot.listen(SECOND).await?;
    let offered = |seen: &Seen| matches!(seen, Seen::Fact(_, Fact::LegOffered(_)));
    assert!(!pilot.seen.iter().any(offered), "nobody was asked");
    // No list, and lists in which it is no number of its own, let nobody pass.
    for (list, number) in [("", "112"), ("1122|11|.*|1+2|1.2|(", "112"), ("110||112", "720")] {
        set(pbx, list).await?;
        let call = caller.call(number)?;
        assert_eq!(pilot.offered().await?.dialled, number, "{list}");
        call.hang_up().await?;
        pilot.released().await?;
    }
    // Held before the list named it, and then nobody renews the lease.
    set(pbx, "").await?;
    let call = caller.call("112")?;
    let leg = pilot.offered().await?.leg;
    pilot.done("leg-lease", &[("leg", &leg), ("secs", "2")]).await?;
    set(pbx, "110|112").await?;
    assert_eq!(pilot.released().await?, "went-on");
    let picked_up = rescue.next_call(SOON).await?;
    picked_up.answered(SOON).await?;
    call.answered(SOON).await?;
    call.hang_up().await?;
    Ok(())
}

#[tokio::test]
async fn an_emergency_call_goes_on_behind_the_gosub_and_asks_nobody_at_asterisk_22() -> Result<()> {
    an_emergency_call_goes_on_behind_the_gosub_and_asks_nobody(Release::Asterisk22).await
}

#[tokio::test]
async fn an_emergency_call_goes_on_behind_the_gosub_and_asks_nobody_at_asterisk_16() -> Result<()> {
    an_emergency_call_goes_on_behind_the_gosub_and_asks_nobody(Release::Asterisk16).await
}

#[tokio::test]
async fn who_was_held_when_the_wire_broke_is_in_the_next_picture() -> Result<()> {
    let Some(mut site) = Site::start(Release::Asterisk22).await? else { return Ok(()) };
    let Site { pbx, pilot, caller, .. } = &mut site;
    let silent = caller.call("720")?;
    let first = pilot.offered().await?.leg;
    let other = Phone::start(PhoneConfig::trunk(pbx.sip(), "4930999999")).await?;
    let listening = other.call("721")?;
    let second = pilot.offered().await?.leg;
    listening.answered(SOON).await?;
    // One waits for instructions, one hears an announcement.
    let long = [("leg", second.as_str()), ("media", "lab/long-700")];
    let playing = pilot.tell("leg-play", &long).await?;
    pilot.listen(SECOND).await?;
    let mark = pilot.seen.len();
    pilot.reconnect(pbx).await?;
    assert_eq!(pilot.outcome(playing).await?.outcome, "unknown");
    let held = pilot.picture_since(mark).await?;
    let held: Vec<_> = held.iter().map(|it| (it.leg.as_str(), it.entry.as_str())).collect();
    assert_eq!(held, [(first.as_str(), "main"), (second.as_str(), "reception")]);
    for leg in [&first, &second] {
        pilot.done("leg-hang-up", &[("leg", leg)]).await?;
    }
    silent.ended(SOON).await?;
    listening.ended(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_caller_cannot_choose_their_way_in_by_their_number() -> Result<()> {
    let Some(mut site) = Site::start(Release::Asterisk22).await? else { return Ok(()) };
    let Site { pbx, pilot, .. } = &mut site;
    for forged in ["5%0Aagi_arg_1%3A%20vip", "5%0D%0AEnv%3A%20agi_arg_1%3A%20vip"] {
        let mut config = PhoneConfig::trunk(pbx.sip(), "5");
        config.from_user = Some(forged.to_owned());
        let forger = Phone::start(config).await?;
        let call = forger.call("720")?;
        let is_forgery = |fact: &Fact| match fact {
            Fact::Notice(notice) if notice.code == "forged-input" => Some(()),
            _ => None,
        };
        pilot.fact("a word about the forgery", is_forgery).await?;
        if forged.contains("%0D") {
            // What cannot be told apart from the PBX's own words is not answered: the lease ends it.
            pilot.listen(7 * SECOND).await?;
            let offered = |seen: &Seen| match seen {
                Seen::Fact(_, Fact::LegOffered(it)) | Seen::ResyncItem(_, Fact::LegOffered(it)) => {
                    it.entry != "main"
                }
                _ => false,
            };
            assert!(!pilot.seen.iter().any(offered));
        } else {
            // The list of channels says the way in in the dialplan's words, once it may be asked again.
            let offered = pilot.pictured().await?;
            assert_eq!((offered.entry.as_str(), offered.dialled.as_str()), ("main", "720"));
            pilot.done("leg-hang-up", &[("leg", &offered.leg)]).await?;
        }
        call.hang_up().await?;
    }
    Ok(())
}
