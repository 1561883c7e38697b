//! Callers who are held, at a real Asterisk: what the connector does is what they hear.

#[path = "held/pilot.rs"]
mod pilot;

use std::time::Duration;

use anyhow::Result;
use jackfield_tests::world;
use lab::{
    ManagerUser, Pbx, PbxConfig, Phone, PhoneConfig, Release, Tree, config::MUSIC_TONE,
};
use pilot::{Pilot, SOON};
use tempfile::TempDir;

struct Site {
    pbx: Pbx,
    pilot: Pilot,
    caller: Phone,
    _tree: Tree,
    _folder: TempDir,
}

async fn site(release: Release) -> Result<Option<Site>> {
    let Some(tree) = world::tree(release) else { return Ok(None) };
    let folder = tempfile::tempdir()?;
    let config = PbxConfig {
        managers: vec![ManagerUser::holding("jackfield", "lab-secret")],
        ..PbxConfig::default()
    };
    let pbx = Pbx::start(&tree, folder.path(), config).await?;
    let pilot = Pilot::start(&pbx).await?;
    let caller = Phone::start(PhoneConfig::trunk(pbx.sip(), "4930123456")).await?;
    Ok(Some(Site { pbx, pilot, caller, _tree: tree, _folder: folder }))
}

impl Drop for Site {
    fn drop(&mut self) {
        // Shown when the test fails.
        let log = std::fs::read_to_string(self.pbx.folder().join("log/full")).unwrap_or_default();
        println!("the PBX's log:\n{log}");
    }
}

async fn agent(pbx: &Pbx, extension: &str) -> Result<Phone> {
    let phone = Phone::start(PhoneConfig::extension(pbx.sip(), extension)).await?;
    phone.register().await?;
    Ok(phone)
}

async fn a_caller_hears_what_they_are_told_and_reaches_an_agent(release: Release) -> Result<()> {
    let Some(mut site) = site(release).await? else { return Ok(()) };
    let Site { pbx, pilot, caller, .. } = &mut site;
    let agent = agent(pbx, "1003").await?;
    let call = caller.call("720")?;
    let offered = pilot.offered().await?;
    println!("{offered:?}");
    let leg = offered.leg.as_str();
    assert_eq!((offered.entry.as_str(), offered.dialled.as_str()), ("main", "720"));
    assert_eq!((offered.returned_from.as_str(), offered.outcome.as_str()), ("", ""));
    assert!(!call.is_up());

    pilot.done("leg-answer", &[("leg", leg)]).await?;
    call.answered(SOON).await?;
    pilot.done("leg-music", &[("leg", leg), ("class", "tone")]).await?;
    pilot.listen(Duration::from_secs(1)).await?;
    pilot
        .done("leg-play", &[("leg", leg), ("media", "lab/tone-600"), ("media", "lab/tone-800")])
        .await?;
    pilot.listen(Duration::from_secs(1)).await?;
    let missing = pilot.order("leg-play", &[("leg", leg), ("media", "lab/nowhere")]).await?;
    println!("{missing:?}");
    assert_eq!(missing.error.map(|error| error.code).as_deref(), Some("media-not-found"));
    pilot.done("leg-say", &[("leg", leg), ("kind", "digits"), ("value", "42")]).await?;
    pilot.listen(Duration::from_secs(1)).await?;
    println!(
        "{:?} {:?}",
        call.recording(Duration::ZERO).length(),
        call.recording(Duration::ZERO).order(&[MUSIC_TONE, 600, 800])
    );
    pilot.done("leg-listen", &[("leg", leg), ("on", "true")]).await?;
    call.press("1").await?;
    assert_eq!(pilot.key().await?, "1");
    pilot
        .done(
            "leg-to-queue",
            &[
                ("leg", leg),
                ("queue", "vip"),
                ("priority", "7"),
                ("timeout-secs", "20"),
                ("variable.LEVEL", "gold, silver"),
            ],
        )
        .await?;
    println!("{}", pilot.released().await?);
    let talk = agent.next_call(SOON).await?;
    talk.answered(SOON).await?;
    let (before_caller, before_agent) =
        (call.recording(Duration::ZERO).length(), talk.recording(Duration::ZERO).length());
    call.speak(Some(1000));
    talk.speak(Some(1300));
    pilot.listen(Duration::from_secs(2)).await?;
    println!(
        "{:?} {:?}",
        call.recording(before_caller).tone(1300),
        talk.recording(before_agent).tone(1000)
    );
    call.hang_up().await?;
    Ok(())
}

#[tokio::test]
async fn a_caller_hears_what_they_are_told_and_reaches_an_agent_at_asterisk_22() -> Result<()> {
    a_caller_hears_what_they_are_told_and_reaches_an_agent(Release::Asterisk22).await
}
