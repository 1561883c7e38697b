//! `jackfield serve`: everything started in order, and stopped in the reverse order.
//!
//! ```text
//! start: configuration -> journal -> plugins' store -> switch -> API's socket -> keeper and connectors -> API
//! stop:  API -> keeper and connectors -> switch -> journal
//! ```

mod listener;
mod signals;

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use calls::{
    Actor, ConnectorId,
    fact::{Notice, Severity},
    switchboard::{ConnectorPolicy, Input, Policy, Request, Switchboard},
};
use jiff::tz::TimeZone;
use plugin_runtime::RuntimeError;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use crate::{
    api::{self, ApiState, MAX_STREAMS, Parts},
    cli::{FAILURE, SUCCESS, complain},
    clock::Clock,
    config::Config,
    figures::Zones,
    hooks::{
        self,
        engine::EngineParts,
        observers::ObserverParts,
        plan::HookPlan,
        store::{HookStore, HookStoreError},
    },
    http::Fetcher,
    journal::{Journal, JournalError, JournalOptions, Retention},
    parties,
    plugins::{
        Foundation, Keeper, KeeperError, KeeperTask, compile, idle_policy, overlay_ids,
        store::{Store, StoreError},
    },
    publish::Publisher,
    status::StatusBoard,
    switch::{Switch, SwitchHandle},
    tokens::{TokenError, Tokens},
};
use listener::{TlsFilesError, TlsListener};
use signals::{HangUps, Signals};

/// For open API connections to end by themselves.
const API_PATIENCE: Duration = Duration::from_secs(1);
/// For connectors and the switch.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Why the host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The machine cannot run plugins.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The API's address.
    #[error(
        "cannot listen on {address}: {source}; fix: end whoever listens there, or write another port into [api] listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The API's certificate.
    #[error("[api] tls: {0}")]
    Tls(#[from] TlsFilesError),
    /// The API's tokens.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// What is kept of plugins.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What hooks keep.
    #[error(transparent)]
    HookStore(#[from] HookStoreError),
    /// The keeper of the connectors.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
}

/// A running host.
pub struct Host {
    api_addr: SocketAddr,
    board: StatusBoard,
    switch: SwitchHandle,
    publisher: Arc<Publisher>,
    journal: Journal,
    stop_api: watch::Sender<bool>,
    keeper: Keeper,
    keeper_task: KeeperTask,
    api_task: JoinHandle<()>,
    /// The engine holds on to the switch, so it is stopped before it.
    stop_hooks: watch::Sender<bool>,
    engine_task: JoinHandle<()>,
    observer_task: JoinHandle<()>,
    switch_task: JoinHandle<()>,
    /// Why the switch ended.
    switch_ended: watch::Receiver<Option<String>>,
}

impl Host {
    /// Starts everything; returns when the API answers. Needs a tokio runtime around it.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock = Clock::start();
        let config = Arc::new(config);
        // The first caller must not wait for the number rules of the world.
        tokio::task::spawn_blocking(parties::warm_up);

        let (journal, recovered) = blocking({
            let options = journal_options(&config);
            let zones = zones(&config);
            move || Journal::open(&options, zones)
        })
        .await?;
        let publisher = journal.publisher();
        let tokens = blocking({
            let file = config.tokens_file();
            move || Tokens::open(&file)
        })
        .await?;
        let (runtime, store, of_rest, hook_store) = blocking({
            let config = config.clone();
            move || {
                let folder = config.store_folder();
                let store = Store::open(&folder, config.plugins.signing.clone())?;
                let of_rest = overlay_ids(&store)?;
                let hook_store = HookStore::open(&HookStore::beside(&config.journal.path))?;
                Ok::<_, StartError>((compile::runtime()?, store, of_rest, hook_store))
            }
        })
        .await?;
        let rules = parties::Rules::default();
        let policy = policy(&config, &of_rest, rules.clone());
        let connectors: Vec<ConnectorId> = policy.connectors.keys().cloned().collect();
        let mut switchboard = Switchboard::new(policy, recovered.state);
        configure(&mut switchboard, &connectors, &config, clock);

        let (hooks_in, outlet) = hooks::inbox();
        let (task, switch, facts, roster) =
            Switch::new(switchboard, clock, journal.writer(), hooks_in);
        let (hook_plan, plan) = watch::channel(Arc::new(HookPlan::of(&config)));
        let (stop_hooks, hooks_stop) = watch::channel(false);
        let leave_alone = config.hooks.leave_alone;
        let engine = hooks::engine::run(EngineParts {
            outlet,
            plan: plan.clone(),
            store: hook_store.clone(),
            fetcher: Fetcher::default(),
            clock,
            switch: facts.clone(),
            stop: hooks_stop.clone(),
        });
        let engine_task = tokio::spawn(async move {
            // What is dropped unread is nobody's.
            if !leave_alone {
                engine.await;
            }
        });
        let observer_task = tokio::spawn(hooks::observers::run(ObserverParts {
            plan,
            publisher: publisher.clone(),
            store: hook_store.clone(),
            fetcher: Fetcher::default(),
            clock,
            stop: hooks_stop,
        }));

        let tls = config.api.tls.as_ref().map(listener::server_config).transpose()?;
        let address = config.api.listen;
        let socket = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;
        let api_addr =
            socket.local_addr().map_err(|source| StartError::Listen { address, source })?;

        let board = StatusBoard::default();
        let (tell_end, switch_ended) = watch::channel(None);
        let switch_task = tokio::spawn(async move {
            let why = match tokio::spawn(task.run()).await {
                Ok(Ok(())) => "every connector's thread is gone".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic.to_string(),
            };
            tell_end.send_replace(Some(why));
        });
        let (keeper, keeper_task) = Keeper::start(Foundation {
            config: config.clone(),
            runtime,
            store,
            clock,
            switch: switch.clone(),
            roster,
            facts,
            board: board.clone(),
            rules,
            hook_store,
            hook_plan,
        })
        .await?;
        let (stop_api, stopping) = watch::channel(false);
        let app = api::app(ApiState::from(Parts {
            publisher: publisher.clone(),
            journal: journal.writer(),
            switch: switch.clone().into(),
            status: board.clone(),
            keeper: keeper.clone().into(),
            tokens,
            cors: config.api.cors.clone(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stopping: stopping.clone(),
        }));
        let api_task = match tls {
            None => tokio::spawn(serve(api::serve::Listener(socket), app, stopping)),
            Some(tls) => {
                let listener = TlsListener::new(socket, tls)
                    .map_err(|source| StartError::Listen { address, source })?;
                tokio::spawn(serve(listener, app, stopping))
            }
        };
        Ok(Self {
            api_addr,
            board,
            switch,
            publisher,
            journal,
            stop_api,
            keeper,
            keeper_task,
            api_task,
            stop_hooks,
            engine_task,
            observer_task,
            switch_task,
            switch_ended,
        })
    }

    /// Where the API listens; with port 0 in the configuration, the port that was free.
    pub fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// How the connectors are.
    pub fn board(&self) -> &StatusBoard {
        &self.board
    }

    /// Changes plugins and connectors.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Asks the switch.
    pub fn switch(&self) -> &SwitchHandle {
        &self.switch
    }

    /// What is committed.
    pub fn publisher(&self) -> Arc<Publisher> {
        Arc::clone(&self.publisher)
    }

    /// Returns when the host cannot do its work any more, with why. It does not recover: stop it.
    pub async fn failed(&self) -> String {
        let mut switch_ended = self.switch_ended.clone();
        let writer = self.journal.writer();
        tokio::select! {
            // First, because a dead writer ends the switch too.
            biased;
            () = writer.ended() => "the journal's writer ended".to_owned(),
            ended = switch_ended.wait_for(Option::is_some) => {
                let why = ended.ok().and_then(|why| why.clone()).unwrap_or_default();
                format!("the switch ended: {why}")
            }
        }
    }

    /// Stops everything; what was accepted is on disk afterwards.
    pub async fn stop(self) {
        let Self {
            stop_api,
            keeper_task,
            mut api_task,
            stop_hooks,
            mut engine_task,
            mut observer_task,
            mut switch_task,
            switch,
            ..
        } = self;
        stop_api.send_replace(true);
        // A client may be in the middle of something long.
        if tokio::time::timeout(API_PATIENCE, &mut api_task).await.is_err() {
            api_task.abort();
        }
        keeper_task.stop().await;
        stop_hooks.send_replace(true);
        if tokio::time::timeout(STOP_PATIENCE, &mut engine_task).await.is_err() {
            tracing::error!(
                "the hooks do not stop; callers they hold fall back when their leases end"
            );
            engine_task.abort();
        }
        if tokio::time::timeout(STOP_PATIENCE, &mut observer_task).await.is_err() {
            tracing::error!("an observer does not stop; it is told its last events again");
            observer_task.abort();
        }
        drop(switch);
        if tokio::time::timeout(STOP_PATIENCE, &mut switch_task).await.is_err() {
            tracing::error!(
                "the switch does not stop; what it has not handed to the journal is lost"
            );
            switch_task.abort();
        }
        let journal = self.journal;
        if let Err(panic) = tokio::task::spawn_blocking(move || journal.close()).await {
            tracing::error!(%panic, "the journal did not close");
        }
    }
}

/// Runs a host until a signal comes; gives the exit code.
pub async fn run(config: Config) -> anyhow::Result<u8> {
    let began = Instant::now();
    let warnings = config.warnings.clone();
    let file = config.file.clone();
    for warning in &warnings {
        tracing::warn!(
            file = %file.display(),
            line = warning.place.line,
            key = warning.key,
            "{}; {}",
            warning.message,
            warning.fix
        );
    }
    // From here on, so that none of them finds nobody and kills the process.
    let mut signals = Signals::listen()?;
    let hang_ups = HangUps::listen();
    let started = tokio::select! {
        started = Host::start(config) => started,
        () = signals.stop() => {
            tracing::info!("stopped before it was ready");
            return Ok(SUCCESS);
        }
    };
    let host = match started {
        Ok(host) => host,
        Err(error) => {
            complain(&error.to_string());
            return Ok(FAILURE);
        }
    };
    tracing::info!(api = %host.api_addr(), ms = began.elapsed().as_millis() as u64, "ready");
    let reloading = tokio::spawn(reload_on_signal(hang_ups, host.keeper().clone()));
    let code = tokio::select! {
        () = signals.stop() => SUCCESS,
        why = host.failed() => {
            tracing::error!(why, "this host cannot go on");
            complain(&format!("{why}; fix: start jackfield again, and report this with its log"));
            FAILURE
        }
    };
    reloading.abort();
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        () = host.stop() => {
            tracing::info!("stopped");
            Ok(code)
        }
        () = signals.stop() => Ok(FAILURE),
    }
}

/// SIGHUP: the config file is read again.
async fn reload_on_signal(mut hang_ups: HangUps, keeper: Keeper) {
    while hang_ups.next().await {
        match keeper.reload(&Actor::Config).await {
            Ok(report) if report.is_empty() => tracing::info!("reloaded; nothing has changed"),
            Ok(report) => tracing::info!(
                changes = report.changes.len(),
                complaints = report.complaints.len(),
                needs_restart = report.needs_restart.len(),
                warnings = report.warnings.len(),
                "reloaded"
            ),
            Err(error) => tracing::error!(
                "the config file cannot be used, everything goes on as it is:\n{error}"
            ),
        }
    }
}

async fn serve<L>(listener: L, app: axum::Router, mut stopping: watch::Receiver<bool>)
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let stopped = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the API ended");
    }
}

/// Work that waits for disks or compilers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Where compiled plugins are kept: a folder only this user may write, or none.
pub fn cache_folder() -> Option<PathBuf> {
    let chosen = || std::env::var_os("JACKFIELD_CACHE_DIR").map(PathBuf::from);
    let of_user = || {
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("jackfield").join("plugins"))
    };
    chosen().or_else(of_user)
}

fn journal_options(config: &Config) -> JournalOptions {
    JournalOptions {
        path: config.journal.path.clone(),
        retention: Retention {
            keep: Duration::from_secs(u64::from(config.journal.keep_days) * 86_400),
            keep_bytes: u64::from(config.journal.keep_mib) << 20,
        },
    }
}

fn zones(config: &Config) -> Zones {
    // The configuration was refused if one were unknown.
    let zone = |name: &Option<String>| name.as_deref().and_then(|name| TimeZone::get(name).ok());
    let mut zones = Zones::default();
    for connector in &config.connectors {
        zones
            .connectors
            .extend(zone(&connector.time_zone).map(|zone| (connector.id.clone(), zone)));
        for (queue, rules) in &connector.queues {
            let key = (connector.id.clone(), queue.clone());
            zones.queues.extend(zone(&rules.time_zone).map(|zone| (key, zone)));
        }
    }
    zones
}

/// Every connector that anybody names; the keeper says more about each when it has looked at it.
fn policy(config: &Config, of_rest: &[String], rules: parties::Rules) -> Policy {
    let of_rest = of_rest.iter().map(|id| (id.as_str().into(), ConnectorPolicy::default()));
    let of_file =
        config.connectors.iter().map(|connector| (connector.id.clone(), idle_policy(connector)));
    Policy { connectors: of_rest.chain(of_file).collect(), parties: parties::parties(rules) }
}

/// Tells the switchboard what the configuration says, before anything else happens.
fn configure(
    switchboard: &mut Switchboard,
    connectors: &[ConnectorId],
    config: &Config,
    clock: Clock,
) {
    for connector in connectors {
        switchboard.handle(Input::Configured { connector: connector.clone() }, clock.now());
    }
    let wanted: BTreeSet<_> = config.agents.iter().map(|agent| &agent.id).collect();
    let gone: Vec<_> = switchboard
        .state()
        .agents()
        .map(|person| &person.agent)
        .filter(|agent| agent.from_config && !wanted.contains(&agent.id))
        .map(|agent| Request::RemoveAgent(agent.id.clone()))
        .collect();
    let changed: Vec<_> = config
        .agents
        .iter()
        .filter(|agent| {
            switchboard.state().agent(&agent.id).is_none_or(|known| known.agent != **agent)
        })
        .map(|agent| Request::PutAgent(agent.clone()))
        .collect();
    for request in gone.into_iter().chain(changed) {
        let name = match &request {
            Request::PutAgent(agent) => agent.id.to_string(),
            Request::RemoveAgent(id) => id.to_string(),
            _ => String::new(),
        };
        if let Err(refusal) = switchboard.request(request, Actor::Config, clock.now()) {
            // Somebody made a contradicting agent over REST; the host must start all the same.
            let message = format!("agents.{name} of the configuration cannot be used: {refusal}");
            tracing::warn!("{message}");
            let notice = Notice {
                code: "agent-refused".to_owned(),
                severity: Severity::Error,
                message,
                fix: "change the agent in the configuration, or the other one over REST".to_owned(),
            };
            switchboard.handle(Input::Notice { connector: None, notice }, clock.now());
        }
    }
}
