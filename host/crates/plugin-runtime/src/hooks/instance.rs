//! One instance of a hook: each call into it is guarded, and after a failure the next one gets a new instance.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use calls::{Now, Timestamp};
use wasmtime::{Store, component};

use super::{HookConfig, HookError, HookFailure, HookUsage, Wishes, lift, lower::Pairs};
use crate::{
    FailureKind, Kind, Plugin,
    bindings::hooks::{
        exports::jackfield::{
            observer::observer::Guest as ObserverGuest, router::router::Guest as RouterGuest,
            treatment::wait_treatment::Guest as TreatmentGuest,
        },
        jackfield::hooks::types as wit,
    },
    guest::{self, Failure, GuestState, SLOW_CALL},
};

/// An interface that a plugin may export.
pub(super) trait Interface: Sized {
    const KIND: Kind;

    /// None if the plugin does not export it.
    fn load(
        plugin: &Plugin,
        store: &mut Store<GuestState>,
        instance: &component::Instance,
    ) -> Option<wasmtime::Result<Self>>;

    fn init(
        &self,
        store: &mut Store<GuestState>,
        config: wit::Config<'_>,
    ) -> wasmtime::Result<Result<wit::Wishes, wit::Error>>;
}

macro_rules! interface {
    ($guest:ident, $kind:ident, $field:ident) => {
        impl Interface for $guest {
            const KIND: Kind = Kind::$kind;

            fn load(
                plugin: &Plugin,
                store: &mut Store<GuestState>,
                instance: &component::Instance,
            ) -> Option<wasmtime::Result<Self>> {
                let indices = plugin.inner().hooks.$field.as_ref()?;
                Some(indices.load(store, instance))
            }

            fn init(
                &self,
                store: &mut Store<GuestState>,
                config: wit::Config<'_>,
            ) -> wasmtime::Result<Result<wit::Wishes, wit::Error>> {
                self.call_init(store, config)
            }
        }
    };
}

interface!(RouterGuest, Router, router);
interface!(TreatmentGuest, WaitTreatment, treatment);
interface!(ObserverGuest, Observer, observer);

/// An instance that lives as long as it behaves.
pub(super) struct Instance<I> {
    plugin: Plugin,
    config: HookConfig,
    /// None after a failure that cost it.
    live: Option<Live<I>>,
    usage: HookUsage,
}

struct Live<I> {
    store: Store<GuestState>,
    interface: I,
}

impl<I: Interface> Instance<I> {
    /// Makes an instance and calls its `init`.
    pub(super) fn start(
        plugin: &Plugin,
        config: HookConfig,
    ) -> Result<(Self, Wishes), HookFailure> {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX));
        let (live, wishes) = Live::begin(plugin, &config, at)?;
        let instance =
            Self { plugin: plugin.clone(), config, live: Some(live), usage: HookUsage::default() };
        Ok((instance, wishes))
    }

    pub(super) fn config(&self) -> &HookConfig {
        &self.config
    }

    /// Calls into the guest, judges what it answers, and counts.
    pub(super) fn call<W, T>(
        &mut self,
        now: Now,
        deadline: Duration,
        call: impl FnOnce(&I, &mut Store<GuestState>) -> wasmtime::Result<Result<W, wit::Error>>,
        judge: impl FnOnce(W) -> Result<T, String>,
    ) -> Result<T, HookFailure> {
        let began = Instant::now();
        let answer = self.try_call(now, deadline, call, judge);
        let usage = &mut self.usage;
        usage.last_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        usage.max_us = usage.max_us.max(usage.last_us);
        *match &answer {
            Ok(_) => &mut usage.calls,
            Err(HookFailure::Trapped(_)) => &mut usage.traps,
            Err(HookFailure::Late { .. }) => &mut usage.late,
            Err(HookFailure::Refused(_)) => &mut usage.refused,
            Err(HookFailure::Nonsense(_)) => &mut usage.nonsense,
        } += 1;
        answer
    }

    fn try_call<W, T>(
        &mut self,
        now: Now,
        deadline: Duration,
        call: impl FnOnce(&I, &mut Store<GuestState>) -> wasmtime::Result<Result<W, wit::Error>>,
        judge: impl FnOnce(W) -> Result<T, String>,
    ) -> Result<T, HookFailure> {
        if self.live.is_none() {
            self.usage.restarts += 1;
            self.live = Some(Live::begin(&self.plugin, &self.config, now.wall)?.0);
        }
        let Live { store, interface } = self.live.as_mut().expect("made above when there was none");
        store.data_mut().set_time(now.wall);
        let bytes = self.config.limits.bytes_per_call as usize;
        match guest::guarded(store, deadline, bytes, |store| call(interface, store)) {
            Ok(Ok(answer)) => judge(answer).map_err(HookFailure::Nonsense),
            Ok(Err(error)) => Err(refused(error)),
            Err(failure) => {
                self.live = None;
                Err(failed(failure, &self.config, deadline))
            }
        }
    }

    pub(super) fn usage(&self) -> HookUsage {
        let memory = self.live.as_ref().map_or(0, |live| live.store.data().memory_bytes());
        HookUsage { memory_bytes: memory, ..self.usage.clone() }
    }
}

impl<I: Interface> Live<I> {
    fn begin(
        plugin: &Plugin,
        config: &HookConfig,
        at: Timestamp,
    ) -> Result<(Self, Wishes), HookFailure> {
        let HookConfig { id, settings, limits, log, .. } = config;
        let log = Arc::clone(log.gate());
        let mut store = guest::new_store(plugin, limits.memory_mib, limits.log_lines_per_sec, log);
        store.data_mut().set_time(at);
        let bytes = limits.bytes_per_call as usize;
        let facts = guest::host_facts();
        let facts = Pairs::of(&facts);
        let begun = guest::guarded(&mut store, SLOW_CALL, bytes, |store| {
            let instance = plugin.inner().instance.instantiate(&mut *store)?;
            let Some(interface) = I::load(plugin, store, &instance) else { return Ok(None) };
            let interface = interface?;
            let answer =
                interface.init(store, wit::Config { id, settings, facts: facts.list() })?;
            Ok(Some((interface, answer)))
        });
        let (interface, answer) =
            begun.map_err(|failure| failed(failure, config, SLOW_CALL))?.ok_or_else(|| {
                let (plugin, kind) = (&plugin.manifest().id, I::KIND.code());
                let message =
                    format!("the plugin `{plugin}` is no {kind}; use one that exports it");
                HookFailure::Refused(HookError::new("wrong-kind", message))
            })?;
        let wishes = lift::wishes(answer.map_err(refused)?).map_err(HookFailure::Nonsense)?;
        Ok((Self { store, interface }, wishes))
    }
}

fn refused(error: wit::Error) -> HookFailure {
    HookFailure::Refused(HookError {
        code: lift::text(error.code),
        message: lift::text(error.message),
        retryable: error.retryable,
    })
}

fn failed(failure: Failure, config: &HookConfig, deadline: Duration) -> HookFailure {
    let Failure { kind, message } = failure;
    match kind {
        FailureKind::Deadline => HookFailure::Late { after: deadline },
        FailureKind::TooMuch => HookFailure::Nonsense(format!(
            "an answer that takes more than {} bytes",
            config.limits.bytes_per_call
        )),
        FailureKind::Memory => HookFailure::Trapped(format!(
            "it asked for more than the {} MiB it may have; {message}",
            config.limits.memory_mib
        )),
        FailureKind::Trap | FailureKind::Error | FailureKind::HostPanic => {
            HookFailure::Trapped(message)
        }
    }
}
