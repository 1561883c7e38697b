//! Answers to the questions of hooks: web services they may ask, and values they kept.
//!
//! Whom an instance may ask and which secrets it may send was decided when its plan was made; what is not in
//! there does not exist here. A hook never sees a secret: neither what is sent, nor what a server sends back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use plugin_runtime::hooks::{Answer, HookError, HttpRequest, Lookup, Question};
use tokio::sync::Semaphore;

use super::{memory::Memory, plan::HookInstance};
use crate::{
    connectors::host_of,
    http::{Asker, FetchError, Fetcher, MAX_BODY_BYTES, Request, Response, Sent},
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
        let Lookup { id, question, .. } = lookup;
        let answer = async {
            match question {
                Question::Stored(key) => self.stored(&instance, key).await,
                Question::Http(request) => self.http(&instance, request, within).await,
            }
        };
        let found = tokio::time::timeout(within, answer)
            .await
            .unwrap_or_else(|_| Err(FetchError::TimedOut { within }.into()));
        match found {
            Ok(answer) => Answer { id, ..answer },
            Err(error) => Answer::failed(id, error),
        }
    }

    async fn stored(&self, instance: &HookInstance, key: String) -> Result<Answer, HookError> {
        Ok(match self.memory.get(instance.id.clone(), key).await.map_err(unread)? {
            Some(body) => Answer { status: 200, body, ..Answer::default() },
            None => Answer { status: 404, ..Answer::default() },
        })
    }

    async fn http(
        &self,
        instance: &HookInstance,
        request: HttpRequest,
        within: Duration,
    ) -> Result<Answer, HookError> {
        let began = Instant::now();
        if !instance.meter.takes_request(instance.http_per_minute, began) {
            let most = instance.http_per_minute;
            let message = format!("it has sent its {most} requests of this minute");
            return Err(HookError::retryable("too-many-requests", message));
        }
        let host = host_of(&request.url);
        let HttpRequest { method, url, headers, secret_headers, body, .. } = request;
        if body.len() > MAX_BODY_BYTES {
            let message = format!("its body is longer than {MAX_BODY_BYTES} bytes");
            return Err(HookError::new("bad-request", message));
        }
        let timeout = within.max(Duration::from_millis(1));
        let has_secret_body = false;
        let mut request = Request { method, url, headers, body, has_secret_body, timeout };
        let asker = Asker {
            manifest: instance.plugin.manifest(),
            grants: &instance.grants,
            secrets: &instance.secrets,
        };
        let sent = Sent::fill(&mut request, secret_headers, Vec::new(), asker)?;
        // A hook whose server hangs takes only turns of its own.
        let stopping = |_| HookError::retryable("stopping", "the host is stopping");
        let _own = instance.meter.turns().acquire().await.map_err(stopping)?;
        let _turn = self.turns.acquire().await.map_err(stopping)?;
        match self.fetcher.fetch(request, &instance.rules).await {
            Ok(mut response) => {
                sent.mask(&mut response);
                let Response { status, headers, body } = response;
                Ok(Answer { status, headers, body, ..Answer::default() })
            }
            Err(error) => {
                tracing::warn!(
                    hook = instance.id, host, code = error.code(), %error,
                    "a lookup of a hook failed"
                );
                instance.meter.count("lookups-failed");
                Err(error.into())
            }
        }
    }
}

fn unread(problem: String) -> HookError {
    HookError::retryable("store", problem)
}
