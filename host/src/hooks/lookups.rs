//! Answers to the questions of hooks: web services they may ask, and values they kept.
//!
//! Whom an instance may ask and which secrets it may send was decided when its plan was made; what is not in
//! there does not exist here. A hook never sees a secret: neither what is sent, nor what a server sends back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use plugin_runtime::{
    Part,
    hooks::{Answer, HttpRequest, Lookup, Question, SecretHeader},
};
use tokio::sync::Semaphore;

use super::{memory::Memory, plan::HookInstance};
use crate::{
    connectors::host_of,
    http::{FetchError, Fetcher, MAX_BODY_BYTES, Request, Response},
};

/// Requests of all hooks on their way at once; the others wait for their turn within their time.
const AT_ONCE: usize = 128;

/// What questions are answered with.
#[derive(Clone)]
pub(super) struct Library {
    fetcher: Fetcher,
    memory: Memory,
    turns: Arc<Semaphore>,
}

impl Library {
    pub fn new(fetcher: Fetcher, memory: Memory) -> Self {
        Self { fetcher, memory, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Never longer than `within`; always an answer.
    pub async fn look_up(
        self,
        lookup: Lookup,
        instance: Arc<HookInstance>,
        within: Duration,
    ) -> Answer {
        let Lookup { id, question } = lookup;
        let answer = async {
            match question {
                Question::Stored(key) => self.stored(&instance, key).await,
                Question::Http(request) => self.http(&instance, request, within).await,
            }
        };
        let found = tokio::time::timeout(within, answer)
            .await
            .unwrap_or_else(|_| Err(FetchError::TimedOut { within }.to_string()));
        match found {
            Ok(answer) => Answer { id, ..answer },
            Err(error) => Answer::failed(id, error),
        }
    }

    async fn stored(&self, instance: &HookInstance, key: String) -> Result<Answer, String> {
        Ok(match self.memory.get(instance.id.clone(), key).await? {
            Some(body) => Answer { status: 200, body, ..Answer::default() },
            None => Answer { status: 404, ..Answer::default() },
        })
    }

    async fn http(
        &self,
        instance: &HookInstance,
        request: HttpRequest,
        within: Duration,
    ) -> Result<Answer, String> {
        let began = Instant::now();
        if !instance.meter.takes_request(instance.http_per_minute, began) {
            let most = instance.http_per_minute;
            return Err(format!("it has sent its {most} requests of this minute"));
        }
        let host = host_of(&request.url);
        let (request, sent) = filled(request, instance, within)?;
        // A hook whose server hangs takes only turns of its own.
        let stopping = |_| "the host is stopping".to_owned();
        let _own = instance.meter.turns().acquire().await.map_err(stopping)?;
        let _turn = self.turns.acquire().await.map_err(|_| "the host is stopping".to_owned())?;
        match self.fetcher.fetch(request, &instance.rules).await {
            Ok(response) => Ok(masked(response, instance, &sent)),
            Err(error) => {
                tracing::warn!(
                    hook = instance.id, host, code = error.code(), %error,
                    "a lookup of a hook failed"
                );
                instance.meter.count("lookups-failed");
                Err(error.to_string())
            }
        }
    }
}

/// The request, and the secrets in the forms in which they are in it.
fn filled(
    request: HttpRequest,
    instance: &HookInstance,
    within: Duration,
) -> Result<(Request, Vec<String>), String> {
    let mut sent = Vec::new();
    let HttpRequest { method, url, mut headers, secret_headers, body, .. } = request;
    if body.len() > MAX_BODY_BYTES {
        return Err(format!("its body is longer than {MAX_BODY_BYTES} bytes"));
    }
    for SecretHeader { name, before, secret } in secret_headers {
        if let Part::Secret { name, form, .. } = &secret {
            instance.plugin.manifest().may_send_secret(name, *form, &instance.grants)?;
        }
        let secret = secret.fill(&instance.secrets).map_err(|error| error.to_string())?;
        let secret = String::from_utf8(secret)
            .map_err(|_| format!("the secret for the header {name} is no text"))?;
        headers.push((name, before + &secret));
        sent.push(secret);
    }
    let timeout = within.max(Duration::from_millis(1));
    Ok((Request { method, url, headers, body, timeout }, sent))
}

/// A server that tells back what it was sent tells no secrets.
fn masked(response: Response, instance: &HookInstance, sent: &[String]) -> Answer {
    let Response { status, headers, mut body } = response;
    let mask = |data: &mut [u8]| {
        instance.secrets.mask(data);
        sent.iter().for_each(|sent| mask_one(data, sent.as_bytes()));
    };
    mask(&mut body);
    let headers = headers.into_iter().map(|(name, value)| {
        let mut value = value.into_bytes();
        mask(&mut value);
        (name, String::from_utf8_lossy(&value).into_owned())
    });
    Answer { status, headers: headers.collect(), body, ..Answer::default() }
}

/// What is shorter is no secret, and would be found anywhere.
const SHORTEST_MASKED: usize = 4;

fn mask_one(data: &mut [u8], secret: &[u8]) {
    if secret.len() < SHORTEST_MASKED {
        return;
    }
    let mut from = 0;
    while let Some(at) = data[from..].windows(secret.len()).position(|window| window == secret) {
        let end = from + at + secret.len();
        data[from + at..end].fill(b'*');
        from = end;
    }
}
