//! Live events: which are used, and what each of them means.

use jackfield_sdk::{Cause, Transfer};

use crate::{
    Asterisk, State,
    calls::Told,
    forgery::{self, Live},
    frame::{Header, get, get_number, get_text},
    out::Out,
    session::Phase,
};

/// Asks the PBX to send only what is used: allow-list filters, in the form that old and new versions know.
pub const FILTERS: [&str; 5] = [
    "^Event: (FullyBooted|Newchannel|Newstate|Hangup|HangupRequest|SoftHangupRequest|NewCallerid|Rename|DialBegin|\
     DialState|DialEnd|BridgeEnter|BridgeLeave|Hold|Unhold|BlindTransfer|AttendedTransfer)[[:space:]]",
    "^Event: (QueueCaller|QueueMember|Agent|DeviceStateChange|ExtensionStatus|ContactStatus|PeerStatus|Reload)",
    "^Event: VarSet[[:space:]].*Variable: QUEUESTATUS[[:space:]]",
    "^Event: Newexten[[:space:]].*Application: Queue[[:space:]]",
    // The first step at another place: how Asterisk 16 tells of exit keys and redirects.
    "^Event: Newexten[[:space:]].*Priority: 1[[:space:]]",
];

/// The same for callers who are held, where the account may hold them. Keys are asked for only while the caller is in
/// the template's `held`: what is pressed in conversations does not leave the PBX.
pub const HELD_FILTERS: [&str; 2] = [
    "^Event: AsyncAGI(Start|End|Exec)[[:space:]]",
    "^Event: DTMFEnd[[:space:]].*Context: jackfield[[:space:]]+Exten: held[[:space:]]",
];

impl Asterisk {
    /// An event that is no answer.
    pub(crate) fn live(&mut self, headers: &[Header<'_>], out: &mut Out<'_>) {
        let session = &mut self.state.session;
        if session.distrust.is_some() {
            return;
        }
        let event = match forgery::check(headers, &mut session.shape) {
            Ok(event) => event,
            Err(why) => return self.poisoned(headers, why, out),
        };
        // A few classes: looked up without making a string.
        if !session.classes.iter().any(|known| known.as_bytes() == event.class) {
            session.classes.insert(String::from_utf8_lossy(event.class).into_owned());
        }
        let name = headers[0].1;
        if name == b"FullyBooted" {
            return self.fully_booted(out);
        }
        if session.phase == Phase::Live {
            out.at_pbx = event.at;
            self.event(name, headers, event, out);
        }
    }

    fn fully_booted(&mut self, out: &mut Out<'_>) {
        self.state.session.fully_booted = true;
        if self.state.session.phase == Phase::Live {
            self.want_resync(0, out);
        } else {
            self.booted(out);
        }
    }

    fn event(&mut self, name: &[u8], headers: &[Header<'_>], event: Live<'_>, out: &mut Out<'_>) {
        let told = event.channel.map(|at| Told::new(headers, at));
        let dest = event.dest.map(|at| Told::new(headers, at));
        match (name, told) {
            (b"VarSet", Some(told)) => self.variable(headers, told, out),
            (b"Newexten", Some(told)) => {
                self.sees_variables(out);
                self.state.queues.goes_on(told, out);
                if get(headers, b"Application") == Some(b"Queue") {
                    self.state.queues.at_the_door(&told.id(), &get_text(headers, b"AppData"));
                }
            }
            (b"Newchannel", Some(told)) => {
                self.touch_channel(told, true);
                self.state.calls.started(told, &self.rules, out);
            }
            (b"Newstate", Some(told)) => {
                self.touch_channel(told, false);
                self.state.calls.changed(told, out);
            }
            (b"NewCallerid", Some(told)) => self.state.calls.identified(told, out),
            (b"Hangup", Some(told)) => self.hangup(headers, told, out),
            (b"HangupRequest", Some(told)) => {
                let id = told.id();
                self.state.calls.hang_up_asked(&id, true);
                self.state.queues.far_end_hung_up(&id, out);
            }
            (b"SoftHangupRequest", Some(told)) => self.state.calls.hang_up_asked(&told.id(), false),
            (b"AsyncAGIStart", Some(told)) => self.handed_over(told, headers, out),
            (b"AsyncAGIExec", Some(told)) => {
                let State { held, calls, session, .. } = &mut self.state;
                if !held.executed(&told.id(), headers, calls, session, out) {
                    self.want_resync(0, out);
                }
            }
            (b"AsyncAGIEnd", Some(told)) => {
                let resync = &mut self.state.resync;
                resync.iter_mut().for_each(|resync| resync.held.touch(told.id()));
                let (held, desk) = self.state.desk();
                held.ended(told, desk, out);
            }
            (b"DTMFEnd", Some(told)) => self.state.held.key(&told.id(), headers, out),
            (b"Hold", Some(told)) => self.state.calls.hold(&told.id(), true, out),
            (b"Unhold", Some(told)) => self.state.calls.hold(&told.id(), false, out),
            (b"BridgeEnter", Some(told)) => {
                self.touch_channel(told, true);
                self.state.calls.started(told, &self.rules, out);
                let (held, desk) = self.state.desk();
                held.bridged(&told.id(), desk, out);
                let bridge = get_text(headers, b"BridgeUniqueid");
                self.state.calls.enter_bridge(&told.id(), &bridge, out);
                self.state.queues.check_services(&self.state.calls, out);
            }
            (b"BridgeLeave", Some(told)) => {
                self.touch_channel(told, false);
                self.state.calls.leave_bridge(&told.id(), out);
                self.state.queues.check_services(&self.state.calls, out);
            }
            (b"Rename", _) => {
                let (id, name) = (get_text(headers, b"Uniqueid"), get_text(headers, b"Newname"));
                self.state.calls.renamed(&id, &name);
            }
            (b"DialBegin" | b"DialState" | b"DialEnd", told) => {
                self.dialling(name, headers, told, dest, out)
            }
            (b"BlindTransfer" | b"AttendedTransfer", _) => self.transfer(name, headers, out),
            (b"QueueCallerJoin", Some(told)) => {
                self.touch_channel(told, true);
                self.state.calls.started(told, &self.rules, out);
                if let Some(resync) = &mut self.state.resync {
                    let key = (get_text(headers, b"Queue"), told.id());
                    resync.touched.left.remove(&key);
                    resync.touched.joined.insert(key);
                }
                let priority = self.state.held.priority(&told.id());
                self.state.queues.joined(headers, told, priority, out);
            }
            (b"QueueCallerAbandon", Some(told)) => self.state.queues.abandoned(headers, told, out),
            (b"QueueCallerLeave", Some(told)) => {
                if let Some(resync) = &mut self.state.resync {
                    let key = (get_text(headers, b"Queue"), told.id());
                    resync.touched.joined.remove(&key);
                    resync.touched.left.insert(key);
                }
                self.state.queues.left(headers, told, &self.state.calls, out);
            }
            (b"AgentCalled", Some(told)) => {
                if let Some(dest) = dest {
                    self.state.queues.called(headers, told, dest, &self.state.calls, out);
                }
            }
            (b"AgentRingNoAnswer", Some(told)) => {
                self.state.queues.not_answered(headers, told, &self.state.calls, out);
            }
            (b"AgentConnect", Some(told)) => {
                self.state.queues.connected(headers, told, dest, &self.state.calls, out)
            }
            (b"AgentComplete", told) => self.state.queues.completed(headers, told, dest, out),
            (b"QueueMemberRemoved", _) => {
                self.touch_member(headers);
                self.state.queues.member_removed(headers, out);
            }
            (
                b"QueueMemberStatus"
                | b"QueueMemberPause"
                | b"QueueMemberAdded"
                | b"QueueMemberPenalty"
                | b"QueueMemberRinginuse",
                _,
            ) => {
                self.touch_member(headers);
                self.state.queues.member(headers, &self.rules, out);
            }
            (b"DeviceStateChange", _) => self.device(headers, out),
            (b"ExtensionStatus", _) => self.hint(headers, out),
            (b"Reload", _) => {
                // Queues and their members may be others now.
                self.want_resync(1_000_000_000, out);
            }
            _ => {}
        }
    }

    /// The dialplan handed a caller over.
    fn handed_over(&mut self, told: Told<'_, '_>, headers: &[Header<'_>], out: &mut Out<'_>) {
        self.touch_channel(told, true);
        self.state.calls.started(told, &self.rules, out);
        let (held, desk) = self.state.desk();
        match held.started(told, headers, desk, out) {
            Ok(()) => self.state.resync.iter_mut().for_each(|resync| resync.held.touch(told.id())),
            // The list of channels shows what came with this caller, in words that are not theirs.
            Err(why) => self.report_forgery(told.name(), headers, why, out),
        }
    }

    /// The dialplan class is seen: exits can be told apart.
    fn sees_variables(&mut self, out: &mut Out<'_>) {
        if !std::mem::replace(&mut self.state.queues.sees_variables, true) {
            self.tell_pbx(out);
        }
    }

    fn variable(&mut self, headers: &[Header<'_>], told: Told<'_, '_>, out: &mut Out<'_>) {
        self.sees_variables(out);
        // Most of all traffic, without our filters: two comparisons and away.
        let [.., (b"Variable", b"QUEUESTATUS"), (b"Value", value)] = headers else { return };
        self.state.queues.status(&told.id(), &crate::frame::text(value), out);
    }

    fn hangup(&mut self, headers: &[Header<'_>], told: Told<'_, '_>, out: &mut Out<'_>) {
        let id = told.id();
        if let Some(resync) = &mut self.state.resync {
            resync.touched.ended.insert(id.clone());
        }
        let cause = Cause {
            q850: get_number(headers, b"Cause") as u16,
            sip: get_number(headers, b"TechCause") as u16,
            text: get_text(headers, b"Cause-txt"),
        };
        let far_end = self.state.calls.get(&id).is_some_and(|channel| channel.far_end_hung_up);
        self.state.queues.goes_on(told, out);
        self.state.queues.hanging_up(&id, far_end, out);
        self.state.held.hung_up(&id, out);
        self.state.leased.remove(&id);
        self.state.calls.hung_up(&id, cause, out);
        self.state.queues.hung_up(&self.state.calls, out);
    }

    fn dialling(
        &mut self,
        name: &[u8],
        headers: &[Header<'_>],
        told: Option<Told<'_, '_>>,
        dest: Option<Told<'_, '_>>,
        out: &mut Out<'_>,
    ) {
        let Some(dest) = dest else { return };
        let id = dest.id();
        let status = get_text(headers, b"DialStatus");
        match name {
            b"DialBegin" => {
                let dialler = told.map(Told::id);
                self.state.calls.dials(
                    dialler.as_deref(),
                    &id,
                    &dialled_number(&get_text(headers, b"DialString")),
                );
            }
            b"DialState" if status == "RINGING" => self.state.calls.reached(&id, "alerting", out),
            b"DialEnd" => {
                self.state.calls.dial_ended(&id, &status);
                self.state.queues.settle_offers(&self.state.calls, out);
            }
            _ => {}
        }
    }

    fn transfer(&mut self, name: &[u8], headers: &[Header<'_>], out: &mut Out<'_>) {
        let blind = name == b"BlindTransfer";
        let transferer: &[u8] =
            if blind { b"TransfererUniqueid" } else { b"OrigTransfererUniqueid" };
        let transferee = get_text(headers, b"TransfereeUniqueid");
        let target = if blind {
            get_text(headers, b"Extension")
        } else {
            get_text(headers, b"TransferTargetCallerIDNum")
        };
        let result = get_text(headers, b"Result");
        let transfer = Transfer {
            kind: if blind { "blind" } else { "attended" }.into(),
            transferer: get_text(headers, transferer),
            transferee: self.state.calls.is_leg(&transferee).then_some(transferee),
            target,
            outcome: if result == "Success" { "success".into() } else { result },
        };
        self.state.calls.transferred(transfer, out);
    }

    fn device(&mut self, headers: &[Header<'_>], out: &mut Out<'_>) {
        let device = String::from_utf8_lossy(get(headers, b"Device").unwrap_or_default());
        let Some(number) = self.rules.of_device(&device) else { return };
        self.touch_extension(&number);
        let state = get(headers, b"State").unwrap_or_default();
        if !self.state.extensions.is_so(&number, &device, state) {
            let before = self.state.extensions.fact(&number);
            self.state.extensions.device(&device, state, &self.rules);
            self.state.extensions.tell(&number, before, out);
        }
    }

    fn hint(&mut self, headers: &[Header<'_>], out: &mut Out<'_>) {
        let number = get_text(headers, b"Exten");
        let before = self.state.extensions.fact(&number);
        let status = get_text(headers, b"Status").parse().unwrap_or(-1);
        let hint = get_text(headers, b"Hint");
        if self.state.extensions.hint(&number, &hint, status, &self.rules).is_some() {
            self.touch_extension(&number);
            self.state.extensions.tell(&number, before, out);
        }
    }

    /// A list under way must not overwrite what is newer.
    fn touch_channel(&mut self, told: Told<'_, '_>, new: bool) {
        if let Some(resync) = &mut self.state.resync {
            let id = told.id();
            if new || self.state.calls.get(&id).is_some() {
                resync.touched.channels.insert(id);
            }
        }
    }

    fn touch_member(&mut self, headers: &[Header<'_>]) {
        if let Some(resync) = &mut self.state.resync {
            resync
                .touched
                .members
                .insert((get_text(headers, b"Queue"), get_text(headers, b"Interface")));
        }
    }

    fn touch_extension(&mut self, number: &str) {
        if let Some(resync) = &mut self.state.resync {
            resync.touched.devices.insert(number.into());
        }
    }
}

/// `trunk/sip:4930123@host` and `PJSIP/900@trunk` dial `900`; `PJSIP/1001` dials `1001`.
fn dialled_number(dial_string: &str) -> String {
    let address = dial_string.rsplit('/').next().unwrap_or_default();
    let number = address.split('@').next().unwrap_or_default();
    number.rsplit(':').next().unwrap_or_default().into()
}
