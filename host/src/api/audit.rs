//! The audit log: who changed what, each entry bound to the one before by its hash.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState, Problem,
    extract::{Holder, Params, Read},
};
use crate::{plugins::AuditEntry, wire::Time};

/// An entry of the audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct Entry {
    /// Counts from 1, without holes.
    id: u64,
    at: Time,
    /// Who.
    #[schema(example = "token chat")]
    actor: String,
    /// What was done.
    #[schema(example = "plugin.swap")]
    action: String,
    /// To what.
    #[schema(example = "connector hq")]
    subject: String,
    /// How; never a secret.
    detail: String,
    /// Of this entry and the one before.
    hash: String,
}

/// A part of the audit log.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// Oldest first.
    items: Vec<Entry>,
    /// `after` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<u64>,
}

/// Which part of the audit log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Entries after this id; from the first when not given.
    #[serde(default)]
    after: u64,
    /// Most entries in the answer; 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, at, actor, action, subject, detail, hash } = entry;
        Self { id, at: at.into(), actor, action, subject, detail, hash }
    }
}

/// Who changed what: installs, grants, settings, swaps. `jackfield audit verify` checks the hashes.
#[utoipa::path(get, path = "/v1/audit", tag = "system", security(("bearer" = ["read"])),
    params(Part), responses((status = 200, body = AuditPage)))]
pub(super) async fn page(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Params(Part { after, limit }): Params<Part>,
) -> Result<Json<AuditPage>, Problem> {
    let limit = limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        let detail = format!("Query: limit={limit} is too much or too little.");
        return Err(Problem::bad_request(detail, "Ask for 1 to 1000 entries, and follow `next`."));
    }
    let keeper = api.keeper.clone();
    let read = tokio::task::spawn_blocking(move || keeper.audit(after, limit + 1));
    let mut entries = read.await.map_err(|panic| Problem::internal(&panic))??;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|entry| entry.id);
    Ok(Json(AuditPage { items: entries.into_iter().map(Into::into).collect(), next }))
}
