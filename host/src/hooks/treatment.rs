//! One caller under treatment: the steps of the plan, the keys asked for, the wake-up, the questions still open.
//!
//! The hook that treats them keeps nothing: it is asked about each thing that happens, one at a time and in order,
//! and answers with what shall happen from then on.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use calls::event::Problem;
use plugin_runtime::hooks::{
    Answer, Attributes, Cause, Collect, CollectEnd, Collected, FailedStep, HookError, Lookup, Plan,
    Question, Step, Target, Treat,
};

use super::{
    desk::{
        Action, Hook, Out,
        sending::{AGAIN, MOST_TRIES, is_gone, is_passing},
    },
    instructions::Instruction,
    listening::Listening,
    pace::Pace,
};

/// Lookups under way at once.
pub const MOST_OPEN_LOOKUPS: usize = 4;
/// A treatment that wants to be asked sooner is asked then.
pub const SHORTEST_WAKE: Duration = Duration::from_millis(250);
/// Longer nobody is treated.
pub const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// Plans at once, and how soon another may follow.
pub const PLANS: (u32, Duration) = (60, Duration::from_millis(200));
/// Keys are not heard any more when so few plans are left: a caller who hammers on keys ends nothing.
const PLANS_FOR_HOST: u32 = 20;
/// Sentences of one treatment that stay with the call.
const MOST_SENTENCES: u32 = 50;
/// Things that happened and that the hook was not told yet.
const MOST_CAUSES: usize = 64;
/// For the word that a caller who is gone is gone.
const GONE: Duration = Duration::from_secs(5);
/// A lookup whose time the hook leaves to the host.
const USUAL_LOOKUP: Duration = Duration::from_secs(10);
const LONGEST_LOOKUP: Duration = Duration::from_secs(60);

/// How one caller's treatment stands.
#[derive(Debug)]
pub(super) struct Treating {
    /// Who treats.
    pub hook: Hook,
    /// Where the router wants them to go afterwards.
    pub then: Option<Target>,
    /// The router's facts for it.
    pub facts: Attributes,
    /// Since when, on the monotonic clock.
    began: Duration,
    /// How long the caller had waited then.
    waited_before: Duration,
    /// The hook's own, given back at each call.
    pub state: Vec<u8>,
    steps: VecDeque<(u32, Step)>,
    running: Option<Running>,
    /// The plan has steps whose end the hook was not told.
    unfinished: bool,
    keys: String,
    listening: Listening,
    wake_at: Option<Duration>,
    causes: VecDeque<Cause>,
    asking: Option<Asking>,
    open: BTreeMap<u64, String>,
    answers: Vec<Answer>,
    /// Why the hook was asked last.
    because: String,
    /// Its last sentence, and how many more are kept.
    told: String,
    sentences: u32,
    pace: Pace,
}

/// The step that is under way.
#[derive(Debug)]
enum Running {
    /// The PBX does it; when it could not be told, it is told again.
    Instruction {
        doing: (u32, Instruction),
        told: Option<u64>,
        until: Duration,
        tries: u32,
    },
    Wait {
        until: Duration,
    },
    Collect {
        rules: Collect,
        keys: String,
        until: Duration,
    },
}

/// The hook's word is waited for.
#[derive(Debug)]
struct Asking {
    job: u64,
    began: Duration,
    until: Duration,
    holds: bool,
}

/// What follows for the desk.
#[derive(Debug, PartialEq)]
pub(super) enum Progress {
    /// It goes on.
    Going,
    /// The caller leaves; none: to where the router said.
    HandOver(Option<Target>),
    /// Nothing would ever happen again, or not for much longer: one sentence why.
    Stuck(String),
}

impl Treating {
    pub fn begin(hook: Hook, treat: Treat, now: Duration) -> Self {
        Self {
            hook,
            then: treat.then,
            facts: treat.facts,
            began: now,
            waited_before: Duration::ZERO,
            state: Vec::new(),
            steps: VecDeque::new(),
            running: None,
            unfinished: false,
            keys: String::new(),
            listening: Listening::default(),
            wake_at: None,
            causes: VecDeque::from([Cause::Started]),
            asking: None,
            open: BTreeMap::new(),
            answers: Vec::new(),
            because: String::new(),
            told: String::new(),
            sentences: MOST_SENTENCES,
            pace: Pace::new(PLANS.0, PLANS.1, now),
        }
    }

    /// After a restart of the host, `waited` after its beginning.
    pub fn resume(
        hook: Hook,
        treat: Treat,
        state: Vec<u8>,
        waited: Duration,
        now: Duration,
    ) -> Self {
        let mut it = Self::begin(hook, treat, now);
        it.waited_before = waited;
        it.state = state;
        it.causes = VecDeque::from([Cause::Resumed]);
        it.listening = Listening::perhaps();
        it
    }

    /// What the hook must be asked now, with the answers it has not seen.
    pub fn question(&mut self) -> Option<(Cause, Vec<Answer>)> {
        if self.asking.is_some() {
            return None;
        }
        let cause = self.causes.pop_front()?;
        Some((cause, std::mem::take(&mut self.answers)))
    }

    /// It is being asked under this number.
    pub fn asks(&mut self, job: u64, cause: &Cause, now: Duration, within: Duration) {
        let holds = holds(cause);
        self.because = word(cause);
        self.asking = Some(Asking { job, began: now, until: now + within, holds });
    }

    /// Is this the word that is waited for? Since when. It is heard once.
    pub fn hears(&mut self, job: u64) -> Option<Duration> {
        self.asking.take_if(|asking| asking.job == job).map(|asking| asking.began)
    }

    /// Since the caller came to it.
    pub fn waited(&self, now: Duration) -> Duration {
        self.waited_before + now.saturating_sub(self.began)
    }

    /// Why the hook was asked last.
    pub fn because(&self) -> &str {
        &self.because
    }

    /// Is this sentence worth keeping?
    pub fn says_anew(&mut self, sentence: &str) -> bool {
        if sentence.is_empty() || sentence == self.told || self.sentences == 0 {
            return false;
        }
        self.sentences -= 1;
        self.told = sentence.to_owned();
        true
    }

    /// Is the hook being asked? Since when.
    pub fn asked_since(&self) -> Option<Duration> {
        self.asking.as_ref().map(|asking| asking.began)
    }

    /// The hook's new plan; `Err` says why it cannot be followed.
    pub fn plan(&mut self, plan: &mut Plan, now: Duration, out: &mut Out) -> Result<(), String> {
        if !self.pace.take(now) {
            return Err("it makes new plans without end".to_owned());
        }
        let lookups = std::mem::take(&mut plan.lookups);
        self.look_up(lookups, out)?;
        self.state = std::mem::take(&mut plan.state);
        self.keys = std::mem::take(&mut plan.keys);
        self.wake_at = plan.wake.map(|wake| now + wake.max(SHORTEST_WAKE));
        if let Some(steps) = plan.steps.take() {
            // What the PBX does already goes on, unless the caller leaves; what only we do is over.
            let leaves = matches!(steps.first(), Some(Step::HandOver(_)));
            self.running.take_if(|it| leaves || !matches!(it, Running::Instruction { .. }));
            self.unfinished = !steps.is_empty();
            self.steps = (0..).zip(steps).collect();
        }
        Ok(())
    }

    fn look_up(&mut self, lookups: Vec<Lookup>, out: &mut Out) -> Result<(), String> {
        if self.open.len() + lookups.len() > MOST_OPEN_LOOKUPS {
            return Err(format!("it asks for more than {MOST_OPEN_LOOKUPS} lookups at once"));
        }
        for lookup in lookups {
            if self.open.values().any(|id| *id == lookup.id) {
                return Err(format!("it asks twice for the lookup `{}`", lookup.id));
            }
            let number = out.number();
            self.open.insert(number, lookup.id.clone());
            let within = asked_time(&lookup).unwrap_or(USUAL_LOOKUP).min(LONGEST_LOOKUP);
            out.actions.push_back(Action::LookUp {
                number,
                instance: self.hook.instance.clone(),
                question: lookup,
                within,
            });
        }
        Ok(())
    }

    /// An answer to a lookup.
    pub fn looked_up(&mut self, number: u64, answer: Answer) {
        let Some(id) = self.open.remove(&number) else { return };
        self.answers.push(Answer { id, ..answer });
        if self.open.is_empty() {
            self.tell(Cause::LookedUp);
        }
    }

    /// The caller pressed a key.
    pub fn key(&mut self, key: char, now: Duration) {
        if let Some(Running::Collect { rules, keys, until }) = &mut self.running {
            let ends = rules.end_keys.contains(key);
            if !ends {
                keys.push(key);
                *until = now + rules.between;
            }
            if ends {
                self.collected(CollectEnd::EndKey);
            } else if keys.chars().count() >= rules.most as usize {
                self.collected(CollectEnd::Most);
            }
        } else if self.keys.contains(key) && self.pace.left(now) > PLANS_FOR_HOST {
            self.tell(Cause::Key(key));
        }
    }

    /// An instruction is over, well when there is no problem.
    pub fn done(&mut self, number: u64, problem: Option<Problem>, now: Duration) {
        if self.listening.done(number, problem.as_ref(), now) {
            return;
        }
        let Some(Running::Instruction { told, until, tries, doing }) = &mut self.running else {
            return;
        };
        if *told != Some(number) {
            return;
        }
        match problem {
            None => self.running = None,
            // Their release is about to be told, and ends everything.
            Some(problem) if is_gone(&problem) => *until = now + GONE,
            Some(problem) if is_passing(&problem) && *tries < MOST_TRIES => {
                *tries += 1;
                *told = None;
                *until = now + AGAIN;
            }
            Some(problem) => {
                let step = doing.0;
                self.running = None;
                let Problem { code, message, retryable } = problem;
                let error = HookError { code, message, retryable };
                self.failed(FailedStep { step, error });
            }
        }
    }

    /// The place to go to did not take the caller.
    pub fn came_back(&mut self, why: String) {
        self.steps.clear();
        self.running = None;
        self.unfinished = false;
        self.tell(Cause::CameBack(why));
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let running = self.running.as_ref().map(|running| match running {
            Running::Instruction { until, .. }
            | Running::Wait { until }
            | Running::Collect { until, .. } => *until,
        });
        let asking = self.asking.as_ref().map(|asking| asking.until);
        let end = Some(self.ends_at());
        let listening = self.listening.poll_timeout();
        [running, asking, self.wake_at, listening, end].into_iter().flatten().min()
    }

    /// The time has come for something. True: the hook did not answer in time.
    pub fn handle_timeout(&mut self, now: Duration, out: &mut Out) -> bool {
        self.listening.handle_timeout(now);
        if self.wake_at.take_if(|at| *at <= now).is_some() {
            self.tell(Cause::Woke);
        }
        match &mut self.running {
            Some(Running::Wait { until }) if *until <= now => self.running = None,
            Some(Running::Collect { until, .. }) if *until <= now => {
                self.collected(CollectEnd::Timeout);
            }
            Some(Running::Instruction { until, told: Some(_), doing, .. }) if *until <= now => {
                let message = "the PBX did not say in time what came of it";
                let step = doing.0;
                self.running = None;
                self.failed(FailedStep { step, error: HookError::retryable("timed-out", message) });
            }
            Some(Running::Instruction { until, told, doing, .. }) if *until <= now => {
                *told = Some(out.instruct(doing.1.clone()));
                *until = now + doing.1.within;
            }
            _ => {}
        }
        self.asking.take_if(|asking| asking.until <= now).is_some()
    }

    /// Begins what can begin now.
    pub fn proceed(&mut self, language: &str, now: Duration, out: &mut Out) -> Progress {
        while self.running.is_none() && !self.is_held() {
            let Some((index, step)) = self.steps.pop_front() else { break };
            match begin(index, step, language, now, out) {
                Begun::Running(running) => self.running = Some(running),
                Begun::Leaving(target) => {
                    self.asking = None;
                    return Progress::HandOver(target);
                }
            }
        }
        if self.running.is_none() && self.steps.is_empty() && !self.is_held() && self.unfinished {
            self.unfinished = false;
            self.tell(Cause::Finished);
        }
        self.listen(out);
        if now >= self.ends_at() {
            return Progress::Stuck(format!(
                "it keeps the caller for {} hours",
                LONGEST.as_secs() / 3600
            ));
        }
        match self.is_idle() {
            true => Progress::Stuck("its plan has no step, key, wake-up or lookup left".to_owned()),
            false => Progress::Going,
        }
    }

    fn listen(&mut self, out: &mut Out) {
        let wanted = !self.keys.is_empty() || matches!(self.running, Some(Running::Collect { .. }));
        self.listening.set(wanted, out);
    }

    /// The lease is renewed.
    pub fn lease_renewed(&mut self, out: &mut Out) {
        self.listening.repeat(out);
    }

    /// Its steps wait for the hook's word.
    fn is_held(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.holds) || self.causes.iter().any(holds)
    }

    fn ends_at(&self) -> Duration {
        self.began + LONGEST.saturating_sub(self.waited_before)
    }

    fn is_idle(&self) -> bool {
        self.running.is_none()
            && self.steps.is_empty()
            && self.keys.is_empty()
            && self.wake_at.is_none()
            && self.causes.is_empty()
            && self.asking.is_none()
            && self.open.is_empty()
    }

    fn collected(&mut self, ended_by: CollectEnd) {
        if let Some(Running::Collect { keys, .. }) = self.running.take() {
            self.tell(Cause::Collected(Collected { keys, ended_by }));
        }
    }

    fn failed(&mut self, step: FailedStep) {
        self.steps.clear();
        self.unfinished = false;
        self.tell(Cause::Failed(step));
    }

    fn tell(&mut self, cause: Cause) {
        // Of keys and wake-ups nothing is lost that matters; the rest cannot pile up.
        if self.causes.len() < MOST_CAUSES || holds(&cause) {
            self.causes.push_back(cause);
        }
    }
}

/// Nothing of the plan begins before the hook has answered this.
fn holds(cause: &Cause) -> bool {
    match cause {
        Cause::Started
        | Cause::Collected(_)
        | Cause::Finished
        | Cause::Failed(_)
        | Cause::CameBack(_)
        | Cause::Resumed => true,
        Cause::Woke | Cause::Key(_) | Cause::LookedUp | Cause::Changed(_) => false,
    }
}

enum Begun {
    Running(Running),
    Leaving(Option<Target>),
}

fn begin(index: u32, step: Step, language: &str, now: Duration, out: &mut Out) -> Begun {
    let instruction = match step {
        Step::Answer => Instruction::answer(),
        Step::Play(media) => Instruction::play(&media),
        Step::Say(say) => Instruction::say(&say, language),
        Step::Music(class) => Instruction::music(&class),
        Step::Silence => Instruction::silence(),
        Step::Wait(time) => return Begun::Running(Running::Wait { until: now + time }),
        Step::Collect(rules) => {
            let until = now + rules.timeout;
            return Begun::Running(Running::Collect { rules, keys: String::new(), until });
        }
        Step::HandOver(target) => return Begun::Leaving(target),
    };
    let until = now + instruction.within;
    let told = Some(out.instruct(instruction.clone()));
    Begun::Running(Running::Instruction { doing: (index, instruction), told, until, tries: 0 })
}

/// The word for why a hook was asked, as `explain` shows it.
fn word(cause: &Cause) -> String {
    match cause {
        Cause::Started => "started".to_owned(),
        Cause::Woke => "woke".to_owned(),
        // Which one is nobody's business but the treatment's.
        Cause::Key(_) => "key".to_owned(),
        Cause::Collected(it) => {
            format!("collected {} keys ({})", it.keys.chars().count(), it.ended_by.code())
        }
        Cause::Finished => "finished".to_owned(),
        Cause::Failed(step) => format!("step {} failed: {}", step.step, step.error.code),
        Cause::LookedUp => "looked-up".to_owned(),
        Cause::CameBack(why) => format!("came-back {why}"),
        Cause::Resumed => "resumed".to_owned(),
        Cause::Changed(_) => "changed".to_owned(),
    }
}

/// What a hook says a lookup may take.
pub(super) fn asked_time(lookup: &Lookup) -> Option<Duration> {
    match &lookup.question {
        Question::Http(request) => request.timeout,
        Question::Stored(_) => None,
    }
}
