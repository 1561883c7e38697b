//! Plugins: the versions that are kept, which one is used, and changing that.

use std::{path::Path as FilePath, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
};
use plugin_runtime::Manifest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    extract::{self, Admin, Holder, None, Paging, Params, Read},
    reload::Changed,
    upload::Component,
};
use crate::{
    plugins::{PluginView, VersionView},
    wire::{
        Time,
        view::{One, Page},
    },
};

/// A plugin: every version of it that is kept or in use.
#[derive(Serialize, ToSchema)]
#[schema(as = Plugin)]
pub(super) struct Shown {
    #[schema(example = "asterisk")]
    id: String,
    /// Of the version in use, or the newest.
    #[schema(example = "Asterisk")]
    name: String,
    description: String,
    author: String,
    /// SPDX expression.
    license: String,
    /// Connectors that run it, or shall run it.
    used_by: Vec<String>,
    /// SHA-256 of the version somebody chose; absent: the newest that is not rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    selected: Option<String>,
    /// SHA-256 of the version a rollback goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    previous: Option<String>,
    /// The newest installed first.
    versions: Vec<Version>,
}

/// One version of a plugin: one component.
#[derive(Serialize, ToSchema)]
#[schema(as = PluginVersion)]
pub(super) struct Version {
    #[schema(example = "0.1.0")]
    version: String,
    /// Of the component.
    sha256: String,
    /// Of the component.
    size_bytes: u64,
    /// Where it came from: a file's name, or whose upload.
    source: String,
    /// Name of the key that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    signed_by: Option<String>,
    installed_at: Time,
    /// Why it is not used by itself any more: it was rolled back, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rejected: Option<String>,
    /// Connectors that run it now.
    used_by: Vec<String>,
    /// The plugin API it is made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "0.1")]
    api: Option<String>,
    /// What it asks for.
    permissions: Vec<Asked>,
    /// JSON Schema of its settings, with titles and help.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    settings: Option<serde_json::Value>,
}

/// Something a plugin asks for.
#[derive(Serialize, ToSchema)]
#[schema(as = AskedPermission)]
pub(super) struct Asked {
    /// As grants are written.
    #[schema(example = "link:ami")]
    grant: String,
    /// Why, in the plugin's words.
    reason: String,
    /// What granting it means.
    meaning: String,
}

impl From<PluginView> for Shown {
    fn from(plugin: PluginView) -> Self {
        let used = plugin.versions.iter().find(|version| !version.used_by.is_empty());
        let manifest = used.or(plugin.versions.first()).and_then(|told| told.manifest.clone());
        let (name, description, author, license) = match manifest {
            Some(it) => (it.name, it.description, it.author, it.license),
            Option::None => Default::default(),
        };
        Self {
            name,
            description,
            author,
            license,
            used_by: plugin.used_by,
            selected: plugin.selected,
            previous: plugin.previous,
            versions: plugin.versions.into_iter().map(Into::into).collect(),
            id: plugin.id,
        }
    }
}

impl From<VersionView> for Version {
    fn from(version: VersionView) -> Self {
        let manifest = version.manifest;
        Self {
            version: version.version,
            sha256: version.sha256,
            size_bytes: version.size,
            source: file_name(&version.source),
            signed_by: version.signed_by,
            installed_at: version.installed_at.into(),
            rejected: version.rejected,
            used_by: version.used_by,
            permissions: manifest.as_ref().map(asked).unwrap_or_default(),
            api: manifest.as_ref().map(|it| it.api.clone()),
            settings: manifest.map(|it| it.settings),
        }
    }
}

fn asked(manifest: &Manifest) -> Vec<Asked> {
    let asked = manifest.permissions().into_iter();
    asked.map(|it| Asked { grant: it.grant, reason: it.reason, meaning: it.meaning }).collect()
}

/// Whoever may read the API need not know the folders of this machine.
fn file_name(source: &str) -> String {
    let path = FilePath::new(source);
    match path.file_name().filter(|_| path.is_absolute()) {
        Some(name) => name.to_string_lossy().into_owned(),
        Option::None => source.to_owned(),
    }
}

/// All plugins.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins", security(("bearer" = ["read"])),
    params(Paging), responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Params(paging): Params<Paging>,
) -> Result<Json<Page<Shown>>, Problem> {
    let all = api.keeper.plugins();
    let wanted = all.iter().filter(|plugin| match &paging.connector {
        Some(connector) => plugin.used_by.contains(connector),
        Option::None => true,
    });
    let as_of = *api.publisher.committed().borrow();
    let page =
        paging.page(as_of, wanted, |plugin| plugin.id.clone(), |plugin| plugin.clone().into())?;
    Ok(Json(page))
}

/// One plugin.
#[utoipa::path(get, path = "/v1/plugins/{id}", tag = "plugins", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As its manifest says")),
    responses((status = 200, body = One<Shown>)))]
pub(super) async fn one(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<Shown>>, Problem> {
    let item = known(&api, &id)?.into();
    Ok(Json(One { as_of: *api.publisher.committed().borrow(), item }))
}

fn known(api: &ApiState, id: &str) -> Result<PluginView, Problem> {
    api.keeper.plugin(id).ok_or_else(|| {
        let fix = "GET /v1/plugins lists them; POST /v1/plugins installs one.";
        Problem::not_found(format_args!("plugin `{id}`"), fix)
    })
}

/// The versions of a plugin that are kept, the newest installed first.
#[utoipa::path(get, path = "/v1/plugins/{id}/versions", tag = "plugins", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As its manifest says")),
    responses((status = 200, body = Page<Version>)))]
pub(super) async fn versions(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Page<Version>>, Problem> {
    let items = known(&api, &id)?.versions.into_iter().map(Into::into).collect();
    Ok(Json(Page { as_of: *api.publisher.committed().borrow(), items, next: Option::None }))
}

/// Checks a component, compiles it and keeps it. Connectors whose plugin it is take it up by the rules for
/// updates: if it asks for more than is granted, they go on with what they have until somebody grants it.
#[utoipa::path(post, path = "/v1/plugins", tag = "plugins", security(("bearer" = ["admin"])),
    params(("Minisign" = Option<String>, Header, description = "The .minisig file in base64")),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "The .wasm file; at most 64 MiB"),
    responses((status = 200, body = Changed)))]
pub(super) async fn install(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    _: Params<None>,
    component: Component,
) -> Result<Json<Changed>, Problem> {
    let keeper = Arc::clone(&api.keeper);
    // Compiling goes on when the client does not wait: half an install is not left behind.
    let installed = tokio::spawn(async move {
        let Component { wasm, signature, place: _place } = component;
        keeper.install(wasm, signature, &holder.actor()).await
    });
    let report = installed.await.map_err(|panic| Problem::internal(&panic))??;
    Ok(Json(report.into()))
}

/// Which version.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Use {
    /// A version, a SHA-256, or the beginning of one; `latest` is the one installed last, unless another one has a
    /// higher number or it was rolled back. Several builds of one version are told by their SHA-256.
    #[schema(example = "0.1.0")]
    version: String,
}

/// Makes every connector of this plugin run one version. It is tried again if it was rejected.
#[utoipa::path(post, path = "/v1/plugins/{id}/use", tag = "plugins", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As its manifest says")), request_body = Use,
    responses((status = 200, body = Changed)))]
pub(super) async fn use_version(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    extract::Json(Use { version }): extract::Json<Use>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(api.keeper.use_version(&id, &version, &holder.actor()).await?.into()))
}

/// Goes back to the version that was in use before.
#[utoipa::path(post, path = "/v1/plugins/{id}/rollback", tag = "plugins", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As its manifest says")),
    responses((status = 200, body = Changed)))]
pub(super) async fn roll_back(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(api.keeper.roll_back(&id, &holder.actor()).await?.into()))
}

/// Forgets every version of a plugin that no enabled connector uses.
#[utoipa::path(delete, path = "/v1/plugins/{id}", tag = "plugins", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As its manifest says")),
    responses((status = 200, body = Changed)))]
pub(super) async fn uninstall(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(api.keeper.uninstall(&id, &holder.actor()).await?.into()))
}
