//! The engine: one task that holds a desk for each caller whom the PBX handed over.
//!
//! ```text
//! switch ----what happened----> [ desks ] --questions--> workers (threads), lookups (tasks), memory (a thread)
//!    ^                          |  ^   '--instructions--> connectors
//!    '--words on calls----------'  '------answers
//! ```
//!
//! It waits for nobody: what a receiver does not take at once is lost or comes back as a failure, and the desk goes
//! on from there.

mod report;

use std::{
    collections::{BTreeSet, HashMap},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use calls::{
    CallId, CommandId, ConnectorId, Input, LegId,
    event::{CommandEnd, Problem},
    fact::NativeLeg,
    switchboard::Offered,
};
use plugin_runtime::{
    Kind,
    hooks::{Answer, HookError, Target},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    FIRST_INSTRUCTION, HookInput, HooksOutlet,
    desk::{Action, Desk, Event, Hook, Kept, Router, Rules},
    instructions::Instruction,
    kept,
    lookups::Library,
    memory::{self, Memory},
    plan::{Asked, Fallback, HookPlan},
    store::HookStore,
    trials::Trials,
    workers::{Answered, Ask, Job, Said, Workers},
};
use crate::{clock::Clock, connectors::Delivery, http::Fetcher, switch::FactsHandle};

/// Callers at once; more go on as the fallback says, without a desk.
const MOST_DESKS: usize = 20_000;
/// Words on their way to the journal.
const MOST_WORDS: usize = 8192;
/// Words told at once.
const WORDS_AT_ONCE: usize = 64;
/// Answers to lookups on their way.
const MOST_ANSWERS: usize = 1024;
/// Inputs taken before something else has its turn.
const INPUTS_AT_ONCE: usize = 64;
/// Callers of a host before this one are waited for so long.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// An instruction whose end nobody told is forgotten after this.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What the engine works with.
#[derive(Debug)]
pub struct EngineParts {
    /// What happens, and where instructions go.
    pub outlet: HooksOutlet,
    /// Which hooks there are; a desk keeps the one it began with.
    pub plan: watch::Receiver<Arc<HookPlan>>,
    /// What hooks keep.
    pub store: HookStore,
    /// For their lookups.
    pub fetcher: Fetcher,
    /// The host's clocks.
    pub clock: Clock,
    /// Where words on calls go.
    pub switch: FactsHandle,
    /// True: stop. The switch waits for that.
    pub stop: watch::Receiver<bool>,
}

/// Works until it is told to stop, or the switch is gone. Callers who are held then go on when their leases end, or
/// with the next host.
pub async fn run(parts: EngineParts) {
    let done = match Memory::start(parts.store.clone()) {
        Ok(memory) => work(parts, memory).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        tracing::error!(%error, "no hooks: a thread could not be started; callers go on when their leases end");
    }
}

async fn work(parts: EngineParts, memory: Memory) -> io::Result<()> {
    let EngineParts { mut outlet, mut plan, store, fetcher, clock, switch, mut stop } = parts;
    let first = plan.borrow_and_update().clone();
    let (mut workers, mut said) = Workers::start(first.site.threads)?;
    workers.warm(&first)?;
    let wall = clock.now().wall;
    let kept =
        tokio::task::spawn_blocking(move || memory::kept(&store, wall)).await.unwrap_or_default();
    let (words, waiting_words) = mpsc::channel(MOST_WORDS);
    let telling = tokio::spawn(tell(waiting_words, switch));
    let (answers, mut answered) = mpsc::channel(MOST_ANSWERS);
    let mut engine = Engine {
        rules: Arc::new(rules(&first)),
        plan: first,
        desks: HashMap::new(),
        due: BTreeSet::new(),
        instructions: HashMap::new(),
        next: FIRST_INSTRUCTION,
        sweep_at: FORGOTTEN,
        kept_until: clock.now().monotonic + KEPT_FOR,
        kept,
        library: Library::new(fetcher, memory.clone()),
        workers,
        memory: memory.clone(),
        connectors: outlet.connectors.clone(),
        words,
        answers,
        clock,
    };
    let mut plans_open = true;
    loop {
        let due = engine.poll_timeout().map(|at| clock.instant(at));
        tokio::select! {
            input = outlet.inputs.recv() => {
                let Some(input) = input else { break };
                engine.take(input);
                for _ in 0..INPUTS_AT_ONCE {
                    let Ok(input) = outlet.inputs.try_recv() else { break };
                    engine.take(input);
                }
            }
            Some(said) = said.recv() => engine.hear(said),
            Some((leg, number, answer)) = answered.recv() => {
                engine.event(leg, Event::LookedUp { number, answer });
            }
            changed = plan.changed(), if plans_open => match changed {
                Ok(()) => {
                    let plan = plan.borrow_and_update().clone();
                    engine.follow(plan);
                }
                Err(_) => plans_open = false,
            },
            () = sleep_until(due) => engine.wake(),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    // What was said is told before the switch is stopped, and what was to be kept is on disk before the host ends.
    drop(engine);
    let _ = telling.await;
    memory.settle().await;
    Ok(())
}

/// The words of hooks on calls, to the switch. When it is slow, the engine is not.
async fn tell(mut words: mpsc::Receiver<Input>, switch: FactsHandle) {
    let mut batch = Vec::new();
    while words.recv_many(&mut batch, WORDS_AT_ONCE).await > 0 {
        if !switch.tell(std::mem::take(&mut batch)).await {
            return;
        }
    }
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

struct Engine {
    plan: Arc<HookPlan>,
    /// What desks need of it.
    rules: Arc<Rules>,
    desks: HashMap<LegId, Seat>,
    /// The next deadline of each desk that has one.
    due: BTreeSet<(Duration, LegId)>,
    /// Whose instruction it is, by the desk's number, and until when its end is expected.
    instructions: HashMap<u64, (LegId, u64, Duration)>,
    next: u64,
    sweep_at: Duration,
    /// Callers whom a host before this one treated.
    kept: HashMap<LegId, Kept>,
    kept_until: Duration,
    library: Library,
    workers: Workers,
    memory: Memory,
    connectors: watch::Receiver<Arc<crate::connectors::Inboxes>>,
    words: mpsc::Sender<Input>,
    answers: mpsc::Sender<(LegId, u64, Answer)>,
    clock: Clock,
}

/// A desk and what it needs to act.
struct Seat {
    desk: Desk,
    /// The one it began with.
    plan: Arc<HookPlan>,
    call: CallId,
    native: NativeLeg,
    connector: ConnectorId,
    due: Option<Duration>,
    trials: Trials,
    /// They end with the desk.
    lookups: JoinSet<()>,
}

impl Engine {
    fn take(&mut self, input: HookInput) {
        match input {
            HookInput::Offered(offered) => self.offered(*offered),
            HookInput::Released { leg, reason, .. } => {
                let is_over = reason == "ended";
                self.event(leg, Event::Released { reason });
                if is_over {
                    self.close(leg);
                }
            }
            HookInput::Key { leg, key, .. } => {
                if let Some(key) = key.chars().next() {
                    self.event(leg, Event::Key(key));
                }
            }
            HookInput::Outcome { id, end, problem, .. } => {
                if let Some((leg, number, _)) = self.instructions.remove(&id.0) {
                    self.event(leg, Event::Done { number, end, problem });
                }
            }
        }
    }

    fn offered(&mut self, offered: Offered) {
        let leg = offered.leg;
        let now = self.clock.now();
        if let Some(seat) = self.desks.get_mut(&leg) {
            // Whoever comes back meets the hooks of today.
            seat.plan = self.plan.clone();
            seat.call = offered.call;
            seat.lookups.abort_all();
            let rules = self.rules.clone();
            return self.event(leg, Event::Offered { offered: Box::new(offered), rules });
        }
        if self.desks.len() >= MOST_DESKS {
            return self.turn_away(&offered);
        }
        let kept = self.kept.remove(&leg);
        let was_kept = kept.is_some();
        let (rules, caller) = (self.rules.clone(), offered.clone());
        let opened = catch_unwind(AssertUnwindSafe(|| Desk::open(caller, rules, kept, now)));
        match opened {
            Ok(desk) => {
                let seat = Seat {
                    desk,
                    plan: self.plan.clone(),
                    call: offered.call,
                    native: offered.native,
                    connector: offered.connector,
                    due: None,
                    trials: Trials::default(),
                    lookups: JoinSet::new(),
                };
                self.desks.insert(leg, seat);
                self.carry_out(leg);
            }
            Err(_) => {
                if was_kept {
                    self.forget(leg);
                }
                self.turn_away(&offered);
            }
        }
    }

    /// There is no desk for this caller: what the admin laid down, without anybody who looks after it.
    fn turn_away(&mut self, offered: &Offered) {
        let target = match self.plan.is_emergency(&offered.held.dialled) {
            true => Target::ContinueInDialplan,
            false => self.rules.fallback.clone(),
        };
        tracing::error!(call = %offered.call, %target, "no desk is free; the caller gets the fallback");
        let instruction = Instruction::hand_over(&target, None, &[]);
        let id = self.number();
        let _ = self.instruct(id, &offered.connector, &offered.native, instruction);
    }

    fn hear(&mut self, said: Said) {
        let Said { leg, number, instance, canary, answer, took } = said;
        if let Some(seat) = self.desks.get_mut(&leg) {
            seat.trials.answered(&instance.id, canary);
        }
        if answer.failure().is_none() {
            instance.meter.answered(took);
        }
        let by = instance.label.clone();
        let event = match answer {
            Answered::Route(said) => Event::Routed { job: number, by, said },
            Answered::Treat(said) => Event::Planned { job: number, by, said },
        };
        self.event(leg, event);
    }

    fn follow(&mut self, plan: Arc<HookPlan>) {
        if let Err(error) = self.workers.warm(&plan) {
            tracing::error!(%error, "no more threads for hooks; those that there are go on");
        }
        self.rules = Arc::new(rules(&plan));
        self.plan = plan;
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let desk = self.due.first().map(|(at, _)| *at);
        let kept = (!self.kept.is_empty()).then_some(self.kept_until);
        desk.into_iter().chain(kept).min()
    }

    fn wake(&mut self) {
        let now = self.clock.now();
        if self.kept_until <= now.monotonic {
            for leg in std::mem::take(&mut self.kept).into_keys() {
                self.forget(leg);
            }
        }
        while let Some(&(at, leg)) = self.due.first()
            && at <= now.monotonic
        {
            self.due.pop_first();
            let Some(seat) = self.desks.get_mut(&leg) else { continue };
            seat.due = None;
            let desk = &mut seat.desk;
            if catch_unwind(AssertUnwindSafe(|| desk.handle_timeout(now))).is_err() {
                self.broken(leg);
            }
            self.carry_out(leg);
        }
        if self.sweep_at <= now.monotonic {
            self.sweep(now.monotonic);
        }
    }

    fn sweep(&mut self, now: Duration) {
        self.sweep_at = now + FORGOTTEN;
        self.instructions.retain(|_, (.., until)| *until + FORGOTTEN > now);
    }

    fn event(&mut self, leg: LegId, event: Event) {
        let now = self.clock.now();
        let Some(seat) = self.desks.get_mut(&leg) else { return };
        let desk = &mut seat.desk;
        if catch_unwind(AssertUnwindSafe(|| desk.handle(event, now))).is_err() {
            self.broken(leg);
        }
        self.carry_out(leg);
    }

    /// A fault of ours costs one caller their treatment, and not the others theirs.
    fn broken(&mut self, leg: LegId) {
        tracing::error!(%leg, "a desk failed; the caller goes on when the lease ends");
        self.close(leg);
        self.forget(leg);
    }

    fn forget(&self, leg: LegId) {
        if !self.memory.forget(leg) {
            tracing::error!(%leg, "too much waits for the disk: a treatment that is over is kept until the next start");
        }
    }

    fn close(&mut self, leg: LegId) {
        if let Some(seat) = self.desks.remove(&leg)
            && let Some(due) = seat.due
        {
            self.due.remove(&(due, leg));
        }
        if self.kept.remove(&leg).is_some() {
            self.forget(leg);
        }
    }

    /// Does what the desk wants done, and notes when it wants to be woken.
    fn carry_out(&mut self, leg: LegId) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.carry_out_next(leg))) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return self.broken(leg),
            }
        }
        let Some(seat) = self.desks.get_mut(&leg) else { return };
        let due = seat.desk.poll_timeout();
        if due != seat.due {
            if let Some(old) = seat.due {
                self.due.remove(&(old, leg));
            }
            self.due.extend(due.map(|due| (due, leg)));
            seat.due = due;
        }
    }

    /// False: there is nothing more to do.
    fn carry_out_next(&mut self, leg: LegId) -> bool {
        let Some(seat) = self.desks.get_mut(&leg) else { return false };
        let Some(action) = seat.desk.poll_action() else { return false };
        let failed = self.act(leg, action);
        if let (Some(event), Some(seat)) = (failed, self.desks.get_mut(&leg)) {
            seat.desk.handle(event, self.clock.now());
        }
        true
    }

    /// What came of it already, when it failed at once.
    fn act(&mut self, leg: LegId, action: Action) -> Option<Event> {
        match action {
            Action::Route { job, instance, call, answers } => {
                self.ask(leg, job, &instance, Ask::Route { call, answers })
            }
            Action::Treat { job, instance, waiting, state, wrote, cause, answers } => {
                let ask = Ask::Treat { waiting, state, wrote, cause, answers };
                self.ask(leg, job, &instance, ask)
            }
            Action::LookUp { number, instance, question, within } => {
                let seat = self.desks.get_mut(&leg)?;
                let Some(instance) = seat.plan.instance(&instance).cloned() else {
                    let error = HookError::new("no-hook", "the hook is not configured any more");
                    let answer = Answer::failed(question.id, error);
                    return Some(Event::LookedUp { number, answer });
                };
                let (library, answers) = (self.library.clone(), self.answers.clone());
                // Those that are over.
                while seat.lookups.try_join_next().is_some() {}
                seat.lookups.spawn(async move {
                    let answer = library.look_up(question, instance, within).await;
                    let _ = answers.send((leg, number, answer)).await;
                });
                None
            }
            Action::Instruct { number, instruction } => {
                let id = self.number();
                let until = self.clock.now().monotonic + instruction.within;
                self.instructions.insert(id, (leg, number, until));
                let seat = self.desks.get(&leg)?;
                let (connector, native) = (seat.connector.clone(), seat.native.clone());
                let problem = self.instruct(id, &connector, &native, instruction)?;
                self.instructions.remove(&id);
                Some(Event::Done { number, end: CommandEnd::Failed, problem: Some(problem) })
            }
            Action::Store { instance, stores } => {
                if !self.memory.put(instance.clone(), stores) {
                    tracing::error!(
                        hook = instance,
                        "too much waits for the disk: what a hook wants kept is lost"
                    );
                    if let Some(instance) = self.plan.instance(&instance) {
                        instance.meter.count("stores-lost");
                    }
                }
                None
            }
            Action::Keep(Some(kept)) => {
                let treatment = kept.treatment.clone();
                if !self.memory.keep(leg, treatment, kept::encode(*kept)) {
                    tracing::error!(
                        %leg,
                        "too much waits for the disk: after a restart this caller's treatment is not what it is now"
                    );
                }
                None
            }
            Action::Keep(None) => {
                self.forget(leg);
                None
            }
            Action::Word(word) => {
                self.report(leg, &word);
                let seat = self.desks.get_mut(&leg)?;
                seat.trials.judge(&word);
                let call = seat.call;
                let input = Input::Decided { call, leg: Some(leg), word };
                if self.words.try_send(input).is_err() {
                    tracing::warn!(%call, "the journal is slow: a hook's word on the call is lost");
                }
                None
            }
        }
    }

    fn ask(&mut self, leg: LegId, number: u64, instance: &str, ask: Ask) -> Option<Event> {
        let seat = self.desks.get_mut(&leg)?;
        seat.trials.asks(instance);
        let Some(instance) = seat.plan.instance(instance).cloned() else {
            return Some(Event::NotAsked { job: number });
        };
        let site = &seat.plan.site;
        let canary = instance.canary.clone().filter(|it| it.takes(&seat.call.to_string()));
        let job = Job {
            leg,
            number,
            canary,
            instance,
            ask,
            zone: (site.zone_name.clone(), site.zone.clone()),
            now: self.clock.now(),
            until: Instant::now() + seat.plan.router.decision,
        };
        (!self.workers.ask(job)).then_some(Event::NotAsked { job: number })
    }

    fn number(&mut self) -> u64 {
        let id = self.next;
        self.next = self.next.checked_add(1).unwrap_or(FIRST_INSTRUCTION);
        id
    }

    /// Why it could not be handed to the connector.
    fn instruct(
        &self,
        id: u64,
        connector: &ConnectorId,
        native: &NativeLeg,
        instruction: Instruction,
    ) -> Option<Problem> {
        let Instruction { kind, mut arguments, within } = instruction;
        arguments.insert(0, ("leg".to_owned(), native.to_string()));
        let deadline = self.clock.now().monotonic + within;
        let kind = kind.to_owned();
        let delivery = Delivery { command: CommandId(id), kind, arguments, deadline };
        let problem = |code: &str, message: &str| {
            Some(Problem { code: code.to_owned(), message: message.to_owned(), retryable: true })
        };
        let Some(inbox) = self.connectors.borrow().get(connector).cloned() else {
            return problem("not-connected", "the connector does not run now");
        };
        match inbox.try_send(delivery) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(_)) => {
                problem("busy", "the connector has too many commands to do already")
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                problem("not-connected", "the connector does not run now")
            }
        }
    }
}

/// Where callers go about whom nobody decides.
fn usual_fallback(fallback: &Fallback) -> Target {
    match fallback {
        Fallback::ContinueInDialplan => Target::ContinueInDialplan,
        Fallback::Queue(name) => Target::queue(name),
        Fallback::Extension(number) => Target::extension(number),
        Fallback::HangUp(q850) => Target::hang_up(*q850),
    }
}

/// What desks need to know of a plan.
fn rules(plan: &HookPlan) -> Rules {
    let hook = |id: &str, plugin: &str| Hook { instance: id.to_owned(), plugin: plugin.to_owned() };
    let routers = plan.chain().map(|asked| match asked {
        Asked::Instance(it) => Router { hook: hook(&it.id, &it.label), left_out: None },
        Asked::LeftOut { id, why } => Router { hook: hook(id, ""), left_out: Some(why.to_owned()) },
    });
    let treatments =
        plan.instances.values().filter(|it| it.plugin.kinds().contains(&Kind::WaitTreatment));
    Rules {
        routers: routers.collect(),
        treatments: treatments.map(|it| (it.id.clone(), hook(&it.id, &it.label))).collect(),
        usual_treatment: plan.treatment.clone().unwrap_or_default(),
        fallback: usual_fallback(&plan.router.fallback),
        emergency: plan.site.emergency.iter().cloned().collect(),
        contexts: plan.site.contexts.clone(),
        decision: plan.router.decision,
        lease: plan.site.lease,
    }
}

#[cfg(test)]
mod tests;
