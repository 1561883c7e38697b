//! What one caller does and the agents do with them; each script tells how it went by what the phones heard.

use anyhow::{Context, Result, ensure};
use lab::{Answering, Call, Heard, Pbx, Sound, phone::Side};

use super::{Agent, Caller, Lane, Ringing, SOON, Seats, channel_of, entered, logged};
use crate::{ami::Ami, chance::Dice, visit::Visit};

/// What shall happen to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is described where it is played")]
pub enum Kind {
    AnsweredCallerEnds,
    AnsweredAgentEnds,
    AnsweredAndHeld,
    AnsweredThenContinued,
    RungOutThenAnswered,
    BusyThenAnswered,
    BlindTransfer,
    AttendedTransfer,
    AbandonedBeforeRinging,
    AbandonedWhileRinging,
    TimedOut,
    TimedOutWhileRinging,
    Full,
    JoinEmpty,
    LeaveEmpty,
    PressedKey,
    PressedKeyIntoAnotherQueue,
    Redirected,
    Withdrawn,
    HungUpByPbx,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 20] = [
        Kind::AnsweredCallerEnds,
        Kind::AnsweredAgentEnds,
        Kind::AnsweredAndHeld,
        Kind::AnsweredThenContinued,
        Kind::RungOutThenAnswered,
        Kind::BusyThenAnswered,
        Kind::BlindTransfer,
        Kind::AttendedTransfer,
        Kind::AbandonedBeforeRinging,
        Kind::AbandonedWhileRinging,
        Kind::TimedOut,
        Kind::TimedOutWhileRinging,
        Kind::Full,
        Kind::JoinEmpty,
        Kind::LeaveEmpty,
        Kind::PressedKey,
        Kind::PressedKeyIntoAnotherQueue,
        Kind::Redirected,
        Kind::Withdrawn,
        Kind::HungUpByPbx,
    ];
}

/// How it went, told by the phones and by who did what: no word of it comes from a log or an event.
#[derive(Debug, Clone)]
pub struct Told {
    /// What was played.
    pub kind: Kind,
    /// On which lane.
    pub lane: usize,
    /// The caller's number, nobody else's.
    pub caller: String,
    /// Uniqueid of the caller's channel.
    pub uniqueid: String,
    /// The caller's stays in queues.
    pub visits: Vec<Visit>,
}

impl Told {
    /// Asterisk's queue does not see a transfer behind a `Local/` channel: its log blames whoever hangs up in
    /// the end, and counts their talk too.
    pub fn is_hidden_transfer(&self) -> bool {
        let is_transfer = matches!(self.kind, Kind::BlindTransfer | Kind::AttendedTransfer);
        is_transfer && Seats::of(self.lane) == Seats::Local
    }
}

impl Lane {
    /// Plays one script from the first ring to the last hang-up.
    pub async fn play(&mut self, pbx: &Pbx, kind: Kind, dice: &mut Dice) -> Result<Told> {
        let caller = self.caller(pbx).await?;
        let number = caller.number.clone();
        let lane = self.number;
        let stage = Stage { lane: self, pbx, caller, dice };
        let (uniqueid, visits) = stage
            .play(kind)
            .await
            .with_context(|| format!("{kind:?} by caller {number} on lane {lane}"))?;
        Ok(Told { kind, lane, caller: number, uniqueid, visits })
    }
}

/// Everybody in one script.
struct Stage<'a> {
    lane: &'a Lane,
    pbx: &'a Pbx,
    caller: Caller,
    dice: &'a mut Dice,
}

/// An answered phone is in the conversation a moment later, when it hears the other side. Before that Asterisk
/// refuses to transfer it.
async fn in_conversation(agent: &Agent, call: &Call) -> Result<()> {
    let of_call = |heard: &Heard| heard.sound == Sound::Audio && heard.call_id == call.call_id();
    agent.phone.hears(SOON, of_call).await?;
    Ok(())
}

type Story = Result<(String, Vec<Visit>)>;

/// The one who hangs up at the end of a conversation.
#[derive(Clone, Copy)]
enum Ends {
    Caller,
    Agent,
}

impl Stage<'_> {
    async fn play(self, kind: Kind) -> Story {
        match kind {
            Kind::AnsweredCallerEnds => self.conversation(0, Ends::Caller).await,
            Kind::AnsweredAgentEnds => {
                let digit = if self.dice.one_in(2) { 0 } else { 1 };
                self.conversation(digit, Ends::Agent).await
            }
            Kind::AnsweredAndHeld => self.held().await,
            Kind::AnsweredThenContinued => self.conversation(6, Ends::Agent).await,
            Kind::RungOutThenAnswered => self.rung_out().await,
            Kind::BusyThenAnswered => self.busy().await,
            Kind::BlindTransfer => self.blind_transfer().await,
            Kind::AttendedTransfer => self.attended_transfer().await,
            Kind::AbandonedBeforeRinging => self.abandoned_before_ringing().await,
            Kind::AbandonedWhileRinging => self.abandoned_while_ringing().await,
            Kind::TimedOut => self.timed_out().await,
            Kind::TimedOutWhileRinging => self.timed_out_while_ringing().await,
            Kind::Full => self.full().await,
            Kind::JoinEmpty => self.sent_away("340", "joinempty", "join-empty").await,
            Kind::LeaveEmpty => self.sent_away("341", "leaveempty", "leave-empty").await,
            Kind::PressedKey => self.pressed_key().await,
            Kind::PressedKeyIntoAnotherQueue => self.pressed_key_into_another_queue().await,
            Kind::Redirected => self.redirected().await,
            Kind::Withdrawn => self.withdrawn().await,
            Kind::HungUpByPbx => self.hung_up_by_pbx().await,
        }
    }

    /// Calls a number of the lane.
    fn dial(&self, digit: usize) -> Result<Call> {
        Ok(self.caller.phone.call(&self.lane.number_dialled(digit))?)
    }

    async fn next_ringing(&self) -> Result<Ringing> {
        self.lane.next_ringing(&self.caller.number).await
    }

    /// Waits until the caller stands in the lane's queue with this ending of its name.
    async fn entered(&self, ending: &str) -> Result<(String, String)> {
        let queue = self.lane.queue() + ending;
        let uniqueid = entered(self.pbx, &queue, &self.caller.number).await?;
        Ok((queue, uniqueid))
    }

    /// The agent rings a while and answers; both hear each other.
    async fn answer(&mut self, call: &Call, ringing: &Ringing) -> Result<()> {
        self.lasts(&ringing.call, 0, 700).await?;
        ringing.call.answer().await?;
        call.answered(SOON).await?;
        ringing.call.answered(SOON).await?;
        in_conversation(self.lane.agent(ringing), &ringing.call).await
    }

    /// The call goes on for a while.
    async fn lasts(&mut self, call: &Call, from: u64, to: u64) -> Result<()> {
        Ok(call.lasts(self.dice.millis(from, to)).await?)
    }

    /// Answered; talk; one of them hangs up and the other hears it.
    async fn conversation(self, digit: usize, ends: Ends) -> Story {
        let call = self.dial(digit)?;
        let ringing = self.next_ringing().await?;
        self.talk_and_end(call, ringing, ends, 0).await
    }

    async fn talk_and_end(
        mut self,
        call: Call,
        ringing: Ringing,
        ends: Ends,
        refusals: usize,
    ) -> Story {
        let (queue, uniqueid) = self.entered("").await?;
        self.answer(&call, &ringing).await?;
        logged(self.pbx, &uniqueid, "CONNECT").await?;
        self.lasts(&call, 300, 2_500).await?;
        let by = match ends {
            Ends::Caller => {
                call.hang_up().await?;
                ensure!(ringing.call.ended(SOON).await?.by == Side::Peer, "the agent hung up");
                "caller"
            }
            Ends::Agent => {
                ringing.call.hang_up().await?;
                ensure!(call.ended(SOON).await?.by == Side::Peer, "the caller hung up");
                "member"
            }
        };
        let name = self.lane.agent(&ringing).name();
        let visit = Visit { refusals: Some(refusals), ..Visit::answered(&queue, &name, by) };
        Ok((uniqueid, vec![visit]))
    }

    /// Answered, put on hold and taken back, ended by either.
    async fn held(mut self) -> Story {
        let call = self.dial(0)?;
        let ringing = self.next_ringing().await?;
        let (queue, uniqueid) = self.entered("").await?;
        self.answer(&call, &ringing).await?;
        logged(self.pbx, &uniqueid, "CONNECT").await?;
        ringing.call.hold().await?;
        self.lasts(&call, 200, 1_200).await?;
        ringing.call.unhold().await?;
        self.lasts(&call, 200, 800).await?;
        let by = if self.dice.one_in(2) {
            call.hang_up().await?;
            ringing.call.ended(SOON).await?;
            "caller"
        } else {
            ringing.call.hang_up().await?;
            call.ended(SOON).await?;
            "member"
        };
        let name = self.lane.agent(&ringing).name();
        let visit = Visit { refusals: Some(0), ..Visit::answered(&queue, &name, by) };
        Ok((uniqueid, vec![visit]))
    }

    /// The first phone rings out; whoever is rung next answers.
    async fn rung_out(self) -> Story {
        let call = self.dial(0)?;
        self.next_ringing().await?.call.ended(SOON).await?;
        let ringing = self.next_ringing().await?;
        self.talk_and_end(call, ringing, Ends::Caller, 1).await
    }

    /// One agent's phone says it is busy; the other one answers.
    async fn busy(self) -> Story {
        let lane = self.lane;
        let busy = &lane.agents[usize::from(self.dice.one_in(2))].phone;
        busy.set_answering(Answering::Busy);
        let story = self.answered_by_whoever().await;
        busy.set_answering(Answering::ByHand);
        story
    }

    /// As a conversation, but the phones do not tell how often the queue tried the busy one.
    async fn answered_by_whoever(self) -> Story {
        let call = self.dial(0)?;
        let ringing = self.next_ringing().await?;
        let (uniqueid, mut visits) = self.talk_and_end(call, ringing, Ends::Agent, 0).await?;
        for visit in &mut visits {
            visit.refusals = None;
        }
        Ok((uniqueid, visits))
    }

    /// The agent sends the caller to a colleague and is gone.
    async fn blind_transfer(mut self) -> Story {
        let call = self.dial(0)?;
        let ringing = self.next_ringing().await?;
        let (queue, uniqueid) = self.entered("").await?;
        self.answer(&call, &ringing).await?;
        logged(self.pbx, &uniqueid, "CONNECT").await?;
        self.lasts(&call, 300, 1_500).await?;
        let colleague = &self.lane.colleague;
        ringing.call.transfer(&colleague.extension.to_string()).await?;
        let transferred = colleague.phone.next_call(SOON).await?;
        transferred.rings(SOON).await?;
        transferred.answer().await?;
        ringing.call.ended(SOON).await?;
        ensure!(call.is_up(), "the caller was lost in the transfer");
        if !self.is_hidden() {
            logged(self.pbx, &uniqueid, "BLINDTRANSFER").await?;
        }
        self.lasts(&call, 300, 1_000).await?;
        if self.dice.one_in(2) {
            transferred.hang_up().await?;
            ensure!(call.ended(SOON).await?.by == Side::Peer, "the caller hung up");
        } else {
            call.hang_up().await?;
            transferred.ended(SOON).await?;
        }
        let name = self.lane.agent(&ringing).name();
        Ok((uniqueid, vec![self.transferred(&queue, &name)]))
    }

    /// The agent asks a colleague first and connects the two.
    async fn attended_transfer(mut self) -> Story {
        let call = self.dial(0)?;
        let ringing = self.next_ringing().await?;
        let (queue, uniqueid) = self.entered("").await?;
        self.answer(&call, &ringing).await?;
        logged(self.pbx, &uniqueid, "CONNECT").await?;
        self.lasts(&call, 300, 1_000).await?;
        ringing.call.hold().await?;
        let colleague = &self.lane.colleague;
        let consultation =
            self.lane.agent(&ringing).phone.call(&colleague.extension.to_string())?;
        let consulted = colleague.phone.next_call(SOON).await?;
        consulted.rings(SOON).await?;
        consulted.answer().await?;
        consultation.answered(SOON).await?;
        in_conversation(colleague, &consulted).await?;
        self.lasts(&call, 200, 800).await?;
        ringing.call.transfer_to(&consultation).await?;
        ringing.call.ended(SOON).await?;
        consultation.ended(SOON).await?;
        ensure!(call.is_up() && consulted.is_up(), "somebody was lost in the transfer");
        if !self.is_hidden() {
            logged(self.pbx, &uniqueid, "ATTENDEDTRANSFER").await?;
        }
        self.lasts(&call, 300, 1_000).await?;
        if self.dice.one_in(2) {
            consulted.hang_up().await?;
            call.ended(SOON).await?;
        } else {
            call.hang_up().await?;
            consulted.ended(SOON).await?;
        }
        let name = self.lane.agent(&ringing).name();
        Ok((uniqueid, vec![self.transferred(&queue, &name)]))
    }

    /// See [`Told::is_hidden_transfer`].
    fn is_hidden(&self) -> bool {
        Seats::of(self.lane.number) == Seats::Local
    }

    fn transferred(&self, queue: &str, name: &str) -> Visit {
        Visit { refusals: Some(0), ..Visit::answered(queue, name, "transfer") }
    }

    /// Nobody is there to be rung, and the caller gives up.
    async fn abandoned_before_ringing(mut self) -> Story {
        let call = self.dial(3)?;
        let (queue, uniqueid) = self.entered("wait").await?;
        self.lasts(&call, 100, 2_500).await?;
        call.hang_up().await?;
        logged(self.pbx, &uniqueid, "ABANDON").await?;
        let visit = Visit { refusals: Some(0), ..Visit::ended(&queue, "abandoned") };
        Ok((uniqueid, vec![visit]))
    }

    /// An agent's phone rings, and the caller gives up; whether the caller was answered before or not.
    async fn abandoned_while_ringing(mut self) -> Story {
        let digit = if self.dice.one_in(2) { 0 } else { 1 };
        let call = self.dial(digit)?;
        let ringing = self.next_ringing().await?;
        let (queue, uniqueid) = self.entered("").await?;
        self.lasts(&call, 100, 1_200).await?;
        call.hang_up().await?;
        ringing.call.ended(SOON).await?;
        logged(self.pbx, &uniqueid, "ABANDON").await?;
        // The caller may have been slower than the phone that rang first.
        Ok((uniqueid, vec![Visit::ended(&queue, "abandoned")]))
    }

    /// Nobody is there to be rung until the queue's patience ends.
    async fn timed_out(self) -> Story {
        let call = self.dial(4)?;
        let (queue, uniqueid) = self.entered("wait").await?;
        ensure!(call.ended(SOON).await?.by == Side::Peer, "the caller hung up");
        let visit = Visit { refusals: Some(0), ..Visit::ended(&queue, "timed-out") };
        Ok((uniqueid, vec![visit]))
    }

    /// Phones ring until the queue's patience ends.
    async fn timed_out_while_ringing(self) -> Story {
        let call = self.dial(2)?;
        self.next_ringing().await?;
        let (queue, uniqueid) = self.entered("").await?;
        ensure!(call.ended(SOON).await?.by == Side::Peer, "the caller hung up");
        Ok((uniqueid, vec![Visit::ended(&queue, "timed-out")]))
    }

    /// The queue has room for one, and somebody has it.
    async fn full(self) -> Story {
        let first = self.dial(5)?;
        first.answered(SOON).await?;
        // Of two calls of one number the log must name the second: it is the one that is refused.
        let (queue, holds_the_place) = self.entered("full").await?;
        let second = self.dial(5)?;
        let (_, uniqueid) = self.went_on("FULL").await?;
        ensure!(second.ended(SOON).await?.by == Side::Peer, "the caller hung up");
        first.hang_up().await?;
        // The next script may want the place.
        logged(self.pbx, &holds_the_place, "ABANDON").await?;
        let visit = Visit { refusals: Some(0), ..Visit::ended(&queue, "full") };
        Ok((uniqueid, vec![visit]))
    }

    /// The queue does not take or does not keep callers while it has no members.
    async fn sent_away(self, number: &str, queue: &str, exit: &str) -> Story {
        let call = self.caller.phone.call(number)?;
        ensure!(call.ended(SOON).await?.by == Side::Peer, "the caller hung up");
        let status = exit.to_uppercase().replace('-', "");
        let (_, uniqueid) = self.went_on(&status).await?;
        let visit = Visit { refusals: Some(0), ..Visit::ended(queue, exit) };
        Ok((uniqueid, vec![visit]))
    }

    /// The dialplan went on after the queue with this status.
    async fn went_on(&self, status: &str) -> Result<(String, String)> {
        let line = self
            .pbx
            .wait_for_queue_log(SOON, |line| {
                line.event == crate::visit::WENT_ON
                    && line.data.first().is_some_and(|word| word == status)
                    && line.data.get(1).is_some_and(|number| *number == self.caller.number)
            })
            .await?;
        Ok((line.queue, line.callid))
    }

    /// The key that leads out.
    async fn pressed_key(mut self) -> Story {
        let call = self.dial(3)?;
        call.answered(SOON).await?;
        let (queue, uniqueid) = self.entered("wait").await?;
        self.lasts(&call, 200, 1_500).await?;
        call.press("3").await?;
        ensure!(call.ended(SOON).await?.by == Side::Peer, "the caller hung up");
        let visit = Visit { refusals: Some(0), ..Visit::ended(&queue, "pressed-key") };
        Ok((uniqueid, vec![visit]))
    }

    /// The key that leads to another queue, where the caller gives up.
    async fn pressed_key_into_another_queue(mut self) -> Story {
        let call = self.dial(0)?;
        call.answered(SOON).await?;
        let (first, uniqueid) = self.entered("").await?;
        self.lasts(&call, 0, 800).await?;
        call.press("2").await?;
        let (second, _) = self.entered("wait").await?;
        self.lasts(&call, 100, 1_500).await?;
        call.hang_up().await?;
        logged(self.pbx, &uniqueid, "ABANDON").await?;
        let visits = vec![
            Visit::ended(&first, "pressed-key"),
            Visit { refusals: Some(0), ..Visit::ended(&second, "abandoned") },
        ];
        Ok((uniqueid, visits))
    }

    /// Somebody moves the waiting caller to another queue, where they give up.
    async fn redirected(mut self) -> Story {
        let call = self.dial(3)?;
        let (first, uniqueid) = self.entered("wait").await?;
        self.lasts(&call, 100, 1_500).await?;
        let second = self.lane.queue() + "full";
        let mut ami = Ami::witness(self.pbx).await?;
        let channel = channel_of(&mut ami, &uniqueid).await?;
        let target = [("Context", "to-queue"), ("Exten", second.as_str()), ("Priority", "1")];
        ami.action("Redirect", &[&[("Channel", channel.as_str())], &target[..]].concat()).await?;
        entered(self.pbx, &second, &self.caller.number).await?;
        self.lasts(&call, 100, 800).await?;
        call.hang_up().await?;
        self.abandoned_in(&uniqueid, &second).await?;
        let visits = vec![
            Visit { refusals: Some(0), ..Visit::ended(&first, "redirected") },
            Visit { refusals: Some(0), ..Visit::ended(&second, "abandoned") },
        ];
        Ok((uniqueid, visits))
    }

    async fn abandoned_in(&self, uniqueid: &str, queue: &str) -> Result<()> {
        self.pbx
            .wait_for_queue_log(SOON, |line| {
                line.callid == uniqueid && line.queue == queue && line.event == "ABANDON"
            })
            .await?;
        Ok(())
    }

    /// Somebody takes the caller out; the dialplan goes on and hangs up.
    async fn withdrawn(mut self) -> Story {
        let call = self.dial(3)?;
        let (queue, uniqueid) = self.entered("wait").await?;
        self.lasts(&call, 100, 1_500).await?;
        let mut ami = Ami::witness(self.pbx).await?;
        let channel = channel_of(&mut ami, &uniqueid).await?;
        let who = [("Queue", queue.as_str()), ("Caller", channel.as_str())];
        ami.action("QueueWithdrawCaller", &who).await?;
        ensure!(call.ended(SOON).await?.by == Side::Peer, "the caller hung up");
        let visit = Visit { refusals: Some(0), ..Visit::ended(&queue, "withdrawn") };
        Ok((uniqueid, vec![visit]))
    }

    /// Somebody at the PBX hangs up the waiting caller.
    async fn hung_up_by_pbx(mut self) -> Story {
        let call = self.dial(3)?;
        let (queue, uniqueid) = self.entered("wait").await?;
        self.lasts(&call, 100, 1_500).await?;
        let channel = channel_of(&mut Ami::witness(self.pbx).await?, &uniqueid).await?;
        self.pbx.cli(&format!("channel request hangup {channel}")).await?;
        ensure!(call.ended(SOON).await?.by == Side::Peer, "the caller hung up");
        let visit = Visit { refusals: Some(0), ..Visit::ended(&queue, "hung-up-by-pbx") };
        Ok((uniqueid, vec![visit]))
    }
}
