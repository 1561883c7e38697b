//! A version that runs beside a connector on the same inputs, with its effects discarded and compared.

use ::calls::Timestamp;
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use plugin_runtime::ShadowReport;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::known;
use crate::{
    api::{
        ApiState, Problem,
        extract::{self, Admin, Holder, None, Params, Read},
    },
    wire::{Time, view::One},
};

/// What a shadow run has found so far.
#[derive(Serialize, ToSchema)]
pub(crate) struct Shadow {
    /// Of the version in the shadow.
    #[schema(example = "0.2.0")]
    version: String,
    sha256: String,
    since: Time,
    /// It began without the state of the running one, so it follows only connections made since.
    cold: bool,
    /// Steps it followed.
    steps: u64,
    /// Effects both had.
    same: u64,
    /// Effects only the running one had.
    only_running: u64,
    /// Effects only the one in the shadow had.
    only_shadow: u64,
    /// The first differences.
    differences: Vec<Difference>,
    /// Why it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<String>,
    max_step_us: u64,
    memory_bytes: u64,
}

/// An effect that one had and the other had not.
#[derive(Serialize, ToSchema)]
struct Difference {
    /// Of the shadow run, from 1.
    step: u64,
    /// The one in the shadow had it; otherwise the running one.
    by_shadow: bool,
    /// Cut to 500 characters.
    effect: String,
}

impl From<ShadowReport> for Shadow {
    fn from(report: ShadowReport) -> Self {
        let differences = report.differences.into_iter().map(|it| Difference {
            step: it.step,
            by_shadow: it.by_shadow,
            effect: it.effect,
        });
        Self {
            version: report.version.version,
            sha256: report.version.sha256,
            since: Timestamp(report.since).into(),
            cold: report.cold,
            steps: report.steps,
            same: report.same,
            only_running: report.only_running,
            only_shadow: report.only_shadow,
            differences: differences.collect(),
            failure: report.failure,
            max_step_us: report.max_step_us,
            memory_bytes: report.memory_bytes,
        }
    }
}

/// What a shadow run has found so far.
#[utoipa::path(get, path = "/v1/connectors/{id}/shadow", tag = "connectors", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = One<Shadow>)))]
pub(crate) async fn shadow(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<Shadow>>, Problem> {
    let report = known(&api, &id)?.shadow.ok_or_else(|| {
        Problem::not_found(
            format_args!("shadow run at connector `{id}`"),
            "POST begins one, with the version that shall run in the shadow.",
        )
    })?;
    Ok(Json(One { as_of: *api.publisher.committed().borrow(), item: report.into() }))
}

/// Which version.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeginShadow {
    /// A version that is kept, a SHA-256, or the beginning of one.
    #[schema(example = "0.2.0")]
    version: String,
}

/// Runs a version beside the connector, on the same inputs. What it wants done is compared and not done.
#[utoipa::path(post, path = "/v1/connectors/{id}/shadow", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")), request_body = BeginShadow,
    responses((status = 204, description = "It runs; GET tells what it finds")))]
pub(crate) async fn begin_shadow(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    extract::Json(BeginShadow { version }): extract::Json<BeginShadow>,
) -> Result<StatusCode, Problem> {
    api.keeper.shadow(&id, Some(&version), &holder.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a shadow run.
#[utoipa::path(delete, path = "/v1/connectors/{id}/shadow", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 204, description = "Ended")))]
pub(crate) async fn end_shadow(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<StatusCode, Problem> {
    api.keeper.shadow(&id, Option::None, &holder.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
