//! The switch: one task that owns all call state.
//!
//! ```text
//! facts of connectors --.                   .--> events, in order --> journal
//!                        >-- Switchboard --<
//! requests of the API --'                   '--> commands, when their acceptance is committed --> connectors
//! ```
//!
//! Facts wait when it is busy (the PBX is slowed down), requests are refused (`503`). When the journal's
//! backlog is full it waits too, and with it everybody.

use std::collections::VecDeque;

use calls::{
    Actor, CommandId, ConnectorId,
    event::{CommandEnd, Problem},
    switchboard::{Accepted, ConnectorPolicy, Input, Output, Refusal, Request, Switchboard},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    clock::Clock,
    connectors::{Delivery, Inboxes},
    hooks::{self, HookInput, HooksInbox},
    journal::{AppendError, JournalWriter},
};

/// Batches of facts that may wait.
const FACT_BATCHES: usize = 64;
/// Requests that may wait.
const REQUESTS: usize = 256;
/// Changes of the connectors that may wait.
const CHANGES: usize = 16;
/// Batches handled before the journal gets what came of them.
const BATCHES_AT_ONCE: usize = 32;

/// Asks the switch, on behalf of the API.
#[derive(Clone, Debug)]
pub struct SwitchHandle {
    requests: mpsc::Sender<Ask>,
}

/// Tells the switch which connectors there are, while it runs.
#[derive(Clone, Debug)]
pub struct RosterHandle {
    changes: mpsc::Sender<(Change, oneshot::Sender<()>)>,
}

/// Tells the switch what connectors see.
#[derive(Clone, Debug)]
pub struct FactsHandle {
    facts: mpsc::Sender<Vec<Input>>,
}

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It was understood and refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too much to do.
    #[error("too many requests at once; try again in a second")]
    Busy,
    /// The host is going down.
    #[error("the host is stopping; try again when it is back")]
    Stopping,
}

#[derive(Debug)]
struct Ask {
    request: Request,
    actor: Actor,
    answer: oneshot::Sender<Result<Accepted, Refusal>>,
}

#[derive(Debug)]
enum Change {
    Configure {
        connector: ConnectorId,
        policy: Box<ConnectorPolicy>,
        inbox: Option<mpsc::Sender<Delivery>>,
    },
    Forget(ConnectorId),
}

impl RosterHandle {
    /// This connector exists from now on, or its rules are others. `inbox` is where its commands go; none leaves
    /// it as it is. False: the switch has ended.
    pub async fn configure(
        &self,
        connector: ConnectorId,
        policy: ConnectorPolicy,
        inbox: Option<mpsc::Sender<Delivery>>,
    ) -> bool {
        self.tell(Change::Configure { connector, policy: Box::new(policy), inbox }).await
    }

    /// This connector does not exist any more. Its thread must have ended: what it has told is heard first.
    pub async fn forget(&self, connector: ConnectorId) -> bool {
        self.tell(Change::Forget(connector)).await
    }

    async fn tell(&self, change: Change) -> bool {
        let (done, heard) = oneshot::channel();
        self.changes.send((change, done)).await.is_ok() && heard.await.is_ok()
    }
}

impl SwitchHandle {
    /// Hands over a request and waits until it is decided. Committed is it when the journal has `seq`.
    pub async fn request(&self, request: Request, actor: Actor) -> Result<Accepted, RequestError> {
        let (answer, decided) = oneshot::channel();
        self.requests.try_send(Ask { request, actor, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RequestError::Busy,
            mpsc::error::TrySendError::Closed(_) => RequestError::Stopping,
        })?;
        Ok(decided.await.map_err(|_| RequestError::Stopping)??)
    }
}

impl SwitchHandle {
    /// False: the switch has ended, and nothing can be asked any more.
    pub fn is_alive(&self) -> bool {
        !self.requests.is_closed()
    }
}

impl FactsHandle {
    /// Hands facts over; waits while the switch is busy. False: the switch has ended.
    pub async fn tell(&self, inputs: Vec<Input>) -> bool {
        inputs.is_empty() || self.facts.send(inputs).await.is_ok()
    }
}

#[cfg(test)]
impl FactsHandle {
    /// To nobody.
    pub(crate) fn nowhere() -> Self {
        Self { facts: mpsc::channel(1).0 }
    }
}

/// The task, before it runs.
pub struct Switch {
    switchboard: Switchboard,
    clock: Clock,
    facts: mpsc::Receiver<Vec<Input>>,
    requests: mpsc::Receiver<Ask>,
    changes: mpsc::Receiver<(Change, oneshot::Sender<()>)>,
    journal: JournalWriter,
    committed: watch::Receiver<u64>,
    inboxes: Inboxes,
    /// Where callers go whom the PBX hands over.
    hooks: HooksInbox,
    /// Commands whose acceptance is not committed yet, by the event they wait for.
    waiting: VecDeque<(u64, calls::ConnectorId, Delivery)>,
}

impl Switch {
    /// A switch and the three ways to reach it. It ends when the facts' ones are dropped.
    pub fn new(
        switchboard: Switchboard,
        clock: Clock,
        journal: JournalWriter,
        hooks: HooksInbox,
    ) -> (Self, SwitchHandle, FactsHandle, RosterHandle) {
        let (facts_in, facts) = mpsc::channel(FACT_BATCHES);
        let (requests_in, requests) = mpsc::channel(REQUESTS);
        let (changes_in, changes) = mpsc::channel(CHANGES);
        let committed = journal.committed();
        let switch = Self {
            switchboard,
            clock,
            facts,
            requests,
            changes,
            journal,
            committed,
            inboxes: Inboxes::new(),
            hooks,
            waiting: VecDeque::new(),
        };
        (
            switch,
            SwitchHandle { requests: requests_in },
            FactsHandle { facts: facts_in },
            RosterHandle { changes: changes_in },
        )
    }

    /// Works until no connector can tell anything any more, or the journal takes nothing any more.
    pub async fn run(mut self) -> Result<(), AppendError> {
        self.work().await
    }

    async fn work(&mut self) -> Result<(), AppendError> {
        // What the state of the last run left to do.
        self.settle().await?;
        let mut requests_open = true;
        let mut changes_open = true;
        loop {
            let deadline = self.switchboard.poll_timeout().map(|at| self.clock.instant(at));
            tokio::select! {
                inputs = self.facts.recv() => match inputs {
                    Some(inputs) => self.take(inputs),
                    None => return Ok(()),
                },
                ask = self.requests.recv(), if requests_open => match ask {
                    Some(ask) => self.decide(ask),
                    None => requests_open = false,
                },
                change = self.changes.recv(), if changes_open => match change {
                    Some((change, done)) => {
                        self.change(change);
                        let _ = done.send(());
                    }
                    None => changes_open = false,
                },
                changed = self.committed.changed(), if !self.waiting.is_empty() => {
                    changed.map_err(|_| AppendError::Closed)?;
                }
                () = self.hooks.flush(), if self.hooks.is_behind() => {}
                () = sleep_until(deadline), if deadline.is_some() => {
                    self.switchboard.handle_timeout(self.clock.now());
                }
            }
            for _ in 0..BATCHES_AT_ONCE {
                match self.facts.try_recv() {
                    Ok(inputs) => self.take(inputs),
                    Err(_) => break,
                }
            }
            self.settle().await?;
        }
    }

    fn take(&mut self, inputs: Vec<Input>) {
        let now = self.clock.now();
        for input in inputs {
            match input {
                // Instructions are the hooks' own; the journal has their words, not each step.
                Input::CommandSent { command } if hooks::is_instruction(command) => {}
                Input::CommandOutcome { command, end, problem, detail }
                    if hooks::is_instruction(command) =>
                {
                    self.hooks.tell(HookInput::Outcome { id: command, end, problem, detail });
                }
                input => self.switchboard.handle(input, now),
            }
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Configure { connector, policy, inbox } => {
                if let Some(inbox) = inbox {
                    self.inboxes.insert(connector.clone(), inbox);
                    self.hooks.connectors(&self.inboxes);
                }
                self.switchboard.configure(connector, *policy, self.clock.now());
            }
            Change::Forget(connector) => {
                // The last words of its thread may still wait.
                while let Ok(inputs) = self.facts.try_recv() {
                    self.take(inputs);
                }
                self.inboxes.remove(&connector);
                self.hooks.connectors(&self.inboxes);
                self.switchboard.forget(&connector, self.clock.now());
            }
        }
    }

    fn decide(&mut self, ask: Ask) {
        let decision = self.switchboard.request(ask.request, ask.actor, self.clock.now());
        // The client may have gone; the command goes on.
        let _ = ask.answer.send(decision);
    }

    /// Carries out everything decided so far.
    async fn settle(&mut self) -> Result<(), AppendError> {
        loop {
            let mut events = Vec::new();
            while let Some(output) = self.switchboard.poll_output() {
                match output {
                    Output::Event(event) => events.push(event),
                    Output::Deliver { connector, command, kind, arguments, deadline, after } => {
                        let delivery = Delivery { command, kind, arguments, deadline };
                        self.waiting.push_back((after, connector, delivery));
                    }
                    Output::Offered(offered) => {
                        self.hooks.tell(HookInput::Offered(Box::new(offered)));
                    }
                    Output::Released { leg, call, reason } => {
                        self.hooks.tell(HookInput::Released { leg, call, reason });
                    }
                    Output::Key { leg, key, held_ms } => {
                        self.hooks.tell(HookInput::Key { leg, key, held_ms });
                    }
                }
            }
            if !events.is_empty() {
                self.journal.append(events).await?;
            }
            // A delivery that fails is itself an input, with events of its own.
            if !self.deliver_committed() {
                return Ok(());
            }
        }
    }

    /// True: the switchboard has new outputs.
    fn deliver_committed(&mut self) -> bool {
        let committed = *self.committed.borrow_and_update();
        let mut failed = false;
        while let Some((after, ..)) = self.waiting.front()
            && *after <= committed
            && let Some((_, connector, delivery)) = self.waiting.pop_front()
        {
            let command = delivery.command;
            // Whoever asked was told that it ended, e.g. in time: it must not happen after that.
            if self.switchboard.state().command(command).is_none_or(|it| it.ended.is_some()) {
                continue;
            }
            let refused = match self.inboxes.get(&connector) {
                None => Some(("no-connector", "the connector is not configured any more", false)),
                Some(inbox) => match inbox.try_send(delivery) {
                    Ok(()) => None,
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        Some(("busy", "the connector has too many commands to do already", true))
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => {
                        Some(("stopped", "the connector does not run any more", false))
                    }
                },
            };
            if let Some((code, message, retryable)) = refused {
                self.fail(command, code, message, retryable);
                failed = true;
            }
        }
        failed
    }

    fn fail(&mut self, command: CommandId, code: &str, message: &str, retryable: bool) {
        let problem = Problem { code: code.to_owned(), message: message.to_owned(), retryable };
        let input = Input::CommandOutcome {
            command,
            end: CommandEnd::Failed,
            problem: Some(problem),
            detail: String::new(),
        };
        self.switchboard.handle(input, self.clock.now());
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        api::tests::world::{self, options},
        figures::Zones,
        journal::{Health, Journal},
    };

    fn probe(timeout: Duration) -> Ask {
        let request = Request::Command {
            connector: "hq".into(),
            kind: "probe".to_owned(),
            arguments: Vec::new(),
            idempotency_key: None,
            timeout,
        };
        Ask { request, actor: Actor::Host, answer: oneshot::channel().0 }
    }

    #[tokio::test]
    async fn a_command_that_timed_out_while_the_disk_was_full_is_not_delivered_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(&options(folder.path()), Zones::default()).unwrap();
        let mut core = world::core(calls::State::default());
        core.connect();
        let (inbox, mut delivered) = mpsc::channel(8);
        let clock = Clock::start();
        let (mut switch, _requests, _facts, _roster) =
            Switch::new(core.board, clock, journal.writer(), hooks::inbox().0);
        switch.inboxes.insert("hq".into(), inbox);
        journal.writer().limit_pages(1);
        switch.decide(probe(Duration::from_secs(5)));
        switch.decide(probe(Duration::from_secs(600)));
        switch.settle().await.unwrap();
        let mut health = journal.writer().watch_health();
        health.wait_for(|health| *health != Health::Ok).await.unwrap();
        let mut later = clock.now();
        later.monotonic += Duration::from_secs(60);
        switch.switchboard.handle_timeout(later);
        switch.settle().await.unwrap();
        assert!(delivered.try_recv().is_err(), "nothing is committed");

        journal.writer().limit_pages(1_000_000);
        let last = switch.switchboard.state().seq();
        switch.committed.wait_for(|committed| *committed >= last).await.unwrap();
        switch.settle().await.unwrap();
        let second = switch.switchboard.state().in_flight().next().unwrap().id;
        assert_eq!(delivered.try_recv().unwrap().command, second);
        assert!(delivered.try_recv().is_err());
    }

    #[tokio::test]
    async fn without_a_journal_it_ends_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(&options(folder.path()), Zones::default()).unwrap();
        let mut core = world::core(calls::State::default());
        core.connect();
        let clock = Clock::start();
        let (switch, requests, facts, _roster) =
            Switch::new(core.board, clock, journal.writer(), hooks::inbox().0);
        assert!(requests.is_alive());
        journal.writer().end_early();
        assert_eq!(switch.run().await, Err(AppendError::Closed));
        assert!(!requests.is_alive());
        assert!(!facts.tell(vec![Input::Configured { connector: "hq".into() }]).await);
    }
}
