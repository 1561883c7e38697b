//! Members, what the host will put back of them, and extensions.

use super::{Restore, Sight, Switchboard};
use crate::{
    Body, CommandId, ConnectorId, ExtensionId,
    event::{About, DesiredMember},
    fact::{Extension, Member, MemberRef, Membership, Notice, Severity},
};

/// Members of one connector.
const MOST_MEMBERS: usize = 100_000;
/// Extensions of one connector.
const MOST_EXTENSIONS: usize = 100_000;
/// Restoring commands under way at one connector.
pub(super) const MOST_RESTORING: usize = 100;

pub(super) fn name_of(member: &Member) -> MemberRef {
    MemberRef { queue: member.queue.clone(), interface: member.interface.clone() }
}

impl Switchboard {
    pub(super) fn member(&mut self, sight: &Sight, member: Member) {
        let Some(queue) = self.queue_id(sight, &member.queue) else { return };
        let before = self.state.queue(queue).and_then(|queue| queue.members.get(&member.interface));
        if before == Some(&member) {
            return;
        }
        let before = before.cloned();
        if before.is_none() && self.state.sizes(&sight.connector).members >= MOST_MEMBERS {
            return self.full(&sight.connector, "members", MOST_MEMBERS);
        }
        let body = match before.as_ref().map(|before| before.paused) {
            None => Body::MemberAdded(member.clone()),
            Some(false) if member.paused => Body::MemberPaused(member.clone()),
            Some(true) if !member.paused => Body::MemberUnpaused(member.clone()),
            Some(_) => Body::MemberChanged(member.clone()),
        };
        let about = About {
            queue: Some(queue),
            agent: self.state.agent_of_member(&sight.connector, &member).cloned(),
            command: self.command_behind(sight, &body, &member),
            ..About::default()
        };
        self.saw(sight, about, body);
        if !sight.inferred {
            self.wish_for(&sight.connector, before.as_ref(), &member);
        }
        if self.session(&sight.connector).bracket.is_none() {
            self.tell_unmapped(&sight.connector, &member);
        }
    }

    pub(super) fn member_removed(&mut self, sight: &Sight, member: MemberRef) {
        let Some(queue) = self.state.queue_named(&sight.connector, &member.queue) else { return };
        let Some(seat) = queue.members.get(&member.interface) else { return };
        let body = Body::MemberRemoved(member.clone());
        let about = About {
            queue: Some(queue.id),
            agent: self.state.agent_of_member(&sight.connector, seat).cloned(),
            command: self.command_behind(sight, &body, seat),
            ..About::default()
        };
        self.saw(sight, about, body);
        if !sight.inferred && self.sees(&sight.connector) {
            self.wish(&sight.connector, member, None);
        }
    }

    /// The command under way that asked for this, if there is one.
    fn command_behind(&self, sight: &Sight, body: &Body, member: &Member) -> Option<CommandId> {
        let kind = match body {
            _ if sight.inferred => return None,
            Body::MemberAdded(_) => "member-add",
            Body::MemberRemoved(_) => "member-remove",
            Body::MemberPaused(_) => "pause",
            Body::MemberUnpaused(_) => "unpause",
            _ => return None,
        };
        let fits = |command: &&crate::state::Command| {
            let argument = |name: &str| {
                command.arguments.iter().find(|(key, _)| key == name).map(|(_, value)| value)
            };
            command.connector == sight.connector
                && command.kind == kind
                && argument("interface") == Some(&member.interface)
                && argument("queue").is_none_or(|queue| *queue == member.queue)
        };
        self.state.in_flight().find(fits).map(|command| command.id)
    }

    /// A live change of a seat is what somebody wants; it counts only while everything is seen,
    /// because a PBX that has just restarted also reports what it lost.
    fn wish_for(&mut self, connector: &ConnectorId, before: Option<&Member>, member: &Member) {
        if !self.sees(connector) {
            return;
        }
        let name = name_of(member);
        let known = self.state.desired_member(connector, &name).cloned();
        let putting_back = self.putting_back(connector, &name);
        let wish = match (before, known) {
            (None, Some(known)) if putting_back => Some(known),
            (None, _) => wish_from(member),
            (Some(before), known) => {
                let paused_changed = before.paused != member.paused
                    || (member.paused && before.pause_reason != member.pause_reason);
                let fresh = wish_from(member);
                match (known, fresh) {
                    (Some(known), Some(fresh)) if !paused_changed => {
                        Some(DesiredMember { paused: known.paused, ..fresh })
                    }
                    // A static seat whose pause is being put back.
                    (Some(known), None) if !paused_changed => Some(known),
                    (_, fresh) => fresh,
                }
            }
        };
        self.wish(connector, name, wish);
    }

    /// Is what comes from this connector seen live, and not what a restart has left?
    fn sees(&self, connector: &ConnectorId) -> bool {
        let restarted = self.sessions.get(connector).is_some_and(|session| session.restarted);
        !restarted && self.state.connector(connector).is_some_and(|connector| connector.connected)
    }

    pub(super) fn wish(
        &mut self,
        connector: &ConnectorId,
        member: MemberRef,
        wish: Option<DesiredMember>,
    ) {
        if self.state.desired_member(connector, &member) == wish.as_ref() {
            return;
        }
        let queue = self.state.queue_named(connector, &member.queue).map(|queue| queue.id);
        let about = About { queue, ..About::default() };
        self.know(Some(connector), about, Body::MemberDesired { member, wish });
    }

    fn restores(&self, connector: &ConnectorId, queue: &str) -> bool {
        self.policy.connectors.get(connector).is_some_and(|policy| {
            let restore = policy.restore_queues.get(queue).unwrap_or(&policy.restore);
            *restore == Restore::MembersAndPauses
        })
    }

    fn putting_back(&self, connector: &ConnectorId, member: &MemberRef) -> bool {
        self.sessions.get(connector).is_some_and(|session| {
            session.to_restore.contains(member)
                || session.restoring.values().any(|other| other == member)
        })
    }

    /// A picture of the queues is complete: compares it with the wishes.
    pub(super) fn compare_wishes(&mut self, connector: &ConnectorId) {
        let session = self.session(connector);
        let restarted = std::mem::take(&mut session.restarted);
        let unfinished = std::mem::take(&mut session.unfinished);
        if restarted {
            session.to_restore.clear();
            session.restoring.clear();
        }
        let wishes: Vec<MemberRef> =
            self.state.desired(connector).map(|(member, _)| member.clone()).collect();
        let mut wanted = std::collections::BTreeSet::new();
        for member in wishes {
            let lost = restarted || unfinished.contains(&member);
            let keep = if lost {
                self.restores(connector, &member.queue)
            } else {
                self.putting_back(connector, &member)
            };
            if keep {
                if lost {
                    self.session(connector).to_restore.insert(member.clone());
                }
                wanted.insert(member);
            } else if self.seat(connector, &member).is_none() {
                self.wish(connector, member, None);
            }
        }
        // Everything else: the PBX's picture is the truth.
        let seats: Vec<Member> = self
            .state
            .queues()
            .filter(|queue| queue.connector == *connector)
            .flat_map(|queue| queue.members.values().cloned())
            .collect();
        for member in seats {
            let name = name_of(&member);
            if !wanted.contains(&name) {
                self.wish(connector, name, wish_from(&member));
            }
        }
        self.put_back(connector);
    }

    fn seat(&self, connector: &ConnectorId, member: &MemberRef) -> Option<&Member> {
        self.state.queue_named(connector, &member.queue)?.members.get(&member.interface)
    }

    /// Sends the next of the commands that make the PBX as it is wished.
    pub(super) fn put_back(&mut self, connector: &ConnectorId) {
        while self.session(connector).restoring.len() < MOST_RESTORING {
            let Some(member) = self.session(connector).to_restore.pop_first() else { return };
            let Some(wish) = self.state.desired_member(connector, &member).cloned() else {
                continue;
            };
            let argument = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let mut arguments =
                vec![argument("queue", &member.queue), argument("interface", &member.interface)];
            let kind = match (self.seat(connector, &member), &wish.paused) {
                (None, paused) if wish.dynamic => {
                    arguments.push(argument("state_interface", &wish.state_interface));
                    arguments.push(argument("name", &wish.name));
                    arguments.push(argument("penalty", &wish.penalty.to_string()));
                    let word = if paused.is_some() { "true" } else { "false" };
                    arguments.push(argument("paused", word));
                    arguments.push(argument("reason", paused.as_deref().unwrap_or_default()));
                    "member-add"
                }
                (Some(seat), Some(reason)) if !seat.paused => {
                    arguments.push(argument("reason", reason));
                    "pause"
                }
                _ => continue,
            };
            if let Some(command) = self.issue(connector, kind, arguments) {
                self.session(connector).restoring.insert(command, member);
            }
        }
    }

    /// One notice for each interface that belongs to no agent, until it belongs to one.
    pub(super) fn tell_unmapped(&mut self, connector: &ConnectorId, member: &Member) {
        let key = (connector.clone(), member.interface.clone());
        if self.state.agent_of_member(connector, member).is_some() {
            self.unmapped_told.remove(&key);
            return;
        }
        if !self.unmapped_told.insert(key) {
            return;
        }
        let (interface, queue) = (&member.interface, &member.queue);
        let notice = Notice {
            code: "interface-unmapped".to_owned(),
            severity: Severity::Warning,
            message: format!(
                "`{interface}` in queue `{queue}` of connector `{connector}` belongs to no agent"
            ),
            fix: "set the agent's device with PUT /v1/agents/{id} or [agents.<id>] in the config"
                .to_owned(),
        };
        self.notice(Some(connector.clone()), crate::Actor::Host, notice);
    }

    /// Looks at all members again: of one connector, or after a change of an agent at all.
    pub(super) fn tell_all_unmapped(&mut self, connector: Option<&ConnectorId>) {
        let queues = self.state.queues();
        let queues = queues.filter(|queue| connector.is_none_or(|id| *id == queue.connector));
        let members: Vec<(ConnectorId, Member)> = queues
            .flat_map(|queue| {
                queue.members.values().map(|member| (queue.connector.clone(), member.clone()))
            })
            .collect();
        for (connector, member) in members {
            self.tell_unmapped(&connector, &member);
        }
    }

    pub(super) fn extension(&mut self, sight: &Sight, extension: Extension) {
        let id = match self.state.extension_named(&sight.connector, &extension.number) {
            Some(line) if line.extension == extension => return,
            Some(line) => line.id,
            None if self.state.sizes(&sight.connector).extensions >= MOST_EXTENSIONS => {
                return self.full(&sight.connector, "extensions", MOST_EXTENSIONS);
            }
            None => ExtensionId(self.next()),
        };
        let agent = self.state.agent_at(&sight.connector, Some(&extension.number), "").cloned();
        let about = About { extension: Some(id), agent, ..About::default() };
        self.saw(sight, about, Body::ExtensionChanged(extension));
    }

    pub(super) fn extension_removed(&mut self, sight: &Sight, number: &str) {
        let Some(line) = self.state.extension_named(&sight.connector, number) else { return };
        let agent = self.state.agent_at(&sight.connector, Some(number), "").cloned();
        let about = About { extension: Some(line.id), agent, ..About::default() };
        self.saw(sight, about, Body::ExtensionRemoved { number: number.to_owned() });
    }
}

/// What there is to put back of a seat: all of a dynamic one, the pause of any other.
fn wish_from(member: &Member) -> Option<DesiredMember> {
    let dynamic = member.membership == Membership::Dynamic;
    let paused = member.paused.then(|| member.pause_reason.clone());
    (dynamic || paused.is_some()).then(|| DesiredMember {
        state_interface: member.state_interface.clone(),
        name: member.name.clone(),
        penalty: member.penalty,
        dynamic,
        paused,
    })
}
