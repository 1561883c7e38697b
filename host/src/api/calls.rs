//! Calls: running and ended, with everything that happened to them.

use ::calls::CallId;
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    connectors::wanted,
    extract::{Holder, None, Paging, Params, Read},
};
use crate::{
    journal::StoreError,
    wire::{
        self, NotAnEvent,
        view::{CallView, One, Page},
    },
};

/// Events of a call in one answer; the stream with `?call=` has the rest.
const MAX_EVENTS: usize = 5_000;

/// A call and its events.
#[derive(Serialize, ToSchema)]
pub(super) struct CallWithEvents {
    #[serde(flatten)]
    call: CallView,
    /// What happened to it, oldest first; the first 5,000.
    events: Vec<wire::Event>,
}

/// Running calls and those that ended a short while ago.
#[utoipa::path(get, path = "/v1/calls", tag = "calls", security(("bearer" = ["read"])),
    params(Paging), responses((status = 200, body = Page<CallView>)))]
pub(super) async fn list(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Params(paging): Params<Paging>,
) -> Result<Json<Page<CallView>>, Problem> {
    let model = api.publisher.model();
    let state = &model.state;
    let all = state.calls().filter(|call| wanted(&paging.connector, &call.connector));
    let page = paging.page(
        model.as_of,
        all,
        |call| call.id.to_string(),
        |call| CallView::of(state, call),
    )?;
    Ok(Json(page))
}

/// One call with its legs, waits and events; also an old one, as long as its events are kept.
#[utoipa::path(get, path = "/v1/calls/{id}", tag = "calls", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 200, body = One<CallWithEvents>)))]
pub(super) async fn one(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<CallWithEvents>>, Problem> {
    let call: CallId = id.parse().map_err(|_| missing(&id))?;
    let events = events_of(&api, call).await?;
    let (as_of, known) = {
        let model = api.publisher.model();
        let known = model.state.call(call).map(|found| CallView::of(&model.state, found));
        (model.as_of, known)
    };
    let view = known.or_else(|| remembered(call, &events)).ok_or_else(|| missing(&id))?;
    Ok(Json(One { as_of, item: CallWithEvents { call: view, events } }))
}

/// What happened to a call, oldest first; the first [`MAX_EVENTS`].
pub(super) async fn events_of(api: &ApiState, call: CallId) -> Result<Vec<wire::Event>, Problem> {
    let rows = api.publisher.of_call(call, 0, MAX_EVENTS).await?;
    let events: Result<Vec<wire::Event>, _> =
        rows.iter().map(|row| serde_json::from_str(&row.json)).collect();
    Ok(events.map_err(NotAnEvent::from).map_err(StoreError::from)?)
}

/// Nobody knows this call.
pub(super) fn missing(id: &str) -> Problem {
    let fix = "GET /v1/calls lists running and recent calls; events of old ones may be gone.";
    Problem::not_found(format_args!("call `{id}`"), fix)
}

/// A call that is no longer in the state, as its events tell it.
fn remembered(id: CallId, events: &[wire::Event]) -> Option<CallView> {
    let mut state = ::calls::State::default();
    for event in events {
        state.apply(&event.clone().try_into().ok()?);
    }
    state.call(id).map(|call| CallView::of(&state, call))
}
