//! One connection, one request on it, one answer.

use std::{net::SocketAddr, pin::pin, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode, Uri,
    body::{Body, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    CONNECT_TIMEOUT, FetchError, Fetcher, MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, Message,
    Place, Response, url::Url,
};
use crate::links::first_that_answers;

/// What one request led to.
pub(super) enum Answer {
    Response(Response),
    Redirect { status: u16, location: String },
}

/// Connects to one of these addresses, to nothing else, and asks there.
pub(super) async fn send(
    fetcher: &Fetcher,
    url: &Url,
    addresses: &[SocketAddr],
    message: &Message,
) -> Result<Answer, FetchError> {
    let failed = |problem: String| FetchError::NoConnection { host: url.host.clone(), problem };
    let late = || failed(format!("none within {} s", CONNECT_TIMEOUT.as_secs()));
    if !url.secure {
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect(url, addresses)).await;
        return converse(stream.map_err(|_| late())??, url, message).await;
    }
    let secured = async {
        let stream = connect(url, addresses).await?;
        let config = fetcher.tls().await.map_err(failed)?;
        let name = ServerName::try_from(url.host.clone())
            .map_err(|_| failed("no certificate can carry its name".to_owned()))?;
        tokio_rustls::TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| failed(format!("TLS: {error}")))
    };
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, secured).await.map_err(|_| late())??;
    converse(stream, url, message).await
}

async fn connect(url: &Url, addresses: &[SocketAddr]) -> Result<TcpStream, FetchError> {
    let failed = |error: std::io::Error| FetchError::NoConnection {
        host: url.host.clone(),
        problem: error.to_string(),
    };
    let share = CONNECT_TIMEOUT.saturating_sub(Duration::from_millis(500));
    let stream = first_that_answers(addresses, share).await.map_err(failed)?;
    let (here, there) =
        (stream.local_addr().map_err(failed)?.ip(), stream.peer_addr().map_err(failed)?.ip());
    // A public address that leads back to this very machine has got behind its firewall.
    if here == there && Place::of(there) == Place::Public {
        return Err(FetchError::Private { host: url.host.clone(), port: url.port });
    }
    Ok(stream)
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Url,
    message: &Message,
) -> Result<Answer, FetchError> {
    let failed = |error: hyper::Error| no_answer(&error, &url.host);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let request = request(url, message)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        read(response, &url.host).await
    };
    let (mut asking, mut connection) = (pin!(asking), pin!(connection));
    tokio::select! {
        answer = &mut asking => answer,
        // What was read before its end still waits to be taken.
        _ = &mut connection => asking.await,
    }
}

fn request(url: &Url, message: &Message) -> Result<Request<Full<hyper::body::Bytes>>, FetchError> {
    let bad = || FetchError::BadUrl { problem: "its path or query cannot be sent" };
    let mut request = Request::new(Full::new(message.body.clone()));
    *request.method_mut() = message.method.clone();
    *request.uri_mut() = url.path.parse::<Uri>().map_err(|_| bad())?;
    *request.headers_mut() = message.headers.clone();
    let authority = url.authority().try_into().map_err(|_| bad())?;
    request.headers_mut().insert(header::HOST, authority);
    let close = header::HeaderValue::from_static("close");
    request.headers_mut().insert(header::CONNECTION, close);
    Ok(request)
}

async fn read(response: hyper::Response<Incoming>, host: &str) -> Result<Answer, FetchError> {
    let (head, mut body) = response.into_parts();
    let status = head.status;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let problem = "it speaks another protocol".to_owned();
        return Err(FetchError::NoAnswer { host: host.to_owned(), problem });
    }
    if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
        && let Some(location) = head.headers.get(header::LOCATION)
    {
        let location = location
            .to_str()
            .map_err(|_| FetchError::BadUrl { problem: "a redirect leads to no URL" })?
            .to_owned();
        return Ok(Answer::Redirect { status: status.as_u16(), location });
    }
    let too_long = || FetchError::TooLong {
        host: host.to_owned(),
        what: format!("a body of more than {MAX_BODY_BYTES} bytes"),
    };
    let most = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
    if body.size_hint().lower() > most {
        return Err(too_long());
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| no_answer(&error, host))?.into_data() else {
            continue;
        };
        if whole.len() + data.len() > MAX_BODY_BYTES {
            return Err(too_long());
        }
        whole.extend_from_slice(&data);
    }
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers =
        head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Ok(Answer::Response(Response { status: status.as_u16(), headers, body: whole }))
}

fn no_answer(error: &hyper::Error, host: &str) -> FetchError {
    let host = host.to_owned();
    if error.is_parse_too_large() {
        let what = format!("a head of more than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers");
        return FetchError::TooLong { host, what };
    }
    let problem = if error.is_incomplete_message() {
        "it hung up in the middle".to_owned()
    } else {
        error.to_string()
    };
    FetchError::NoAnswer { host, problem }
}
