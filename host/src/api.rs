//! REST and the event stream: read what is committed, ask the switch for what should happen.
//!
//! [`app`] builds everything; tests call it without a socket. A handler is: extract, read the model or ask the
//! switch, map. OpenAPI is made from the same handlers and served at `/openapi.json`.

mod agents;
mod audit;
mod calls;
mod commands;
mod connectors;
mod cors;
mod events;
mod explain;
mod extensions;
mod extract;
mod hooks;
mod instances;
mod keep;
mod metrics;
mod openapi;
mod plugins;
mod problem;
mod queues;
mod reload;
pub mod serve;
mod system;
mod upload;

use std::{future::Future, pin::Pin, sync::Arc};

use ::calls::{Accepted, Actor, Request};
use axum::{Router, extract::DefaultBodyLimit, middleware};
use tokio::sync::{Semaphore, watch};

pub(crate) use instances::permissions::HONEST_LIMIT;
pub use keep::{Keep, Kept};
pub use problem::Problem;
pub use upload::{MAX_COMPONENT_BYTES, SIGNATURE};

use crate::{
    journal::JournalWriter,
    publish::Publisher,
    status::StatusBoard,
    switch::{RequestError, SwitchHandle},
    tokens::Tokens,
};

/// The largest body of a request.
const MAX_BODY: usize = 256 * 1024;

/// Everything the API needs.
#[derive(Clone)]
pub struct ApiState(Arc<Parts>);

/// What an API is made of.
pub struct Parts {
    /// What is committed.
    pub publisher: Arc<Publisher>,
    /// For its health.
    pub journal: JournalWriter,
    /// Whom to ask.
    pub switch: Ask,
    /// How the connectors are.
    pub status: StatusBoard,
    /// Which plugins there are, and how that is changed.
    pub keeper: Arc<dyn Keep>,
    /// Who may.
    pub tokens: Tokens,
    /// Origins of browsers that may call.
    pub cors: Vec<String>,
    /// Streams at the same time.
    pub streams: Arc<Semaphore>,
    /// True: streams end, so that the server can stop.
    pub stopping: watch::Receiver<bool>,
}

/// Streams at the same time, if nothing else is said.
pub const MAX_STREAMS: usize = 256;

type Decided = Pin<Box<dyn Future<Output = Result<Accepted, RequestError>> + Send>>;

/// The way to the switch.
pub struct Ask {
    decide: Box<dyn Fn(Request, Actor) -> Decided + Send + Sync>,
    alive: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Ask {
    /// Any way to decide requests.
    pub fn new<F: Future<Output = Result<Accepted, RequestError>> + Send + 'static>(
        ask: impl Fn(Request, Actor) -> F + Send + Sync + 'static,
    ) -> Self {
        let decide = Box::new(move |request, actor| Box::pin(ask(request, actor)) as Decided);
        Self { decide, alive: Box::new(|| true) }
    }
}

impl From<SwitchHandle> for Ask {
    fn from(switch: SwitchHandle) -> Self {
        let asked = switch.clone();
        let ask = Self::new(move |request, actor| {
            let switch = asked.clone();
            async move { switch.request(request, actor).await }
        });
        Self { alive: Box::new(move || switch.is_alive()), ..ask }
    }
}

impl From<Parts> for ApiState {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for ApiState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The whole API.
pub fn app(state: ApiState) -> Router {
    let (router, document) = openapi::router();
    let document = Arc::new(openapi::finished(document));
    router
        .route("/openapi.json", axum::routing::get(move || openapi::serve(document.clone())))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(extract::no_token_in_query))
        .layer(middleware::from_fn(problem::render))
        .layer(middleware::from_fn_with_state(state.clone(), cors::layer))
        .with_state(state)
}

#[cfg(test)]
pub(crate) mod tests;
