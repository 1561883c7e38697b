//! A component as the body of a request: read to memory up to the size that can be one, and never further.

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use base64::Engine;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Problem;

/// The largest component that is taken; the runtime loads no larger one.
pub const MAX_COMPONENT_BYTES: usize = 64 << 20;

/// The header with the signature: the text of the `.minisig` file in base64.
pub const SIGNATURE: &str = "minisign";

/// Uploads at the same time, which bounds their memory.
static UPLOADS: Semaphore = Semaphore::const_new(4);

/// A component and its signature.
pub(super) struct Component {
    pub wasm: Vec<u8>,
    pub signature: Option<String>,
    /// Among the uploads at the same time; kept until it is installed.
    pub place: SemaphorePermit<'static>,
}

impl<S: Sync> FromRequest<S> for Component {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        check_type(&parts.headers)?;
        let signature = signature(&parts.headers)?;
        let announced = parts.headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > MAX_COMPONENT_BYTES as u64) {
            return Err(too_large());
        }
        let place = UPLOADS.try_acquire().map_err(|_| {
            Problem::unavailable("Other plugins are being uploaded.", "Try again in a moment.")
        })?;
        Ok(Self { wasm: read(body, announced).await?, signature, place })
    }
}

async fn read(body: Body, announced: Option<u64>) -> Result<Vec<u8>, Problem> {
    let expected = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    // Memory is taken as bytes come, not as they are announced.
    let mut wasm = Vec::with_capacity(expected.min(1 << 20));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::bad_request(
                format!("The upload broke off after {} bytes.", wasm.len()),
                "Nothing was installed. Send the whole file again.",
            )
        })?;
        if wasm.len() + chunk.len() > MAX_COMPONENT_BYTES {
            return Err(too_large());
        }
        wasm.extend_from_slice(&chunk);
    }
    if wasm.is_empty() {
        let fix = "Send the bytes of the .wasm file as the body.";
        return Err(Problem::bad_request("The body is empty.", fix));
    }
    Ok(wasm)
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|value| value.split(';').next()).map(str::trim);
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/wasm")) {
        return Ok(());
    }
    Err(Problem::with_status(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "The body is not said to be a WebAssembly component.",
        "Send the bytes of the .wasm file with the header `Content-Type: application/wasm`.",
    ))
}

fn signature(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(SIGNATURE) else { return Ok(None) };
    let decoded = base64::engine::general_purpose::STANDARD.decode(value.as_bytes());
    match decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Ok(Some(text)),
        None => Err(Problem::bad_request(
            "The header `Minisign` is not base64 of a text.",
            "Send the whole .minisig file in base64, e.g. `base64 -w0 plugin.wasm.minisig`.",
        )),
    }
}

fn too_large() -> Problem {
    let most = MAX_COMPONENT_BYTES >> 20;
    Problem::with_status(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("A plugin has at most {most} MiB ({MAX_COMPONENT_BYTES} bytes)."),
        "Check that it is a plugin; build it with `cargo xtask plugins`, which leaves out debug information.",
    )
}
