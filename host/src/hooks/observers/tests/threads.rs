//! The whole of an observer's thread over a real journal and a real store, with a scripted guest and receiver, on a
//! virtual clock.

use super::*;

/// Posts each event, in order, one at a time; tries again after a pause that doubles up to a minute.
#[derive(Default)]
struct Courier {
    waiting: Vec<u64>,
    asked: Option<u64>,
    pause: Duration,
}

impl Observes for Courier {
    fn start(&mut self) -> Result<Wanted, HookFailure> {
        *self = Self::default();
        Ok(Wanted::default())
    }

    fn step(
        &mut self,
        now: Now,
        inputs: &[ObserverInput],
    ) -> Result<Vec<ObserverAction>, HookFailure> {
        let mut actions = Vec::new();
        for input in inputs {
            match input {
                ObserverInput::Event(event) => self.waiting.push(event.seq),
                ObserverInput::Answer(answer) => {
                    let asked = self.asked.take().expect("it waits for one");
                    if answer.status == 204 {
                        self.waiting.remove(0);
                        self.pause = Duration::ZERO;
                        actions.push(ack(asked));
                    } else {
                        let minute = Duration::from_secs(60);
                        self.pause = (self.pause * 2).clamp(Duration::from_secs(1), minute);
                        actions.push(ObserverAction::WakeAt(Some(now.monotonic + self.pause)));
                        self.asked = Some(0);
                    }
                }
                ObserverInput::Wake => self.asked = None,
                ObserverInput::Lost(last) => actions.push(ack(*last)),
            }
        }
        if self.asked.is_none()
            && let Some(next) = self.waiting.first()
        {
            self.asked = Some(*next);
            actions.push(post(&next.to_string()));
        }
        Ok(actions)
    }
}

/// Who hears the posts, and until when nobody is there.
#[derive(Clone)]
struct Receiver {
    heard: Arc<Mutex<Vec<u64>>>,
    clock: Clock,
    up_at: Duration,
}

impl Receiver {
    fn heard(&self) -> Vec<u64> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, lookup: &Lookup) -> Answer {
        if self.clock.now().monotonic < self.up_at {
            return Answer::failed(
                &lookup.id,
                plugin_runtime::hooks::HookError::retryable(
                    "no-connection",
                    "no connection to receiver.example.org",
                ),
            );
        }
        let seq = lookup.id.parse().expect("a number");
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(seq);
        Answer { id: lookup.id.clone(), status: 204, ..Answer::default() }
    }
}

struct World {
    folder: tempfile::TempDir,
    journal: Journal,
    store: HookStore,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = JournalOptions {
            path: folder.path().join("journal.db"),
            retention: Retention::default(),
        };
        let (journal, _) = Journal::open(&options, Zones::default()).unwrap();
        let store = HookStore::open(&folder.path().join("hooks.db")).unwrap();
        store.step("feed", Some(0), &[]).unwrap();
        Self { folder, journal, store, clock: Clock::start() }
    }

    async fn happen(&self, count: usize) -> u64 {
        let events = events(count);
        let last = events.last().expect("some").seq;
        self.journal.writer().append(events).await.unwrap();
        let mut committed = self.journal.publisher().committed();
        committed.wait_for(|seq| *seq >= last).await.unwrap();
        last
    }

    fn receiver(&self, up_after: Duration) -> Receiver {
        let up_at = self.clock.now().monotonic + up_after;
        Receiver { heard: Arc::default(), clock: self.clock, up_at }
    }

    /// The thread's work as a task of the test; the sender stops it.
    fn observe<G: Observes + Send + Sync + 'static>(
        &self,
        guest: G,
        receiver: &Receiver,
        meter: &Arc<HookMeter>,
    ) -> (watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let (drain, draining) = watch::channel(false);
        let (receiver, meter) = (receiver.clone(), Arc::clone(meter));
        let work = Work {
            id: "feed".to_owned(),
            label: "courier 0.1.0".to_owned(),
            meter,
            guest,
            started: false,
            look_up: move |lookup: Lookup| {
                let receiver = receiver.clone();
                async move { receiver.answer(&lookup) }
            },
            publisher: self.journal.publisher(),
            store: self.store.clone(),
            clock: self.clock,
            draining,
        };
        (drain, tokio::spawn(work.run()))
    }
}

fn meter() -> Arc<HookMeter> {
    Arc::new(HookMeter::new("feed"))
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_for_an_hour_misses_nothing_and_hears_nothing_twice() {
    let world = World::new();
    let last = world.happen(40).await;
    let receiver = world.receiver(Duration::from_secs(3600));
    let meter = meter();
    let (drain, task) = world.observe(Courier::default(), &receiver, &meter);
    tokio::time::sleep(Duration::from_secs(3590)).await;
    assert_eq!((receiver.heard().len(), world.store.cursor("feed").unwrap()), (0, Some(0)));
    assert_eq!(meter.figures().lag.events, last, "the lag says it");
    // Its pause is a minute at the most.
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(receiver.heard(), (1..=last).collect::<Vec<_>>());
    assert_eq!(world.store.cursor("feed").unwrap(), Some(last));
    drain.send_replace(true);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_swapped_finishes_what_it_was_given_and_the_next_goes_on_behind_it() {
    let world = World::new();
    let last = world.happen(30).await;
    let receiver = world.receiver(Duration::ZERO);
    let meter = meter();
    for _ in 0..3 {
        let (drain, task) = world.observe(Courier::default(), &receiver, &meter);
        // In the middle of its work, wherever that is.
        for _ in 0..7 {
            tokio::task::yield_now().await;
        }
        drain.send_replace(true);
        task.await.unwrap();
    }
    let (drain, task) = world.observe(Courier::default(), &receiver, &meter);
    tokio::time::sleep(Duration::from_secs(1)).await;
    drain.send_replace(true);
    task.await.unwrap();
    assert_eq!(receiver.heard(), (1..=last).collect::<Vec<_>>(), "no hole, no duplicate, in order");
}

/// Acknowledges nothing and dies with the host.
struct Mute;

impl Observes for Mute {
    fn start(&mut self) -> Result<Wanted, HookFailure> {
        Ok(Wanted::default())
    }

    fn step(&mut self, _: Now, _: &[ObserverInput]) -> Result<Vec<ObserverAction>, HookFailure> {
        Ok(vec![store("half/done")])
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_event_and_ack_brings_the_event_again_and_one_after_the_ack_does_not() {
    let world = World::new();
    let last = world.happen(5).await;
    let receiver = world.receiver(Duration::ZERO);
    let (drain, crashed) = world.observe(Mute, &receiver, &meter());
    tokio::time::sleep(Duration::from_secs(1)).await;
    crashed.abort();
    drop(drain);
    let (drain, task) = world.observe(Courier::default(), &receiver, &meter());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(receiver.heard(), (1..=last).collect::<Vec<_>>());
    task.abort();
    drop(drain);
    // Everything was acknowledged before this crash.
    let (drain, task) = world.observe(Courier::default(), &receiver, &meter());
    tokio::time::sleep(Duration::from_secs(1)).await;
    drain.send_replace(true);
    task.await.unwrap();
    assert_eq!(receiver.heard().len() as u64, last);
}

/// Traps at one event until it is mended.
struct Trips {
    courier: Courier,
    at: u64,
    times: u32,
    seen: Arc<Mutex<BTreeMap<u64, u32>>>,
}

impl Observes for Trips {
    fn start(&mut self) -> Result<Wanted, HookFailure> {
        self.courier.start()
    }

    fn step(
        &mut self,
        now: Now,
        inputs: &[ObserverInput],
    ) -> Result<Vec<ObserverAction>, HookFailure> {
        for seq in seqs(inputs) {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(seq).or_default() += 1;
        }
        if seqs(inputs).contains(&self.at) && self.times > 0 {
            self.times -= 1;
            return Err(HookFailure::Trapped("unreachable".to_owned()));
        }
        self.courier.step(now, inputs)
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_traps_is_tried_again_at_the_named_event_and_the_order_is_kept() {
    let world = World::new();
    let last = world.happen(20).await;
    let receiver = world.receiver(Duration::ZERO);
    let meter = meter();
    let trips = Trips { courier: Courier::default(), at: 9, times: 4, seen: Arc::default() };
    let (drain, task) = world.observe(trips, &receiver, &meter);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let error = meter.figures().last_error.expect("it trapped");
    assert!(error.message.contains("at event 9 ("), "{}", error.message);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let figures = meter.figures();
    assert_eq!((figures.outcomes["trapped"], figures.failing), (4, 0));
    // A post may be repeated after a trap, but nobody overtakes: each comes for the first time after those before it.
    let mut first_times = Vec::new();
    for seq in receiver.heard() {
        if !first_times.contains(&seq) {
            first_times.push(seq);
        }
    }
    assert_eq!(first_times, (1..=last).collect::<Vec<_>>());
    drain.send_replace(true);
    task.await.unwrap();
    drop(world.folder);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_holds_it_back_and_it_goes_on_by_itself_when_there_is_room() {
    let world = World::new();
    let last = world.happen(10).await;
    let receiver = world.receiver(Duration::ZERO);
    struct Keeps(Courier);
    impl Observes for Keeps {
        fn start(&mut self) -> Result<Wanted, HookFailure> {
            self.0.start()
        }
        fn step(
            &mut self,
            now: Now,
            inputs: &[ObserverInput],
        ) -> Result<Vec<ObserverAction>, HookFailure> {
            let mut actions = self.0.step(now, inputs)?;
            let value = Some(vec![7; 60_000]);
            actions.push(ObserverAction::Store(Store {
                key: "last".to_owned(),
                value,
                facts: Vec::new(),
            }));
            Ok(actions)
        }
    }
    world.store.limit_pages(1);
    let meter = meter();
    let (drain, task) = world.observe(Keeps(Courier::default()), &receiver, &meter);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(receiver.heard(), [0; 0], "what is not on disk has not happened");
    assert!(meter.figures().last_error.is_some_and(|it| it.message.contains("disk is full")));
    world.store.limit_pages(10_000);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(receiver.heard(), (1..=last).collect::<Vec<_>>());
    drain.send_replace(true);
    task.await.unwrap();
}
