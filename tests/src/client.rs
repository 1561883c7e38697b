//! A client of the REST API and of the event stream, over bare TCP.
//!
//! Deliberately small and not the host's own HTTP code: what it reads is what any client reads.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client with a token.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where the API listens.
    pub address: SocketAddr,
    /// The bearer token; empty sends none.
    pub token: String,
}

/// A request's content type and body.
type Body<'a> = Option<(&'a str, Vec<u8>)>;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, if it is JSON.
    pub body: Value,
}

impl Client {
    /// GET; anything but 200 is an error.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.request("GET", path, &[], None).await?;
        ensure!(answer.status == 200, "GET {path}: {} {}", answer.status, answer.body);
        Ok(answer.body)
    }

    /// Any request with a JSON body or none.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer> {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        self.ask(method, path, headers, body).await
    }

    /// POST of a file.
    pub async fn upload(&self, path: &str, kind: &str, file: Vec<u8>) -> Result<Answer> {
        self.ask("POST", path, &[], Some((kind, file))).await
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Answer> {
        let exchange = async { self.open(method, path, headers, body).await?.read().await };
        let answered = timeout(PATIENCE, exchange).await;
        let answered = answered.with_context(|| format!("no answer within {PATIENCE:?}"));
        answered.and_then(|answer| answer).with_context(|| format!("{method} {path}"))
    }

    /// A command: POST (or another method), waits for its end, and returns the command.
    pub async fn command(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.request(method, path, &[("Prefer", "wait=20")], body).await
    }

    async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Opened> {
        let mut stream = TcpStream::connect(self.address).await.context("cannot reach the API")?;
        let (kind, body) = body.unwrap_or_default();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        if !self.token.is_empty() {
            head += &format!("Authorization: Bearer {}\r\n", self.token);
        }
        if !body.is_empty() {
            head += &format!("Content-Type: {kind}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        let mut reader = BufReader::new(stream);
        let first = line(&mut reader).await?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("not an HTTP answer: {first}"))?;
        let mut headers = Vec::new();
        loop {
            let line = line(&mut reader).await?;
            if line.is_empty() {
                return Ok(Opened { status, headers, reader });
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Follows the event stream from behind `after`. `query` is further filters, e.g. `&type=call.*`.
    pub async fn events(&self, after: u64, query: &str) -> Result<Events> {
        let path = format!("/v1/events?after={after}{query}");
        self.stream(&path, &[]).await
    }

    /// Comes back to the event stream as a browser would.
    pub async fn events_again(&self, last_event_id: u64) -> Result<Events> {
        self.stream("/v1/events", &[("Last-Event-ID", &last_event_id.to_string())]).await
    }

    async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Result<Events> {
        let opened = timeout(PATIENCE, self.open("GET", path, headers, None)).await;
        let Opened { status, headers, reader } = opened.context("the stream did not begin")??;
        ensure!(status == 200, "GET {path}: {status}");
        let is_chunked = header(&headers, "transfer-encoding") == Some("chunked");
        let log = watch::Sender::new(Log::default());
        let writing = log.clone();
        let task = tokio::spawn(async move {
            let ended = match read_stream(reader, is_chunked, &writing).await {
                Ok(()) => "the host closed it".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            writing.send_modify(|log| log.ended = Some(ended));
        });
        Ok(Events { log, task })
    }
}

/// An answer whose body is still to be read.
struct Opened {
    status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
}

impl Opened {
    async fn read(self) -> Result<Answer> {
        let Opened { status, headers, mut reader } = self;
        let mut bytes = Vec::new();
        if header(&headers, "transfer-encoding") == Some("chunked") {
            while let Some(chunk) = next_chunk(&mut reader).await? {
                bytes.extend(chunk);
            }
        } else if let Some(length) = header(&headers, "content-length") {
            bytes.resize(length.parse().context("content-length")?, 0);
            reader.read_exact(&mut bytes).await?;
        } else {
            reader.read_to_end(&mut bytes).await?;
        }
        let text = String::from_utf8_lossy(&bytes);
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text.into_owned()));
        Ok(Answer { status, headers, body })
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

async fn line(reader: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    ensure!(reader.read_line(&mut line).await? > 0, "the host closed the connection");
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// One chunk of a chunked body; `None` after the last.
async fn next_chunk(reader: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>> {
    let size = line(reader).await?;
    let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16)
        .with_context(|| format!("{size:?} is not the size of a chunk"))?;
    let mut chunk = vec![0; size];
    reader.read_exact(&mut chunk).await?;
    line(reader).await?;
    Ok((size > 0).then_some(chunk))
}

/// One event as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The `id:` field.
    pub id: u64,
    /// The `event:` field.
    pub kind: String,
    /// The `data:` field.
    pub data: Value,
    /// When it came.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<Arc<Seen>>,
    /// The last id that came, heartbeats included.
    last_id: u64,
    /// Why nothing more will come.
    ended: Option<String>,
}

/// A followed event stream; all that came stays readable.
#[derive(Debug)]
pub struct Events {
    log: watch::Sender<Log>,
    task: JoinHandle<()>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Events {
    /// All events so far.
    pub fn all(&self) -> Vec<Arc<Seen>> {
        self.log.borrow().events.clone()
    }

    /// The id a client would come back with.
    pub fn last_id(&self) -> u64 {
        self.log.borrow().last_id
    }

    /// How many events came: a place to [`Events::next`] from.
    pub fn place(&self) -> usize {
        self.log.borrow().events.len()
    }

    /// Waits for the first event that is `wanted`, whenever it came.
    pub async fn wait(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<Arc<Seen>> {
        self.next(0, what, within, wanted).await
    }

    /// Waits for the first event from `place` on that is `wanted`.
    pub async fn next(
        &self,
        place: usize,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<Arc<Seen>> {
        let deadline = Instant::now() + within;
        let mut log = self.log.subscribe();
        let mut looked = place;
        loop {
            {
                let log = log.borrow_and_update();
                let fresh = log.events.get(looked..).unwrap_or_default();
                if let Some(found) = fresh.iter().find(|seen| wanted(seen)) {
                    return Ok(found.clone());
                }
                looked = looked.max(log.events.len());
                if let Some(why) = &log.ended {
                    bail!("{what} did not come, and the stream ended: {why}");
                }
            }
            if !matches!(timeout_at(deadline, log.changed()).await, Ok(Ok(()))) {
                bail!("{what} did not come within {within:?}; the last events:\n{}", self.tail(25));
            }
        }
    }

    /// Waits until the event with this number came.
    pub async fn reached(&self, seq: u64, within: Duration) -> Result<()> {
        self.wait(&format!("event {seq}"), within, |seen| seen.id >= seq).await.map(drop)
    }

    /// The last events, for the message of a failed test.
    pub fn tail(&self, count: usize) -> String {
        let all = self.all();
        let from = all.len().saturating_sub(count);
        all[from..].iter().map(|seen| format!("  {} {}\n", seen.id, seen.data)).collect()
    }
}

/// Server-sent events (the HTML standard, 9.2.6), as far as ids, names and data go.
async fn read_stream(
    mut reader: BufReader<TcpStream>,
    is_chunked: bool,
    log: &watch::Sender<Log>,
) -> Result<()> {
    let mut buffer: Vec<u8> = Vec::new();
    let (mut id, mut kind, mut data) = (0, String::new(), String::new());
    loop {
        if is_chunked {
            match next_chunk(&mut reader).await? {
                Some(chunk) => buffer.extend(chunk),
                None => return Ok(()),
            }
        } else if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let mut came = Vec::new();
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let line = String::from_utf8(line).context("the stream is not UTF-8")?;
            let line = line.trim_end_matches(['\r', '\n']);
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => id = value.parse().with_context(|| format!("id {value:?}"))?,
                "event" => value.clone_into(&mut kind),
                "data" => data += value,
                "" if line.is_empty() && !data.is_empty() => {
                    let text = std::mem::take(&mut data);
                    let data = serde_json::from_str(&text).with_context(|| text.clone())?;
                    if kind == "heartbeat" {
                        kind.clear();
                        continue;
                    }
                    came.push(Arc::new(Seen {
                        id,
                        kind: std::mem::take(&mut kind),
                        data,
                        at: Instant::now(),
                    }));
                }
                _ => {}
            }
        }
        log.send_modify(|log| {
            log.last_id = id;
            log.events.append(&mut came);
        });
    }
}
