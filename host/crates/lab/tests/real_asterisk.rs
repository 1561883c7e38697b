//! The lab itself, on a real Asterisk: what every other end-to-end test builds upon.

use std::{path::Path, time::Duration};

use lab::{
    Answering, Call, Heard, ManagerUser, Pbx, PbxConfig, Phone, PhoneConfig, Release, Scenario,
    Sipp, Sound, Tree,
    phone::{PhoneError, Side},
    until,
};

/// Generous: a test machine may be busy with other tests.
const SOON: Duration = Duration::from_secs(20);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A started PBX in a folder of its own, or a loud skip.
macro_rules! pbx_or_skip {
    ($release:expr) => {
        pbx_or_skip!($release, PbxConfig::default())
    };
    ($release:expr, $config:expr) => {{
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/lab");
        let Some(tree) = Tree::for_tests($release, &cache) else { return Ok(()) };
        let folder = tempfile::tempdir()?;
        let pbx = Pbx::start(&tree, folder.path(), $config).await?;
        (tree, folder, pbx)
    }};
}

async fn agent(pbx: &Pbx, extension: &str) -> Result<Phone, PhoneError> {
    let phone = Phone::start(PhoneConfig::extension(pbx.sip(), extension)).await?;
    phone.register().await?;
    Ok(phone)
}

async fn caller(pbx: &Pbx) -> Result<Phone, PhoneError> {
    Phone::start(PhoneConfig::trunk(pbx.sip(), "4930123456")).await
}

/// An answered phone is in the conversation a moment later, when it hears the other side. Before that Asterisk
/// refuses to transfer it.
async fn in_conversation(phone: &Phone, call: &Call) -> Result<(), PhoneError> {
    let of_call = |heard: &Heard| heard.sound == Sound::Audio && heard.call_id == call.call_id();
    phone.hears(SOON, of_call).await.map(drop)
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
    let heard_audio = |heard: &Heard| heard.sound == Sound::Audio;
    agent.hears(SOON, heard_audio).await?;
    pbx.wait_for_queue_log(SOON, |line| line.event == "CONNECT").await?;
    call.hang_up().await?;
    let ending = offered.ended(SOON).await?;
    assert_eq!(ending.by, Side::Peer);
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
    let complaints = std::fs::read_to_string(pbx.folder().join("log/messages"))?;
    assert!(!complaints.contains("ERROR"), "{complaints}");
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

#[tokio::test]
async fn an_agent_holds_transfers_and_consults() -> Outcome {
    let (_tree, _folder, pbx) = pbx_or_skip!(Release::Asterisk22);
    let first = agent(&pbx, "1001").await?;
    let second = agent(&pbx, "1003").await?;
    let caller = caller(&pbx).await?;

    // Hold, then a blind transfer.
    let call = caller.call("800")?;
    call.answered(SOON).await?;
    let offered = first.next_call(SOON).await?;
    offered.answered(SOON).await?;
    pbx.wait_for_queue_log(SOON, |line| line.event == "CONNECT").await?;
    in_conversation(&first, &offered).await?;
    offered.hold().await?;
    offered.unhold().await?;
    offered.transfer("1003").await?;
    let transferred = second.next_call(SOON).await?;
    transferred.answered(SOON).await?;
    offered.ended(SOON).await?;
    assert!(call.is_up());
    pbx.wait_for_queue_log(SOON, |line| line.event == "BLINDTRANSFER").await?;
    transferred.hang_up().await?;
    assert_eq!(call.ended(SOON).await?.by, Side::Peer);

    // A consultation, then an attended transfer.
    let call = caller.call("800")?;
    call.answered(SOON).await?;
    let offered = first.next_call(SOON).await?;
    offered.answered(SOON).await?;
    in_conversation(&first, &offered).await?;
    offered.hold().await?;
    let consultation = first.call("1003")?;
    consultation.answered(SOON).await?;
    let consulted = second.next_call(SOON).await?;
    in_conversation(&second, &consulted).await?;
    offered.transfer_to(&consultation).await?;
    offered.ended(SOON).await?;
    consultation.ended(SOON).await?;
    assert!(call.is_up() && consulted.is_up());
    pbx.wait_for_queue_log(SOON, |line| line.event == "ATTENDEDTRANSFER").await?;
    call.hang_up().await?;
    consulted.ended(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn every_way_out_of_a_queue_is_there() -> Outcome {
    let (_tree, _folder, pbx) = pbx_or_skip!(Release::Asterisk22);
    let caller = caller(&pbx).await?;
    let holds_the_place = caller.call("810")?;
    holds_the_place.answered(SOON).await?;
    pbx.wait_for_queue_log(SOON, |line| line.event == "ENTERQUEUE").await?;
    for (number, status) in
        [("810", "FULL"), ("811", "JOINEMPTY"), ("812", "LEAVEEMPTY"), ("813", "TIMEOUT")]
    {
        let ended = caller.call(number)?.ended(SOON).await;
        ended.map_err(|error| format!("{number}: {error}\n{}", pbx.log_end()))?;
        // Asterisk's log is written behind its back, after the BYE.
        let log = pbx.folder().join("log/full");
        until(SOON, status, async || {
            let logged = std::fs::read_to_string(&log)?.contains(&format!("QUEUESTATUS={status}"));
            logged.then_some(()).ok_or(std::io::Error::other("no word of it in Asterisk's log"))
        })
        .await?;
    }
    let call = caller.call("800")?;
    call.answered(SOON).await?;
    pbx.wait_for_queue_log(SOON, |line| line.event == "ENTERQUEUE" && line.queue == "support")
        .await?;
    call.press("2").await?;
    let left = pbx.wait_for_queue_log(SOON, |line| line.event == "EXITWITHKEY").await?;
    assert_eq!(
        (left.queue.as_str(), left.data.first().map(String::as_str)),
        ("support", Some("2"))
    );
    pbx.wait_for_queue_log(SOON, |line| line.event == "ENTERQUEUE" && line.queue == "sales")
        .await?;
    Ok(())
}

#[tokio::test]
async fn members_as_freepbx_makes_them_follow_their_phones() -> Outcome {
    let (_tree, _folder, pbx) = pbx_or_skip!(Release::Asterisk22);
    // A hint learns of its phone in Asterisk's own time.
    until(SOON, "the member whose phone is away", async || {
        let members = pbx.cli("queue show local").await.map_err(|error| error.to_string())?;
        let is_there = members.contains("Local/1005@from-queue/n from hint:1005@ext-local")
            && members.contains("(Unavailable)");
        if is_there { Ok(()) } else { Err(members) }
    })
    .await?;
    let agent = agent(&pbx, "1005").await?;
    let caller = caller(&pbx).await?;
    let call = caller.call("804")?;
    agent.next_call(SOON).await?.answered(SOON).await?;
    let line = pbx.wait_for_queue_log(SOON, |line| line.event == "CONNECT").await?;
    assert_eq!(line.agent, "Agent Five");
    call.hang_up().await?;
    Ok(())
}

#[tokio::test]
async fn keys_and_raw_from_users_go_through_as_they_are() -> Outcome {
    let (_tree, _folder, pbx) = pbx_or_skip!(Release::Asterisk22);
    let agent = agent(&pbx, "1004").await?;
    let config = PhoneConfig {
        from_user: Some("5%0D%0A%0D%0AEvent%3A%20Forged".to_owned()),
        display_name: Some("Mallory".to_owned()),
        ..PhoneConfig::trunk(pbx.sip(), "5")
    };
    let caller = Phone::start(config).await?;
    let call = caller.call("1004")?;
    let offered = agent.next_call(SOON).await?;
    offered.answered(SOON).await?;
    call.answered(SOON).await?;
    let from = offered.from().unwrap_or_default();
    assert!(from.contains("Mallory") && from.contains("Forged"), "{from}");
    call.press("12#").await?;
    for digit in ['1', '2', '#'] {
        agent.hears(SOON, |heard| heard.sound == Sound::Digit(digit)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn sipp_calls_agents_of_asterisk_22_without_a_failure() -> Outcome {
    sipp_calls_agents_without_a_failure(Release::Asterisk22).await
}

/// The tree brings a sipp years older.
#[tokio::test]
async fn sipp_calls_agents_of_asterisk_16_without_a_failure() -> Outcome {
    sipp_calls_agents_without_a_failure(Release::Asterisk16).await
}

async fn sipp_calls_agents_without_a_failure(release: Release) -> Outcome {
    let (tree, folder, pbx) = pbx_or_skip!(release);
    let agents = Sipp::agents(pbx.ports().load_agents);
    let agents = agents.start(&tree, pbx.sip(), folder.path())?;
    let callers = Sipp { keeps_messages: true, ..Sipp::callers("803", 5) };
    let report = callers.run(&tree, pbx.sip(), folder.path()).await?;
    assert_eq!((report.successful, report.failed), (5, 0), "{}", report.errors);
    assert!(report.messages.is_some_and(|messages| messages.contains("INVITE sip:803@")));
    let talked = || pbx.queue_log().iter().filter(|line| line.event == "COMPLETECALLER").count();
    until(SOON, "five conversations", async || match talked() {
        5 => Ok(()),
        other => Err(other),
    })
    .await?;
    let answered = agents.stop().await?;
    assert_eq!(answered.failed, 0, "{}", answered.errors);

    let phone = agent(&pbx, "1001").await?;
    phone.set_answering(Answering::ByHand);
    let cancelling = Sipp { scenario: Scenario::CallerCancels, ..Sipp::callers("805", 1) };
    let report = cancelling.run(&tree, pbx.sip(), folder.path()).await?;
    assert_eq!((report.successful, report.failed), (1, 0), "{}", report.errors);
    pbx.wait_for_queue_log(SOON, |line| line.event == "ABANDON").await?;
    Ok(())
}

#[tokio::test]
async fn a_pbx_may_have_other_accounts_a_name_and_tls() -> Outcome {
    let config = PbxConfig {
        managers: vec![ManagerUser::minimal("watcher", "w")],
        ami_tls: true,
        timestampevents: true,
        systemname: Some("lab7".to_owned()),
        ..PbxConfig::default()
    };
    let (_tree, _folder, pbx) = pbx_or_skip!(Release::Asterisk22, config);
    let users = pbx.cli("manager show users").await?;
    assert!(users.contains("watcher") && !users.contains("jackfield"), "{users}");
    assert!(pbx.cli("core show settings").await?.contains("lab7"));
    let certificate = std::fs::read_to_string(pbx.certificate())?;
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    let address = pbx.ami_tls().ok_or("no TLS")?;
    tokio::net::TcpStream::connect(address).await?;
    Ok(())
}

/// Every socket of the process, by what the kernel says.
#[tokio::test]
async fn everything_stays_on_loopback() -> Outcome {
    let (_tree, _folder, pbx) = pbx_or_skip!(Release::Asterisk22);
    let caller = caller(&pbx).await?;
    let call = caller.call("501")?;
    call.answered(SOON).await?;
    caller.hears(SOON, |heard| heard.sound == Sound::Audio).await?;
    let pid = pbx.pid().ok_or("not running")?;
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.into()))
        .collect();
    let mut seen = 0;
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(address), Some(inode)) = (words.get(1), words.get(9)) else { continue };
            if !own.iter().any(|socket| socket == inode) {
                continue;
            }
            let port = address.rsplit(':').next().and_then(|p| u16::from_str_radix(p, 16).ok());
            // PJSIP's DNS client: a port of the system's choice, nobody is told of it.
            let is_client = table.starts_with("udp") && port.is_some_and(|port| port >= 32_768);
            assert!(address.starts_with("0100007F:") || is_client, "{table}: {line}");
            seen += usize::from(!is_client);
        }
    }
    assert!(seen >= 4, "AMI, SIP twice and media, but saw {seen}");
    Ok(())
}

/// A test that is killed runs no destructor; the guard process does its work.
#[tokio::test]
async fn no_asterisk_outlives_a_process_that_is_killed() -> Outcome {
    const CHILD: &str = "LAB_TEST_CHILD_FOLDER";
    if let Some(folder) = std::env::var_os(CHILD) {
        let folder = Path::new(&folder);
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/lab");
        let Some(tree) = Tree::for_tests(Release::Asterisk22, &cache) else { return Ok(()) };
        let pbx = Pbx::start(&tree, folder, PbxConfig::default()).await?;
        std::fs::write(folder.join("pid"), pbx.pid().unwrap_or(0).to_string())?;
        std::future::pending::<()>().await;
    }
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/lab");
    if Tree::for_tests(Release::Asterisk22, &cache).is_none() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "no_asterisk_outlives_a_process_that_is_killed"])
        .env(CHILD, folder.path())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let pid_file = folder.path().join("pid");
    let pid = until(3 * SOON, "the child's Asterisk", async || {
        std::fs::read_to_string(&pid_file)?.parse::<u32>().map_err(std::io::Error::other)
    });
    let process = Path::new("/proc").join(pid.await?.to_string()).join("exe");
    let is_gone = || if process.exists() { Err("it runs") } else { Ok(()) };
    assert!(is_gone().is_err());
    child.kill().await?;
    until(SOON, "the end of Asterisk", async || is_gone()).await?;
    Ok(())
}
