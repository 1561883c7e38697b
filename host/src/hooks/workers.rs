//! The threads on which routers and treatments compute.
//!
//! A guest that runs to its deadline costs one of them for that long, and nobody else. Each thread keeps a guest of
//! its own for every instance; they keep nothing between two questions, so any thread may answer any question. What
//! waits is bounded: a question too many is answered `no` at once, and its caller gets the fallback.

mod both;

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use calls::{LegId, Now};
use jiff::tz::TimeZone;
use plugin_runtime::{
    Kind,
    hooks::{Answer, Call, Cause, Decision, HookFailure, Plan, Router, Treatment, Waiting},
};
use tokio::sync::mpsc;

use self::both::{Version, try_out};
use super::{
    canary::{Canary, Heard},
    civil,
    plan::{HookInstance, HookPlan},
};

/// Questions that may wait.
pub(super) const WAITING: usize = 1024;
/// A guest that could not be started is not tried again before this.
const START_AGAIN: Duration = Duration::from_secs(1);
const STACK_BYTES: usize = 8 << 20;

/// A question to a hook.
pub(super) struct Job {
    /// Whose.
    pub leg: LegId,
    /// The desk's number of it.
    pub number: u64,
    pub instance: Arc<HookInstance>,
    /// A version that is tried on this call.
    pub canary: Option<Arc<Canary>>,
    pub ask: Ask,
    /// The site's zone comes first among the civil times.
    pub zone: (String, TimeZone),
    pub now: Now,
    /// Nobody waits for the answer after this.
    pub until: Instant,
}

/// What is asked.
pub(super) enum Ask {
    Route {
        call: Box<Call>,
        answers: Vec<Answer>,
    },
    Treat {
        waiting: Box<Waiting>,
        state: Vec<u8>,
        /// The plugin and version whose state that is: to another one it means nothing.
        wrote: String,
        cause: Cause,
        answers: Vec<Answer>,
    },
}

/// What a hook answered.
pub(super) struct Said {
    pub leg: LegId,
    pub number: u64,
    /// Whose word it is.
    pub instance: Arc<HookInstance>,
    /// The trial that it is of, unless the old version said the very same.
    pub canary: Option<Arc<Canary>>,
    pub answer: Answered,
    /// The guest's own time.
    pub took: Duration,
}

/// An answer, by what was asked.
pub(super) enum Answered {
    Route(Result<Decision, HookFailure>),
    Treat(Result<Plan, HookFailure>),
}

impl Answered {
    /// Why there is none.
    pub fn failure(&self) -> Option<&HookFailure> {
        match self {
            Self::Route(said) => said.as_ref().err(),
            Self::Treat(said) => said.as_ref().err(),
        }
    }
}

/// The threads. They end when this is dropped.
pub(super) struct Workers {
    desk: Arc<Desk>,
    threads: usize,
    answers: mpsc::Sender<Said>,
}

/// Where questions wait.
struct Desk {
    waiting: Mutex<Waits>,
    news: Condvar,
    /// Counts plans.
    generation: AtomicU64,
}

#[derive(Default)]
struct Waits {
    /// Nobody is with anybody yet: these go first.
    routes: VecDeque<Job>,
    treats: VecDeque<Job>,
    plan: Option<Arc<HookPlan>>,
    is_over: bool,
}

impl Waits {
    fn push(&mut self, job: Job) {
        match job.ask {
            Ask::Route { .. } => self.routes.push_back(job),
            Ask::Treat { .. } => self.treats.push_back(job),
        }
    }

    fn pop(&mut self) -> Option<Job> {
        self.routes.pop_front().or_else(|| self.treats.pop_front())
    }
}

impl Workers {
    /// Starts the threads; what hooks answer comes out of the receiver.
    pub fn start(threads: usize) -> io::Result<(Self, mpsc::Receiver<Said>)> {
        let (answers, said) = mpsc::channel(WAITING + 64);
        let desk = Arc::new(Desk {
            waiting: Mutex::default(),
            news: Condvar::new(),
            generation: AtomicU64::new(0),
        });
        let mut workers = Self { desk, threads: 0, answers };
        workers.grow(threads)?;
        Ok((workers, said))
    }

    /// Other hooks from now on: their guests are started before anybody calls.
    pub fn warm(&mut self, plan: &Arc<HookPlan>) -> io::Result<()> {
        self.grow(plan.site.threads)?;
        self.desk.waits().plan = Some(plan.clone());
        self.desk.generation.fetch_add(1, Ordering::Release);
        self.desk.news.notify_all();
        Ok(())
    }

    /// Asks. False: too many questions wait already.
    pub fn ask(&self, job: Job) -> bool {
        let mut waits = self.desk.waits();
        if waits.routes.len() + waits.treats.len() >= WAITING {
            return false;
        }
        waits.push(job);
        drop(waits);
        self.desk.news.notify_one();
        true
    }

    /// More threads; there are never fewer.
    fn grow(&mut self, threads: usize) -> io::Result<()> {
        while self.threads < threads.max(1) {
            let (desk, answers) = (self.desk.clone(), self.answers.clone());
            thread::Builder::new()
                .name(format!("hooks-{}", self.threads))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&desk, &answers))?;
            self.threads += 1;
        }
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut waits = self.desk.waits();
        waits.is_over = true;
        waits.routes.clear();
        waits.treats.clear();
        drop(waits);
        self.desk.news.notify_all();
    }
}

impl Desk {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        // A queue: whoever panicked has left it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(desk: &Desk, answers: &mpsc::Sender<Said>) {
    let mut guests = Guests::default();
    let mut seen = 0;
    loop {
        let job = {
            let mut waits = desk.waits();
            loop {
                if waits.is_over {
                    return;
                }
                if let Some(job) = waits.pop() {
                    break Some(job);
                }
                if seen != desk.generation.load(Ordering::Acquire) {
                    break None;
                }
                waits = desk.news.wait(waits).unwrap_or_else(PoisonError::into_inner);
            }
        };
        match job {
            Some(job) if job.until <= Instant::now() => {}
            Some(job) => {
                // The runtime catches what a guest does; this is for faults of our own. Its caller gets the fallback.
                let said = catch_unwind(AssertUnwindSafe(|| guests.answer(job)));
                if said.is_ok_and(|said| answers.blocking_send(said).is_err()) {
                    return;
                }
            }
            None => {
                seen = desk.generation.load(Ordering::Acquire);
                let plan = desk.waits().plan.clone();
                // Those that are not warm are started when they are asked.
                if let Some(plan) = plan
                    && catch_unwind(AssertUnwindSafe(|| guests.warm(&plan))).is_err()
                {
                    tracing::error!("the host failed while it started hooks");
                }
            }
        }
    }
}

/// The guests of one thread.
#[derive(Default)]
struct Guests(Vec<Guest>);

struct Guest {
    /// Whose guest it is. Weak, so that it goes when nobody else wants it.
    instance: Weak<HookInstance>,
    router: Seat<Router>,
    treatment: Seat<Treatment>,
    /// When it last trapped or was late.
    failed_at: Option<Instant>,
}

/// A guest of one kind.
enum Seat<T> {
    Empty,
    Taken(Box<T>, Vec<(String, TimeZone)>),
    /// It could not be started.
    Broken(HookFailure, Instant),
}

impl Guests {
    fn of(&mut self, instance: &Arc<HookInstance>) -> &mut Guest {
        let known =
            self.0.iter().position(|guest| guest.instance.as_ptr() == Arc::as_ptr(instance));
        let index = known.unwrap_or_else(|| {
            self.0.retain(|guest| guest.instance.strong_count() > 0);
            self.0.push(Guest {
                instance: Arc::downgrade(instance),
                router: Seat::Empty,
                treatment: Seat::Empty,
                failed_at: None,
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    fn warm(&mut self, plan: &HookPlan) {
        self.0.retain(|guest| guest.instance.strong_count() > 0);
        let candidates =
            plan.instances.values().filter_map(|it| it.canary.as_ref()).map(|it| &it.candidate);
        for instance in plan.instances.values().chain(candidates) {
            let kinds = instance.plugin.kinds();
            let guest = self.of(instance);
            if kinds.contains(&Kind::Router) && plan.router.order.contains(&instance.id) {
                let _ = guest.router.get(|| start_router(instance));
            }
            if kinds.contains(&Kind::WaitTreatment) {
                let _ = guest.treatment.get(|| start_treatment(instance));
            }
        }
    }

    fn answer(&mut self, job: Job) -> Said {
        let Job { leg, number, instance, canary, ask, zone, now, .. } = job;
        let trial = canary.filter(|canary| !canary.is_over());
        let began = Instant::now();
        let Some(canary) = trial else {
            let answer = self.ask(&instance, &ask, &zone, now);
            return Said { leg, number, instance, canary: None, answer, took: began.elapsed() };
        };
        let (answer, heard) = try_out(&canary, &ask, |version| {
            let asked = match version {
                Version::New => &canary.candidate,
                Version::Old => &instance,
            };
            self.ask(asked, &ask, &zone, now)
        });
        let (instance, canary) = match heard {
            None => (instance, None),
            Some(Heard::Same) => (canary.candidate.clone(), None),
            Some(_) => (canary.candidate.clone(), Some(canary)),
        };
        Said { leg, number, instance, canary, answer, took: began.elapsed() }
    }

    fn ask(
        &mut self,
        instance: &Arc<HookInstance>,
        ask: &Ask,
        zone: &(String, TimeZone),
        now: Now,
    ) -> Answered {
        let guest = self.of(instance);
        // The runtime catches what a guest does; this is for faults of our own.
        match ask {
            Ask::Route { call, answers } => {
                let asked = catch_unwind(AssertUnwindSafe(|| {
                    let (router, zones) = guest.router.get(|| start_router(instance))?;
                    let call = Call { times: civil::times(zone, zones, now), ..(**call).clone() };
                    let said = router.route(now, &call, answers);
                    guest.router.heard(said.as_ref().err(), &mut guest.failed_at);
                    said
                }));
                Answered::Route(asked.unwrap_or_else(|_| {
                    guest.router = Seat::Empty;
                    Err(panicked())
                }))
            }
            Ask::Treat { waiting, state, wrote, cause, answers } => {
                let (state, cause, answers) = match is_anew(state, wrote, &instance.label) {
                    true => (&[][..], &Cause::Resumed, &[][..]),
                    false => (&state[..], cause, &answers[..]),
                };
                let asked = catch_unwind(AssertUnwindSafe(|| {
                    let (treatment, zones) = guest.treatment.get(|| start_treatment(instance))?;
                    let mut waiting = (**waiting).clone();
                    waiting.call.times = civil::times(zone, zones, now);
                    let said = treatment.next(now, &waiting, state, cause, answers);
                    guest.treatment.heard(said.as_ref().err(), &mut guest.failed_at);
                    said
                }));
                Answered::Treat(asked.unwrap_or_else(|_| {
                    guest.treatment = Seat::Empty;
                    Err(panicked())
                }))
            }
        }
    }
}

impl<T> Seat<T> {
    /// A guest that traps or is late begins anew at its next call. Twice within a moment: it rests instead, so that
    /// a slow beginning is not what every caller waits for.
    fn heard(&mut self, failure: Option<&HookFailure>, failed_at: &mut Option<Instant>) {
        let Some(failure @ (HookFailure::Trapped(_) | HookFailure::Late { .. })) = failure else {
            return;
        };
        let now = Instant::now();
        if failed_at.replace(now).is_some_and(|last| now - last < START_AGAIN) {
            *self = Self::Broken(failure.clone(), now);
        }
    }

    /// The guest, started when there is none.
    fn get(
        &mut self,
        start: impl FnOnce() -> Result<(T, Vec<(String, TimeZone)>), HookFailure>,
    ) -> Result<(&mut T, &[Zone]), HookFailure> {
        if let Self::Broken(failure, since) = self
            && since.elapsed() < START_AGAIN
        {
            return Err(failure.clone());
        }
        if !matches!(self, Self::Taken(..)) {
            *self = match start() {
                Ok((guest, zones)) => Self::Taken(Box::new(guest), zones),
                Err(failure) => Self::Broken(failure, Instant::now()),
            };
        }
        match self {
            Self::Taken(guest, zones) => Ok((guest, zones)),
            Self::Broken(failure, _) => Err(failure.clone()),
            Self::Empty => Err(panicked()),
        }
    }
}

/// A time zone and its name.
type Zone = (String, TimeZone);
type Started<T> = Result<(T, Vec<(String, TimeZone)>), HookFailure>;

fn start_router(instance: &HookInstance) -> Started<Router> {
    let router = Router::start(&instance.plugin, instance.config())?;
    let zones = civil::zones(&router.wishes().time_zones)?;
    Ok((router, zones))
}

fn start_treatment(instance: &HookInstance) -> Started<Treatment> {
    let treatment = Treatment::start(&instance.plugin, instance.config())?;
    let zones = civil::zones(&treatment.wishes().time_zones)?;
    Ok((treatment, zones))
}

fn panicked() -> HookFailure {
    HookFailure::Trapped("the host failed while it asked".to_owned())
}

/// Another version's state, of which this one knows nothing.
fn is_anew(state: &[u8], wrote: &str, label: &str) -> bool {
    !state.is_empty() && wrote != label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_fails_twice_within_a_moment_rests_and_one_that_refuses_does_not() {
        let late = HookFailure::Late { after: Duration::from_millis(5) };
        let nonsense = HookFailure::Nonsense(String::new());
        let mut failed_at = None;
        let mut seat = Seat::Taken(Box::new(()), Vec::new());
        for failure in [&nonsense, &nonsense, &late] {
            seat.heard(Some(failure), &mut failed_at);
            assert!(matches!(seat, Seat::Taken(..)), "{failure}");
        }
        seat.heard(Some(&late), &mut failed_at);
        assert!(seat.get(|| unreachable!("it rests")).is_err());
        let ago = Instant::now().checked_sub(START_AGAIN).expect("a clock that runs");
        seat = Seat::Broken(late, ago);
        assert!(seat.get(|| Ok(((), Vec::new()))).is_ok());
    }

    #[test]
    fn a_state_is_given_to_the_version_that_wrote_it_and_to_no_other() {
        assert!(!is_anew(b"kept", "standard 0.1.0", "standard 0.1.0"));
        assert!(is_anew(b"kept", "standard 0.1.0", "standard 0.2.0"));
        assert!(!is_anew(b"", "standard 0.1.0", "standard 0.2.0"), "it is a beginning");
    }
}
