//! Queues: members, callers, figures; and changing who sits there.

use ::calls::{QueueId, State as CallState, state};
use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, Problem, commands,
    connectors::{self, wanted},
    extensions::{Named, only},
    extract::{self, Control, Holder, Manner, Paging, Params, Read},
};
use crate::wire::{
    Time,
    view::{One, Page, QueueView},
};

/// All queues.
#[utoipa::path(get, path = "/v1/queues", tag = "queues", security(("bearer" = ["read"])),
    params(Paging), responses((status = 200, body = Page<QueueView>)))]
pub(super) async fn list(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Params(paging): Params<Paging>,
) -> Result<Json<Page<QueueView>>, Problem> {
    let now = Time::now();
    let model = api.publisher.model();
    let all = model.state.queues().filter(|queue| wanted(&paging.connector, &queue.connector));
    let page = paging.page(
        model.as_of,
        all,
        |queue| queue.id.to_string(),
        |queue| QueueView::of(&model, queue, now),
    )?;
    Ok(Json(page))
}

/// One queue, by id or by name.
#[utoipa::path(get, path = "/v1/queues/{id}", tag = "queues", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "Id, or native name when only one connector has it"), Named),
    responses((status = 200, body = One<QueueView>)))]
pub(super) async fn one(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    Params(named): Params<Named>,
) -> Result<Json<One<QueueView>>, Problem> {
    let model = api.publisher.model();
    let queue = found(&model.state, &id, &named)?;
    Ok(Json(One { as_of: model.as_of, item: QueueView::of(&model, queue, Time::now()) }))
}

fn found<'s>(state: &'s CallState, id: &str, named: &Named) -> Result<&'s state::Queue, Problem> {
    match id.parse().ok().and_then(|id| state.queue(id)) {
        Some(queue) if wanted(&named.connector, &queue.connector) => Ok(queue),
        _ => {
            let all = state.queues().filter(|queue| queue.settings.name == id);
            only("queue", id, named, all, |queue| &queue.connector)
        }
    }
}

/// The id behind an id or a name.
pub(super) fn id(api: &ApiState, text: &str) -> Result<QueueId, Problem> {
    let model = api.publisher.model();
    Ok(found(&model.state, text, &Named { connector: Option::None })?.id)
}

/// Connector and native name.
fn place(api: &ApiState, id: &str, connector: Option<String>) -> Result<(String, String), Problem> {
    let model = api.publisher.model();
    let queue = found(&model.state, id, &Named { connector })?;
    Ok((queue.connector.to_string(), queue.settings.name.clone()))
}

/// A new seat.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddMember {
    /// What the queue dials.
    #[schema(example = "PJSIP/1001")]
    interface: String,
    /// What tells the state; absent: the interface itself.
    state_interface: Option<String>,
    /// Display name.
    name: Option<String>,
    /// Higher is asked later.
    #[serde(default)]
    penalty: u32,
    /// Gets no offers yet.
    #[serde(default)]
    paused: bool,
    /// Why it is paused.
    reason: Option<String>,
}

/// Adds a seat to a queue.
#[utoipa::path(post, path = "/v1/queues/{id}/members", tag = "queues", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "Id or name of the queue"), Named), request_body = AddMember,
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn add(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    Params(Named { connector }): Params<Named>,
    manner: Manner,
    extract::Json(member): extract::Json<AddMember>,
) -> Result<Response, Problem> {
    let (connector, queue) = place(&api, &id, connector)?;
    let mut arguments = arguments(queue, member.interface);
    arguments.push(("penalty".to_owned(), member.penalty.to_string()));
    let optional = [
        ("state_interface", member.state_interface),
        ("name", member.name),
        ("paused", member.paused.then(|| "true".to_owned())),
        ("reason", member.reason),
    ];
    let given = optional.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
    arguments.extend(given);
    connectors::command(&api, &holder, &manner, &connector, "member-add", arguments).await
}

fn arguments(queue: String, interface: String) -> Vec<(String, String)> {
    vec![("queue".to_owned(), queue), ("interface".to_owned(), interface)]
}

/// Which seat.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// What the queue dials.
    #[param(example = "PJSIP/1001")]
    interface: String,
    /// The connector, when the path holds a native name that several have.
    connector: Option<String>,
}

/// Takes a seat out of a queue.
#[utoipa::path(delete, path = "/v1/queues/{id}/members", tag = "queues", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "Id or name of the queue"), Which),
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn remove(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    Params(Which { interface, connector }): Params<Which>,
    manner: Manner,
) -> Result<Response, Problem> {
    let (connector, queue) = place(&api, &id, connector)?;
    let arguments = arguments(queue, interface);
    connectors::command(&api, &holder, &manner, &connector, "member-remove", arguments).await
}

/// Which seat, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseMember {
    /// What the queue dials.
    #[schema(example = "PJSIP/1001")]
    interface: String,
    /// Why, as the PBX and reports show it.
    #[serde(default)]
    #[schema(example = "lunch")]
    reason: String,
}

/// No offers for a seat.
#[utoipa::path(post, path = "/v1/queues/{id}/members/pause", tag = "queues", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "Id or name of the queue"), Named), request_body = PauseMember,
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn pause(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    Params(Named { connector }): Params<Named>,
    manner: Manner,
    extract::Json(PauseMember { interface, reason }): extract::Json<PauseMember>,
) -> Result<Response, Problem> {
    let (connector, queue) = place(&api, &id, connector)?;
    let mut arguments = arguments(queue, interface);
    arguments.push(("reason".to_owned(), reason));
    connectors::command(&api, &holder, &manner, &connector, "pause", arguments).await
}

/// Which seat.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnpauseMember {
    /// What the queue dials.
    #[schema(example = "PJSIP/1001")]
    interface: String,
}

/// Offers again for a seat.
#[utoipa::path(post, path = "/v1/queues/{id}/members/unpause", tag = "queues", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "Id or name of the queue"), Named), request_body = UnpauseMember,
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn unpause(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    Params(Named { connector }): Params<Named>,
    manner: Manner,
    extract::Json(UnpauseMember { interface }): extract::Json<UnpauseMember>,
) -> Result<Response, Problem> {
    let (connector, queue) = place(&api, &id, connector)?;
    let arguments = arguments(queue, interface);
    connectors::command(&api, &holder, &manner, &connector, "unpause", arguments).await
}
