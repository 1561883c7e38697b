//! The lab itself, on a real Asterisk: what every other end-to-end test builds upon.

use std::{path::Path, time::Duration};

use lab::{Answering, Pbx, PbxConfig, Phone, PhoneConfig, Release, Sound, Tree};

/// Generous: a test machine may be busy with other tests.
const SOON: Duration = Duration::from_secs(20);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A started PBX in a folder of its own, or a loud skip.
macro_rules! pbx_or_skip {
    ($release:expr) => {{
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/lab");
        let Some(tree) = Tree::for_tests($release, &cache) else { return Ok(()) };
        let folder = tempfile::tempdir()?;
        let pbx = Pbx::start(&tree, folder.path(), PbxConfig::default()).await?;
        (tree, folder, pbx)
    }};
}

async fn agent(pbx: &Pbx, extension: &str) -> Result<Phone, lab::phone::PhoneError> {
    let phone = Phone::start(PhoneConfig::extension(pbx.sip(), extension)).await?;
    phone.register().await?;
    Ok(phone)
}

async fn caller(pbx: &Pbx) -> Result<Phone, lab::phone::PhoneError> {
    Phone::start(PhoneConfig::trunk(pbx.sip(), "4930123456")).await
}

async fn a_caller_reaches_an_agent_through_a_queue(release: Release) -> Outcome {
    let (_tree, _folder, pbx) = pbx_or_skip!(release);
    let agent = agent(&pbx, "1001").await?;
    let caller = caller(&pbx).await?;

    let call = caller.call("800")?;
    call.answered(SOON).await?;
    let offered = agent.next_call(SOON).await?;
    offered.answered(SOON).await?;
    assert!(offered.from().is_some_and(|from| from.contains("4930123456")));
    let heard_audio = |heard: &lab::Heard| heard.sound == Sound::Audio;
    agent.hears(SOON, heard_audio).await?;
    pbx.wait_for_queue_log(SOON, |line| line.event == "CONNECT").await?;
    call.hang_up().await?;
    let ending = offered.ended(SOON).await?;
    assert_eq!(ending.by, lab::phone::Side::Peer);
    let line = pbx.wait_for_queue_log(SOON, |line| line.event == "COMPLETECALLER").await?;
    assert_eq!((line.queue.as_str(), line.agent.as_str()), ("support", "Agent One"));
    Ok(())
}

#[tokio::test]
async fn a_caller_reaches_an_agent_through_a_queue_of_asterisk_22() -> Outcome {
    a_caller_reaches_an_agent_through_a_queue(Release::Asterisk22).await
}

#[tokio::test]
async fn a_caller_reaches_an_agent_through_a_queue_of_asterisk_16() -> Outcome {
    a_caller_reaches_an_agent_through_a_queue(Release::Asterisk16).await
}

#[tokio::test]
async fn a_pbx_that_restarts_or_crashes_comes_back_on_the_same_ports() -> Outcome {
    let (_tree, _folder, mut pbx) = pbx_or_skip!(Release::Asterisk22);
    let ports = pbx.ports();
    let version = pbx.cli("core show version").await?;
    assert!(version.starts_with("Asterisk "), "{version}");
    pbx.restart().await?;
    pbx.kill();
    assert!(pbx.cli("core show version").await.is_err());
    pbx.boot().await?;
    assert_eq!(ports, pbx.ports());
    let _agent = agent(&pbx, "1002").await?;
    Ok(())
}

#[tokio::test]
async fn an_agent_who_is_busy_or_away_is_not_connected() -> Outcome {
    let (_tree, _folder, pbx) = pbx_or_skip!(Release::Asterisk22);
    let agent = agent(&pbx, "1003").await?;
    let caller = caller(&pbx).await?;
    for (answering, status) in [(Answering::Busy, 486), (Answering::Unavailable, 480)] {
        agent.set_answering(answering);
        let ending = caller.call("1003")?.ended(SOON).await?;
        assert_eq!(ending.status, Some(status), "{answering:?}");
    }
    agent.set_answering(Answering::ByHand);
    let call = caller.call("1003")?;
    call.rings(SOON).await?;
    let offered = agent.next_call(SOON).await?;
    call.hang_up().await?;
    assert_eq!(call.ended(SOON).await?.status, Some(487));
    assert_eq!(offered.ended(SOON).await?.status, Some(487));
    Ok(())
}
