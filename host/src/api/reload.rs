//! Reading the config file again, and what any change brought about.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    extract::{Admin, Holder, None, Params, Read},
    problem::Fault,
};
use crate::{config::Complaint, plugins::Report};

/// What a change brought about, or would.
#[derive(Serialize, ToSchema)]
pub(super) struct Changed {
    /// In the order in which it happened; empty when all was so already.
    changes: Vec<Change>,
    /// What stands in the way of connectors that do not run as wished. They and the others go on as they are.
    complaints: Vec<Fault>,
    /// Differences that only a restart of Jackfield applies.
    needs_restart: Vec<Fault>,
    /// What can be used and still deserves a word.
    warnings: Vec<Fault>,
}

/// One thing that changed, or would.
#[derive(Serialize, ToSchema)]
struct Change {
    /// What.
    #[schema(example = "connector hq")]
    subject: String,
    /// `added`, `removed`, `started`, `stopped`, `swapped`, `restarted`, `rolled-back`, `waiting`, `installed`,
    /// `uninstalled` or `changed`.
    #[schema(example = "swapped")]
    kind: &'static str,
    /// How.
    detail: String,
}

impl From<Report> for Changed {
    fn from(report: Report) -> Self {
        let faults = |complaints: &[Complaint]| complaints.iter().map(Fault::from).collect();
        Self {
            complaints: faults(&report.complaints),
            needs_restart: faults(&report.needs_restart),
            warnings: faults(&report.warnings),
            changes: report
                .changes
                .into_iter()
                .map(|change| Change {
                    subject: change.subject,
                    kind: change.kind.code(),
                    detail: change.detail,
                })
                .collect(),
        }
    }
}

/// Reads the config file again and applies the difference. A file with mistakes changes nothing.
#[utoipa::path(post, path = "/v1/reload", tag = "system", security(("bearer" = ["admin"])),
    responses((status = 200, body = Changed), (status = 422, body = Problem, content_type = "application/problem+json", description = "The file cannot be used; `errors` has every mistake with its line")))]
pub(super) async fn reload(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    _: Params<None>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(api.keeper.reload(&holder.actor()).await?.into()))
}

/// What a reload would change: what runs against the config file.
#[utoipa::path(get, path = "/v1/config/diff", tag = "system", security(("bearer" = ["read"])),
    responses((status = 200, body = Changed), (status = 422, body = Problem, content_type = "application/problem+json", description = "The file cannot be used; `errors` has every mistake with its line")))]
pub(super) async fn difference(
    _: Holder<Read>,
    State(api): State<ApiState>,
    _: Params<None>,
) -> Result<Json<Changed>, Problem> {
    let keeper = api.keeper.clone();
    let read = tokio::task::spawn_blocking(move || keeper.difference());
    let report = read.await.map_err(|panic| Problem::internal(&panic))??;
    Ok(Json(report.into()))
}
