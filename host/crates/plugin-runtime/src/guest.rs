//! One instance of a plugin: every call into it has a deadline, a memory limit and a limit on what it
//! may hand over, and comes back as an answer or as a named failure.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use calls::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use wasmtime::{ResourceLimiter, Store, StoreContextMut, Trap, UpdateDeadline, component::HasData};

use crate::{
    FailureKind, InstanceConfig, Limits, LoadError, Plugin, SettingsProblem,
    bindings::{
        connector::{Connector, jackfield::log::log},
        settings::SettingsIndices,
        state::State,
        types::{Action, Config, Input, Now, Snapshot},
    },
    convert::{MAX_TEXT, cut},
    engine::TICK,
    load::Hooks,
    log::{LogGate, plain},
};

/// Deadline of `init` (also from a snapshot), of `snapshot`, and of replayed steps: none of them may fail
/// because the machine is busy for a moment.
pub(crate) const SLOW_CALL: Duration = Duration::from_millis(500);
/// What a snapshot may need beside its data.
const SNAPSHOT_SLACK: usize = 64 << 10;
const MAX_TABLE_ELEMENTS: usize = 100_000;
const MAX_TABLES: usize = 64;
/// A component of CPython is made of more than twenty modules.
const MAX_INSTANCES: usize = 100;
const MAX_MEMORIES: usize = 8;
const MAX_PROBLEMS: usize = 256;

/// A call that did not return an answer. Unless `kind` is `Error`, the instance is gone.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

impl Failure {
    fn new(kind: FailureKind, message: &str) -> Self {
        Self { kind, message: cut(message.to_owned()) }
    }

    /// The same with its last cause, which is there however long the way to it is.
    fn caused_by(mut self, cause: &str) -> Self {
        let room = MAX_TEXT.saturating_sub(cause.len() + CAUSED_BY.len());
        self.message.truncate(self.message.floor_char_boundary(room));
        self.message += CAUSED_BY;
        self.message += cause;
        self
    }
}

/// As an error's chain is written.
const CAUSED_BY: &str = "\n\nCaused by:\n    ";
/// How a panic of Rust begins; the SDK's last line in the log.
const PANIC: &str = "panicked at ";
/// Bytes of it that are worth knowing.
const MOST_LAST_WORDS: usize = 400;

/// A panic's message in one line without control characters; none if the line is of something else.
fn last_words(line: &str) -> Option<String> {
    let line = line.strip_prefix(PANIC)?;
    let line = line.get(..line.floor_char_boundary(MOST_LAST_WORDS)).unwrap_or(line);
    Some(plain(format!("{PANIC}{line}")))
}

/// What every instance of one connector is started with.
pub(crate) struct Seed {
    pub(crate) plugin: Plugin,
    pub(crate) config: Config,
    pub(crate) grants: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) log: Arc<LogGate>,
}

/// What every plugin is told about this host at `init`.
pub(crate) fn host_facts() -> Vec<(String, String)> {
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![fact("host", env!("CARGO_PKG_VERSION")), fact("understands", "")]
}

impl Seed {
    pub(crate) fn new(plugin: &Plugin, config: InstanceConfig, log: Arc<LogGate>) -> Self {
        let InstanceConfig { id, settings, links, grants, limits } = config;
        let config = Config { id, settings, links, facts: host_facts() };
        Self { plugin: plugin.clone(), config, grants, limits, log }
    }

    /// Does the admin allow `what:name`?
    pub(crate) fn is_granted(&self, what: &str, name: &str) -> bool {
        self.grants.iter().any(|grant| grant.split_once(':') == Some((what, name)))
    }

    /// Hosts that the manifest asks for and the admin allows.
    pub(crate) fn http_hosts(&self) -> Vec<String> {
        self.plugin.manifest().http_hosts(&self.grants)
    }
}

/// An instance after `init`.
pub(crate) struct Guest {
    store: Store<GuestState>,
    connector: Connector,
    state: Option<State>,
    limits: Limits,
}

impl Guest {
    /// Makes an instance and calls `init`, with a snapshot to go on from or without.
    pub(crate) fn start(
        seed: &Seed,
        snapshot: Option<&Snapshot>,
        now: Now,
    ) -> Result<(Self, Vec<Action>), Failure> {
        let plugin = seed.plugin.inner();
        let Limits { memory_mib, log_lines_per_sec, .. } = seed.limits;
        let mut store = new_store(&seed.plugin, memory_mib, log_lines_per_sec, seed.log.clone());
        store.data_mut().at = Timestamp(now.wall_ns);
        let bytes = seed.limits.bytes_per_step as usize;
        let (connector, state, answer) = guarded(&mut store, SLOW_CALL, bytes, |store| {
            let instance = plugin.instance.instantiate(&mut *store)?;
            let indices = plugin.connector.as_ref();
            let indices = indices.ok_or_else(|| wasmtime::format_err!("it is no connector"))?;
            let connector = indices.load(&mut *store, &instance)?;
            let state = plugin
                .state
                .as_ref()
                .map(|state| state.load(&mut *store, &instance))
                .transpose()?;
            let answer = connector.jackfield_connector_connector().call_init(
                &mut *store,
                &seed.config,
                snapshot,
                now,
            )?;
            Ok((connector, state, answer))
        })?;
        let actions = answer.map_err(guest_error)?;
        Ok((Self { store, connector, state, limits: seed.limits.clone() }, actions))
    }

    /// One step, under the step's deadline.
    pub(crate) fn step(&mut self, now: Now, inputs: &[Input]) -> Result<Vec<Action>, Failure> {
        self.step_within(Duration::from_millis(self.limits.step_ms.into()), now, inputs)
    }

    /// A step that has returned once already, in an instance before this one; nothing is logged again.
    pub(crate) fn replay(&mut self, now: Now, inputs: &[Input]) -> Result<Vec<Action>, Failure> {
        self.store.data_mut().quiet = true;
        let answer = self.step_within(SLOW_CALL, now, inputs);
        self.store.data_mut().quiet = false;
        answer
    }

    /// The state now; none if the plugin has no such export.
    pub(crate) fn snapshot(&mut self) -> Option<Result<Snapshot, Failure>> {
        let state = self.state.as_ref()?;
        let most = self.limits.snapshot_kib as usize * 1024;
        let answer = guarded(&mut self.store, SLOW_CALL, most + SNAPSHOT_SLACK, |store| {
            state.jackfield_connector_state().call_snapshot(store)
        });
        let answer = answer.map_err(|failure| match failure.kind {
            FailureKind::TooMuch => {
                let problem = format!("its snapshot is larger than the {most} bytes allowed");
                Failure::new(failure.kind, &problem)
            }
            _ => failure,
        });
        Some(answer.and_then(|answer| {
            let snapshot = answer.map_err(guest_error)?;
            if snapshot.data.len() <= most {
                return Ok(snapshot);
            }
            let problem =
                format!("its snapshot has {} bytes, {most} are allowed", snapshot.data.len());
            // The instance is well, so this is the kind that says so.
            Err(Failure::new(FailureKind::Error, &problem))
        }))
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.store.data().limiter.memory as u64
    }

    fn step_within(
        &mut self,
        deadline: Duration,
        now: Now,
        inputs: &[Input],
    ) -> Result<Vec<Action>, Failure> {
        let connector = &self.connector;
        self.store.data_mut().at = Timestamp(now.wall_ns);
        let actions =
            guarded(&mut self.store, deadline, self.limits.bytes_per_step as usize, |store| {
                connector.jackfield_connector_connector().call_step(store, now, inputs)
            })?
            .map_err(guest_error)?;
        let most = self.limits.effects_per_step as usize;
        if actions.len() > most {
            let problem =
                format!("it returned {} actions in one step, {most} are allowed", actions.len());
            return Err(Failure::new(FailureKind::TooMuch, &problem));
        }
        Ok(actions)
    }
}

/// Makes an instance and drops it: whether its functions have the right types shows only there.
pub(crate) fn probe(plugin: &Plugin) -> Result<(), LoadError> {
    let inner = plugin.inner();
    let mut store = passing_store(plugin);
    let instance =
        guarded(&mut store, SLOW_CALL, SNAPSHOT_SLACK, |store| inner.instance.instantiate(store))
            .map_err(|Failure { kind, message }| LoadError::Instantiate { kind, message })?;
    let misfit = |error: wasmtime::Error| LoadError::Interface(format!("{error:#}"));
    if let Some(connector) = &inner.connector {
        connector.load(&mut store, &instance).map_err(misfit)?;
    }
    let Hooks { router, treatment, observer } = &inner.hooks;
    if let Some(router) = router {
        router.load(&mut store, &instance).map_err(misfit)?;
    }
    if let Some(treatment) = treatment {
        treatment.load(&mut store, &instance).map_err(misfit)?;
    }
    if let Some(observer) = observer {
        observer.load(&mut store, &instance).map_err(misfit)?;
    }
    if let Some(state) = &inner.state {
        state.load(&mut store, &instance).map_err(misfit)?;
    }
    if let Some(settings) = &inner.settings {
        settings.load(&mut store, &instance).map_err(misfit)?;
    }
    Ok(())
}

/// Asks an instance of its own.
pub(crate) fn validate_settings(
    plugin: &Plugin,
    indices: &SettingsIndices,
    settings: &str,
) -> Result<Vec<SettingsProblem>, Failure> {
    let mut store = passing_store(plugin);
    let bytes = Limits::default().bytes_per_step as usize;
    let problems = guarded(&mut store, SLOW_CALL, bytes, |store| {
        let instance = plugin.inner().instance.instantiate(&mut *store)?;
        let bindings = indices.load(&mut *store, &instance)?;
        bindings.jackfield_settings_settings().call_validate(store, settings)
    })?;
    if problems.len() > MAX_PROBLEMS {
        let problem = format!("it named {} problems, {MAX_PROBLEMS} are allowed", problems.len());
        return Err(Failure::new(FailureKind::TooMuch, &problem));
    }
    let problem =
        |p: crate::bindings::settings::exports::jackfield::settings::settings::Problem| {
            SettingsProblem {
                path: cut(p.path),
                is_warning: p.severity == "warning",
                message: cut(p.message),
            }
        };
    Ok(problems.into_iter().map(problem).collect())
}

/// For an instance that answers one question of the host and is gone.
fn passing_store(plugin: &Plugin) -> Store<GuestState> {
    let limits = Limits::default();
    let log = Arc::new(LogGate::new(&plugin.manifest().id));
    new_store(plugin, limits.memory_mib, limits.log_lines_per_sec, log)
}

pub(crate) fn new_store(
    plugin: &Plugin,
    memory_mib: u32,
    log_lines: u32,
    log: Arc<LogGate>,
) -> Store<GuestState> {
    let most = memory_mib as usize * (1 << 20);
    let limiter = Limiter { most, memory: 0, denied: false };
    let mut store = Store::new(
        &plugin.inner().shared.engine,
        GuestState {
            limiter,
            log,
            log_lines,
            quiet: false,
            at: Timestamp(0),
            last_words: None,
            timer: Timer::default(),
        },
    );
    store.limiter(|state| &mut state.limiter);
    store.epoch_deadline_callback(Timer::tick);
    store
}

/// Calls into a guest with a deadline and a limit on the bytes it may hand over, and names what went wrong.
pub(crate) fn guarded<T>(
    store: &mut Store<GuestState>,
    deadline: Duration,
    bytes: usize,
    call: impl FnOnce(&mut Store<GuestState>) -> wasmtime::Result<T>,
) -> Result<T, Failure> {
    store.set_epoch_deadline(1);
    store.data_mut().timer = Timer { deadline, began: None };
    store.set_hostcall_fuel(bytes);
    store.data_mut().limiter.denied = false;
    store.data_mut().last_words = None;
    match catch_unwind(AssertUnwindSafe(|| call(store))) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let GuestState { limiter, last_words, .. } = store.data_mut();
            let failure = classify(&error, limiter.denied, deadline);
            Err(match last_words.take() {
                Some(words) if failure.kind == FailureKind::Trap => failure.caused_by(&words),
                _ => failure,
            })
        }
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            tracing::error!(message, "the host panicked in a call into a plugin");
            Err(Failure::new(FailureKind::HostPanic, message))
        }
    }
}

fn classify(error: &wasmtime::Error, memory_denied: bool, deadline: Duration) -> Failure {
    let text = &told(error);
    let kind = if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
        let text = format!("not done after {} ms\n{text}", deadline.as_millis());
        return Failure::new(FailureKind::Deadline, &text);
    } else if text.contains("fuel allocated for hostcalls") {
        // wasmtime has no public type for it; a test holds this text in place.
        FailureKind::TooMuch
    } else if memory_denied {
        FailureKind::Memory
    } else {
        FailureKind::Trap
    };
    Failure::new(kind, text)
}

/// What happened in the guest, and what caused it. The error's own text would add the host's stack when RUST_BACKTRACE
/// asks for it: no business of the admin's, and finding its names takes longer than callers should wait.
fn told(error: &wasmtime::Error) -> String {
    let mut text = error.to_string();
    for (at, cause) in error.chain().skip(1).enumerate() {
        text += if at == 0 { CAUSED_BY } else { "\n    " };
        text += &cause.to_string();
    }
    text
}

fn guest_error(error: crate::bindings::types::Error) -> Failure {
    Failure::new(FailureKind::Error, &format!("{}: {}", error.code, error.message))
}

/// What belongs to a store.
pub(crate) struct GuestState {
    limiter: Limiter,
    log: Arc<LogGate>,
    /// How many lines a second.
    log_lines: u32,
    quiet: bool,
    /// The time of the call that is going on.
    at: Timestamp,
    /// How the guest panicked in the call that is going on: one line.
    last_words: Option<String>,
    timer: Timer,
}

impl GuestState {
    /// The time of the call that begins now.
    pub(crate) fn set_time(&mut self, at: Timestamp) {
        self.at = at;
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.limiter.memory as u64
    }
}

/// Bounds a call by the time its thread computes: a guest that only waits for a processor is not late.
#[derive(Default)]
struct Timer {
    deadline: Duration,
    /// Set at the first tick, so that the many calls that end before it read no clock.
    began: Option<(Duration, Instant)>,
}

/// How many times its deadline a call may take by the wall clock, however little it computes.
const WALL_FACTOR: u32 = 20;

impl Timer {
    fn tick(mut context: StoreContextMut<'_, GuestState>) -> wasmtime::Result<UpdateDeadline> {
        let timer = &mut context.data_mut().timer;
        let computed = computed();
        // What came before the first tick counts as a whole one.
        let (from, began) =
            *timer.began.get_or_insert((computed.saturating_sub(TICK), Instant::now()));
        let late = computed.saturating_sub(from) >= timer.deadline
            || began.elapsed() >= timer.deadline * WALL_FACTOR;
        if late { Err(Trap::Interrupt.into()) } else { Ok(UpdateDeadline::Continue(1)) }
    }
}

/// How long this thread has computed.
fn computed() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// Tells the generated glue where `log` finds its state.
pub(crate) struct HasState;

impl HasData for HasState {
    type Data<'a> = &'a mut GuestState;
}

impl log::Host for GuestState {
    fn log(&mut self, level: u8, message: String) {
        // Also when it has logged too much: this is why it ends.
        if level == 0
            && let Some(words) = last_words(&message)
        {
            self.last_words = Some(words);
        }
        if !self.quiet {
            self.log.write(self.at, self.log_lines, level, message);
        }
    }
}

/// Lets memory and tables grow up to their limits, and remembers a refusal so that it can be named.
struct Limiter {
    most: usize,
    memory: usize,
    denied: bool,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self.memory - current.min(self.memory) + desired;
        let allowed = after <= self.most && maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.memory = after;
        } else {
            self.denied = true;
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_known_by_how_it_begins_and_is_one_short_line() {
        let told = last_words("panicked at src/lib.rs:17:23:\nno \u{1b}[2Jrule");
        assert_eq!(told.as_deref(), Some("panicked at src/lib.rs:17:23: no  [2Jrule"));
        assert_eq!(last_words("the CRM panicked at noon"), None);
        let long = last_words(&format!("panicked at {}", "ü".repeat(5000))).expect("a panic");
        assert!(long.len() <= PANIC.len() + MOST_LAST_WORDS, "{}", long.len());
    }

    #[test]
    fn the_cause_is_there_however_long_the_way_to_it_is() {
        let failure = Failure::new(FailureKind::Trap, &"ü".repeat(5000)).caused_by("panicked at x");
        assert!(failure.message.len() <= MAX_TEXT);
        assert!(failure.message.ends_with("\n\nCaused by:\n    panicked at x"));
    }

    #[test]
    fn memory_is_counted_over_all_memories() {
        let mut limiter = Limiter { most: 100, memory: 0, denied: false };
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.denied);
        assert!(limiter.memory_growing(60, 90, None).unwrap());
        assert_eq!(limiter.memory, 90);
    }
}
