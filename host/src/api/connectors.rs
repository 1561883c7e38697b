//! Connectors: how they are, and two things to ask of them.

use ::calls::{ConnectorId, Request};
use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    commands::{self, TIMEOUT},
    extract::{self, Control, Holder, Manner, None, Paging, Params, Read},
};
use crate::{
    publish::Model,
    status::ConnectorStatus,
    wire::{
        Pbx, Time,
        view::{One, Page},
    },
};

/// A connector: its plugin, links and PBX.
#[derive(Serialize, ToSchema)]
pub(super) struct ConnectorView {
    #[schema(example = "hq")]
    id: String,
    /// `starting`, `connecting`, `connected`, `disconnected`, `refused`, `failed` or `disabled`.
    #[schema(example = "connected")]
    status: &'static str,
    /// Why; empty when there is nothing to say.
    reason: String,
    since: Time,
    /// Its thread runs; it does not while the connector is `disabled`.
    alive: bool,
    /// The PBX when last connected, with what the account can do there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pbx: Option<Pbx>,
    /// Last time the state was compared with the PBX's picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    resynced_at: Option<Time>,
    /// The last thing that went wrong, also when all is well again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_error: Option<LastError>,
    links: Vec<Link>,
    /// Since the start of Jackfield.
    counters: Counters,
    /// None when it could not be found or used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    plugin: Option<Plugin>,
    /// Queue members' interfaces that belong to no agent: map them.
    unmapped: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ConnectorError)]
struct LastError {
    message: String,
    fix: String,
    at: Time,
}

#[derive(Serialize, ToSchema)]
struct Link {
    #[schema(example = "ami")]
    name: String,
    #[schema(example = "tls://pbx.example.org:5039")]
    peer: String,
    /// `down`, `dialling` or `up`.
    state: &'static str,
    /// Counts its connections.
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_dial_at: Option<Time>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ConnectorCounters)]
struct Counters {
    bytes_in: u64,
    bytes_out: u64,
    facts: u64,
    commands: u64,
    reconnects: u64,
    failed_dials: u64,
    masked_secrets: u64,
    quarantined_bytes: u64,
    steps: u64,
    traps: u64,
    cold_starts: u64,
    memory_bytes: u64,
    last_step_us: u64,
    max_step_us: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ConnectorPlugin)]
struct Plugin {
    id: String,
    version: String,
    sha256: String,
}

impl ConnectorView {
    fn of(status: &ConnectorStatus, model: &Model) -> Self {
        let known = model.state.connector(&status.id);
        let unmapped = model.state.unmapped().into_iter();
        let counters = &status.counters;
        Self {
            id: status.id.to_string(),
            status: status.word.code(),
            reason: status.reason.clone(),
            since: status.since.into(),
            alive: status.alive,
            pbx: known.and_then(|known| known.pbx.as_ref()).map(Into::into),
            resynced_at: known.and_then(|known| known.resynced).map(|(at, _)| at.into()),
            last_error: status.last_error.as_ref().map(|error| LastError {
                message: error.message.clone(),
                fix: error.fix.clone(),
                at: error.at.into(),
            }),
            links: status
                .links
                .iter()
                .map(|link| Link {
                    name: link.name.clone(),
                    peer: link.peer.clone(),
                    state: link.state.code(),
                    epoch: link.epoch,
                    next_dial_at: link.next_dial_at.map(Into::into),
                })
                .collect(),
            counters: Counters {
                bytes_in: counters.bytes_in,
                bytes_out: counters.bytes_out,
                facts: counters.facts,
                commands: counters.commands,
                reconnects: counters.reconnects,
                failed_dials: counters.failed_dials,
                masked_secrets: counters.masked_secrets,
                quarantined_bytes: counters.quarantined_bytes,
                steps: status.usage.steps,
                traps: status.usage.traps,
                cold_starts: status.usage.cold_starts,
                memory_bytes: status.usage.memory_bytes,
                last_step_us: status.usage.last_step_us,
                max_step_us: status.usage.max_step_us,
            },
            plugin: status.plugin.as_ref().map(|plugin| Plugin {
                id: plugin.manifest.id.clone(),
                version: plugin.manifest.version.clone(),
                sha256: plugin.sha256.clone(),
            }),
            unmapped: unmapped
                .filter(|(connector, _)| *connector == status.id)
                .map(|(_, interface)| interface)
                .collect(),
        }
    }
}

/// All connectors.
#[utoipa::path(get, path = "/v1/connectors", tag = "connectors", security(("bearer" = ["read"])),
    params(Paging), responses((status = 200, body = Page<ConnectorView>)))]
pub(super) async fn list(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Params(paging): Params<Paging>,
) -> Result<Json<Page<ConnectorView>>, Problem> {
    let all = api.status.all();
    let model = api.publisher.model();
    let wanted = all.iter().filter(|status| wanted(&paging.connector, &status.id));
    let page = paging.page(
        model.as_of,
        wanted,
        |status| status.id.to_string(),
        |status| ConnectorView::of(status, &model),
    )?;
    Ok(Json(page))
}

pub(super) fn wanted(only: &Option<String>, id: &ConnectorId) -> bool {
    only.as_ref().is_none_or(|only| only == id.as_str())
}

/// One connector.
#[utoipa::path(get, path = "/v1/connectors/{id}", tag = "connectors", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = One<ConnectorView>)))]
pub(super) async fn one(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<ConnectorView>>, Problem> {
    let status = known(&api, &id)?;
    let model = api.publisher.model();
    Ok(Json(One { as_of: model.as_of, item: ConnectorView::of(&status, &model) }))
}

fn known(api: &ApiState, id: &str) -> Result<ConnectorStatus, Problem> {
    api.status.get(&id.into()).ok_or_else(|| {
        Problem::not_found(format_args!("connector `{id}`"), "GET /v1/connectors lists them.")
    })
}

/// Asks the PBX for a sign of life, through the connector.
#[utoipa::path(post, path = "/v1/connectors/{id}/probe", tag = "connectors", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn probe(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    manner: Manner,
) -> Result<Response, Problem> {
    known(&api, &id)?;
    command(&api, &holder, &manner, &id, "probe", Vec::new()).await
}

/// What to compare.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resync {
    /// `all`, `calls`, `queues` or `extensions`.
    #[serde(default = "all")]
    #[schema(example = "all")]
    scope: String,
}

fn all() -> String {
    "all".to_owned()
}

/// Compares the state with the PBX's picture, and corrects it.
#[utoipa::path(post, path = "/v1/connectors/{id}/resync", tag = "connectors", security(("bearer" = ["control"])),
    params(("id" = String, Path, description = "As the config names it")), request_body = Resync,
    responses((status = 202, body = commands::Answer), (status = 200, body = commands::Answer, description = "Ended within `Prefer: wait`")))]
pub(super) async fn resync(
    holder: Holder<Control>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    manner: Manner,
    extract::Json(Resync { scope }): extract::Json<Resync>,
) -> Result<Response, Problem> {
    known(&api, &id)?;
    if !["all", "calls", "queues", "extensions"].contains(&scope.as_str()) {
        let fix = "Use `all`, `calls`, `queues` or `extensions`.";
        return Err(Problem::invalid(format!("scope: there is no `{scope}`."), fix));
    }
    let arguments = vec![("scope".to_owned(), scope)];
    command(&api, &holder, &manner, &id, "resync", arguments).await
}

/// One command to one connector.
pub(super) async fn command(
    api: &ApiState,
    holder: &Holder<Control>,
    manner: &Manner,
    connector: &str,
    kind: &str,
    arguments: Vec<(String, String)>,
) -> Result<Response, Problem> {
    let request = Request::Command {
        connector: connector.into(),
        kind: kind.to_owned(),
        arguments,
        idempotency_key: manner.key(&holder.0),
        timeout: TIMEOUT,
    };
    commands::carried_out(api, holder, manner, request).await
}
