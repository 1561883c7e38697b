//! Observers at work: one OS thread each, fed with what is committed.
//!
//! Catching up reads the journal, staying up the recent events in memory: [`Publisher::read`] does both. A thread
//! whose observer is swapped or stopped gets no more events, waits a while for its acknowledgements, and ends; the
//! next one goes on behind the last of them. So a duplicate is possible after a crash, or when a receiver is down
//! while a version changes; a hole or another order is not.

mod feed;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use calls::Now;
use plugin_runtime::hooks::{
    Answer, HookFailure, Lookup, Observer, ObserverAction, ObserverInput, Question,
};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    task::JoinSet,
};

use self::feed::{Feed, Wanted};
use super::{
    lookups::Library,
    memory::Memory,
    meter::HookMeter,
    plan::{HookInstance, HookPlan},
    store::{HookStore, HookStoreError},
};
use crate::{
    clock::Clock,
    http::Fetcher,
    publish::{Publisher, Read},
};

/// For an observer to acknowledge what it was given, when another version takes over or the host stops.
const PATIENCE: Duration = Duration::from_secs(3);
/// For a request whose observer says no time.
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at a journal that cannot be read.
const JOURNAL_PAUSE: Duration = Duration::from_secs(1);
/// After a fault of ours, before an observer goes on.
const FAULT_PAUSE: Duration = Duration::from_secs(1);
const STACK_BYTES: usize = 8 << 20;

/// What observers work with.
pub struct ObserverParts {
    /// Which there are.
    pub plan: watch::Receiver<Arc<HookPlan>>,
    /// What happened.
    pub publisher: Arc<Publisher>,
    /// Their cursors and values.
    pub store: HookStore,
    /// For their requests.
    pub fetcher: Fetcher,
    /// The host's clocks.
    pub clock: Clock,
    /// True: stop.
    pub stop: watch::Receiver<bool>,
}

/// An observer's thread.
struct Running {
    instance: Arc<HookInstance>,
    drain: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

/// Runs the observers of each plan until it is told to stop.
pub async fn run(parts: ObserverParts) {
    let ObserverParts { mut plan, publisher, store, fetcher, clock, mut stop } = parts;
    let memory = match Memory::start(store.clone()) {
        Ok(memory) => memory,
        Err(error) => {
            tracing::error!(%error, "no observers: a thread could not be started; fix: raise the limit of processes (ulimit -u)");
            return;
        }
    };
    let surroundings =
        Surroundings { publisher, store, library: Library::new(fetcher, memory), clock };
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    loop {
        let now = plan.borrow_and_update().clone();
        let wanted: BTreeMap<&str, &Arc<HookInstance>> =
            now.observers.iter().filter_map(|id| Some((id.as_str(), now.instance(id)?))).collect();
        let stays = |id: &str, it: &Running| {
            wanted.get(id).is_some_and(|wanted| wanted.is_same(&it.instance))
        };
        let over: Vec<String> =
            running.iter().filter(|(id, it)| !stays(id, it)).map(|(id, _)| id.clone()).collect();
        let over: Vec<Running> = over.iter().filter_map(|id| running.remove(id)).collect();
        end(over).await;
        for (id, instance) in wanted {
            if running.contains_key(id) {
                continue;
            }
            match spawn(Arc::clone(instance), surroundings.clone()) {
                Ok(thread) => drop(running.insert(id.to_owned(), thread)),
                Err(error) => {
                    let message = format!("its thread cannot be started: {error}");
                    tracing::error!(hook = id, "{message}");
                    let fix = "raise the limit of processes (ulimit -u)";
                    instance.meter.failed("trapped", message, fix, clock.now().wall);
                }
            }
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            changed = plan.changed() => if changed.is_err() { break },
        }
    }
    end(running.into_values().collect()).await;
}

/// All at once, so that they wait for their receivers together.
async fn end(over: Vec<Running>) {
    for it in &over {
        it.drain.send_replace(true);
    }
    for it in over {
        // It may have ended already.
        let _ = it.ended.await;
    }
}

#[derive(Clone)]
struct Surroundings {
    publisher: Arc<Publisher>,
    store: HookStore,
    library: Library,
    clock: Clock,
}

fn spawn(instance: Arc<HookInstance>, surroundings: Surroundings) -> io::Result<Running> {
    let (drain, mut draining) = watch::channel(false);
    let (tell_end, ended) = oneshot::channel();
    let (handle, of_thread) = (Handle::current(), Arc::clone(&instance));
    let name = format!("observer-{}", instance.id);
    std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || {
        let instance = of_thread;
        while catch_unwind(AssertUnwindSafe(|| {
            handle.block_on(work(&instance, &surroundings, draining.clone()));
        }))
        .is_err()
        {
            let (message, fix) = ("the host failed while it ran it", "report it");
            tracing::error!(hook = instance.id, "{message}; it goes on in a moment");
            let now = surroundings.clock.now().wall;
            instance.meter.failed("trapped", message.to_owned(), fix, now);
            let pause = async {
                tokio::time::timeout(FAULT_PAUSE, draining.wait_for(|drain| *drain)).await.is_ok()
            };
            if handle.block_on(pause) {
                break;
            }
        }
        // Nobody may wait any more.
        let _ = tell_end.send(());
    })?;
    Ok(Running { instance, drain, ended })
}

/// One observer, from its last `ack` on.
async fn work(
    instance: &Arc<HookInstance>,
    surroundings: &Surroundings,
    draining: watch::Receiver<bool>,
) {
    let (library, asking) = (surroundings.library.clone(), Arc::clone(instance));
    let look_up = move |lookup: Lookup| {
        let within = match &lookup.question {
            Question::Http(request) => request.timeout.unwrap_or(USUAL_TIMEOUT),
            Question::Stored(_) => USUAL_TIMEOUT,
        };
        library.clone().look_up(lookup, Arc::clone(&asking), within)
    };
    let guest = Guest { instance: Arc::clone(instance), observer: None };
    let Surroundings { publisher, store, clock, .. } = surroundings.clone();
    let (id, label) = (instance.id.clone(), instance.label.clone());
    let meter = Arc::clone(&instance.meter);
    let started = false;
    let work =
        Work { id, label, meter, guest, started, look_up, publisher, store, clock, draining };
    work.run().await;
}

/// Whoever is called: a guest, or a test's script.
trait Observes {
    /// Makes one that remembers nothing.
    fn start(&mut self) -> Result<Wanted, HookFailure>;
    fn step(
        &mut self,
        now: Now,
        inputs: &[ObserverInput],
    ) -> Result<Vec<ObserverAction>, HookFailure>;
}

struct Guest {
    instance: Arc<HookInstance>,
    observer: Option<Observer>,
}

impl Observes for Guest {
    fn start(&mut self) -> Result<Wanted, HookFailure> {
        self.observer = None;
        let observer = Observer::start(&self.instance.plugin, self.instance.config())?;
        let wanted = Wanted::of(observer.wishes());
        self.observer = Some(observer);
        Ok(wanted)
    }

    fn step(
        &mut self,
        now: Now,
        inputs: &[ObserverInput],
    ) -> Result<Vec<ObserverAction>, HookFailure> {
        match &mut self.observer {
            Some(observer) => observer.step(now, inputs),
            None => Err(HookFailure::Trapped("it was never started".to_owned())),
        }
    }
}

/// One observer's thread.
struct Work<G, L> {
    id: String,
    label: String,
    meter: Arc<HookMeter>,
    guest: G,
    /// It has a guest that may be called.
    started: bool,
    look_up: L,
    publisher: Arc<Publisher>,
    store: HookStore,
    clock: Clock,
    draining: watch::Receiver<bool>,
}

impl<G, L, F> Work<G, L>
where
    G: Observes,
    L: Fn(Lookup) -> F,
    F: Future<Output = Answer> + Send + 'static,
{
    async fn run(mut self) {
        let mut committed = self.publisher.committed();
        let last = *committed.borrow();
        let Some(mut feed) = self.feed(last).await else { return };
        let mut lookups: JoinSet<(u64, Answer)> = JoinSet::new();
        let mut drain_until: Option<Duration> = None;
        loop {
            while let Some(ended) = lookups.try_join_next() {
                if let Ok((life, answer)) = ended {
                    feed.answered(life, answer);
                }
            }
            let now = self.clock.now();
            if *self.draining.borrow() && drain_until.is_none() {
                drain_until = Some(now.monotonic + PATIENCE);
                feed.drain();
            }
            if drain_until.is_some_and(|until| feed.is_quiet() || now.monotonic >= until) {
                break;
            }
            self.write(&mut feed, &mut lookups);
            if !self.started && !lookups.is_empty() {
                // Nobody waits for their answers: whoever asked has failed. They end with this.
                lookups = JoinSet::new();
            }
            if !self.started && feed.may_start(now.monotonic) {
                self.start(&mut feed);
            }
            let last = *committed.borrow_and_update();
            // What it wants is known when it has started.
            let reads = self.started && drain_until.is_none();
            if reads {
                self.read(&mut feed, last).await;
            }
            self.meter.set_lag(feed.lag(last, now.wall));
            if self.started
                && let Some(inputs) = feed.next_step(now.monotonic)
            {
                self.step(&mut feed, &inputs);
                continue;
            }
            let reads_on = feed.hungry().is_some_and(|(after, _)| after < last);
            if feed.idle_commit(now.monotonic).is_some() || (reads && reads_on) {
                continue;
            }
            let timeout = feed.poll_timeout(now.monotonic);
            let deadline = [timeout, drain_until].into_iter().flatten().min();
            tokio::select! {
                changed = committed.changed(), if drain_until.is_none() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(ended) = lookups.join_next() => {
                    if let Ok((life, answer)) = ended {
                        feed.answered(life, answer);
                    }
                }
                _ = self.draining.changed(), if drain_until.is_none() => {}
                () = sleep(self.clock, deadline) => {}
            }
        }
        let last = *committed.borrow();
        self.meter.set_lag(feed.lag(last, self.clock.now().wall));
    }

    /// Where it goes on. A new one begins with what happens from now on. None: it shall end.
    async fn feed(&mut self, committed: u64) -> Option<Feed> {
        loop {
            let found = self.store.cursor(&self.id).and_then(|cursor| match cursor {
                Some(cursor) => Ok(cursor),
                None => {
                    self.store.step(&self.id, Some(committed), &[])?;
                    Ok(committed)
                }
            });
            match found {
                Ok(cursor) => return Some(Feed::new(cursor)),
                Err(error) => self.store_failed(&error),
            }
            tokio::select! {
                () = tokio::time::sleep(JOURNAL_PAUSE) => {}
                _ = self.draining.wait_for(|drain| *drain) => return None,
            }
        }
    }

    async fn read(&self, feed: &mut Feed, last: u64) {
        let Some((after, limit)) = feed.hungry() else { return };
        if after == last {
            return;
        }
        let publisher = &self.publisher;
        let id = &self.id;
        match publisher.read(after, limit).await {
            Ok(Read::Events(events)) => feed.take(&events),
            Ok(Read::TooOld) => match publisher.oldest().await {
                Ok(first) => {
                    tracing::warn!(
                        hook = id,
                        after,
                        first,
                        "events are gone that it was not told of"
                    );
                    self.meter.count("events-lost");
                    feed.lose(first.unwrap_or(last + 1) - 1);
                }
                Err(error) => self.journal_failed(&error).await,
            },
            Ok(Read::Ahead) => {
                tracing::warn!(
                    hook = id,
                    after,
                    last,
                    "the journal is another one; it is told all of it"
                );
                feed.begin_anew();
            }
            Err(error) => self.journal_failed(&error).await,
        }
    }

    async fn journal_failed(&self, error: &crate::journal::StoreError) {
        tracing::error!(hook = self.id, %error, "what happened cannot be read; it is tried again");
        tokio::time::sleep(JOURNAL_PAUSE).await;
    }

    fn start(&mut self, feed: &mut Feed) {
        match self.guest.start() {
            Ok(wanted) => {
                feed.wants(wanted);
                self.started = true;
            }
            Err(failure) => self.failed(feed, &[], &failure),
        }
    }

    fn step(&mut self, feed: &mut Feed, inputs: &[ObserverInput]) {
        let began = std::time::Instant::now();
        let now = self.clock.now();
        match self.guest.step(now, inputs) {
            Ok(actions) => {
                self.meter.answered(began.elapsed());
                feed.stepped(actions, now.monotonic);
            }
            Err(failure) => self.failed(feed, inputs, &failure),
        }
    }

    fn failed(&mut self, feed: &mut Feed, inputs: &[ObserverInput], failure: &HookFailure) {
        self.started = false;
        let now = self.clock.now();
        let message = feed.failed(inputs, failure, now.monotonic);
        tracing::error!(hook = self.id, plugin = self.label, "{message}");
        let fix = "mend the plugin, or use another version: it goes on at this event";
        self.meter.failed(failure.code(), message, fix, now.wall);
    }

    /// What a step wanted kept, and then its lookups.
    fn write(&mut self, feed: &mut Feed, lookups: &mut JoinSet<(u64, Answer)>) {
        let now = self.clock.now();
        let Some(commit) = feed.to_write(now.monotonic) else { return };
        let store = &self.store;
        match store.step(&self.id, commit.ack, &commit.writes) {
            Ok(()) => {
                let (life, ask) = feed.committed();
                for lookup in ask {
                    let answer = (self.look_up)(lookup);
                    lookups.spawn(async move { (life, answer.await) });
                }
            }
            // It wants more kept than it may: its step does not count.
            Err(HookStoreError::Limit { what, fix }) => {
                let failure = HookFailure::Nonsense(format!("{what}; fix: {fix}"));
                self.failed(feed, &[], &failure);
            }
            Err(error) => {
                self.store_failed(&error);
                feed.not_committed(now.monotonic);
            }
        }
    }

    fn store_failed(&self, error: &HookStoreError) {
        tracing::error!(hook = self.id, %error, "what it keeps cannot be written; it waits");
        let now = self.clock.now().wall;
        self.meter.failed("store-failed", error.to_string(), "make room on the disk", now);
    }
}

async fn sleep(clock: Clock, until: Option<Duration>) {
    match until {
        Some(until) => tokio::time::sleep_until(clock.instant(until)).await,
        None => std::future::pending().await,
    }
}
