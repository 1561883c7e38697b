//! What the doctor says about holding callers: rights, events, and the template in the dialplan.

use std::collections::BTreeSet;

use super::{EMERGENCY, HOLDING, findings::Doctor};

/// The dialplan template, to be copied as it is.
const DIALPLAN: &str = include_str!("../../dialplan.conf");

impl Doctor<'_> {
    /// Nothing, unless callers shall be held here or could be.
    pub(super) fn held(&mut self) {
        if self.probed.hooks {
            self.rights_to_hold();
            self.events_of_held();
        }
        if self.probed.hooks || self.may("AGI") {
            self.template();
        }
    }

    fn rights_to_hold(&mut self) {
        let missing: Vec<&str> = HOLDING.into_iter().filter(|action| !self.may(action)).collect();
        if missing.is_empty() {
            return self.add(
                "held-callers",
                "ok",
                "may hold callers; the `agi` that this takes lets whoever has this account's secret run programs on the PBX \
                 (EXEC System), so keep `permit` narrow",
                "if nothing of yours uses System(), shut that door too: `noload => app_system.so` in modules.conf",
            );
        }
        let classes = match missing.contains(&"AGI") {
            true if missing.len() > 1 => "`agi` and `call`",
            true => "`agi`",
            false => "`call`",
        };
        let fix = self.account(&format!("add {classes} to `write` and `agi,dtmf` to `read`"));
        let message = format!(
            "may not use {}: callers whom the dialplan hands over cannot be held, so routers and treatments are never asked",
            missing.join(", ")
        );
        self.add("held-callers", "failure", message, fix);
    }

    fn events_of_held(&mut self) {
        let seen = |class: &str| self.asterisk.state.session.classes.contains(class);
        let missing: Vec<&str> = ["agi", "dtmf"].into_iter().filter(|class| !seen(class)).collect();
        if missing.is_empty() {
            return self.ok("held-events", "callers who are handed over are told, and their keys");
        }
        let fix = self.account(&format!(
            "if none comes while a caller is handed over and presses keys, add `{}` to `read` (and the two `eventfilter` \
             lines of the documentation, if there are such lines)",
            missing.join(",")
        ));
        let message = format!(
            "no event of `{}` came while the check listened: it is not known whether this account is told of callers who \
             are handed over and of their keys",
            missing.join("` and `")
        );
        // Nobody may have called in these seconds.
        self.add("held-events", "ok", message, fix);
    }

    fn template(&mut self) {
        let level = if self.probed.hooks { "failure" } else { "ok" };
        let file = if self.is_freepbx() { "extensions_custom.conf" } else { "extensions.conf" };
        let copy = format!(
            "copy the following into {file}, then run `asterisk -rx 'dialplan reload'`:\n\n{DIALPLAN}"
        );
        match self.probed.template.as_deref() {
            None if self.probed.hooks => self.add(
                "dialplan",
                "warning",
                "this account may not look whether the dialplan has the template for callers who are held (ShowDialPlan)",
                self.account("add `reporting` to `write`"),
            ),
            None => {}
            Some("") => self.add(
                "dialplan",
                level,
                "the dialplan has no context [jackfield], which hands callers over and takes them back when Jackfield is gone",
                copy,
            ),
            Some(version) if version != current() => self.add(
                "dialplan",
                "warning",
                format!("the dialplan has another version of the context [jackfield] ({version}, not {})", current()),
                copy,
            ),
            Some(_) => {
                self.ok("dialplan", "the dialplan has the context [jackfield] for callers who are held");
                self.fallback_queue();
                self.emergency_numbers();
            }
        }
    }

    /// The template must know the numbers too: when Jackfield is gone there is nobody else to know them.
    fn emergency_numbers(&mut self) {
        let Some(wanted) = self.probed.emergency.as_deref() else { return };
        let line = format!(
            "write `{EMERGENCY}={wanted}` into [globals] of the dialplan, then run `asterisk -rx 'dialplan reload'`"
        );
        let Some(listed) = self.probed.emergency_at_pbx.as_deref() else {
            let message = "this account may not ask (Getvar) whether the dialplan knows the emergency numbers: without them \
                           such a call waits for Jackfield, when it is gone for the whole lease";
            return self.add(
                "emergency-numbers",
                "warning",
                message,
                format!("see that it does: {line}"),
            );
        };
        let [wanted, listed] = [wanted, listed].map(numbers);
        let only = |these: &BTreeSet<&str>, those: &BTreeSet<&str>| {
            these.difference(those).copied().collect::<Vec<_>>().join(", ")
        };
        let (missing, more) = (only(&wanted, &listed), only(&listed, &wanted));
        if !missing.is_empty() {
            let message = format!(
                "the dialplan's {EMERGENCY} lacks {missing} of `[hooks] emergency`: such a call waits for Jackfield, when it is \
                 gone for the whole lease, and then goes into the fallback queue"
            );
            return self.add("emergency-numbers", "failure", message, line);
        }
        if !more.is_empty() {
            let message = format!(
                "the dialplan's {EMERGENCY} names {more}, which `[hooks] emergency` does not: no hook ever hears of such a call"
            );
            let fix = format!("add it to `emergency` in [hooks], or {line}");
            return self.add("emergency-numbers", "warning", message, fix);
        }
        if !wanted.is_empty() {
            self.ok(
                "emergency-numbers",
                "calls to emergency numbers go on in the dialplan, with Jackfield and without",
            );
        }
    }

    fn fallback_queue(&mut self) {
        let queues = &self.asterisk.state.queues.settings;
        match self.probed.fallback.as_deref() {
            None => {}
            Some("") => self.add(
                "fallback-queue",
                "warning",
                "no fallback queue is named: callers whom Jackfield held when it died go on behind their Gosub",
                "if nobody is there for them, set JACKFIELD_FALLBACK_QUEUE=<a queue> in [globals] of the dialplan, then run \
                 `asterisk -rx 'dialplan reload'`",
            ),
            Some(queue) if !queues.contains_key(queue) => {
                let message = format!("the fallback queue {queue} is none of the PBX's queues");
                self.add(
                    "fallback-queue",
                    "failure",
                    message,
                    "set JACKFIELD_FALLBACK_QUEUE in [globals] of the dialplan to a queue that exists (a realtime queue \
                     shows once it was used), then run `asterisk -rx 'dialplan reload'`",
                );
            }
            Some(queue) => {
                let message = format!("callers whom nobody holds any more go into the queue {queue}");
                self.ok("fallback-queue", message);
            }
        }
    }
}

/// The fields of a list as the template reads it: nothing is trimmed.
fn numbers(list: &str) -> BTreeSet<&str> {
    list.split('|').filter(|number| !number.is_empty()).collect()
}

/// What the template's `version` says.
fn current() -> &'static str {
    let (_, rest) = DIALPLAN.split_once("NoOp(").unwrap_or_default();
    rest.split(')').next().unwrap_or_default()
}
