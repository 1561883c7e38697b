//! What the doctor says about one PBX: rights, events, queues, members, extensions, clock.
//!
//! Which class of manager.conf opens which action was read off Asterisk 22.10 and 16.28; they agree.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Found;
use crate::{Asterisk, queues::Seat};

/// The longest list in a line.
const MAX_LISTED: usize = 5;

/// Rights that are missed, the class that gives them, and what it is like without.
const NEEDED: [(&[&str], &str, &str, &str); 2] = [
    (
        &[
            "CoreShowChannels",
            "DeviceStateList",
            "ExtensionStateList",
            "CoreStatus",
            "CoreSettings",
        ],
        "reporting",
        "failure",
        "calls and extensions that exist already are not found after a connect, and a restart of the PBX is not noticed",
    ),
    (
        &["QueueAdd", "QueueRemove", "QueuePause"],
        "agent",
        "warning",
        "agents cannot be logged in, logged out or paused; leave it so if Jackfield shall only watch",
    ),
];

/// Rights that are not needed: the action that shows them, the class, how bad it is, and why.
const DANGERS: [(&str, &str, &str, &str); 5] = [
    (
        "AGI",
        "agi",
        "failure",
        "it equals a shell on the PBX: any call can be made to run any program (EXEC System)",
    ),
    (
        "Command",
        "command",
        "warning",
        "it runs any CLI command, so it can write dialplan that runs programs",
    ),
    (
        "UpdateConfig",
        "config",
        "warning",
        "it reads and rewrites every configuration file, secrets included",
    ),
    (
        "ModuleLoad",
        "system",
        "warning",
        "it loads modules, writes dialplan and database, and reads SIP passwords (PJSIPShowAuths)",
    ),
    (
        "Originate",
        "originate",
        "warning",
        "it places calls at your cost, and nothing here needs that yet",
    ),
];

/// The event classes that are used, and what is not seen without them.
const CLASSES: [(&str, &str); 3] = [
    ("call", "calls, bridges and the states of phones are not seen live"),
    ("agent", "callers and members of queues are not seen live"),
    (
        "dialplan",
        "time-outs, refusals and hang-ups by the PBX cannot be told apart: they end as `unknown`",
    ),
];

/// Asterisk releases whose own security support is over, by <https://docs.asterisk.org/About-the-Project/Asterisk-Versions/>.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("13", "October 2021"),
    ("16", "October 2023"),
    ("17", "October 2021"),
    ("18", "October 2025"),
    ("19", "November 2023"),
    ("21", "October 2025"),
];

/// All findings, as the doctor reads them.
pub(super) fn all(asterisk: &Asterisk, probed: &Found) -> Vec<Value> {
    let mut doctor = Doctor { asterisk, probed, found: Vec::new() };
    doctor.release();
    doctor.boot();
    doctor.privileges();
    doctor.too_much();
    doctor.events();
    doctor.held();
    doctor.queues();
    doctor.persistent_members(probed.persistent_members);
    doctor.members();
    doctor.extensions();
    doctor.clock();
    doctor.freepbx();
    doctor.found
}

pub(super) struct Doctor<'a> {
    pub(super) asterisk: &'a Asterisk,
    pub(super) probed: &'a Found,
    found: Vec<Value>,
}

impl Doctor<'_> {
    pub(super) fn add(
        &mut self,
        check: &str,
        level: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.found.push(
            json!({ "check": check, "level": level, "message": message.into(), "fix": fix.into() }),
        );
    }

    pub(super) fn ok(&mut self, check: &str, message: impl Into<String>) {
        self.add(check, "ok", message, "");
    }

    /// A change of our account, with the file it stands in and how it takes effect.
    pub(super) fn account(&self, change: &str) -> String {
        let file = if self.is_freepbx() { "manager_custom.conf" } else { "manager.conf" };
        let user = &self.asterisk.settings.username;
        format!(
            "{change} of [{user}] in {file}, then run `asterisk -rx 'manager reload'` and connect again"
        )
    }

    fn release(&mut self) {
        let version = &self.asterisk.state.pbx.version;
        let major = version.split(['.', '-']).next().unwrap_or_default();
        if let Some((_, until)) = UNSUPPORTED.iter().find(|(known, _)| *known == major) {
            let message =
                format!("Asterisk {major} got its last security fix from its authors in {until}");
            self.add(
                "support",
                "warning",
                message,
                "upgrade to Asterisk 22, or make sure your distribution still mends it",
            );
        }
    }

    fn boot(&mut self) {
        if self.asterisk.state.session.fully_booted {
            return self.ok("fully-booted", "Asterisk has booted, and this account is told when");
        }
        let fix = self.account("add `system` to `read` (in `read` it opens nothing but events)");
        self.add(
            "fully-booted",
            "warning",
            "this account is not told when Asterisk has booted; it is asked instead",
            fix,
        );
    }

    pub(super) fn may(&self, action: &str) -> bool {
        self.asterisk.state.session.actions.contains_key(action)
    }

    fn privileges(&mut self) {
        let mut complete = true;
        for (actions, class, level, consequence) in NEEDED {
            let missing: Vec<&str> =
                actions.iter().copied().filter(|action| !self.may(action)).collect();
            if !missing.is_empty() {
                complete = false;
                let fix = self.account(&format!("add `{class}` to `write`"));
                let message = format!("may not use {}: {consequence}", missing.join(", "));
                self.add("privileges", level, message, fix);
            }
        }
        if complete {
            self.ok(
                "privileges",
                "may list queues, calls and extensions, and add, remove and pause members",
            );
        }
    }

    fn too_much(&mut self) {
        let mut modest = true;
        for (action, class, level, danger) in DANGERS {
            // Callers cannot be held without it; what is said of it then stands with that.
            if class == "agi" && self.probed.hooks {
                continue;
            }
            if self.may(action) {
                modest = false;
                let instead = match class {
                    "system" => "remove `system` from `write` (keep it in `read`)",
                    _ => &format!("remove `{class}` from `write`"),
                };
                let fix = self.account(instead);
                self.add(
                    "too-much",
                    level,
                    format!("`{class}` in `write` is not needed: {danger}"),
                    fix,
                );
            }
        }
        if modest {
            self.ok("too-much", "no right that could take over the PBX");
        }
    }

    fn events(&mut self) {
        let state = &self.asterisk.state;
        let seen = |class: &str| {
            state.session.classes.contains(class)
                || (class == "dialplan" && state.queues.sees_variables)
        };
        let (come, missing): (Vec<_>, Vec<_>) = CLASSES.iter().partition(|(class, _)| seen(class));
        let names: Vec<&str> = come.iter().map(|(class, _)| *class).collect();
        if names.is_empty() {
            let message = "nothing happened on the PBX while the check listened, so it is not known whether this account \
                           is told of calls, queues and the ways out of queues";
            let fix = format!(
                "run the check again while a caller waits in a queue; or see that `read perm` in `asterisk -rx \
                 'manager show user {}'` names system, call, agent and dialplan",
                self.asterisk.settings.username
            );
            return self.add("event-classes", "warning", message, fix);
        }
        self.ok("event-classes", format!("events come in of: {}", names.join(", ")));
        for (class, consequence) in missing {
            let fix = self.account(&format!(
                "if none comes while a caller waits in a queue, add `{class}` to `read`"
            ));
            let message = format!(
                "no event of `{class}` came while the check listened; without them {consequence}"
            );
            self.add("event-classes", "warning", message, fix);
        }
    }

    fn queues(&mut self) {
        let names: BTreeSet<&str> =
            self.asterisk.state.queues.settings.keys().map(String::as_str).collect();
        if names.is_empty() {
            let fix = if self.may("QueueStatus") {
                "define one in queues.conf (FreePBX: Applications, Queues; by hand: queues_custom.conf), then run \
                 `asterisk -rx 'queue reload all'`"
            } else {
                "load the module: `asterisk -rx 'module load app_queue.so'`, and look why it was not loaded"
            };
            return self.add(
                "queues",
                "warning",
                "the PBX has no queues, so there is nobody to watch waiting",
                fix,
            );
        }
        self.ok("queues", format!("{}: {}", count(names.len(), "queue"), listed(&names)));
    }

    fn persistent_members(&mut self, persistent: Option<bool>) {
        let dynamic = self
            .asterisk
            .state
            .queues
            .members()
            .filter(|(_, seat)| seat.membership == "dynamic")
            .count();
        let file = if self.is_freepbx() {
            "queues_general_custom.conf"
        } else {
            "queues.conf, section [general]"
        };
        let fix = format!("set `persistentmembers = yes` in {file}");
        match persistent {
            Some(true) => self.ok("persistent-members", "dynamic members survive a restart of Asterisk"),
            Some(false) => self.add(
                "persistent-members",
                if dynamic > 0 { "warning" } else { "ok" },
                format!(
                    "persistentmembers is off: a restart of Asterisk forgets dynamic members ({dynamic} now); Jackfield \
                     puts back those it saw, when it runs at that time"
                ),
                if dynamic > 0 { fix } else { String::new() },
            ),
            None if dynamic > 0 => self.add(
                "persistent-members",
                "ok",
                format!(
                    "{}; whether Asterisk keeps them over a restart this account may rightly not read (GetConfig)",
                    count(dynamic, "dynamic member")
                ),
                "",
            ),
            None => {}
        }
    }

    fn members(&mut self) {
        let rules = &self.asterisk.rules;
        let seats = || self.asterisk.state.queues.members();
        let nameless = |seat: &Seat, interface: &str| {
            rules.of_member(interface, &seat.state_interface).is_none()
        };
        let unresolved: BTreeSet<&str> = seats()
            .filter(|((_, interface), seat)| nameless(seat, interface))
            .map(|((_, interface), _)| interface.as_str())
            .collect();
        if !unresolved.is_empty() {
            let message =
                format!("members behind which no extension is known: {}", listed(&unresolved));
            let fix = format!(
                "widen `extensions` = {:?} in the connector's settings, or give these members a phone's interface such as \
                 PJSIP/1001",
                self.asterisk.settings.extensions
            );
            self.add("members", "warning", message, fix);
        }
    }

    fn extensions(&mut self) {
        let pattern = &self.asterisk.settings.extensions;
        match self.asterisk.state.extensions.count() {
            0 => self.add(
                "extensions",
                "failure",
                format!("no phone and no hint on the PBX matches `extensions` = {pattern:?}"),
                "set `extensions` in the connector's settings to a pattern that the names of your phones match, \
                 which is the part after PJSIP/ in `asterisk -rx 'pjsip list endpoints'`",
            ),
            number => self.ok("extensions", format!("{} match {pattern:?}", count(number, "extension"))),
        }
        let odd: Vec<(&str, &str)> = self.asterisk.state.extensions.odd_ones();
        if let Some((number, device)) = odd.first() {
            let devices: BTreeSet<&str> = odd.iter().map(|(_, device)| *device).collect();
            self.add(
                "trunks",
                "warning",
                format!("taken for people's phones, but perhaps trunks (no hint, or a number of another length): {}", listed(&devices)),
                format!(
                    "if it is a trunk, name it in the connector's settings: trunks = \"^{device}$\"; if {number} is a phone, \
                     nothing needs to change"
                ),
            );
        }
    }

    fn clock(&mut self) {
        let Some(off) = self.asterisk.state.session.clock_off else { return };
        let millis = off / 1_000_000;
        if millis.abs() < 2000 {
            return self.ok(
                "clock",
                format!("the clocks of PBX and host agree within {} ms", millis.abs().max(1)),
            );
        }
        let (seconds, way) = (millis.abs() / 1000, if millis > 0 { "ahead of" } else { "behind" });
        self.add(
            "clock",
            "warning",
            format!("the PBX's clock is {seconds} s {way} this host's: times of the PBX in events are off by as much"),
            "run an NTP client (chrony, systemd-timesyncd) on both machines",
        );
    }

    fn freepbx(&mut self) {
        if self.is_freepbx() {
            self.add(
                "freepbx",
                "ok",
                "this looks like FreePBX, which rewrites its files at every Apply Config",
                "change nothing but manager_custom.conf, queues_custom.conf, queues_general_custom.conf and \
                 extensions_custom.conf by hand",
            );
        }
    }

    pub(super) fn is_freepbx(&self) -> bool {
        self.asterisk.state.queues.members().any(|((_, interface), seat)| {
            interface.contains("@from-queue") || seat.state_interface.contains("@ext-local")
        })
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn listed(names: &BTreeSet<&str>) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_LISTED).copied().collect();
    let more = names.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
