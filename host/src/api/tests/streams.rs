//! Streams over real sockets.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::world::{World, caller, gone, leg};
use crate::{
    api::serve::{Listener, WriteDeadline},
    tokens::Scope,
};

/// One frame of a stream.
#[derive(Debug, PartialEq)]
struct Frame {
    id: u64,
    event: String,
    data: serde_json::Value,
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn open(world: &World, query: &str, last: Option<u64>) -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let router = world.router.clone();
        tokio::spawn(async move { axum::serve(Listener(socket), router).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let token = world.token(Scope::Read);
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /v1/events{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{last}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut client = Self(BufReader::new(stream));
        let status = client.line().await;
        assert!(status.contains(" 200 "), "{status}");
        while !client.line().await.is_empty() {}
        client
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    async fn frame(&mut self) -> Frame {
        let mut frame = Frame { id: 0, event: String::new(), data: serde_json::Value::Null };
        loop {
            let line = self.line().await;
            if let Some(id) = line.strip_prefix("id: ") {
                frame.id = id.parse().unwrap();
            } else if let Some(event) = line.strip_prefix("event: ") {
                frame.event = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                frame.data = serde_json::from_str(data).unwrap();
                return frame;
            }
        }
    }
}

#[tokio::test]
async fn a_stream_goes_on_from_its_cursor_without_a_gap() {
    let world = World::busy().await;
    let last = *world.state.publisher.committed().borrow();
    let mut client = Client::open(&world, "?after=0", None).await;
    assert_eq!(client.frame().await.event, "heartbeat");
    for expected in 1..=last {
        let frame = client.frame().await;
        assert_eq!((frame.id, frame.data["seq"].as_u64()), (expected, Some(expected)));
        assert_eq!(frame.data["type"], frame.event);
    }
    world.core.lock().unwrap().facts("hq", gone("c1"));
    world.settle().await;
    assert_eq!(client.frame().await.id, last + 1);
    let mut again = Client::open(&world, "?after=1", Some(last)).await;
    assert_eq!(again.frame().await.id, last);
    assert_eq!(again.frame().await.id, last + 1, "the header counts more than the query");
}

#[tokio::test]
async fn filters_let_through_what_was_asked_for() {
    let world = World::busy().await;
    let mut client =
        Client::open(&world, "?after=0&type=caller.*,call.started&connector=hq", None).await;
    client.frame().await;
    let first = client.frame().await;
    let second = client.frame().await;
    assert_eq!((first.event.as_str(), second.event.as_str()), ("call.started", "caller.joined"));
    let queue = second.data["queue"].as_str().unwrap();
    world.core.lock().unwrap().facts("hq", gone("c1"));
    world.settle().await;
    assert_eq!(client.frame().await.event, "caller.left");
    let mut by_queue =
        Client::open(&world, &format!("?after=0&queue={queue}&type=caller.left"), None).await;
    by_queue.frame().await;
    assert_eq!(by_queue.frame().await.event, "caller.left");
}

#[tokio::test]
async fn a_cursor_from_elsewhere_gets_a_snapshot_that_says_why() {
    let world = World::busy().await;
    let last = *world.state.publisher.committed().borrow();
    let mut client = Client::open(&world, "", Some(last + 1_000)).await;
    assert_eq!(client.frame().await.event, "heartbeat");
    let snapshot = client.frame().await;
    assert_eq!((snapshot.event.as_str(), snapshot.id), ("snapshot", last));
    assert_eq!(snapshot.data["reason"], "ahead");
    assert_eq!(snapshot.data["queues"].as_array().unwrap().len(), 2);
    world.core.lock().unwrap().facts("hq", gone("c1"));
    world.settle().await;
    assert_eq!(client.frame().await.id, last + 1);
}

#[tokio::test]
async fn the_number_of_streams_is_bounded() {
    let world = World::with(1, Vec::new());
    let _one = Client::open(&world, "", None).await;
    let token = world.token(Scope::Read);
    let (status, problem) = world.ask("GET", "/v1/events", &token, None).await;
    assert_eq!(status, 503, "{problem}");
}

#[tokio::test]
async fn a_stop_ends_streams() {
    let world = World::busy().await;
    let mut client = Client::open(&world, "", None).await;
    client.frame().await;
    world.stop.send_replace(true);
    // The last chunk; the connection itself is the server's to close.
    while client.line().await != "0" {}
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_back() {
    let world = World::busy().await;
    let _deaf = Client::open(&world, "?after=0", None).await;
    let mut client = Client::open(&world, "?type=caller.left", None).await;
    client.frame().await;
    for round in 0..200 {
        let native = format!("x{round}");
        {
            let mut core = world.core.lock().unwrap();
            core.facts("hq", vec![leg(&native), caller(&native, 2)]);
            core.facts("hq", gone(&native));
        }
        world.settle().await;
    }
    for _ in 0..200 {
        assert_eq!(client.frame().await.event, "caller.left");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_too_long_ends_the_connection() {
    let (near, _far) = tokio::io::duplex(8);
    let mut near = WriteDeadline::with_limit(near, Duration::from_secs(30));
    let started = tokio::time::Instant::now();
    let error = near.write_all(&[0; 64]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_nothing_or_too_slowly_is_hung_up_on() {
    let (near, mut far) = tokio::io::duplex(64);
    let mut near = WriteDeadline::new(near);
    let started = tokio::time::Instant::now();
    let dribble = tokio::spawn(async move {
        while far.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
    });
    let mut byte = [0];
    let error = loop {
        if let Err(error) = tokio::io::AsyncReadExt::read_exact(&mut near, &mut byte).await {
            break error;
        }
        if started.elapsed().as_secs() == 40 {
            near.write_all(b"answer").await.unwrap();
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(started.elapsed().as_secs(), 40 + 75);
    dribble.abort();
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_beats_with_the_last_event_looked_at() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let request = super::world::request("GET", "/v1/events?type=caller.left", &token, None);
    let response = tower::ServiceExt::oneshot(world.router.clone(), request).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    for _ in 0..3 {
        let chunk = futures_util::StreamExt::next(&mut body).await.unwrap().unwrap();
        assert_eq!(chunk, "id: 0\nevent: heartbeat\ndata: {\"as_of\":0}\n\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_taken_back_ends_a_busy_stream_too() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let request = super::world::request("GET", "/v1/events", &token, None);
    let response = tower::ServiceExt::oneshot(world.router.clone(), request).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let name = world.state.tokens.list().unwrap()[0].name.clone();
    world.state.tokens.revoke(&name, crate::wire::Time::now().into()).unwrap();
    world.core.lock().unwrap().connect();
    let revoked = tokio::time::Instant::now();
    for round in 0.. {
        world.core.lock().unwrap().facts("hq", vec![leg(&format!("x{round}"))]);
        world.settle().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        if futures_util::StreamExt::next(&mut body).await.is_none() {
            break;
        }
        assert!(revoked.elapsed() < Duration::from_secs(15), "it still hears of calls");
    }
}
