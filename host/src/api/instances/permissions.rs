//! What a plugin asks for, and what the admin says to it.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{SetBy, changed, known};
use crate::{
    api::{
        ApiState, Problem,
        extract::{self, Admin, Holder, None, Params, Read},
        reload::Changed,
    },
    wire::view::One,
};

/// What a connector's plugin asks for.
#[derive(Serialize, ToSchema)]
pub(crate) struct Permissions {
    permissions: Vec<Permission>,
    /// A version that asks for more than is granted waits for an answer; the one before goes on.
    waiting_for: Vec<String>,
    /// What no permission can say.
    honest_limit: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Permission {
    /// As grants are written.
    #[schema(example = "link:ami")]
    grant: String,
    /// Why, in the plugin's words.
    reason: String,
    /// What granting it means.
    meaning: String,
    /// `granted`, `declined` or `missing`.
    state: &'static str,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    owner: Option<SetBy>,
    /// The running version asks for it; otherwise only one that waits does.
    in_use: bool,
}

/// What no permission can say.
pub(crate) const HONEST_LIMIT: &str = "A connector with a link to a PBX can do on that PBX whatever the account it \
     logs in with may do. Jackfield cannot narrow that: give it an account of its own with no more rights than it \
     needs.";

/// What a connector's plugin asks for, why, what it means, and what was said to it.
#[utoipa::path(get, path = "/v1/connectors/{id}/permissions", tag = "connectors", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = One<Permissions>)))]
pub(crate) async fn permissions(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<Permissions>>, Problem> {
    let instance = known(&api, &id)?;
    let permissions = instance.permissions.into_iter().map(|view| Permission {
        owner: view.owner.as_ref().map(Into::into),
        state: view.state.code(),
        grant: view.grant,
        reason: view.reason,
        meaning: view.meaning,
        in_use: view.in_use,
    });
    let item = Permissions {
        permissions: permissions.collect(),
        waiting_for: instance.waiting.map(|waiting| waiting.missing).unwrap_or_default(),
        honest_limit: HONEST_LIMIT,
    };
    Ok(Json(One { as_of: *api.publisher.committed().borrow(), item }))
}

/// The admin's answer to what a plugin asks for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutPermissions {
    /// What it may use.
    #[schema(example = json!(["link:ami"]))]
    granted: Vec<String>,
    /// What it asks for and runs without.
    #[serde(default)]
    declined: Vec<String>,
}

/// Grants and declines what a plugin asks for. What was granted before and is not named is taken back.
#[utoipa::path(put, path = "/v1/connectors/{id}/permissions", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")), request_body = PutPermissions,
    responses((status = 200, body = Changed)))]
pub(crate) async fn put_permissions(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    extract::Json(PutPermissions { granted, declined }): extract::Json<PutPermissions>,
) -> Result<Json<Changed>, Problem> {
    known(&api, &id)?;
    if let Some(both) = granted.iter().find(|grant| declined.contains(grant)) {
        let detail = format!("declined: `{both}` is granted as well.");
        return Err(Problem::invalid(detail, "Name it in one of the two lists."));
    }
    changed(&api, &holder, &id, json!({ "grants": granted, "declined": declined })).await
}
