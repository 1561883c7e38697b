//! Connectors: how they are, and two things to ask of them.

use std::collections::BTreeMap;

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
    instances::Lifecycle,
};
use crate::{
    plugins::InstanceView,
    publish::Model,
    status::{ConnectorStatus, LinkStatus, StatusWord},
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
    /// `starting`, `connecting`, `connected`, `disconnected`, `refused`, `failed` or `disabled`; `lifecycle` says
    /// what its plugin does.
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
    /// What is wanted of it, and what became of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lifecycle: Option<Lifecycle>,
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

#[derive(Default, Serialize, ToSchema)]
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

/// A connector: towards its PBX when it runs, and as the keeper wants it.
struct Known {
    id: ConnectorId,
    status: Option<ConnectorStatus>,
    instance: Option<InstanceView>,
}

impl Known {
    fn all(api: &ApiState) -> Vec<Self> {
        let statuses = api.status.all().into_iter();
        let mut all: BTreeMap<ConnectorId, Self> = statuses
            .map(|status| {
                let id = status.id.clone();
                (id.clone(), Self { id, status: Some(status), instance: Option::None })
            })
            .collect();
        for instance in api.keeper.instances() {
            let id = ConnectorId::from(instance.id.as_str());
            let empty = || Self { id: id.clone(), status: Option::None, instance: Option::None };
            all.entry(id.clone()).or_insert_with(empty).instance = Some(instance);
        }
        all.into_values().collect()
    }

    fn one(api: &ApiState, id: &str) -> Result<Self, Problem> {
        let (status, instance) = (api.status.get(&id.into()), api.keeper.instance(id));
        if status.is_none() && instance.is_none() {
            let fix = "GET /v1/connectors lists them.";
            return Err(Problem::not_found(format_args!("connector `{id}`"), fix));
        }
        Ok(Self { id: id.into(), status, instance })
    }

    fn view(&self, model: &Model) -> ConnectorView {
        let known = model.state.connector(&self.id);
        let unmapped = model.state.unmapped().into_iter();
        let (status, instance) = (self.status.as_ref(), self.instance.as_ref());
        let (word, reason, since) = match (status, instance) {
            // Its thread has the picture, and the journal has not: nobody may read that they see it all.
            (Some(it), _)
                if it.word == StatusWord::Connected
                    && known.is_none_or(|known| !known.connected) =>
            {
                (StatusWord::Connecting.code(), it.reason.clone(), it.since.into())
            }
            (Some(it), _) => (it.word.code(), it.reason.clone(), it.since.into()),
            (Option::None, Some(it)) => {
                (StatusWord::Disabled.code(), it.reason.clone(), it.since.into())
            }
            (Option::None, Option::None) => ("starting", String::new(), Time::now()),
        };
        let last_error = status
            .and_then(|it| it.last_error.as_ref())
            .or_else(|| instance.and_then(|it| it.last_error.as_ref()));
        let links = status.map(|it| &it.links).or_else(|| instance.map(|it| &it.links));
        ConnectorView {
            id: self.id.to_string(),
            status: word,
            reason,
            since,
            alive: status.is_some_and(|it| it.alive),
            pbx: known.and_then(|known| known.pbx.as_ref()).map(Into::into),
            resynced_at: known.and_then(|known| known.resynced).map(|(at, _)| at.into()),
            last_error: last_error.map(|error| LastError {
                message: error.message.clone(),
                fix: error.fix.clone(),
                at: error.at.into(),
            }),
            links: links.into_iter().flatten().map(Into::into).collect(),
            counters: status.map(Into::into).unwrap_or_default(),
            plugin: status.and_then(|it| it.plugin.as_ref()).map(|plugin| Plugin {
                id: plugin.manifest.id.clone(),
                version: plugin.manifest.version.clone(),
                sha256: plugin.sha256.clone(),
            }),
            lifecycle: instance.map(Into::into),
            unmapped: unmapped
                .filter(|(connector, _)| *connector == self.id)
                .map(|(_, interface)| interface)
                .collect(),
        }
    }
}

impl From<&LinkStatus> for Link {
    fn from(link: &LinkStatus) -> Self {
        Self {
            name: link.name.clone(),
            peer: link.peer.clone(),
            state: link.state.code(),
            epoch: link.epoch,
            next_dial_at: link.next_dial_at.map(Into::into),
        }
    }
}

impl From<&ConnectorStatus> for Counters {
    fn from(ConnectorStatus { counters, usage, .. }: &ConnectorStatus) -> Self {
        Self {
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
            facts: counters.facts,
            commands: counters.commands,
            reconnects: counters.reconnects,
            failed_dials: counters.failed_dials,
            masked_secrets: counters.masked_secrets,
            quarantined_bytes: counters.quarantined_bytes,
            steps: usage.steps,
            traps: usage.traps,
            cold_starts: usage.cold_starts,
            memory_bytes: usage.memory_bytes,
            last_step_us: usage.last_step_us,
            max_step_us: usage.max_step_us,
        }
    }
}

/// All connectors, those that do not run too.
#[utoipa::path(get, path = "/v1/connectors", tag = "connectors", security(("bearer" = ["read"])),
    params(Paging), responses((status = 200, body = Page<ConnectorView>)))]
pub(super) async fn list(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Params(paging): Params<Paging>,
) -> Result<Json<Page<ConnectorView>>, Problem> {
    let all = Known::all(&api);
    let model = api.publisher.model();
    let wanted = all.iter().filter(|known| wanted(&paging.connector, &known.id));
    let page = paging.page(
        model.as_of,
        wanted,
        |known| known.id.to_string(),
        |known| known.view(&model),
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
    let known = Known::one(&api, &id)?;
    let model = api.publisher.model();
    Ok(Json(One { as_of: model.as_of, item: known.view(&model) }))
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
    Known::one(&api, &id)?;
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
    Known::one(&api, &id)?;
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
