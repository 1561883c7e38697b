//! Members: seats in a queue, and what the PBX says of them.

use jackfield_sdk::{Fact, Member, MemberRef};
use serde::{Deserialize, Serialize};

use super::{Queues, SECOND_NS};
use crate::{
    frame::{Header, get, get_number, get_text},
    out::Out,
    settings::Rules,
};

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// What tells its state.
    pub state_interface: String,
    /// `static`, `dynamic` or `realtime`.
    pub membership: String,
    name: String,
    penalty: u32,
    paused: bool,
    reason: String,
    /// Asterisk's number for it.
    state: u8,
    in_call: bool,
    calls_taken: u32,
    /// Seconds since the epoch; 0 is never.
    last_call: u64,
}

impl Queues {
    /// A member is new or changed.
    pub fn member(&mut self, headers: &[Header<'_>], rules: &Rules, out: &mut Out<'_>) {
        let (key, seat) = read_member(headers, b"Interface", b"MemberName");
        self.wrap_up(&key.0, headers);
        if self.members.get(&key) != Some(&seat) {
            out.fact(Fact::Member(seat.fact(&key, rules)));
            self.members.insert(key, seat);
        }
    }

    fn wrap_up(&mut self, queue: &str, headers: &[Header<'_>]) {
        let wrap_up = get_number(headers, b"Wrapuptime") as u32;
        if let Some(settings) = self.settings.get_mut(queue) {
            settings.wrap_up = settings.wrap_up.max(wrap_up);
        }
    }

    /// A member is gone.
    pub fn member_removed(&mut self, headers: &[Header<'_>], out: &mut Out<'_>) {
        let key = (get_text(headers, b"Queue"), get_text(headers, b"Interface"));
        if self.members.remove(&key).is_some() {
            out.fact(Fact::MemberRemoved(MemberRef { queue: key.0, interface: key.1 }));
        }
    }

    /// Members, by queue and interface.
    pub fn members(&self) -> impl Iterator<Item = (&(String, String), &Seat)> {
        self.members.iter()
    }
}

impl Seat {
    /// Gets no calls from this queue now.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn fact(&self, key: &(String, String), rules: &Rules) -> Member {
        Member {
            queue: key.0.clone(),
            interface: key.1.clone(),
            state_interface: self.state_interface.clone(),
            extension: rules.of_member(&key.1, &self.state_interface),
            name: self.name.clone(),
            membership: self.membership.clone(),
            penalty: self.penalty,
            paused: self.paused,
            pause_reason: self.reason.clone(),
            state: member_state(self.state).into(),
            in_call: self.in_call,
            calls_taken: self.calls_taken,
            last_call_ns: (self.last_call > 0).then(|| self.last_call.saturating_mul(SECOND_NS)),
        }
    }
}

fn member_state(status: u8) -> &'static str {
    match status {
        1 => "idle",
        2 => "in-use",
        3 => "busy",
        4 => "invalid",
        5 => "unavailable",
        // 7 is ringing while in use.
        6 | 7 => "ringing",
        8 => "on-hold",
        _ => "unknown",
    }
}

pub(super) fn read_member(
    headers: &[Header<'_>],
    interface: &[u8],
    name: &[u8],
) -> ((String, String), Seat) {
    let interface = get_text(headers, interface);
    let paused = get(headers, b"Paused") == Some(b"1");
    let state_interface = get_text(headers, b"StateInterface");
    let seat = Seat {
        state_interface: if state_interface.is_empty() {
            interface.clone()
        } else {
            state_interface
        },
        name: get_text(headers, name),
        membership: get_text(headers, b"Membership"),
        penalty: get_number(headers, b"Penalty") as u32,
        paused,
        reason: if paused { get_text(headers, b"PausedReason") } else { String::new() },
        state: get_number(headers, b"Status") as u8,
        in_call: get(headers, b"InCall") == Some(b"1"),
        calls_taken: get_number(headers, b"CallsTaken") as u32,
        last_call: get_number(headers, b"LastCall"),
    };
    ((get_text(headers, b"Queue"), interface), seat)
}
