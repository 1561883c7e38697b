//! Commands: asking, waiting for the end, looking back.

use std::time::Duration;

use ::calls::{Accepted, CommandId, Request};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    extract::{Holder, Manner, None, Params, Read},
    system,
};
use crate::wire::view::{CommandView, One};

/// How long a command may take before it ends as `timed-out`.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the journal may take for an acceptance.
const COMMIT: Duration = Duration::from_secs(10);

/// What a request became.
#[derive(Serialize, ToSchema)]
pub(super) struct Answer {
    /// The acceptance is committed as this event, or one before.
    as_of: u64,
    /// One per connector and seat; empty when the PBX had nothing to do.
    #[schema(example = json!(["cmd-30"]))]
    command_ids: Vec<String>,
    /// The idempotency key was used before: nothing was done again.
    repeated: bool,
    /// As they are now.
    commands: Vec<CommandView>,
}

/// One command, under way or ended a while ago.
#[utoipa::path(get, path = "/v1/commands/{id}", tag = "commands", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "Id of the command")),
    responses((status = 200, body = One<CommandView>)))]
pub(super) async fn one(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<CommandView>>, Problem> {
    let model = api.publisher.model();
    let found = id.parse().ok().and_then(|id| model.state.command(id));
    let command = found.ok_or_else(|| {
        Problem::not_found(
            format_args!("command `{id}`"),
            "Ended commands are kept for a while; look into the events for older ones.",
        )
    })?;
    Ok(Json(One { as_of: model.as_of, item: CommandView::of(command) }))
}

/// Asks the switch and waits until the acceptance is on disk.
pub(super) async fn accepted<S>(
    api: &ApiState,
    holder: &Holder<S>,
    request: Request,
) -> Result<Accepted, Problem> {
    system::writable(api)?;
    let accepted = (api.switch.decide)(request, holder.actor()).await?;
    let mut committed = api.publisher.committed();
    let on_disk = committed.wait_for(|committed| *committed >= accepted.seq);
    match tokio::time::timeout(COMMIT, on_disk).await {
        Ok(_) => Ok(accepted),
        Err(_) => Err(Problem::unavailable(
            "It was understood, and the journal has not written it yet: it may still happen.",
            "Free space on the disk of the journal; ask again with the same `Idempotency-Key`.",
        )),
    }
}

/// The whole way of a command: asked, accepted, perhaps ended; then the answer.
pub(super) async fn carried_out<S>(
    api: &ApiState,
    holder: &Holder<S>,
    manner: &Manner,
    request: Request,
) -> Result<Response, Problem> {
    let accepted = accepted(api, holder, request).await?;
    let ended = !manner.wait.is_zero() && ended(api, &accepted.commands, manner.wait).await;
    let answer = {
        let model = api.publisher.model();
        let commands = accepted.commands.iter().filter_map(|id| model.state.command(*id));
        Answer {
            as_of: model.as_of,
            command_ids: accepted.commands.iter().map(ToString::to_string).collect(),
            repeated: accepted.repeated,
            commands: commands.map(CommandView::of).collect(),
        }
    };
    let status = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(answer)).into_response();
    if !manner.wait.is_zero() {
        response.headers_mut().insert("preference-applied", HeaderValue::from_static("wait"));
    }
    Ok(response)
}

/// Waits until all have ended. False: not within that time.
async fn ended(api: &ApiState, commands: &[CommandId], wait: Duration) -> bool {
    let until = Instant::now() + wait;
    let mut committed = api.publisher.committed();
    let mut stopping = api.stopping.clone();
    loop {
        committed.borrow_and_update();
        let all = {
            let state = &api.publisher.model().state;
            commands
                .iter()
                .all(|id| state.command(*id).is_none_or(|command| command.ended.is_some()))
        };
        if all {
            return true;
        }
        tokio::select! {
            _ = committed.changed() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return false,
            () = tokio::time::sleep_until(until) => return false,
        }
    }
}
