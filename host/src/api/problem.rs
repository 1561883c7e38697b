//! Errors as `application/problem+json` (RFC 9457), each with its fix.

use axum::{
    extract::Request,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{config::Complaint, journal::StoreError, plugins::KeeperError, switch::RequestError};

/// What went wrong, and what to do.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem, e.g. `urn:jackfield:not-found`.
    #[serde(rename = "type")]
    #[schema(example = "urn:jackfield:not-found")]
    kind: &'static str,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What it is this time.
    detail: Box<str>,
    /// What to do; empty when nothing helps.
    fix: Box<str>,
    /// The path that was asked.
    #[serde(skip_serializing_if = "str::is_empty")]
    instance: Box<str>,
    /// Where the config file sets what was to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    set_in: Option<Box<SetIn>>,
    /// One for every part that is wrong, when several may be.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<Fault>, required = false)]
    errors: Box<[Fault]>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after_secs: Option<u32>,
}

/// A place in the config file.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SetIn {
    #[schema(example = "/etc/jackfield/jackfield.toml")]
    file: String,
    /// Counted from 1.
    line: usize,
    /// The dotted key.
    #[schema(example = "connectors.hq.settings.username")]
    key: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Fault {
    /// The dotted key.
    #[schema(example = "settings.username")]
    key: String,
    /// What is wrong with it.
    message: String,
    /// What to write instead.
    fix: String,
    /// In the config file, when it is about that; counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    line: Option<usize>,
}

impl From<&Complaint> for Fault {
    fn from(complaint: &Complaint) -> Self {
        Self {
            key: complaint.key.clone(),
            message: complaint.message.clone(),
            fix: complaint.fix.clone(),
            line: Some(complaint.place.line).filter(|line| *line > 0),
        }
    }
}

impl Problem {
    fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into().into_boxed_str(),
            fix: fix.into().into_boxed_str(),
            instance: Box::default(),
            set_in: None,
            errors: Box::default(),
            retry_after_secs: None,
        }
    }

    pub(super) fn not_found(what: impl std::fmt::Display, fix: impl Into<String>) -> Self {
        let detail = format!("There is no {what}.");
        Self::new(StatusCode::NOT_FOUND, "urn:jackfield:not-found", "Not found", detail, fix)
    }

    pub(super) fn bad_request(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "urn:jackfield:bad-request", "Bad request", detail, fix)
    }

    pub(super) fn invalid(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "urn:jackfield:invalid", "Invalid", detail, fix)
    }

    pub(super) fn conflict(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "urn:jackfield:conflict", "Conflict", detail, fix)
    }

    pub(super) fn unavailable(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, "urn:jackfield:unavailable", "Not now", detail, fix);
        Self { retry_after_secs: Some(1), ..problem }
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "urn:jackfield:unauthorized",
            "No valid token",
            detail,
            "Send the header `Authorization: Bearer jf_...`; make a token with `jackfield token create`.",
        )
    }

    pub(super) fn forbidden(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "urn:jackfield:forbidden", "Not allowed", detail, fix)
    }

    pub(super) fn with_status(
        status: StatusCode,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(status, "urn:jackfield:too-large", "Too large", detail, fix)
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(
                status,
                "urn:jackfield:unsupported-media-type",
                "Wrong type of body",
                detail,
                fix,
            ),
            StatusCode::UNPROCESSABLE_ENTITY => Self::invalid(detail, fix),
            _ => Self::bad_request(detail, fix),
        }
    }

    /// Ours, not the client's: the details go to the log only.
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "urn:jackfield:internal",
            "Internal error",
            "Something went wrong inside Jackfield.",
            "See Jackfield's log.",
        )
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        use ::calls::Refusal;
        let refusal = match error {
            RequestError::Refused(refusal) => refusal,
            RequestError::Busy | RequestError::Stopping => {
                return Self::unavailable(error.to_string(), "Try again in a second.");
            }
        };
        match refusal {
            Refusal::NotFound { what } => Self::not_found(what, "Look it up in the list first."),
            Refusal::Conflict { message, fix } => Self::conflict(message, fix),
            Refusal::Invalid { what, message } => {
                Self::invalid(format!("{what}: {message}"), format!("Correct `{what}`."))
            }
            Refusal::Unavailable { message, fix } => Self::unavailable(message, fix),
            Refusal::TooMany { in_flight } => Self {
                retry_after_secs: Some(1),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "urn:jackfield:too-many",
                    "Too many commands",
                    format!("{in_flight} commands are under way."),
                    "Wait until some have ended.",
                )
            },
        }
    }
}

impl From<KeeperError> for Problem {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::OwnedByFile { file, line, key } => {
                let file = file.display().to_string();
                let detail = format!("`{key}` is set in {file}, line {line}.");
                let fix = "Change it there, or remove it there to set it over REST.";
                let set_in = Some(Box::new(SetIn { file, line, key }));
                Self { set_in, ..Self::conflict(detail, fix) }
            }
            KeeperError::Invalid(complaints) => {
                let first = complaints.first();
                let detail = first.map_or_else(
                    || "It cannot be used.".to_owned(),
                    |first| format!("{}: {}.", first.key, first.message),
                );
                let fix = first.map(|first| first.fix.clone()).unwrap_or_default();
                let errors = complaints.iter().map(Fault::from).collect();
                Self { errors, ..Self::invalid(detail, fix) }
            }
            KeeperError::NotFound { what, fix } => Self::not_found(what, fix),
            KeeperError::Conflict { message, fix } => Self::conflict(message, fix),
            KeeperError::Install { message, fix, ours: false } => Self::invalid(message, fix),
            KeeperError::Install { message, fix, ours: true } => Self::unavailable(message, fix),
            KeeperError::Busy { .. } | KeeperError::Stopping => {
                Self::unavailable(error.to_string(), "Try again in a moment.")
            }
        }
    }
}

impl IntoResponse for Problem {
    /// [`render`] writes the body: it knows the path.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the problem of a response, if it has one.
pub(super) async fn render(request: Request, next: Next) -> Response {
    let instance = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    // What the framework refuses by itself has a text and no problem.
    let foreign = || {
        response.status().is_client_error().then(|| {
            let fix = "See /openapi.json for what this path takes.";
            Problem::with_status(response.status(), "The request cannot be read.", fix)
        })
    };
    let Some(mut problem) = problem.or_else(foreign) else { return response };
    problem.instance = instance.into();
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut rendered = (response.status(), body).into_response();
    *rendered.headers_mut() = response.headers().clone();
    rendered.headers_mut().remove(header::CONTENT_LENGTH);
    let headers = rendered.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
        let realm = HeaderValue::from_static("Bearer realm=\"jackfield\"");
        headers.insert(header::WWW_AUTHENTICATE, realm);
    }
    if let Some(secs) = problem.retry_after_secs {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    rendered
}

pub(super) async fn no_such_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::not_found(format_args!("path `{path}`"), "See /openapi.json for what there is.")
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "urn:jackfield:method-not-allowed",
        "Method not allowed",
        format!("`{}` does not take {method}.", uri.path()),
        "The header `Allow` and /openapi.json say what it takes.",
    )
}
