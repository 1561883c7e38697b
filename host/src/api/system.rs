//! Is it alive, is it ready, what is it.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    extract::{Holder, None, Params, Read},
};
use crate::journal::Health;

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Healthy {
    /// Always `ok`.
    status: &'static str,
}

/// Says that the process answers; no token needed.
#[utoipa::path(get, path = "/healthz", tag = "system", responses((status = 200, body = Healthy)))]
pub(super) async fn healthz(_: Params<None>) -> Json<Healthy> {
    Json(Healthy { status: "ok" })
}

/// Jackfield can do its work.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Always `ready`.
    status: &'static str,
    /// The last committed event.
    as_of: u64,
}

/// Says that events are made and can be written; no token needed. A PBX that is away does not make it fail.
#[utoipa::path(get, path = "/readyz", tag = "system", responses(
    (status = 200, body = Ready),
    (status = 503, description = "The journal cannot be written, or the host's core has ended", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn readyz(
    State(api): State<ApiState>,
    _: Params<None>,
) -> Result<Json<Ready>, Problem> {
    writable(&api)?;
    if !(api.switch.alive)() {
        return Err(Problem::unavailable(
            "The switch has ended: no events come any more.",
            "Restart jackfield, and report this with its log.",
        ));
    }
    Ok(Json(Ready { status: "ready", as_of: *api.publisher.committed().borrow() }))
}

pub(super) fn writable(api: &ApiState) -> Result<(), Problem> {
    match api.journal.health() {
        Health::Ok => Ok(()),
        Health::Failing { error, .. } => Err(Problem::unavailable(
            format!("The journal cannot be written: {error}."),
            "Free space on the disk of the journal; Jackfield goes on by itself.",
        )),
    }
}

/// What runs here.
#[derive(Serialize, ToSchema)]
pub(super) struct Version {
    name: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Version of the API's paths.
    api: &'static str,
    /// Schema of the events.
    event_schema: u32,
}

/// Which version runs here.
#[utoipa::path(get, path = "/v1/version", tag = "system", security(("bearer" = ["read"])),
    responses((status = 200, body = Version)))]
pub(super) async fn version(_: Holder<Read>, _: Params<None>) -> Json<Version> {
    Json(Version {
        name: "jackfield",
        version: env!("CARGO_PKG_VERSION"),
        api: "v1",
        event_schema: crate::wire::SCHEMA,
    })
}
