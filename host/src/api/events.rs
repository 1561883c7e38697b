//! The event stream: server-sent events with a cursor, filters, heartbeats, and a snapshot when it must be.
//!
//! A stream holds a cursor and nothing else. It reads when its client reads, from memory or from disk, so a slow
//! client costs neither memory nor anybody's time.

use std::{convert::Infallible, fmt::Write, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, Problem,
    extract::{Holder, Params, Read},
};
use crate::{
    journal::Published,
    publish::Read as Events,
    wire::{
        self, Time,
        view::{AgentView, CallView, ExtensionView, QueueView},
    },
};

const HEARTBEAT: Duration = Duration::from_secs(15);
/// A token that was taken back, or has expired, ends its streams within this time, busy or not.
const RECHECK: Duration = Duration::from_secs(10);
/// Events looked at before the client gets what came of them.
const AT_ONCE: usize = 256;
/// Values of one filter.
const MAX_VALUES: usize = 64;

/// Where to begin, and what to leave out.
#[derive(Default, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters, which `Wanted` reads")]
struct StreamParams {
    /// Begin after this event. The header `Last-Event-ID` counts more; without both the stream begins now.
    after: Option<u64>,
    /// Begin with a snapshot of everything.
    snapshot: Option<bool>,
    /// Only these types: exact (`caller.left`) or by prefix (`caller.*`). This and the next may be repeated, or
    /// hold several values with commas.
    #[param(style = Form, explode)]
    r#type: Vec<String>,
    /// Only of these connectors.
    connector: Vec<String>,
    /// Only about these queues, by id.
    queue: Vec<String>,
    /// Only about these agents.
    agent: Vec<String>,
    /// Only about these calls.
    call: Vec<String>,
}

/// The event `snapshot` of the stream: everything that is, so that a client can begin anew from `as_of`.
#[derive(Serialize, ToSchema)]
pub(super) struct Snapshot {
    /// The stream goes on after this event.
    as_of: u64,
    /// `requested`, `too-old`: events after the cursor are no longer kept, or `ahead`: there never was such an
    /// event in this journal.
    reason: &'static str,
    /// The events that cannot be had any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lost: Option<Lost>,
    agents: Vec<AgentView>,
    extensions: Vec<ExtensionView>,
    queues: Vec<QueueView>,
    /// Running calls.
    calls: Vec<CallView>,
    connectors: Vec<SnapshotConnector>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EventsLost)]
struct Lost {
    from: u64,
    to: u64,
}

#[derive(Serialize, ToSchema)]
struct SnapshotConnector {
    id: String,
    connected: bool,
    since: Time,
    reason: String,
}

/// Follows the events. Each has its number as `id`, its type as `event`, and an `Event` as `data`.
///
/// Every 15 s without an event comes a `heartbeat`, whose id is the last event looked at: come back with it as
/// `Last-Event-ID` and no event is missed, whatever the filter.
#[utoipa::path(get, path = "/v1/events", tag = "events", security(("bearer" = ["read"])),
    params(StreamParams, ("Last-Event-ID" = Option<u64>, Header, description = "The last event seen")),
    responses(
        (status = 200, description = "`Event`, `Snapshot` and heartbeats", content(
            (wire::Event = "text/event-stream"), (Snapshot = "text/event-stream; event=snapshot"))),
        (status = 503, description = "Too many streams", body = Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn stream(
    holder: Holder<Read>,
    State(api): State<ApiState>,
    Params(pairs): Params<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(pairs, &headers)?;
    let permit = Arc::clone(&api.streams).try_acquire_owned().map_err(|_| {
        Problem::unavailable("Too many streams are open.", "Close one, or share one among clients.")
    })?;
    let committed = api.publisher.committed();
    let cursor = wanted.after.unwrap_or(*committed.borrow());
    let stopping = api.stopping.clone();
    let stream = Stream {
        api,
        token: holder.0.id,
        filter: wanted.filter,
        cursor,
        snapshot: wanted.snapshot.then_some("requested"),
        greeted: false,
        quiet_until: Instant::now() + HEARTBEAT,
        recheck_at: Instant::now() + RECHECK,
        committed,
        stopping,
        _permit: permit,
    };
    let chunks = futures_util::stream::unfold(stream, |mut stream| async {
        let chunk = stream.next().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

struct Wanted {
    after: Option<u64>,
    snapshot: bool,
    filter: Filter,
}

#[derive(Default)]
struct Filter {
    kinds: Vec<String>,
    connectors: Vec<String>,
    queues: Vec<String>,
    agents: Vec<String>,
    calls: Vec<String>,
}

impl Wanted {
    fn read(pairs: Vec<(String, String)>, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut wanted = Self { after: None, snapshot: false, filter: Filter::default() };
        for (name, value) in pairs {
            let list = match name.as_str() {
                "after" => {
                    wanted.after = Some(number("after", &value)?);
                    continue;
                }
                "snapshot" => {
                    wanted.snapshot = value.parse().map_err(|_| {
                        Problem::bad_request(
                            "Query: snapshot is not true or false.",
                            "Send `snapshot=true`.",
                        )
                    })?;
                    continue;
                }
                "type" => &mut wanted.filter.kinds,
                "connector" => &mut wanted.filter.connectors,
                "queue" => &mut wanted.filter.queues,
                "agent" => &mut wanted.filter.agents,
                "call" => &mut wanted.filter.calls,
                other => {
                    return Err(Problem::bad_request(
                        format!("Query: unknown parameter `{other}`."),
                        "Use `after`, `snapshot`, `type`, `connector`, `queue`, `agent` or `call`.",
                    ));
                }
            };
            list.extend(value.split(',').filter(|one| !one.is_empty()).map(str::to_owned));
            if list.len() > MAX_VALUES {
                let fix = "Give at most 64 values, or filter in the client.";
                return Err(Problem::bad_request(
                    format!("Query: too many values for {name}."),
                    fix,
                ));
            }
        }
        if let Some(id) = headers.get("last-event-id") {
            wanted.after = Some(number("Last-Event-ID", id.to_str().unwrap_or("?"))?);
        }
        wanted.filter.check()?;
        Ok(wanted)
    }
}

fn number(name: &str, text: &str) -> Result<u64, Problem> {
    text.trim().parse().map_err(|_| {
        let fix = "Send the id of the last event you have seen, or 0 for all that are kept.";
        Problem::bad_request(format!("{name}: `{text}` is not the number of an event."), fix)
    })
}

impl Filter {
    fn check(&self) -> Result<(), Problem> {
        let known = |kind: &str| match kind.strip_suffix('*') {
            Some(prefix) => wire::TYPES.iter().any(|known| known.starts_with(prefix)),
            None => wire::TYPES.contains(&kind),
        };
        match self.kinds.iter().find(|kind| !known(kind)) {
            None => Ok(()),
            Some(kind) => Err(Problem::bad_request(
                format!("Query: no event has the type `{kind}`."),
                format!("Use `*`, or one of: {}.", wire::TYPES.join(", ")),
            )),
        }
    }

    fn lets(&self, event: &Published) -> bool {
        let one_of = |wanted: &[String], has: &Option<Box<str>>| {
            wanted.is_empty()
                || has.as_ref().is_some_and(|has| wanted.iter().any(|one| **one == **has))
        };
        let kind = |wanted: &String| match wanted.strip_suffix('*') {
            Some(prefix) => event.kind.starts_with(prefix),
            None => *event.kind == **wanted,
        };
        (self.kinds.is_empty() || self.kinds.iter().any(kind))
            && one_of(&self.connectors, &event.connector)
            && one_of(&self.queues, &event.queue)
            && one_of(&self.agents, &event.agent)
            && one_of(&self.calls, &event.call)
    }
}

struct Stream {
    api: ApiState,
    token: String,
    filter: Filter,
    /// The last event looked at.
    cursor: u64,
    /// Why a snapshot comes next.
    snapshot: Option<&'static str>,
    /// The client has seen a first frame: it knows its cursor.
    greeted: bool,
    quiet_until: Instant,
    recheck_at: Instant,
    committed: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    /// The next bytes for the client; none: the stream ends.
    async fn next(&mut self) -> Option<String> {
        loop {
            if *self.stopping.borrow() || !self.still_welcome() {
                return None;
            }
            if let Some(reason) = self.snapshot.take() {
                return Some(self.take_snapshot(reason));
            }
            if !std::mem::replace(&mut self.greeted, true) {
                // The id before the first event, so that a cut at once loses nothing.
                return Some(self.heartbeat());
            }
            self.committed.borrow_and_update();
            match self.api.publisher.read(self.cursor, AT_ONCE).await {
                Err(error) => {
                    tracing::error!(%error, "a stream ends: the journal cannot be read");
                    return None;
                }
                Ok(Events::TooOld) => self.snapshot = Some("too-old"),
                Ok(Events::Ahead) => self.snapshot = Some("ahead"),
                Ok(Events::Events(events)) => {
                    let nothing_new = events.is_empty();
                    if let Some(frames) = self.frames(&events) {
                        return Some(frames);
                    }
                    if Instant::now() >= self.quiet_until {
                        return Some(self.heartbeat());
                    }
                    if nothing_new {
                        self.wait().await;
                    }
                }
            }
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.committed.changed() => {}
            _ = self.stopping.wait_for(|stopping| *stopping) => {}
            () = tokio::time::sleep_until(self.quiet_until.min(self.recheck_at)) => {}
        }
    }

    fn frames(&mut self, events: &[Arc<Published>]) -> Option<String> {
        self.cursor = events.last()?.seq;
        let mut frames = String::new();
        for event in events.iter().filter(|event| self.filter.lets(event)) {
            let _ = write!(
                frames,
                "id: {}\nevent: {}\ndata: {}\n\n",
                event.seq, event.kind, event.json
            );
        }
        if frames.is_empty() {
            return None;
        }
        self.quiet_until = Instant::now() + HEARTBEAT;
        Some(frames)
    }

    fn heartbeat(&mut self) -> String {
        self.quiet_until = Instant::now() + HEARTBEAT;
        format!("id: {}\nevent: heartbeat\ndata: {{\"as_of\":{}}}\n\n", self.cursor, self.cursor)
    }

    /// A token may have been taken back since.
    fn still_welcome(&mut self) -> bool {
        let now = Instant::now();
        if now < self.recheck_at {
            return true;
        }
        self.recheck_at = now + RECHECK;
        self.api.tokens.still_valid(&self.token, Time::now().into()).unwrap_or(false)
    }

    fn take_snapshot(&mut self, reason: &'static str) -> String {
        let now = Time::now();
        let snapshot = {
            let model = self.api.publisher.model();
            let state = &model.state;
            let lost =
                (reason == "too-old").then(|| Lost { from: self.cursor + 1, to: model.as_of });
            Snapshot {
                as_of: model.as_of,
                reason,
                lost,
                agents: state.agents().map(|person| AgentView::of(state, person)).collect(),
                extensions: state.extensions().map(|line| ExtensionView::of(state, line)).collect(),
                queues: state.queues().map(|queue| QueueView::of(&model, queue, now)).collect(),
                calls: state
                    .calls()
                    .filter(|call| call.ended.is_none())
                    .map(|call| CallView::of(state, call))
                    .collect(),
                connectors: state
                    .connectors()
                    .map(|connector| SnapshotConnector {
                        id: connector.id.to_string(),
                        connected: connector.connected,
                        since: connector.since.into(),
                        reason: connector.reason.clone(),
                    })
                    .collect(),
            }
        };
        self.cursor = snapshot.as_of;
        self.greeted = true;
        self.quiet_until = Instant::now() + HEARTBEAT;
        let json = serde_json::to_string(&snapshot).unwrap_or_default();
        format!("id: {}\nevent: snapshot\ndata: {json}\n\n", snapshot.as_of)
    }
}
