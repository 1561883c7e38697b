//! What handlers take from a request, each refusing with a problem that names the part.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::{ApiState, Problem};
use crate::{
    tokens::{Refused, Scope, Token},
    wire::Time,
};

/// The holder of the token of a request, who may do what `S` stands for.
pub(super) struct Holder<S>(pub Token, std::marker::PhantomData<S>);

/// May look.
pub(super) struct Read;
/// May make the PBX do something.
pub(super) struct Control;
/// May change who agents are.
pub(super) struct Admin;

pub(super) trait Needs {
    const SCOPE: Scope;
}

impl Needs for Read {
    const SCOPE: Scope = Scope::Read;
}
impl Needs for Control {
    const SCOPE: Scope = Scope::Control;
}
impl Needs for Admin {
    const SCOPE: Scope = Scope::Admin;
}

impl<S> Holder<S> {
    pub fn actor(&self) -> ::calls::Actor {
        ::calls::Actor::Token(self.0.name.clone())
    }
}

impl<S: Needs + Send> FromRequestParts<ApiState> for Holder<S> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut request::Parts,
        state: &ApiState,
    ) -> Result<Self, Problem> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let header = header.ok_or_else(|| Problem::unauthorized("The request has no token."))?;
        let token = header.to_str().ok().and_then(bearer).ok_or_else(|| {
            Problem::unauthorized("The header `Authorization` does not hold a bearer token.")
        })?;
        let checked = state.tokens.check(token, Time::now().into());
        let token = match checked.map_err(|error| Problem::internal(&error))? {
            Ok(token) => token,
            Err(Refused::Invalid) => {
                return Err(Problem::unauthorized("The token is not valid, or not any more."));
            }
            Err(Refused::Expired) => return Err(Problem::unauthorized("The token has expired.")),
        };
        if !token.may(S::SCOPE) {
            let word = S::SCOPE.word();
            return Err(Problem::forbidden(
                format!("The token `{}` does not have the scope `{word}`.", token.name),
                format!("Use a token made with `jackfield token create --scope {word}`."),
            ));
        }
        Ok(Self(token, std::marker::PhantomData))
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Query parameters; unknown ones are refused.
pub(super) struct Params<T>(pub T);

/// For paths that take none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct None {}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| {
            let fix = "See /openapi.json for the parameters of this path.";
            Problem::bad_request(format!("Query: {}.", rejection.body_text()), fix)
        })?;
        Ok(Self(query.0))
    }
}

/// A JSON body; unknown fields are refused by the types.
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = match whole(request, state).await {
            // What is made of fields could be read from a list of their values: nobody means that.
            Ok((_, body)) if body.trim_ascii_start().starts_with(b"[") => {
                let fix = "Send a JSON object: see /openapi.json for its fields.";
                return Err(Problem::bad_request("The body is a JSON array.", fix));
            }
            Ok((parts, body)) => {
                let request = Request::from_parts(parts, body.into());
                let read = axum::Json::<T>::from_request(request, state).await;
                read.map_err(|rejection| (rejection.status(), rejection.body_text()))
            }
            Err(rejection) => Err((rejection.status(), rejection.body_text())),
        };
        match read {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err((status, text)) => {
                let fix = match status {
                    StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                        "Send JSON with the header `Content-Type: application/json`."
                    }
                    StatusCode::PAYLOAD_TOO_LARGE => "Send at most 256 KiB.",
                    _ => "See /openapi.json for the fields of this body.",
                };
                Err(Problem::with_status(status, text, fix))
            }
        }
    }
}

async fn whole<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<(request::Parts, Bytes), BytesRejection> {
    let (parts, body) = request.into_parts();
    // The limit of bodies travels in the extensions.
    let again = Request::from_parts(parts.clone(), body);
    Ok((parts, Bytes::from_request(again, state).await?))
}

/// How a client wants its command handled, from the headers.
pub(super) struct Manner {
    /// How long to wait for the end before answering.
    pub wait: Duration,
    key: Option<String>,
}

/// Nobody is made to wait longer.
const MAX_WAIT_SECS: u64 = 30;
const MAX_KEY: usize = 200;

impl Manner {
    /// The client's key, kept apart from those of other tokens.
    pub fn key(&self, holder: &Token) -> Option<String> {
        self.key.as_ref().map(|key| format!("{}:{key}", holder.id))
    }
}

impl<S: Sync> FromRequestParts<S> for Manner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Problem> {
        let key = match parts.headers.get("idempotency-key") {
            Option::None => Option::None,
            Some(key) => {
                let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
                Some(key.map(str::to_owned).ok_or_else(|| {
                    let detail = "The header `Idempotency-Key` is empty, too long, or not ASCII.";
                    Problem::bad_request(detail, "Send 1 to 200 printable characters, e.g. a UUID.")
                })?)
            }
        };
        Ok(Self { wait: wait(&parts.headers), key })
    }
}

/// `Prefer: wait=N`; what cannot be read is not preferred (RFC 7240).
fn wait(headers: &HeaderMap) -> Duration {
    let values = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split([',', ';'])).map(str::trim);
    let mut secs =
        preferences.filter_map(|one| one.strip_prefix("wait=")?.trim().parse::<u64>().ok());
    Duration::from_secs(secs.next_back().unwrap_or(0).min(MAX_WAIT_SECS))
}

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Most items in the answer; 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Only of this connector.
    pub connector: Option<String>,
}

impl Paging {
    /// One page of `all`, which are in the order of their ids; `id` names them.
    pub fn page<'a, T: 'a, V>(
        &self,
        as_of: u64,
        all: impl Iterator<Item = &'a T>,
        id: impl Fn(&T) -> String,
        view: impl Fn(&'a T) -> V,
    ) -> Result<crate::wire::view::Page<V>, Problem> {
        let limit = self.limit.unwrap_or(100);
        if !(1..=1000).contains(&limit) {
            let fix = "Ask for 1 to 1000 items, and follow `next`.";
            return Err(Problem::bad_request(
                format!("Query: limit={limit} is too much or too little."),
                fix,
            ));
        }
        let mut all: Vec<(String, &T)> = all.map(|item| (id(item), item)).collect();
        // Ids are numbers in hex behind a prefix, or names: by length first puts both into a fixed order.
        all.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        let start = match &self.cursor {
            Option::None => 0,
            Some(cursor) => all.partition_point(|(id, _)| (id.len(), id) <= (cursor.len(), cursor)),
        };
        let rest = &all[start..];
        let items: Vec<V> = rest.iter().take(limit).map(|(_, item)| view(item)).collect();
        let next = (rest.len() > limit).then(|| rest[limit - 1].0.clone());
        Ok(crate::wire::view::Page { as_of, items, next })
    }
}

/// Tokens in URLs end up in logs and histories: refused before anything else looks at them.
pub(super) async fn no_token_in_query(request: Request, next: Next) -> Response {
    const NAMES: [&str; 8] = [
        "token",
        "access_token",
        "api_key",
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "password",
    ];
    let query = request.uri().query().unwrap_or_default();
    let found = query.split('&').find(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)) || value.starts_with("jf_")
    });
    if found.is_some() {
        return Problem::bad_request(
            "The query holds a token, where logs and histories keep it.",
            "Send it in the header `Authorization: Bearer jf_...`, and revoke this one: \
             `jackfield token revoke`.",
        )
        .into_response();
    }
    next.run(request).await
}
