//! Hooks: who decides where calls go, what callers hear, who is told afterwards; and how each does.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, Problem,
    extract::{self, Admin, Holder, None, Params, Read},
    instances::{LogLine, SetBy},
    reload::Changed,
};
use crate::{
    config::CanaryConfig,
    hooks::{canary::Budgets, store::Pair},
    plugins::{CanaryView, HookView},
    wire::{
        Time,
        view::{One, Page},
    },
};

/// A hook, and how it does.
#[derive(Serialize, ToSchema)]
pub(super) struct Hook {
    /// As in `[hooks.instances.<id>]`.
    #[schema(example = "vip")]
    id: String,
    /// In the words of Rocket.Chat Apps, e.g. `auto_enabled`, `manually_disabled`, `disabled`,
    /// `invalid_settings_disabled`; `error_disabled` is an observer that fails and is tried again.
    #[schema(example = "auto_enabled")]
    status: &'static str,
    /// Why, with the fix; empty when there is nothing to say.
    reason: String,
    since: Time,
    /// The plugin as it is configured.
    #[schema(example = "skills")]
    plugin: String,
    /// What is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    running: Option<HookVersion>,
    /// A version that shall be called and waits for grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    waiting: Option<HookWaiting>,
    /// What its plugin can be: `router`, `wait-treatment`, `observer`.
    kinds: Vec<&'static str>,
    /// What it is used as, e.g. `router 1` for the first of the chain.
    roles: Vec<String>,
    /// A version that is tried on some of the calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    canary: Option<CanaryState>,
    /// Calls into it by outcome since the start of Jackfield: `answered`, `trapped`, `late`, `refused`, `nonsense`.
    outcomes: BTreeMap<String, u64>,
    /// Of the last calls into it; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    p50_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    p99_us: Option<u64>,
    /// The last thing that went wrong, also when all is well again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_error: Option<HookError>,
    /// How far behind an observer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lag: Option<HookLag>,
    /// Everything its plugin asks for.
    permissions: Vec<HookPermission>,
    settings: Value,
    /// Names of its secrets; they are never shown.
    secrets: Vec<String>,
    limits: HookLimitsView,
}

#[derive(Serialize, ToSchema)]
struct HookVersion {
    plugin: String,
    version: String,
    sha256: String,
}

#[derive(Serialize, ToSchema)]
struct HookWaiting {
    version: String,
    sha256: String,
    why: String,
    /// The grants it waits for.
    missing: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct HookError {
    message: String,
    fix: String,
    at: Time,
}

#[derive(Serialize, ToSchema)]
struct HookLag {
    /// Committed events that it has not dealt with.
    events: u64,
    /// The age of the oldest of them that it was told of.
    age_ms: u64,
    /// The last event that it has dealt with.
    cursor: u64,
}

#[derive(Serialize, ToSchema)]
struct HookPermission {
    /// As grants are written.
    #[schema(example = "http:crm.example.org")]
    grant: String,
    /// Why, in the plugin's own words.
    reason: String,
    /// What granting it means.
    meaning: String,
    /// `granted`, `declined` or `missing`.
    state: &'static str,
    /// The version that is called asks for it; otherwise only one that waits does.
    in_use: bool,
}

#[derive(Serialize, ToSchema)]
struct HookLimitsView {
    memory_mib: u32,
    route_ms: u32,
    treatment_ms: u32,
    step_ms: u32,
    bytes_per_call: u32,
    actions_per_step: u32,
    log_lines_per_sec: u32,
    http_per_minute: u32,
}

/// A trial of a version.
#[derive(Serialize, ToSchema)]
struct CanaryState {
    version: String,
    sha256: String,
    /// Of the calls.
    percent: u8,
    /// Given up at so many traps, refusals and nonsense answers.
    traps: u32,
    /// Given up at so many late answers.
    late: u32,
    /// Given up when more of its answers than so many in a hundred are others than before.
    differences_percent: u8,
    /// How it does.
    tally: CanaryTally,
    /// Who began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    owner: Option<SetBy>,
}

#[derive(Serialize, ToSchema)]
struct CanaryTally {
    asked: u64,
    failed: u64,
    late: u64,
    /// Answers that could be compared with the old version's.
    compared: u64,
    differences: u64,
    /// For a person; empty when there was none.
    last_difference: String,
}

impl From<&CanaryView> for CanaryState {
    fn from(view: &CanaryView) -> Self {
        let CanaryView { version, sha256, percent, budgets, tally, owner } = view;
        Self {
            version: version.clone(),
            sha256: sha256.clone(),
            percent: *percent,
            traps: budgets.traps,
            late: budgets.late,
            differences_percent: budgets.differences_percent,
            tally: CanaryTally {
                asked: tally.asked,
                failed: tally.traps,
                late: tally.late,
                compared: tally.compared,
                differences: tally.differences,
                last_difference: tally.last_difference.clone(),
            },
            owner: owner.as_ref().map(Into::into),
        }
    }
}

impl From<&HookView> for Hook {
    fn from(view: &HookView) -> Self {
        let figures = &view.figures;
        let micros =
            |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let millis =
            |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let observes = view.roles.iter().any(|role| role == "observer");
        let limits = &view.limits;
        Self {
            id: view.id.clone(),
            status: view.status.code(),
            reason: view.reason.clone(),
            since: view.since.into(),
            plugin: view.plugin.clone(),
            running: view.running.as_ref().map(|running| HookVersion {
                plugin: running.plugin.clone(),
                version: running.version.clone(),
                sha256: running.sha256.clone(),
            }),
            waiting: view.waiting.as_ref().map(|waiting| HookWaiting {
                version: waiting.version.clone(),
                sha256: waiting.sha256.clone(),
                why: waiting.why.clone(),
                missing: waiting.missing.clone(),
            }),
            kinds: view.kinds.clone(),
            roles: view.roles.clone(),
            canary: view.canary.as_ref().map(Into::into),
            outcomes: figures.outcomes.clone(),
            p50_us: figures.p50.map(micros),
            p99_us: figures.p99.map(micros),
            last_error: figures.last_error.as_ref().map(|error| HookError {
                message: error.message.clone(),
                fix: error.fix.clone(),
                at: error.at.into(),
            }),
            lag: observes.then(|| HookLag {
                events: figures.lag.events,
                age_ms: millis(figures.lag.age),
                cursor: figures.lag.cursor,
            }),
            permissions: view
                .permissions
                .iter()
                .map(|it| HookPermission {
                    grant: it.grant.clone(),
                    reason: it.reason.clone(),
                    meaning: it.meaning.clone(),
                    state: it.state.code(),
                    in_use: it.in_use,
                })
                .collect(),
            settings: view.settings.clone(),
            secrets: view.secrets.clone(),
            limits: HookLimitsView {
                memory_mib: limits.memory_mib,
                route_ms: limits.route_ms,
                treatment_ms: limits.treatment_ms,
                step_ms: limits.step_ms,
                bytes_per_call: limits.bytes_per_call,
                actions_per_step: limits.actions_per_step,
                log_lines_per_sec: limits.log_lines_per_sec,
                http_per_minute: view.http_per_minute,
            },
        }
    }
}

/// Every configured hook.
#[utoipa::path(get, path = "/v1/hooks", tag = "hooks", security(("bearer" = ["read"])),
    responses((status = 200, body = Page<Hook>)))]
pub(super) async fn list(
    _: Holder<Read>,
    State(api): State<ApiState>,
    _: Params<None>,
) -> Result<Json<Page<Hook>>, Problem> {
    let items = api.keeper.hooks().iter().map(Into::into).collect();
    Ok(Json(Page { as_of: *api.publisher.committed().borrow(), items, next: Option::None }))
}

/// One hook.
#[utoipa::path(get, path = "/v1/hooks/{id}", tag = "hooks", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = One<Hook>)))]
pub(super) async fn one(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<Hook>>, Problem> {
    let item = (&known(&api, &id)?).into();
    Ok(Json(One { as_of: *api.publisher.committed().borrow(), item }))
}

/// The last lines a hook's plugin has logged, oldest first; at most 500.
#[utoipa::path(get, path = "/v1/hooks/{id}/logs", tag = "hooks", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = Page<LogLine>)))]
pub(super) async fn logs(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Page<LogLine>>, Problem> {
    let lines = api.keeper.hook_log(&id).ok_or_else(|| no_hook(&id))?;
    let items = lines.into_iter().map(Into::into).collect();
    Ok(Json(Page { as_of: *api.publisher.committed().borrow(), items, next: Option::None }))
}

/// Which part of what a hook keeps.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Only keys that begin like this, e.g. `dead/`.
    #[serde(default)]
    prefix: String,
    /// Most entries in the answer; 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A value that a hook keeps.
#[derive(Serialize, ToSchema)]
pub(super) struct StoredValue {
    key: String,
    /// As text; what is no text is shown as `�`.
    value: String,
    /// Of the value.
    bytes: usize,
}

impl From<Pair> for StoredValue {
    fn from(Pair { key, value }: Pair) -> Self {
        let bytes = value.len();
        Self { key, value: String::from_utf8_lossy(&value).into_owned(), bytes }
    }
}

/// What a hook keeps, by key. It may be about callers, so it takes an `admin` token.
#[utoipa::path(get, path = "/v1/hooks/{id}/store", tag = "hooks", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it"), Part),
    responses((status = 200, body = Page<StoredValue>)))]
pub(super) async fn store(
    _: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    Params(Part { prefix, limit, cursor }): Params<Part>,
) -> Result<Json<Page<StoredValue>>, Problem> {
    known(&api, &id)?;
    let limit = limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        let detail = format!("Query: limit={limit} is too much or too little.");
        return Err(Problem::bad_request(detail, "Ask for 1 to 1000 entries, and follow `next`."));
    }
    let (keeper, after) = (api.keeper.clone(), cursor.unwrap_or_default());
    let read = tokio::task::spawn_blocking(move || keeper.hook_pairs(&id, &prefix, &after, limit));
    let pairs = read.await.map_err(|panic| Problem::internal(&panic))??;
    let next = (pairs.len() == limit).then(|| pairs.last().map(|it| it.key.clone())).flatten();
    let items = pairs.into_iter().map(Into::into).collect();
    Ok(Json(Page { as_of: *api.publisher.committed().borrow(), items, next }))
}

/// Which version, for how many of the calls, and when it is given up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BeginCanary {
    /// A version that is kept, a SHA-256, or the beginning of one.
    #[schema(example = "0.2.0")]
    version: String,
    /// Of the calls, 1 to 100.
    #[schema(minimum = 1, maximum = 100, example = 10)]
    percent: u8,
    /// Given up at so many traps, refusals and nonsense answers; 1 when not given.
    traps: Option<u32>,
    /// Given up at so many late answers; 3 when not given.
    late: Option<u32>,
    /// Given up when more of its answers than so many in a hundred are others than before; 5 when not given.
    #[schema(maximum = 100)]
    differences_percent: Option<u8>,
}

/// Tries a version on some of the calls. It is given up by itself when it does worse than the budgets allow.
///
/// For these calls both versions are asked, the new one's answer counts, and the answers are compared.
#[utoipa::path(post, path = "/v1/hooks/{id}/canary", tag = "hooks", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")), request_body = BeginCanary,
    responses((status = 200, body = Changed)))]
pub(super) async fn begin_canary(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    extract::Json(wish): extract::Json<BeginCanary>,
) -> Result<Json<Changed>, Problem> {
    let usual = Budgets::default();
    let wish = CanaryConfig {
        version: wish.version,
        percent: wish.percent,
        budgets: Budgets {
            traps: wish.traps.unwrap_or(usual.traps),
            late: wish.late.unwrap_or(usual.late),
            differences_percent: wish.differences_percent.unwrap_or(usual.differences_percent),
        },
    };
    let hundred = |number: u8, least: u8| (least..=100).contains(&number);
    if !hundred(wish.percent, 1) || !hundred(wish.budgets.differences_percent, 0) {
        let fix = "Send `percent` from 1 to 100, and `differences_percent` from 0 to 100.";
        return Err(Problem::bad_request("A percentage is out of range.", fix));
    }
    Ok(Json(api.keeper.canary(&id, Some(wish), &holder.actor()).await?.into()))
}

/// Ends a trial: all calls go to the old version again. `POST /v1/plugins/{id}/use` takes the new one instead.
#[utoipa::path(delete, path = "/v1/hooks/{id}/canary", tag = "hooks", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = Changed)))]
pub(super) async fn end_canary(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(api.keeper.canary(&id, Option::None, &holder.actor()).await?.into()))
}

fn known(api: &ApiState, id: &str) -> Result<HookView, Problem> {
    api.keeper.hooks().into_iter().find(|hook| hook.id == id).ok_or_else(|| no_hook(id))
}

fn no_hook(id: &str) -> Problem {
    Problem::not_found(format_args!("hook `{id}`"), "GET /v1/hooks lists them.")
}
