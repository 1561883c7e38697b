//! Agents: who they are, what they have chosen, what the system makes of them.

use std::time::Duration;

use super::{Accepted, Refusal, Switchboard};
use crate::{
    Actor, AgentId, Body, ConnectorId,
    event::{About, Agent, AgentState, AgentStatus},
    fact::{ExtensionState, LegDirection, LegState, MemberState},
    state::Leg,
};

/// Agents of one host.
const MOST_AGENTS: usize = 100_000;
/// Lines and external ids of one agent.
const MOST_PER_AGENT: usize = 100;
/// Bytes of an id, a name or an external id.
const LONGEST_TEXT: usize = 256;

impl Switchboard {
    /// What the state alone tells of the private parts.
    pub(super) fn remember(&mut self) {
        let mut ended = Vec::new();
        for call in self.state.calls() {
            for id in &call.entries {
                let Some(entry) = self.state.entry(*id) else { continue };
                let agents = entry.offers.values().filter_map(|offer| offer.agent.clone());
                let serving = entry.running_service().and_then(|service| service.agent.clone());
                for agent in agents.chain(serving) {
                    self.engaged.entry(agent).or_default().insert(*id);
                }
            }
            let legs = call.legs.iter().filter_map(|id| self.state.leg(*id));
            ended.extend(legs.filter_map(|leg| {
                let end = leg.ended.as_ref()?;
                Some((end.at, leg.connector.clone(), leg.native.clone(), leg.id, end.inferred))
            }));
        }
        ended.sort_unstable_by_key(|(at, _, _, id, _)| (*at, *id));
        for (_, connector, native, id, inferred) in ended {
            self.session(&connector).ended.remember(&native, Some(id), inferred);
        }
        self.dirty.extend(self.state.agents().map(|person| person.agent.id.clone()));
    }

    /// Who was resting when the host stopped rests on, at most as long as one of their queues allows.
    pub(super) fn resume_wrap_ups(&mut self) {
        let resting = self.state.agents().filter(|person| person.state == AgentState::WrapUp);
        let mut ends = Vec::new();
        for person in resting {
            let seats = self.state.seats(&person.agent.id);
            let rest = seats.iter().map(|(queue, _)| queue.settings.wrap_up_secs).max();
            let rest = Duration::from_secs(rest.unwrap_or_default().into());
            let rested = self.now.wall.0.saturating_sub(person.state_since.0);
            let left = rest.saturating_sub(Duration::from_nanos(rested));
            ends.push((person.agent.id.clone(), self.now.monotonic + left));
        }
        self.wrap_ups.extend(ends.into_iter().filter(|(_, at)| *at > self.now.monotonic));
    }

    pub(super) fn put_agent(
        &mut self,
        mut agent: Agent,
        actor: Actor,
    ) -> Result<Accepted, Refusal> {
        agent.from_config = actor == Actor::Config;
        agent.devices.sort_unstable();
        agent.devices.dedup();
        self.check_agent(&agent)?;
        let known = self.state.agent(&agent.id).map(|person| &person.agent);
        if let Some(known) = known.filter(|known| known.from_config && !agent.from_config) {
            return Err(set_by_config(&known.id));
        }
        if known.is_none() && self.state.agents().count() >= MOST_AGENTS {
            return Err(Refusal::Conflict {
                message: format!("there are {MOST_AGENTS} agents, the most there may be"),
                fix: "remove some".to_owned(),
            });
        }
        if known != Some(&agent) {
            let about = About { agent: Some(agent.id.clone()), ..About::default() };
            self.emit(None, None, false, actor, about, Body::AgentChanged(agent));
            self.tell_all_unmapped(None);
        }
        Ok(self.nothing_to_do())
    }

    /// An answer without commands; its number is filled in when all that follows is known.
    pub(super) fn nothing_to_do(&self) -> Accepted {
        Accepted { commands: Vec::new(), seq: self.state.seq(), repeated: false }
    }

    fn check_agent(&self, agent: &Agent) -> Result<(), Refusal> {
        let invalid = |what: &str, message: &str| {
            Err(Refusal::Invalid { what: what.to_owned(), message: message.to_owned() })
        };
        if agent.id.as_str().is_empty() || agent.id.as_str().len() > LONGEST_TEXT {
            return invalid("id", "must have between 1 and 256 bytes");
        }
        if agent.name.len() > LONGEST_TEXT {
            return invalid("name", "must have at most 256 bytes");
        }
        if agent.devices.len() > MOST_PER_AGENT || agent.external.len() > MOST_PER_AGENT {
            return invalid("devices", "an agent has at most 100 devices and 100 external ids");
        }
        let too_long = |text: &String| text.is_empty() || text.len() > LONGEST_TEXT;
        if agent.external.iter().any(|(key, value)| too_long(key) || too_long(value)) {
            return invalid("external", "keys and values must have between 1 and 256 bytes");
        }
        for device in &agent.devices {
            if too_long(&device.extension) {
                return invalid("devices", "an extension must have between 1 and 256 bytes");
            }
            if !self.policy.connectors.contains_key(&device.connector) {
                let connector = &device.connector;
                return invalid(
                    "devices",
                    &format!(
                        "there is no connector `{connector}`; add [connectors.{connector}] or name another"
                    ),
                );
            }
            if let Some(other) = self.state.agent_with(device).filter(|other| **other != agent.id) {
                let (connector, extension) = (&device.connector, &device.extension);
                return Err(Refusal::Conflict {
                    message: format!(
                        "extension {extension} of connector `{connector}` is a device of agent `{other}`"
                    ),
                    fix: "take it from that agent first".to_owned(),
                });
            }
        }
        for (key, value) in &agent.external {
            let mut others = self.state.agents().map(|person| &person.agent);
            let same =
                |other: &&Agent| other.id != agent.id && other.external.get(key) == Some(value);
            if let Some(other) = others.find(same) {
                return Err(Refusal::Conflict {
                    message: format!("{key} `{value}` is agent `{}`", other.id),
                    fix: "take it from that agent first".to_owned(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn remove_agent(&mut self, id: AgentId, actor: Actor) -> Result<Accepted, Refusal> {
        let Some(person) = self.state.agent(&id) else { return Err(no_agent(&id)) };
        if person.agent.from_config && actor != Actor::Config {
            return Err(set_by_config(&id));
        }
        let about = About { agent: Some(id.clone()), ..About::default() };
        self.emit(None, None, false, actor, about, Body::AgentRemoved);
        self.wrap_ups.remove(&id);
        self.engaged.remove(&id);
        self.tell_all_unmapped(None);
        Ok(self.nothing_to_do())
    }

    /// Looks again at every agent something has happened to.
    pub(super) fn settle(&mut self) {
        while let Some(id) = self.dirty.pop_first() {
            self.prune_engaged(&id);
            let Some(person) = self.state.agent(&id) else { continue };
            let (status, reason) = self.status_of(&id);
            let state = self.state_of(&id);
            let status_changed = person.status != status || person.status_reason != reason;
            let state_changed = person.state != state;
            let about = About { agent: Some(id), ..About::default() };
            if status_changed {
                self.know(None, about.clone(), Body::AgentStatus { status, reason });
            }
            if state_changed {
                self.know(None, about, Body::AgentState { state });
            }
        }
    }

    fn status_of(&self, id: &AgentId) -> (AgentStatus, String) {
        let seats = self.state.seats(id);
        if seats.is_empty() {
            (AgentStatus::LoggedOut, String::new())
        } else if seats.iter().all(|(_, member)| member.paused) {
            let reasons = seats.iter().map(|(_, member)| &member.pause_reason);
            let reason = reasons.filter(|reason| !reason.is_empty()).min();
            (AgentStatus::OnBreak, reason.cloned().unwrap_or_default())
        } else {
            (AgentStatus::Available, String::new())
        }
    }

    fn state_of(&self, id: &AgentId) -> AgentState {
        let entries = self.engaged.get(id).into_iter().flatten();
        let entries: Vec<_> = entries.filter_map(|entry| self.state.entry(*entry)).collect();
        let mine = |agent: &Option<AgentId>| agent.as_ref() == Some(id);
        let mut services = entries.iter().filter_map(|entry| entry.running_service());
        if services.any(|service| mine(&service.agent)) {
            return AgentState::Talking;
        }
        let gone = |leg| self.state.leg(leg).is_none_or(|leg| leg.ended.is_some());
        let rung =
            |offer: &crate::state::Offer| mine(&offer.agent) && !offer.member_leg.is_some_and(gone);
        if entries.iter().any(|entry| entry.offers.values().any(rung)) {
            return AgentState::Offered;
        }
        if self.state.legs_of(id).iter().any(|leg| self.is_busy(leg)) {
            return AgentState::Busy;
        }
        if self.wrap_ups.contains_key(id) {
            return AgentState::WrapUp;
        }
        if self.is_unreachable(id) { AgentState::Unreachable } else { AgentState::Idle }
    }

    /// On the phone outside of queues: a leg that is up, or that dials. The leg of a queue's conversation
    /// outlives it for a moment and does not count.
    fn is_busy(&self, leg: &Leg) -> bool {
        let up = matches!(leg.state, LegState::Answered | LegState::Held);
        if !up && leg.direction == LegDirection::ToDevice {
            return false;
        }
        let entries = self.state.call(leg.call).into_iter().flat_map(|call| &call.entries);
        let mut services = entries
            .filter_map(|id| self.state.entry(*id))
            .filter_map(|entry| entry.service.as_ref());
        !services.any(|service| service.member_leg == Some(leg.id))
    }

    /// No line of theirs is reachable; where no extension is known, no seat's device.
    fn is_unreachable(&self, id: &AgentId) -> bool {
        let Some(person) = self.state.agent(id) else { return false };
        let lines =
            person.agent.devices.iter().filter_map(|device| {
                self.state.extension_named(&device.connector, &device.extension)
            });
        let mut lines = lines.map(|line| line.extension.state == ExtensionState::Unregistered);
        if let Some(first) = lines.next() {
            return first && lines.all(|unregistered| unregistered);
        }
        let seats = self.state.seats(id);
        let gone =
            |state: &MemberState| matches!(state, MemberState::Unavailable | MemberState::Invalid);
        !seats.is_empty() && seats.iter().all(|(_, member)| gone(&member.state))
    }

    /// Forgets waits in which the agent has no part any more.
    fn prune_engaged(&mut self, id: &AgentId) {
        let Some(entries) = self.engaged.get_mut(id) else { return };
        let mine = |agent: &Option<AgentId>| agent.as_ref() == Some(id);
        entries.retain(|entry| {
            self.state.entry(*entry).is_some_and(|entry| {
                entry.running_service().is_some_and(|service| mine(&service.agent))
                    || entry.offers.values().any(|offer| mine(&offer.agent))
            })
        });
        if entries.is_empty() {
            self.engaged.remove(id);
        }
    }

    /// The interfaces of an agent's seats, in one queue or in all, with the queue's native name.
    pub(super) fn seats_for(
        &self,
        id: &AgentId,
        queues: &[crate::QueueId],
    ) -> Vec<(ConnectorId, crate::fact::Member)> {
        let seats = self.state.seats(id).into_iter();
        let seats = seats.filter(|(queue, _)| queues.is_empty() || queues.contains(&queue.id));
        seats.map(|(queue, member)| (queue.connector.clone(), member.clone())).collect()
    }
}

pub(super) fn no_agent(id: &AgentId) -> Refusal {
    Refusal::NotFound { what: format!("agent `{id}`") }
}

fn set_by_config(id: &AgentId) -> Refusal {
    Refusal::Conflict {
        message: format!("agent `{id}` is set by the config file"),
        fix: format!("change [agents.{id}] there, or remove it to manage the agent over REST"),
    }
}
