//! Clients of the API that misbehave cost the others nothing.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::time::Duration;

use anyhow::{Result, ensure};
use jackfield_tests::{
    client::{Client, Events},
    floor::SOON,
    ledger::Ledger,
    world::{Jackfield, Site, tree},
};
use lab::{PbxConfig, Phone, PhoneConfig, Release};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::Instant,
};

/// Streams that are opened and never read.
const SLEEPERS: usize = 20;
/// Pauses at the manager interface, each an event or two.
const EVENTS: usize = 1_500;
/// Whoever waits for a client that does not read waits until the host hangs up on it: 30 s.
const HELD_UP: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_not_read_hold_up_nobody() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let mut config = PbxConfig::default();
    config.managers.push(jackfield_tests::ami::account());
    let site = Site::start("hq", &tree, config).await?;
    let jackfield = Jackfield::start(&[site.connector()], "").await?;
    jackfield.connected("hq").await?;
    let mut sleepers = Vec::new();
    for _ in 0..SLEEPERS {
        sleepers.push(sleeper(&jackfield.client).await?);
    }
    let events = jackfield.events().await?;
    // More than fits into the sleepers' socket buffers.
    let mut ami = jackfield_tests::ami::Ami::witness(&site.pbx).await?;
    let reason = "r".repeat(60);
    for number in 0..EVENTS {
        let paused = if number % 2 == 0 { "true" } else { "false" };
        let reason = format!("{number} {reason}");
        let headers = [
            ("Interface", "PJSIP/u001"),
            ("Queue", "load"),
            ("Paused", paused),
            ("Reason", reason.as_str()),
        ];
        ami.action("QueuePause", &headers).await?;
    }
    let told = Instant::now();
    let count =
        |events: &Events| events.all().iter().filter(|seen| seen.kind.ends_with("paused")).count();
    while count(&events) < EVENTS {
        let place = events.place();
        events.next(place, "all pauses", SOON, |_| true).await?;
    }
    println!("{EVENTS} pauses told, the last {:?} after it was made", told.elapsed());
    ensure!(told.elapsed() < HELD_UP, "held up for {:?}", told.elapsed());

    // A call is told at once, and REST answers.
    let agent = Phone::start(PhoneConfig::extension(site.pbx.sip(), "1001")).await?;
    agent.register().await?;
    let caller = Phone::start(PhoneConfig::trunk(site.pbx.sip(), "0301234567")).await?;
    let place = events.place();
    let call = caller.call("800")?;
    agent.next_call(SOON).await?.answered(SOON).await?;
    let answered = Instant::now();
    events.next(place, "the conversation", SOON, |seen| seen.kind == "service.started").await?;
    println!("a conversation told {:?} after it began", answered.elapsed());
    ensure!(answered.elapsed() < HELD_UP, "{:?}", answered.elapsed());
    jackfield.client.get("/v1/calls").await?;
    call.hang_up().await?;
    let ledger = Ledger::quiet(&[], &events, SOON).await?;
    ensure!(ledger.broken.is_empty(), "{:?}", ledger.broken);
    drop(sleepers);
    Ok(())
}

/// Asks for all events and never reads.
async fn sleeper(client: &Client) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(client.address).await?;
    let request = format!(
        "GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        client.token
    );
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_a_pbx_answers_and_refuses_as_it_should() -> Result<()> {
    let jackfield = Jackfield::start(&[], "").await?;
    let client = &jackfield.client;
    for path in [
        "/healthz",
        "/readyz",
        "/v1/version",
        "/v1/connectors",
        "/v1/agents",
        "/v1/queues",
        "/v1/calls",
        "/v1/extensions",
        "/v1/plugins",
        "/openapi.json",
    ] {
        client.get(path).await?;
    }
    let stranger = Client { token: String::new(), ..client.clone() };
    let liar = Client { token: "x".repeat(43), ..client.clone() };
    for (who, expected) in [(&stranger, 401), (&liar, 401)] {
        let answer = who.request("GET", "/v1/calls", &[], None).await?;
        ensure!(answer.status == expected, "{} {}", answer.status, answer.body);
        ensure!(answer.body["detail"].is_string(), "no problem: {}", answer.body);
    }
    let nobody = client.request("GET", "/v1/agents/nobody", &[], None).await?;
    ensure!(nobody.status == 404, "{}", nobody.body);
    let wrong =
        client.request("PUT", "/v1/agents/a", &[], Some(&serde_json::json!({ "nam": 1 }))).await?;
    ensure!((400..500).contains(&wrong.status), "{} {}", wrong.status, wrong.body);
    Ok(())
}
