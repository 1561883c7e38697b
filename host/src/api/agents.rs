//! Agents: people who answer, and what can be done for them.

use std::collections::BTreeMap;

use ::calls::{AgentId, Request, event};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    commands::{self, TIMEOUT},
    extract::{self, Admin, Control, Holder, Manner, None, Paging, Params, Read},
    queues,
};
use crate::wire::{
    Device,
    view::{AgentView, One, Page},
};

/// All agents. With `connector`: those who have a line there.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", security(("bearer" = ["read"])),
    params(Paging), responses((status = 200, body = Page<AgentView>)))]
pub(super) async fn list(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Params(paging): Params<Paging>,
) -> Result<Json<Page<AgentView>>, Problem> {
    let model = api.publisher.model();
    let state = &model.state;
    let all = state.agents().filter(|person| {
        let mut at = person.agent.devices.iter().map(|device| device.connector.as_str());
        paging.connector.as_deref().is_none_or(|only| at.any(|connector| connector == only))
    });
    let page = paging.page(
        model.as_of,
        all,
        |person| person.agent.id.to_string(),
        |person| AgentView::of(state, person),
    )?;
    Ok(Json(page))
}

/// One agent.
#[utoipa::path(get, path = "/v1/agents/{id}", tag = "agents", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "Id of the agent")),
    responses((status = 200, body = One<AgentView>)))]
pub(super) async fn one(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<AgentView>>, Problem> {
    Ok(Json(found(&api, &id)?))
}

fn found(api: &ApiState, id: &str) -> Result<One<AgentView>, Problem> {
    let model = api.publisher.model();
    let person = model.state.agent(&id.into()).ok_or_else(|| {
        Problem::not_found(
            format_args!("agent `{id}`"),
            "GET /v1/agents lists them; PUT makes one.",
        )
    })?;
    Ok(One { as_of: model.as_of, item: AgentView::of(&model.state, person) })
}

/// Who an agent is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutAgent {
    /// Display name.
    #[schema(example = "Anna")]
    name: String,
    /// Ids elsewhere. No two agents share a value of a key.
    #[serde(default)]
    #[schema(example = json!({"rocketchat_user_id": "rbAXPnMktTFbNpwtJ"}))]
    external: BTreeMap<String, String>,
    /// Their lines. No two agents share one.
    #[serde(default)]
    devices: Vec<Device>,
}

/// Makes or replaces an agent.
#[utoipa::path(put, path = "/v1/agents/{id}", tag = "agents", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "Id of the agent, chosen by you: 1 to 128 letters, digits, `-`, `_`, `.`, `@`")),
    request_body = PutAgent, responses((status = 200, body = One<AgentView>)))]
pub(super) async fn put(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    extract::Json(agent): extract::Json<PutAgent>,
) -> Result<Json<One<AgentView>>, Problem> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if id.len() > 128 || !id.chars().all(fine) {
        let fix = "Use 1 to 128 letters, digits, `-`, `_`, `.` or `@`.";
        return Err(Problem::invalid(format!("id: `{id}` cannot be an agent's id."), fix));
    }
    let devices = agent.devices.into_iter().map(|device| event::Device {
        connector: device.connector.as_str().into(),
        extension: device.extension,
    });
    let request = Request::PutAgent(event::Agent {
        id: id.as_str().into(),
        name: agent.name,
        external: agent.external,
        devices: devices.collect(),
        from_config: false,
    });
    commands::accepted(&api, &holder, request).await?;
    Ok(Json(found(&api, &id)?))
}

/// Forgets an agent.
#[utoipa::path(delete, path = "/v1/agents/{id}", tag = "agents", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "Id of the agent")),
    responses((status = 204, description = "Forgotten")))]
pub(super) async fn delete(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<StatusCode, Problem> {
    let request = Request::RemoveAgent(id.as_str().into());
    commands::accepted(&api, &holder, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A break.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    /// Id or name of one queue; absent: all.
    queue: Option<String>,
    /// Why, as the PBX and reports show it.
    #[serde(default)]
    #[schema(example = "lunch")]
    reason: String,
}

/// No offers for this person, in one queue or in all.
#[utoipa::path(post, path = "/v1/agents/{id}/pause", tag = "agents", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "Id of the agent")), request_body = Pause,
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn pause(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    manner: Manner,
    extract::Json(Pause { queue, reason }): extract::Json<Pause>,
) -> Result<Response, Problem> {
    let request = Request::AgentPause {
        agent: AgentId::from(id.as_str()),
        queue: queue.map(|queue| queues::id(&api, &queue)).transpose()?,
        reason,
        idempotency_key: manner.key(&holder.0),
        timeout: TIMEOUT,
    };
    commands::carried_out(&api, &holder, &manner, request).await
}

/// The end of a break.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unpause {
    /// Id or name of one queue; absent: all.
    queue: Option<String>,
}

/// Offers again for this person, in one queue or in all.
#[utoipa::path(post, path = "/v1/agents/{id}/unpause", tag = "agents", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "Id of the agent")), request_body = Unpause,
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn unpause(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    manner: Manner,
    extract::Json(Unpause { queue }): extract::Json<Unpause>,
) -> Result<Response, Problem> {
    let request = Request::AgentUnpause {
        agent: AgentId::from(id.as_str()),
        queue: queue.map(|queue| queues::id(&api, &queue)).transpose()?,
        idempotency_key: manner.key(&holder.0),
        timeout: TIMEOUT,
    };
    commands::carried_out(&api, &holder, &manner, request).await
}

/// Where to take a seat.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// Ids or names of queues.
    #[schema(min_items = 1)]
    queues: Vec<String>,
    /// Higher is asked later.
    #[serde(default)]
    penalty: u32,
}

/// Gives this person a seat in queues.
#[utoipa::path(post, path = "/v1/agents/{id}/login", tag = "agents", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "Id of the agent")), request_body = Login,
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn login(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    manner: Manner,
    extract::Json(Login { queues, penalty }): extract::Json<Login>,
) -> Result<Response, Problem> {
    let request = Request::AgentLogin {
        agent: AgentId::from(id.as_str()),
        queues: queues.iter().map(|queue| queues::id(&api, queue)).collect::<Result<_, _>>()?,
        penalty,
        idempotency_key: manner.key(&holder.0),
        timeout: TIMEOUT,
    };
    commands::carried_out(&api, &holder, &manner, request).await
}

/// Where to give seats up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Logout {
    /// Ids or names of queues; empty: all.
    #[serde(default)]
    queues: Vec<String>,
}

/// Takes this person's seats away.
#[utoipa::path(post, path = "/v1/agents/{id}/logout", tag = "agents", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "Id of the agent")), request_body = Logout,
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn logout(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    manner: Manner,
    extract::Json(Logout { queues }): extract::Json<Logout>,
) -> Result<Response, Problem> {
    let request = Request::AgentLogout {
        agent: AgentId::from(id.as_str()),
        queues: queues.iter().map(|queue| queues::id(&api, queue)).collect::<Result<_, _>>()?,
        idempotency_key: manner.key(&holder.0),
        timeout: TIMEOUT,
    };
    commands::carried_out(&api, &holder, &manner, request).await
}
