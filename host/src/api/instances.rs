//! Connectors as instances of their plugins: what is wanted of them, and changing it.
//!
//! What the config file sets is read-only here: 409 names file and line.

pub(super) mod permissions;
pub(super) mod recordings;
pub(super) mod settings;
pub(super) mod shadow;
pub(super) mod stat;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    extract::{self, Admin, Holder, None, Params, Read},
    reload::Changed,
};
use crate::{
    plugins::{InstanceView, KeyView, Owner},
    wire::{Time, view::Page},
};

/// What is wanted of a connector, and what became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Lifecycle {
    /// In the words of Rocket.Chat Apps: `initialized`, `auto_enabled`, `manually_enabled`, `manually_disabled`,
    /// `disabled`, `error_disabled`, `compiler_error_disabled`, `invalid_installation_disabled` or
    /// `invalid_settings_disabled`.
    #[schema(example = "auto_enabled")]
    status: &'static str,
    /// Why; empty when there is nothing to say. `waiting_for_consent` begins the one that waits for a grant.
    reason: String,
    since: Time,
    /// How often its plugin was started anew since the start of Jackfield.
    restarts: u64,
    /// The plugin as it is configured.
    #[schema(example = "asterisk")]
    plugin: String,
    /// What runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    running: Option<Running>,
    /// A version that shall run and does not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    waiting: Option<Waiting>,
    /// A swap that is undone by itself if the new version fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    probation: Option<Probation>,
    /// A version runs beside it with its effects discarded.
    has_shadow: bool,
    /// A capture to a file is under way.
    capturing: bool,
    /// Since the start of Jackfield.
    swaps: Swaps,
    /// Everything that is wanted of it, with who may change it.
    keys: Vec<Key>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RunningVersion)]
struct Running {
    plugin: String,
    version: String,
    sha256: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WaitingVersion)]
struct Waiting {
    version: String,
    sha256: String,
    why: String,
    /// The grants it waits for; empty when it waits for something else.
    missing: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Probation {
    /// Name and version it would go back to.
    from: String,
    from_sha256: String,
    /// Name and version on probation.
    to: String,
    until: Time,
}

#[derive(Serialize, ToSchema)]
struct Swaps {
    done: u64,
    /// Of them, without the state of the version before: with a new connection and a resync.
    cold: u64,
    /// Undone.
    rolled_back: u64,
    last_pause_us: u64,
    max_pause_us: u64,
}

/// One key of a connector.
#[derive(Serialize, ToSchema)]
#[schema(as = ConnectorKey)]
pub(super) struct Key {
    #[schema(example = "settings.username")]
    key: String,
    /// Of a secret only `{"set": true}`.
    value: Value,
    owner: SetBy,
}

/// Who set something: only there it can be changed.
#[derive(Serialize, ToSchema)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub(super) enum SetBy {
    /// The config file.
    File {
        #[schema(example = "/etc/jackfield/jackfield.toml")]
        file: String,
        /// Counted from 1.
        line: usize,
    },
    /// REST or the command line.
    Rest,
}

impl From<&Owner> for SetBy {
    fn from(owner: &Owner) -> Self {
        match owner {
            Owner::File { file, line } => {
                Self::File { file: file.display().to_string(), line: *line }
            }
            Owner::Rest => Self::Rest,
        }
    }
}

impl From<&KeyView> for Key {
    fn from(view: &KeyView) -> Self {
        let is_secret = view.key.starts_with("secrets.");
        let value = if is_secret { json!({ "set": true }) } else { view.value.clone() };
        Self { key: view.key.clone(), value, owner: (&view.owner).into() }
    }
}

impl From<&InstanceView> for Lifecycle {
    fn from(instance: &InstanceView) -> Self {
        let InstanceView { swaps, .. } = instance;
        Self {
            status: instance.status.code(),
            reason: instance.reason.clone(),
            since: instance.since.into(),
            restarts: instance.restarts,
            plugin: instance.plugin.clone(),
            running: instance.running.as_ref().map(|running| Running {
                plugin: running.plugin.clone(),
                version: running.version.clone(),
                sha256: running.sha256.clone(),
            }),
            waiting: instance.waiting.as_ref().map(|waiting| Waiting {
                version: waiting.version.clone(),
                sha256: waiting.sha256.clone(),
                why: waiting.why.clone(),
                missing: waiting.missing.clone(),
            }),
            probation: instance.probation.as_ref().map(|probation| Probation {
                from: probation.from.clone(),
                from_sha256: probation.from_sha256.clone(),
                to: probation.to.clone(),
                until: probation.until.into(),
            }),
            has_shadow: instance.shadow.is_some(),
            capturing: instance.capturing,
            swaps: Swaps {
                done: swaps.done,
                cold: swaps.cold,
                rolled_back: swaps.rolled_back,
                last_pause_us: swaps.last_pause_us,
                max_pause_us: swaps.max_pause_us,
            },
            keys: instance.keys.iter().map(Into::into).collect(),
        }
    }
}

/// What can be changed of a connector: a merge patch (RFC 7396), `null` takes a key away.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the body is read as it is, so that `null` is told from nothing")]
pub(super) struct ConnectorPatch {
    /// An id, or the path of a component.
    #[schema(example = "asterisk")]
    plugin: Option<String>,
    /// A version or SHA-256 to stay at.
    version: Option<String>,
    enabled: Option<bool>,
    /// By the plugin's own schema.
    settings: Option<Map<String, Value>>,
    /// URLs by name, or objects with `url` and `ca`.
    #[schema(example = json!({"ami": "tls://pbx.example.org"}))]
    links: Option<Map<String, Value>>,
    /// Texts by name. They are written and never read.
    secrets: Option<Map<String, Value>>,
    #[schema(example = json!({"memory_mib": 128}))]
    limits: Option<Map<String, Value>>,
    grants: Option<Vec<String>>,
    /// What the plugin asks for and runs without.
    declined: Option<Vec<String>>,
    /// Plain `tcp://` to another machine is what you want.
    allow_plaintext: Option<bool>,
}

/// Changes what is wanted of a connector, all of it or nothing; an id that is new makes a connector.
///
/// Settings are checked by the schema and by the plugin before they are stored. New settings, grants and limits are
/// taken up without losing the connection to the PBX; with other links it is made anew.
#[utoipa::path(patch, path = "/v1/connectors/{id}", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it, or a new one")),
    request_body(content = ConnectorPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Changed)))]
pub(super) async fn patch(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    extract::Json(patch): extract::Json<Map<String, Value>>,
) -> Result<Json<Changed>, Problem> {
    changed(&api, &holder, &id, Value::Object(patch)).await
}

async fn changed(
    api: &ApiState,
    holder: &Holder<Admin>,
    id: &str,
    patch: Value,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(api.keeper.change(id, patch, &holder.actor()).await?.into()))
}

/// Takes away all that REST has set of a connector; one the config file does not name is gone then.
#[utoipa::path(delete, path = "/v1/connectors/{id}", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = Changed)))]
pub(super) async fn remove(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(api.keeper.remove(&id, &holder.actor()).await?.into()))
}

/// Lets a connector run.
#[utoipa::path(post, path = "/v1/connectors/{id}/enable", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = Changed)))]
pub(super) async fn enable(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Changed>, Problem> {
    known(&api, &id)?;
    changed(&api, &holder, &id, json!({ "enabled": true })).await
}

/// Stops a connector; it stays configured.
#[utoipa::path(post, path = "/v1/connectors/{id}/disable", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = Changed)))]
pub(super) async fn disable(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Changed>, Problem> {
    known(&api, &id)?;
    changed(&api, &holder, &id, json!({ "enabled": false })).await
}

/// A line a plugin has logged.
#[derive(Serialize, ToSchema)]
pub(super) struct LogLine {
    at: Time,
    /// `error`, `warn`, `info` or `debug`.
    level: &'static str,
    text: String,
}

impl From<plugin_runtime::LogLine> for LogLine {
    fn from(line: plugin_runtime::LogLine) -> Self {
        Self { at: line.at.into(), level: line.level.word(), text: line.text }
    }
}

/// The last lines a connector's plugin has logged, oldest first; at most 500.
#[utoipa::path(get, path = "/v1/connectors/{id}/logs", tag = "connectors", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = Page<LogLine>)))]
pub(super) async fn logs(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Page<LogLine>>, Problem> {
    let lines = api.keeper.log(&id).ok_or_else(|| no_connector(&id))?;
    let items = lines.into_iter().map(Into::into).collect();
    Ok(Json(Page { as_of: *api.publisher.committed().borrow(), items, next: Option::None }))
}

fn known(api: &ApiState, id: &str) -> Result<InstanceView, Problem> {
    api.keeper.instance(id).ok_or_else(|| no_connector(id))
}

fn no_connector(id: &str) -> Problem {
    Problem::not_found(format_args!("connector `{id}`"), "GET /v1/connectors lists them.")
}
