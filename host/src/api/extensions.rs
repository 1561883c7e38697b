//! Extensions: lines of the PBXs, and finding things by their native name.

use ::calls::ConnectorId;
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    ApiState, Problem,
    connectors::wanted,
    extract::{Holder, Paging, Params, Read},
};
use crate::wire::view::{ExtensionView, One, Page};

/// Whose name it is.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Named {
    /// The connector, when the path holds a native name that several have.
    pub connector: Option<String>,
}

/// All extensions.
#[utoipa::path(get, path = "/v1/extensions", tag = "extensions", security(("bearer" = ["read"])),
    params(Paging), responses((status = 200, body = Page<ExtensionView>)))]
pub(super) async fn list(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Params(paging): Params<Paging>,
) -> Result<Json<Page<ExtensionView>>, Problem> {
    let model = api.publisher.model();
    let state = &model.state;
    let all = state.extensions().filter(|line| wanted(&paging.connector, &line.connector));
    let page = paging.page(
        model.as_of,
        all,
        |line| line.id.to_string(),
        |line| ExtensionView::of(state, line),
    )?;
    Ok(Json(page))
}

/// One extension, by id or by number.
#[utoipa::path(get, path = "/v1/extensions/{id}", tag = "extensions", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "Id, or number when only one connector has it"), Named),
    responses((status = 200, body = One<ExtensionView>)))]
pub(super) async fn one(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    Params(named): Params<Named>,
) -> Result<Json<One<ExtensionView>>, Problem> {
    let model = api.publisher.model();
    let state = &model.state;
    let line = match id.parse().ok().and_then(|id| state.extension(id)) {
        Some(line) if wanted(&named.connector, &line.connector) => line,
        _ => {
            let all = state.extensions().filter(|line| line.extension.number == id);
            only("extension", &id, &named, all, |line| &line.connector)?
        }
    };
    Ok(Json(One { as_of: model.as_of, item: ExtensionView::of(state, line) }))
}

/// The one thing with this name; more than one is a conflict, which `connector` solves.
pub(super) fn only<'a, T>(
    kind: &str,
    name: &str,
    named: &Named,
    all: impl Iterator<Item = &'a T>,
    connector: impl Fn(&T) -> &ConnectorId,
) -> Result<&'a T, Problem> {
    let mut all: Vec<_> = all.filter(|one| wanted(&named.connector, connector(one))).collect();
    match (all.pop(), all.is_empty()) {
        (Some(found), true) => Ok(found),
        (Some(last), false) => {
            let first = connector(all[0]);
            Err(Problem::conflict(
                format!(
                    "Connectors `{first}` and `{}` both have a {kind} `{name}`.",
                    connector(last)
                ),
                format!("Use its id, or add `?connector={first}`."),
            ))
        }
        (Option::None, _) => Err(Problem::not_found(
            format_args!("{kind} `{name}`"),
            format!("GET /v1/{kind}s lists them with their ids."),
        )),
    }
}
