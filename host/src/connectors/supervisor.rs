//! One connector's loop: inputs are gathered, one step is made, its effects are carried out in order.
//!
//! Beside it: what one step gets, its links, how much of the PBX is seen, and what the keeper asks of a running
//! connector.

mod batch;
mod control;
mod link;
mod sight;

use std::{collections::VecDeque, time::Duration};

use calls::{
    CommandId, ConnectorId, Now, Timestamp,
    event::{CommandEnd, Problem},
    fact::{Notice, Severity},
    switchboard::Input as SwitchInput,
};
use plugin_runtime::{Connector, Effect, Incident, Input, Outcome, Retry};
use tokio::sync::{mpsc, watch};

use self::{
    batch::Batch,
    link::{Link, LinkState, dice, masked_texts},
    sight::Sight,
};
use super::{
    Control, Delivery, Plan, Surroundings,
    errands::{self, Errands, Told},
    notices,
};
use crate::{
    http::{Asker, Fetcher, Request, Sent},
    links::{LinkEvent, Redial, Report},
    status::{ConnectorStatus, StatusWord},
};

/// Reports of links that may wait; each holds one read at most.
const REPORTS: usize = 8;
/// Between two looks at what a shadow did.
const SHADOW_GAP: Duration = Duration::from_millis(250);
/// A plugin that fails all the time does not fill the disk.
const BUNDLES_GAP: Duration = Duration::from_secs(10);
const SHORTEST_NAP: Duration = Duration::from_millis(1);
/// Facts go to the switch in portions, so that one picture does not hold up everybody else's.
const FACTS_AT_ONCE: usize = 1024;

pub(super) async fn run(
    plan: Plan,
    commands: mpsc::Receiver<Delivery>,
    controls: mpsc::Receiver<Control>,
    surroundings: Surroundings,
) {
    Supervisor::new(plan, commands, controls, surroundings).run().await;
}

struct Supervisor {
    id: ConnectorId,
    plan: Plan,
    /// What ran before the swap that is on probation.
    before: Option<Plan>,
    commands: mpsc::Receiver<Delivery>,
    controls: mpsc::Receiver<Control>,
    around: Surroundings,
    reports_in: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
    links: Vec<Link>,
    instance: Instance,
    /// What the next step gets, besides what comes from outside.
    pending: VecDeque<Input>,
    /// Answers the host gives by itself. They wait a nap, so that a plugin that asks again at once gets no core.
    answers: VecDeque<Input>,
    /// HTTP requests on their way.
    errands: Errands,
    /// When what led to crashes is handed out; not more often than [`BUNDLES_GAP`].
    bundles_due: Option<Duration>,
    bundled: Option<Duration>,
    /// A version runs in the shadow, and what it did is shown then.
    shadow_due: Option<Duration>,
    shadowing: bool,
    /// The end of a connection, until the plugin has heard the last words before it.
    ending: Option<Report>,
    sight: Sight,
    /// Monotonic time of the last step.
    stepped: Duration,
    /// The switch takes nothing any more: there is nobody to work for.
    deaf: bool,
}

enum Instance {
    /// Waits to be started; the back-off is a link's.
    Stopped(Redial),
    Running(Box<Connector>),
}

impl Supervisor {
    fn new(
        plan: Plan,
        commands: mpsc::Receiver<Delivery>,
        controls: mpsc::Receiver<Control>,
        around: Surroundings,
    ) -> Self {
        let (reports_in, reports) = mpsc::channel(REPORTS);
        let now = around.clock.now().monotonic;
        let links = plan
            .links
            .iter()
            .map(|link| Link {
                plan: link.clone(),
                redial: Redial::new(now),
                attempt: 0,
                epoch: 0,
                state: LinkState::Down,
                told: None,
            })
            .collect();
        let errands = Errands::new(Fetcher::default(), &plan);
        Self {
            id: plan.id.clone(),
            plan,
            before: None,
            commands,
            controls,
            around,
            reports_in,
            reports,
            links,
            instance: Instance::Stopped(Redial::new(now)),
            pending: VecDeque::new(),
            answers: VecDeque::new(),
            errands,
            bundles_due: None,
            bundled: None,
            shadow_due: None,
            shadowing: false,
            ending: None,
            sight: Sight::default(),
            stepped: Duration::ZERO,
            deaf: false,
        }
    }

    fn now(&self) -> Now {
        self.around.clock.now()
    }

    async fn run(mut self) {
        let mut stop = self.around.stop.clone();
        loop {
            while let Ok(control) = self.controls.try_recv() {
                self.obey(control).await;
            }
            self.start_instance().await;
            self.dial();
            let due = self.due().map(|at| self.around.clock.instant(at));
            let mut batch = Batch::default();
            batch.inputs.extend(self.pending.drain(..));
            if self.now().monotonic >= self.stepped + SHORTEST_NAP {
                batch.inputs.extend(self.answers.drain(..));
            }
            if batch.inputs.is_empty()
                && let Some(end) = self.ending.take()
            {
                self.receive(end, &mut batch).await;
            } else if batch.inputs.is_empty() {
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => break,
                    Some(control) = self.controls.recv() => self.obey(control).await,
                    delivery = self.commands.recv() => match delivery {
                        Some(delivery) => batch.command(delivery, self.now()),
                        None => break,
                    },
                    Some(report) = self.reports.recv() => self.receive(report, &mut batch).await,
                    told = self.errands.answered() => self.answered(told, &mut batch).await,
                    () = sleep_until(due), if due.is_some() => {}
                }
            }
            while !batch.is_full() && self.ending.is_none() {
                if let Ok(delivery) = self.commands.try_recv() {
                    batch.command(delivery, self.now());
                } else if let Ok(report) = self.reports.try_recv() {
                    // A PBX that refuses a login hangs up at once. The plugin reads the refusal first, and its
                    // word decides when to dial again: else a wrong password would be tried twice a second.
                    if matches!(report.event, LinkEvent::Down { .. }) && !batch.inputs.is_empty() {
                        self.ending = Some(report);
                        break;
                    }
                    self.receive(report, &mut batch).await;
                } else if let Some(told) = self.errands.try_answered() {
                    self.answered(told, &mut batch).await;
                } else {
                    break;
                }
            }
            if stop.borrow().is_some() {
                break;
            }
            self.step(batch).await;
            if self.deaf {
                let (message, fix) =
                    ("the host's switch ended", "restart jackfield, and report this");
                tracing::error!("{message}: this connector ends too");
                self.show(|status, now| {
                    status.set(StatusWord::Failed, message, now);
                    status.fail(message, fix, now);
                });
                break;
            }
        }
        for index in 0..self.links.len() {
            self.drop_link(index);
        }
        let why = stop.borrow().clone();
        self.lose_sight(why.as_deref().unwrap_or("this host stopped")).await;
    }

    /// When something is to be done without any input.
    fn due(&self) -> Option<Duration> {
        let instance = match &self.instance {
            Instance::Stopped(redial) => redial.poll_timeout(),
            // A plugin that always wants to be woken gets a core's thousandth, not a core.
            Instance::Running(connector) => {
                let wake_at = connector.wake_at().map(|at| at.max(self.stepped + SHORTEST_NAP));
                let probation = connector.probation().map(|probation| probation.until);
                wake_at.into_iter().chain(probation).min()
            }
        };
        let answers = (!self.answers.is_empty()).then_some(self.stepped + SHORTEST_NAP);
        let links = self.links.iter().filter_map(|link| link.redial.poll_timeout());
        links.chain(instance).chain(answers).chain(self.bundles_due).chain(self.shadow_due).min()
    }

    async fn start_instance(&mut self) {
        let now = self.now();
        let Instance::Stopped(redial) = &mut self.instance else { return };
        if !redial.handle_timeout(now.monotonic) {
            return;
        }
        match Connector::start(&self.plan.plugin.plugin, self.plan.instance.clone(), now) {
            Ok((connector, outcome)) => {
                let log = connector.log();
                self.instance = Instance::Running(Box::new(connector));
                self.show(|status, now| {
                    status.log = Some(log);
                    status.set(StatusWord::Connecting, "", now);
                });
                self.carry_out(outcome).await;
            }
            Err(error) => {
                redial.handle_down(Retry::Slow, dice(), now.monotonic);
                let message = error.to_string();
                tracing::error!(error = %message, "the plugin does not start");
                let fix = "change the settings or the plugin; it is tried again after a minute";
                self.show(|status, now| {
                    status.restarts += 1;
                    status.set(StatusWord::Failed, message.clone(), now);
                    status.fail(message.clone(), fix, now);
                });
                self.tell_notice("plugin-does-not-start", Severity::Error, message, fix).await;
            }
        }
    }

    async fn answered(&mut self, (answer, notice): Told, batch: &mut Batch) {
        if let Input::HttpResponse { body, .. } = &answer {
            batch.bytes += body.len();
        }
        batch.push(answer);
        if let Some(notice) = notice {
            let notice = self.notice(notice);
            self.tell(vec![notice]).await;
        }
    }

    async fn step(&mut self, batch: Batch) {
        let now = self.now();
        self.hand_out_bundles(now.monotonic);
        if self.shadow_due.is_some_and(|due| due <= now.monotonic) {
            self.show_shadow();
        }
        let Instance::Running(connector) = &mut self.instance else {
            let commands = batch.commands.into_iter();
            let outcomes = commands.map(|command| self.cannot(command)).collect();
            self.tell(outcomes).await;
            return;
        };
        // Between inputs there is nothing to do but the wake-up, and only when it is due.
        let probation = connector.probation().map(|probation| probation.until);
        let mut due = connector.wake_at().into_iter().chain(probation);
        if batch.inputs.is_empty() && due.all(|at| at > now.monotonic) {
            return;
        }
        self.stepped = now.monotonic;
        if self.shadowing {
            self.shadow_due.get_or_insert(now.monotonic + SHADOW_GAP);
        }
        let outcome = connector.handle(batch.inputs, now);
        let usage = connector.usage();
        self.show(|status, _| {
            status.usage = usage;
            status.counters.commands += batch.commands.len() as u64;
        });
        let sent = batch
            .commands
            .iter()
            .map(|command| SwitchInput::CommandSent { command: *command })
            .collect();
        self.tell(sent).await;
        self.carry_out(outcome).await;
    }

    fn cannot(&self, command: CommandId) -> SwitchInput {
        SwitchInput::CommandOutcome {
            command,
            end: CommandEnd::Failed,
            problem: Some(Problem {
                code: "connector-failed".to_owned(),
                message: "the connector's plugin does not work; its status says why".to_owned(),
                retryable: true,
            }),
            detail: String::new(),
        }
    }

    async fn carry_out(&mut self, outcome: Outcome) {
        let mut told = Vec::new();
        // Told after the facts of the same step: what was seen was seen before the end.
        let mut blinded = None;
        let is_end = |incident: &Incident| {
            matches!(incident, Incident::ColdStart { .. } | Incident::GivenUp { .. })
        };
        if outcome.incidents.iter().any(is_end) {
            // Before the effects: a new instance may ask again, with the same numbers.
            self.errands.abandon();
        }
        for effect in outcome.effects {
            if told.len() >= FACTS_AT_ONCE {
                self.tell(std::mem::take(&mut told)).await;
            }
            match effect {
                Effect::Send { link, parts } => {
                    if let Some(notice) = self.send(&link, &parts, &mut blinded) {
                        told.push(self.notice(notice));
                    }
                }
                Effect::Close { link, reason, retry } => {
                    self.close(&link, reason, retry, &mut blinded)
                }
                Effect::HttpRequest { id, method, url, headers, secret_headers, body, timeout } => {
                    let (literal, has_secret_body) = (Vec::new(), false);
                    let mut request =
                        Request { method, url, headers, body: literal, has_secret_body, timeout };
                    let Plan { plugin, instance, secrets, .. } = &self.plan;
                    let manifest = &plugin.info.manifest;
                    let asker = Asker { manifest, grants: &instance.grants, secrets };
                    let answer = match Sent::fill(&mut request, secret_headers, body, asker) {
                        Ok(sent) => self.errands.send(id, request, sent),
                        Err(error) => Some(errands::refused(id, error)),
                    };
                    self.answers.extend(answer);
                }
                effect => told.extend(self.fact(effect)),
            }
        }
        for incident in &outcome.incidents {
            let plugin = self.plan.plugin.info.name_and_version();
            let notice = notices::of(incident, &plugin);
            let message = notices::for_log(incident, &notice);
            tracing::warn!(code = notice.code, message, "incident");
            if let Incident::Quarantined { bytes, .. } | Incident::FrameTooLong { bytes, .. } =
                incident
            {
                let bytes = *bytes;
                self.show(|status, _| status.counters.quarantined_bytes += bytes);
            }
            if notice.severity == Severity::Error {
                self.show(|status, now| status.fail(&notice.message, &notice.fix, now));
            }
            if let Incident::ColdStart { reason } | Incident::GivenUp { reason } = incident {
                blinded = Some(reason.clone());
                self.hang_up_all(reason);
            }
            self.look_at_incident(incident).await;
            if let Incident::GivenUp { reason } = incident {
                let now = self.now();
                let mut redial = Redial::new(now.monotonic);
                redial.handle_down(Retry::Slow, dice(), now.monotonic);
                self.instance = Instance::Stopped(redial);
                self.pending.clear();
                self.answers.clear();
                self.show(|status, now| status.set(StatusWord::Failed, reason.clone(), now));
            }
            told.push(self.notice(notice));
        }
        self.tell(told).await;
        let linked = self.links.iter().filter(|link| link.plan.required).all(Link::is_up);
        if !linked && self.sight.linked {
            let reason = blinded.unwrap_or_else(|| self.why_blind());
            self.lose_sight(&reason).await;
        }
        self.show_sight();
    }

    /// Facts, pictures and outcomes as the switch takes them.
    fn fact(&mut self, effect: Effect) -> Option<SwitchInput> {
        let connector = self.id.clone();
        let (input, facts) = match effect {
            Effect::Fact { at_pbx, fact } => {
                self.look_at(&fact);
                (SwitchInput::Fact { connector, at_pbx, fact }, 1)
            }
            Effect::ResyncBegin { id, scope } => {
                (SwitchInput::ResyncBegin { connector, id, scope }, 0)
            }
            Effect::ResyncItem { id, fact } => (SwitchInput::ResyncItem { connector, id, fact }, 1),
            Effect::ResyncEnd { id } => {
                self.sight.pictured = true;
                (SwitchInput::ResyncEnd { connector, id }, 0)
            }
            Effect::CommandOutcome { id, end, problem, detail } => {
                (SwitchInput::CommandOutcome { command: CommandId(id), end, problem, detail }, 0)
            }
            Effect::Send { .. } | Effect::Close { .. } | Effect::HttpRequest { .. } => return None,
        };
        self.show(|status, _| status.counters.facts += facts);
        Some(input)
    }

    fn notice(&self, notice: Notice) -> SwitchInput {
        SwitchInput::Notice { connector: Some(self.id.clone()), notice }
    }

    async fn tell(&mut self, inputs: Vec<SwitchInput>) {
        self.deaf |= !self.around.switch.tell(inputs).await;
    }

    async fn tell_notice(&mut self, code: &str, severity: Severity, message: String, fix: &str) {
        let notice = Notice { code: code.to_owned(), severity, message, fix: fix.to_owned() };
        let notice = self.notice(notice);
        self.tell(vec![notice]).await;
    }

    fn show(&self, change: impl FnOnce(&mut ConnectorStatus, Timestamp)) {
        let now = self.now().wall;
        self.around.board.update(&self.id, |status| change(status, now));
    }
}

async fn stopped(stop: &mut watch::Receiver<Option<String>>) {
    // The sender's end is the host's end.
    let _ = stop.wait_for(Option::is_some).await;
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
