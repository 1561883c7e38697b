//! Answers of the PBX: each is known by what it was asked for, and what follows from it.

use jackfield_sdk::{Fact, Pbx, log};

use crate::{
    Asterisk, forgery,
    frame::{self, Header, get, get_text},
    held, live,
    out::Out,
    probe,
    session::{Asked, Phase},
};

impl Asterisk {
    pub(super) fn response(&mut self, id: u64, headers: &[Header<'_>], out: &mut Out<'_>) {
        let Some(asked) = self.state.session.asked(id).cloned() else { return };
        let success = headers[0].1 == b"Success";
        if matches!(asked, Asked::List(_) | Asked::ProbeDialplan(_)) && success {
            // Its items follow under the same ActionID.
            return;
        }
        self.state.session.answered(id);
        match asked {
            Asked::Challenge => match get(headers, b"Challenge") {
                Some(challenge) if success => {
                    let challenge = challenge.to_vec();
                    self.state.session.login(&self.settings.username, &challenge, out);
                }
                _ => self.state.session.close("it offers no MD5 challenge", "slow", out),
            },
            Asked::Login if success => self.state.session.logged_in(out),
            Asked::Login => {
                let user = &self.settings.username;
                let said = get_text(headers, b"Message");
                let message = format!("the PBX refused the login of `{user}` ({said})");
                let fix = format!(
                    "compare `username` and the secret in `secrets.ami` with the section [{user}] of manager.conf (FreePBX: \
                     manager_custom.conf), and see that its `permit` names this machine; then `asterisk -rx 'manager reload'`"
                );
                self.state.session.close(message.clone(), "slow", out);
                out.notice("login-refused", "error", message, &fix);
            }
            Asked::Booted => {
                self.state.session.pong();
                self.booted(out);
            }
            Asked::ListCommands => {
                self.state.session.actions = headers[2..]
                    .iter()
                    .filter_map(|(name, text)| Some((frame::text(name), probe::privilege(text)?)))
                    .collect();
            }
            Asked::CoreSettings => {
                self.state.pbx.version = get_text(headers, b"AsteriskVersion");
                self.state.pbx.system_name = get_text(headers, b"SystemName");
            }
            Asked::CoreStatus => {
                self.state.pbx.started_at = probe::started_at(headers);
                self.ready(out);
            }
            Asked::Filter => {
                if !success {
                    log::warn(&format!(
                        "the PBX took an event filter not: {}",
                        get_text(headers, b"Message")
                    ));
                }
            }
            Asked::Ping => self.pong(id, headers, out),
            Asked::List(list) => {
                if let Some(resync) = &mut self.state.resync {
                    resync.denied(list);
                }
                log::warn(&format!(
                    "the PBX refuses a list ({list:?}): {}",
                    get_text(headers, b"Message")
                ));
                self.end_resync_if_complete(out);
            }
            Asked::Agi(_) if success => {}
            Asked::Agi(leg) => self.state.held.agi_refused(&leg, id, headers, out),
            Asked::Held(leg, what) => {
                let resync = &mut self.state.resync;
                let resync = resync.iter_mut().filter(|_| matches!(what, held::For::Offer));
                resync.for_each(|resync| resync.held.offer(&leg, headers));
                let (held, desk) = self.state.desk();
                held.answered(&leg, what, headers, desk, out);
                self.end_resync_if_complete(out);
            }
            Asked::Command(command) => self.state.commands.answered(command, headers, out),
            Asked::ProbeConfig(command) => self.state.probes.config(command, headers, success),
            Asked::ProbeDialplan(command) => self.state.probes.no_dialplan(command, headers),
            Asked::ProbeFallback(command) => self.state.probes.fallback(command, headers, success),
            Asked::ProbeEmergency(command) => {
                self.state.probes.emergency(command, headers, success);
            }
            Asked::ProbeEnd(command) => {
                let report = probe::report(self, command);
                self.state.probes.end(command, report, out);
            }
        }
    }

    pub(super) fn pong(&mut self, id: u64, headers: &[Header<'_>], out: &mut Out<'_>) {
        self.state.session.pong();
        if let Some(at) = get(headers, b"Timestamp").and_then(forgery::nanoseconds) {
            self.state.session.clock_off = Some(at as i64 - out.now.wall_ns as i64);
        }
        if self.state.session.distrust == Some(id) {
            // Here a frame begins for certain, so the next event shows how events begin.
            self.state.session.distrust = None;
            self.state.session.shape = None;
        }
    }

    /// Asterisk is ready: learn what it is and what we may do.
    pub(super) fn booted(&mut self, out: &mut Out<'_>) {
        if self.state.session.phase != Phase::Booting {
            return;
        }
        self.state.session.phase = Phase::Live;
        self.state.session.heard(self.settings.keepalive_secs, out);
        let session = &mut self.state.session;
        session.ping(out);
        session.ask(Asked::ListCommands, "ListCommands", &[], out);
        session.ask(Asked::CoreSettings, "CoreSettings", &[], out);
        // Answers come in order: this is the last.
        session.ask(Asked::CoreStatus, "CoreStatus", &[], out);
    }

    pub(super) fn ready(&mut self, out: &mut Out<'_>) {
        if self.settings.filters && self.state.session.actions.contains_key("Filter") {
            let holds = self.state.session.actions.contains_key("AGI");
            let held = live::HELD_FILTERS.iter().filter(|_| holds);
            for filter in live::FILTERS.iter().chain(held) {
                let headers = [("Operation", "Add"), ("Filter", filter)];
                self.state.session.ask(Asked::Filter, "Filter", &headers, out);
            }
        }
        self.tell_pbx(out);
        self.want_resync(0, out);
        self.state.look_again = !self.state.session.fully_booted;
    }

    /// Tells what the PBX is and what can be seen and done, if that is news.
    pub(super) fn tell_pbx(&mut self, out: &mut Out<'_>) {
        let capabilities =
            probe::capabilities(&self.state.session, self.state.queues.sees_variables);
        self.state.pbx.capabilities.clone_from(&capabilities);
        let pbx = &self.state.pbx;
        out.fact(Fact::Pbx(Pbx {
            product: "Asterisk".into(),
            version: pbx.version.clone(),
            system_name: pbx.system_name.clone(),
            started_at_ns: pbx.started_at,
            capabilities,
        }));
    }
}
