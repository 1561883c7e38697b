//! Settings of a connector as a set: read with their schema, replaced as a whole.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{Key, changed, known};
use crate::{
    api::{
        ApiState, Problem,
        extract::{self, Admin, Holder, None, Params, Read},
        reload::Changed,
    },
    plugins::{InstanceView, Owner},
    wire::view::One,
};

/// A connector's settings.
#[derive(Serialize, ToSchema)]
pub(crate) struct Settings {
    /// As the plugin gets them.
    settings: Value,
    /// Those that are set, with who may change each.
    keys: Vec<Key>,
    /// JSON Schema, with titles and help; absent when the plugin cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    schema: Option<Value>,
}

/// A connector's settings, with their schema and who may change each.
#[utoipa::path(get, path = "/v1/connectors/{id}/settings", tag = "connectors", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = One<Settings>)))]
pub(crate) async fn settings(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<Settings>>, Problem> {
    let instance = known(&api, &id)?;
    let schema = instance.running.as_ref().and_then(|running| {
        let plugin = api.keeper.plugin(&running.plugin)?;
        let version = plugin.versions.into_iter().find(|it| it.sha256 == running.sha256)?;
        Some(version.manifest?.settings)
    });
    let keys = instance.keys.iter().filter(|key| key.key.starts_with(PREFIX)).map(Into::into);
    let item = Settings { keys: keys.collect(), settings: instance.settings, schema };
    Ok(Json(One { as_of: *api.publisher.committed().borrow(), item }))
}

const PREFIX: &str = "settings.";

/// Replaces the settings. Those of the config file stay: they may be left out, or named with the value they have.
///
/// They are checked by the schema and by the plugin before they are stored, and taken up without losing the
/// connection to the PBX. If the plugin refuses them, nothing changes.
#[utoipa::path(put, path = "/v1/connectors/{id}/settings", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")),
    request_body(content = Map<String, Value>, content_type = "application/json", description = "All settings"),
    responses((status = 200, body = Changed)))]
pub(crate) async fn put_settings(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    extract::Json(wanted): extract::Json<Map<String, Value>>,
) -> Result<Json<Changed>, Problem> {
    let patch = replacement(&known(&api, &id)?, wanted);
    changed(&api, &holder, &id, json!({ "settings": patch })).await
}

/// The merge patch that makes the settings REST owns the wanted ones.
fn replacement(instance: &InstanceView, mut wanted: Map<String, Value>) -> Map<String, Value> {
    let mut present = Map::new();
    for key in &instance.keys {
        let Some(name) = key.key.strip_prefix(PREFIX) else { continue };
        // A name that is no bare key is quoted.
        let name = serde_json::from_str(name).unwrap_or_else(|_| name.to_owned());
        match key.owner {
            Owner::Rest => drop(present.insert(name, key.value.clone())),
            Owner::File { .. } if wanted.get(&name) == Some(&key.value) => {
                wanted.remove(&name);
            }
            Owner::File { .. } => {}
        }
    }
    difference(&present, wanted)
}

/// The merge patch (RFC 7396) that makes `wanted` of `present`.
fn difference(present: &Map<String, Value>, wanted: Map<String, Value>) -> Map<String, Value> {
    let gone = present.keys().filter(|key| !wanted.contains_key(*key));
    let mut patch: Map<String, Value> = gone.map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in wanted {
        match (present.get(&key), value) {
            (Some(same), value) if *same == value => {}
            (Some(Value::Object(present)), Value::Object(wanted)) => {
                patch.insert(key, Value::Object(difference(present, wanted)));
            }
            (_, value) => {
                patch.insert(key, value);
            }
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_difference_takes_away_what_is_not_wanted_and_leaves_what_is_the_same() {
        let present = object(json!({"a": 1, "b": {"x": 1, "y": 2}, "c": [1], "d": 4}));
        let wanted = object(json!({"a": 1, "b": {"x": 3}, "c": [1, 2], "e": {"z": 1}}));
        let patch = difference(&present, wanted);
        let expected = json!({"b": {"x": 3, "y": null}, "c": [1, 2], "d": null, "e": {"z": 1}});
        assert_eq!(Value::Object(patch), expected);
    }
}
