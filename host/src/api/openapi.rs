//! All routes in one list, and the OpenAPI document made from them.

use std::sync::Arc;

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    OpenApi,
    openapi::{
        self, ComponentsBuilder, Content, Ref, RefOr, Required,
        path::{Operation, ParameterIn, PathItem},
        response::ResponseBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem, agents, audit, calls, commands, connectors, events, explain, extensions,
    hooks,
    instances::{self, permissions, recordings, settings, shadow, stat},
    metrics, plugins, queues, reload, system,
};
use crate::wire;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Jackfield",
        description = "Agents, extensions, queues and calls of PBXs, live. Every answer says as of which event it is \
                       (`as_of`); the stream at `/v1/events` goes on from there.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    components(schemas(wire::Event, Problem)),
    tags(
        (name = "system", description = "Is it alive, which version"),
        (name = "plugins", description = "Components: versions that are kept, and which one is used"),
        (name = "connectors", description = "Configured connections to PBXs: how they are, and what is wanted of them"),
        (name = "hooks", description = "Plugins that decide where calls go, comfort callers, and are told what happened"),
        (name = "agents", description = "People who answer"),
        (name = "extensions", description = "Lines of the PBXs"),
        (name = "queues", description = "Queues, members, callers, figures"),
        (name = "calls", description = "Calls and their legs"),
        (name = "commands", description = "What was asked for, and how it went"),
        (name = "events", description = "The event stream")
    )
)]
struct Base;

pub(super) fn router() -> (Router<ApiState>, openapi::OpenApi) {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(system::healthz))
        .routes(routes!(system::readyz))
        .routes(routes!(system::version))
        .routes(routes!(metrics::metrics))
        .routes(routes!(plugins::list, plugins::install))
        .routes(routes!(plugins::one, plugins::uninstall))
        .routes(routes!(plugins::versions))
        .routes(routes!(plugins::use_version))
        .routes(routes!(plugins::roll_back))
        .routes(routes!(connectors::list))
        .routes(routes!(connectors::one, instances::patch, instances::remove))
        .routes(routes!(instances::enable))
        .routes(routes!(instances::disable))
        .routes(routes!(settings::settings, settings::put_settings))
        .routes(routes!(permissions::permissions, permissions::put_permissions))
        .routes(routes!(stat::stat))
        .routes(routes!(instances::logs))
        .routes(routes!(shadow::shadow, shadow::begin_shadow, shadow::end_shadow))
        .routes(routes!(recordings::recordings, recordings::capture))
        .routes(routes!(recordings::download))
        .routes(routes!(hooks::list))
        .routes(routes!(hooks::one))
        .routes(routes!(hooks::logs))
        .routes(routes!(hooks::store))
        .routes(routes!(hooks::begin_canary, hooks::end_canary))
        .routes(routes!(reload::reload))
        .routes(routes!(reload::difference))
        .routes(routes!(audit::page))
        .routes(routes!(connectors::probe))
        .routes(routes!(connectors::resync))
        .routes(routes!(agents::list))
        .routes(routes!(agents::one, agents::put, agents::delete))
        .routes(routes!(agents::pause))
        .routes(routes!(agents::unpause))
        .routes(routes!(agents::login))
        .routes(routes!(agents::logout))
        .routes(routes!(extensions::list))
        .routes(routes!(extensions::one))
        .routes(routes!(queues::list))
        .routes(routes!(queues::one))
        .routes(routes!(queues::add, queues::remove))
        .routes(routes!(queues::pause))
        .routes(routes!(queues::unpause))
        .routes(routes!(calls::list))
        .routes(routes!(calls::one))
        .routes(routes!(explain::explain))
        .routes(routes!(commands::one))
        .routes(routes!(events::stream))
        .split_for_parts()
}

/// Adds what all operations share: the token, and the ways to fail.
pub(super) fn finished(mut document: openapi::OpenApi) -> openapi::OpenApi {
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("jf_<id>_<secret>".to_owned());
    bearer.description = Some(
        "Made with `jackfield token create`. `admin` includes `control` includes `read`."
            .to_owned(),
    );
    let components = document.components.take().unwrap_or_else(|| ComponentsBuilder::new().build());
    let mut components = components;
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document.components = Some(components);
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            add_problems(path, operation);
            complete(operation);
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete]
        .into_iter()
        .flatten()
}

fn add_problems(path: &str, operation: &mut Operation) {
    let mut ways = vec![("400", "The query is not understood, or holds a token")];
    if operation.security.is_some() {
        ways.push(("401", "No valid token"));
        ways.push(("403", "The token lacks the scope"));
        ways.push(("500", "A defect of Jackfield"));
    }
    if path.contains('{') {
        ways.push(("404", "There is no such thing"));
        ways.push(("409", "It contradicts what is, or a flat name is not unique"));
    }
    match &operation.request_body {
        Some(RefOr::T(body)) if body.content.contains_key("application/wasm") => {
            ways.push(("413", "The body is larger than 64 MiB"));
            ways.push(("415", "The body is not `application/wasm`"));
            ways.push(("422", "It is no plugin, or none that is trusted"));
            ways.push(("503", "The disk or the compiler cannot do it now"));
        }
        Some(_) => {
            ways.push(("413", "The body is larger than 256 KiB"));
            ways.push(("415", "The body is not JSON"));
            ways.push(("422", "A field is missing, unknown or wrong"));
        }
        None => {}
    }
    if operation.responses.responses.contains_key("202") {
        ways.push(("422", "A value makes no sense"));
        ways.push(("429", "Too many commands are under way"));
        ways.push(("503", "The connector or the journal cannot do it now"));
    }
    for (status, description) in ways {
        let mut content = Content::default();
        content.schema = Some(RefOr::Ref(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content)
            .build();
        operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(response));
    }
}

/// What the specification wants of every operation and a handler does not say.
fn complete(operation: &mut Operation) {
    // Handlers are named within their module; ids are of the whole document.
    if let (Some(id), Some([tag, ..])) = (&operation.operation_id, operation.tags.as_deref()) {
        operation.operation_id = Some(format!("{tag}_{id}"));
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = match status.as_str() {
                "202" => "Accepted, and on disk".to_owned(),
                _ => "As asked".to_owned(),
            };
        }
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && parameter.parameter_in == ParameterIn::Query
            && parameter.name != "interface"
        {
            parameter.required = Required::False;
        }
    }
}

pub(super) async fn serve(document: Arc<openapi::OpenApi>) -> Response {
    match document.to_json() {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => Problem::internal(&error).into_response(),
    }
}
