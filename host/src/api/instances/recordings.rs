//! Recordings of a connector: those that are kept, captures begun and ended, downloads.

use std::path::Path as FilePath;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::{fs::File, io::AsyncReadExt};
use utoipa::{IntoParams, ToSchema};

use super::known;
use crate::{
    api::{
        ApiState, Problem,
        extract::{self, Admin, Holder, None, Params, Read},
    },
    plugins::RecordingFile,
    wire::Time,
};

/// A connector's recordings.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recordings {
    /// The last event when they were listed.
    as_of: u64,
    /// A capture to a file is under way.
    capturing: bool,
    /// The newest first.
    items: Vec<Recording>,
}

/// A recording that is kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recording {
    /// Its id in paths.
    name: String,
    /// `crash`: made because the plugin failed; `capture`: somebody asked for it.
    kind: &'static str,
    size_bytes: u64,
    at: Time,
}

impl From<RecordingFile> for Recording {
    fn from(file: RecordingFile) -> Self {
        let RecordingFile { name, size, at, kind, .. } = file;
        Self { name, kind: kind.code(), size_bytes: size, at: at.into() }
    }
}

/// A connector's recordings.
#[utoipa::path(get, path = "/v1/connectors/{id}/recordings", tag = "connectors", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = Recordings)))]
pub(crate) async fn recordings(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<Recordings>, Problem> {
    let instance = known(&api, &id)?;
    Ok(Json(Recordings {
        as_of: *api.publisher.committed().borrow(),
        capturing: instance.capturing,
        items: instance.recordings.into_iter().map(Into::into).collect(),
    }))
}

/// Begin or end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capture {
    /// True begins one, false ends it.
    capture: bool,
    /// At its end: tokens in the place of callers' numbers.
    #[serde(default)]
    redact: bool,
}

/// How a capture is now.
#[derive(Serialize, ToSchema)]
pub(crate) struct Capturing {
    capturing: bool,
    /// The recording that was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
}

/// Begins or ends a capture to a file on Jackfield's machine.
#[utoipa::path(post, path = "/v1/connectors/{id}/recordings", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it")), request_body = Capture,
    responses((status = 200, body = Capturing)))]
pub(crate) async fn capture(
    holder: Holder<Admin>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
    extract::Json(Capture { capture, redact }): extract::Json<Capture>,
) -> Result<Json<Capturing>, Problem> {
    let file = api.keeper.capture(&id, capture, redact, &holder.actor()).await?;
    let name = file.as_deref().and_then(FilePath::file_name);
    let name = name.map(|name| name.to_string_lossy().into_owned());
    Ok(Json(Capturing { capturing: capture, name }))
}

/// How it is to be written.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Manner {
    /// Of `ring`: tokens in the place of callers' numbers. Files that are kept are as they were written.
    #[serde(default)]
    redact: bool,
}

/// The recording that is always made.
const RING: &str = "ring";

/// One recording, as a file to replay; `ring` is what happened in the last minutes. None holds a secret.
#[utoipa::path(get, path = "/v1/connectors/{id}/recordings/{name}", tag = "connectors", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "As the config names it"), ("name" = String, Path, description = "As the list names it, or `ring`"), Manner),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
pub(crate) async fn download(
    _: Holder<Admin>,
    State(api): State<ApiState>,
    Path((id, name)): Path<(String, String)>,
    Params(Manner { redact }): Params<Manner>,
) -> Result<Response, Problem> {
    let instance = known(&api, &id)?;
    if name == RING {
        let file = File::from_std(api.keeper.ring(&id, redact).await?);
        return Ok(attachment(&format!("{id}.{RING}.jsonl"), body_of(file)));
    }
    let gone = || {
        let fix = format!("GET /v1/connectors/{id}/recordings lists those that are kept.");
        Problem::not_found(format_args!("recording `{name}` of connector `{id}`"), fix)
    };
    let kept = instance.recordings.into_iter().find(|kept| kept.name == name).ok_or_else(gone)?;
    if redact {
        let detail = format!("Recording `{name}` is as it was written.");
        let fix =
            "End a capture with `redact`, or fetch `ring` with it; or fetch this one as it is.";
        return Err(Problem::conflict(detail, fix));
    }
    let file = File::open(kept.path).await.map_err(|_| gone())?;
    Ok(attachment(&name, body_of(file)))
}

fn attachment(name: &str, body: Body) -> Response {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = name.chars().filter(|c| fine(*c)).collect();
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let disposition = disposition.unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, body).into_response()
}

fn body_of(file: File) -> Body {
    const PIECE: usize = 64 << 10;
    Body::from_stream(stream::try_unfold(file, async |mut file| {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    }))
}
