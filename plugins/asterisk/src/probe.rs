//! The command `probe`: what the doctor shows about this connector, and what a fix would be.

use std::collections::BTreeMap;

use jackfield_sdk::{Action, Error};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Asterisk,
    frame::{Header, get_text, text},
    out::Out,
    session::{Asked, Session},
};

/// Probes that wait for an answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Probes {
    /// By command; what queues.conf says of `persistentmembers`, if it could be read.
    waiting: BTreeMap<u64, Option<bool>>,
}

impl Probes {
    /// Asks what is not known yet.
    pub fn begin(&mut self, command: u64, session: &mut Session, out: &mut Out<'_>) {
        self.waiting.insert(command, None);
        session.ping(out);
        session.ask(Asked::ListCommands, "ListCommands", &[], out);
        if session.actions.contains_key("GetConfig") {
            let headers = [("Filename", "queues.conf"), ("Category", "general")];
            session.ask(Asked::ProbeConfig(command), "GetConfig", &headers, out);
        }
        session.ask(Asked::ProbeEnd(command), "Ping", &[], out);
    }

    /// queues.conf, as far as the PBX shows it.
    pub fn config(&mut self, command: u64, headers: &[Header<'_>], success: bool) {
        if !success {
            return;
        }
        let on = |value: &str| {
            let value = value.trim().to_ascii_lowercase();
            ["yes", "true", "on", "1", "y", "t"].contains(&value.as_str())
        };
        let persistent = headers
            .iter()
            .filter_map(|header| text(header.1).strip_prefix("persistentmembers=").map(on))
            .next_back()
            .unwrap_or(false);
        if let Some(known) = self.waiting.get_mut(&command) {
            *known = Some(persistent);
        }
    }

    /// Everything is answered.
    pub fn end(&mut self, command: u64, report: String, out: &mut Out<'_>) {
        if self.waiting.remove(&command).is_some() {
            out.push(Action::done(command, report));
        }
    }

    /// The link is lost.
    pub fn lost(&mut self, out: &mut Out<'_>) {
        for (command, _) in std::mem::take(&mut self.waiting) {
            out.push(Action::failed(
                command,
                Error::retryable("link-lost", "the link to the PBX broke"),
            ));
        }
    }

    fn persistent_members(&self) -> Option<bool> {
        self.waiting.values().next().copied().flatten()
    }
}

/// `Ping: Keepalive command.  (Priv: <none>)`: the part in parentheses.
pub fn privilege(description: &[u8]) -> Option<String> {
    let description = text(description);
    let (_, privilege) = description.rsplit_once("(Priv: ")?;
    Some(privilege.trim_end().trim_end_matches(')').to_owned())
}

/// What this account can show and do.
pub fn capabilities(session: &Session, sees_variables: bool) -> Vec<String> {
    let may = |action: &str| session.actions.contains_key(action);
    let all = [
        ("queues", may("QueueStatus")),
        ("calls", may("CoreShowChannels")),
        ("extensions", may("DeviceStateList") || may("ExtensionStateList")),
        ("members", may("QueueAdd") && may("QueueRemove")),
        ("pause", may("QueuePause")),
        ("exit-reasons", sees_variables),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect()
}

/// When Asterisk started, nanoseconds since the Unix epoch.
///
/// It says so in its own local time without naming the zone. Where the uptime is known too, the zone follows
/// from both; else the time is taken for UTC. Either way the same start gives the same value.
pub fn started_at(headers: &[Header<'_>], uptime: Option<u64>, wall_ns: u64) -> Option<u64> {
    let local =
        seconds(&get_text(headers, b"CoreStartupDate"), &get_text(headers, b"CoreStartupTime"))?;
    let zone = uptime.map_or(0, |uptime| {
        const QUARTER: i64 = 900;
        let really = (wall_ns / 1_000_000_000) as i64 - uptime as i64;
        let off = local - really;
        (off + QUARTER / 2).div_euclid(QUARTER) * QUARTER
    });
    u64::try_from(local - zone).ok()?.checked_mul(1_000_000_000)
}

/// `2026-11-21` and `19:16:50` in seconds since the epoch.
fn seconds(date: &str, time: &str) -> Option<i64> {
    let numbers = |text: &str, by: char| -> Option<[i64; 3]> {
        let numbers: Vec<i64> =
            text.split(by).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        numbers.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    if !(1970..3000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since the epoch, counting years from March so that the leap day is the last.
    let years = year - i64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let days = years * 365 + years.div_euclid(4) - years.div_euclid(100)
        + years.div_euclid(400)
        + (month_from_march * 153 + 2) / 5
        + day
        - 719_469;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Everything the doctor shows about this connector, as JSON.
pub fn report(asterisk: &Asterisk, _out: &Out<'_>) -> String {
    let state = &asterisk.state;
    let session = &state.session;
    let mut findings = Findings(Vec::new());
    privileges(session, &mut findings);
    classes(session, state.queues.sees_variables, &mut findings);
    queues(asterisk, &mut findings);
    extensions(asterisk, &mut findings);
    clock(session, &mut findings);
    json!({
        "version": state.pbx.version,
        "capabilities": state.pbx.capabilities,
        "privileges": session.actions,
        "classes": session.classes,
        "queues": state.queues.settings.keys().collect::<Vec<_>>(),
        "findings": findings.0,
    })
    .to_string()
}

struct Findings(Vec<serde_json::Value>);

impl Findings {
    fn add(
        &mut self,
        check: &str,
        level: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.0.push(
            json!({ "check": check, "level": level, "message": message.into(), "fix": fix.into() }),
        );
    }

    fn ok(&mut self, check: &str, message: impl Into<String>) {
        self.add(check, "ok", message, "");
    }
}

fn privileges(session: &Session, findings: &mut Findings) {
    let needed = [
        ("QueueStatus", "agent", "queues cannot be listed"),
        ("CoreShowChannels", "reporting", "calls cannot be listed"),
        ("DeviceStateList", "reporting", "extensions cannot be listed"),
        ("QueueAdd", "agent", "members cannot be added or removed"),
        ("QueuePause", "agent", "members cannot be paused"),
    ];
    let mut complete = true;
    for (action, class, consequence) in needed {
        if !session.actions.contains_key(action) {
            complete = false;
            findings.add(
                "privileges",
                "failure",
                format!("the account may not use {action}: {consequence}"),
                format!(
                    "add `{class}` to `write` of its section in manager.conf, then `manager reload`"
                ),
            );
        }
    }
    if complete {
        findings.ok("privileges", "the account may do everything that is needed");
    }
    let dangerous = [
        (
            "Command",
            "command",
            "it can run any CLI command, also `!` shell commands of some builds",
        ),
        ("AGI", "agi", "it can run programs on the PBX through EXEC System: it equals a shell"),
        ("UpdateConfig", "config", "it can rewrite any configuration file"),
        ("ModuleLoad", "system", "it can load modules, write the dialplan and the database"),
        ("Originate", "originate", "it can place calls at your cost; nothing here needs that yet"),
    ];
    for (action, class, danger) in dangerous {
        if session.actions.contains_key(action) {
            findings.add(
                "too-much",
                "warning",
                format!("the account has the class `{class}`, which is not needed: {danger}"),
                format!("remove `{class}` from `write` of its section in manager.conf"),
            );
        }
    }
}

fn classes(session: &Session, sees_variables: bool, findings: &mut Findings) {
    if session.fully_booted {
        findings.ok("fully-booted", "the account is told when Asterisk has booted");
    } else {
        findings.add(
            "fully-booted",
            "warning",
            "the account is not told when Asterisk has booted, so it is asked instead",
            "add `system` to `read` (never needed in `write`) of its section in manager.conf",
        );
    }
    for (class, consequence) in
        [("call", "calls are not seen"), ("agent", "queues and agents are not seen live")]
    {
        if session.classes.contains(class) {
            findings.ok("event-classes", format!("events of the class `{class}` come in"));
        } else {
            findings.add(
                "event-classes",
                "warning",
                format!(
                    "no event of the class `{class}` came in yet; if none ever does, {consequence}"
                ),
                format!("make sure `{class}` is in `read` of its section in manager.conf"),
            );
        }
    }
    if sees_variables {
        findings.ok("exit-reasons", "the ways out of queues can be told apart");
    } else {
        findings.add(
            "exit-reasons",
            "warning",
            "no dialplan event came in yet: without them time-outs, refusals and hang-ups by the PBX are `unknown`",
            "add `dialplan` to `read` of its section in manager.conf; with `system` in `write` the noise is filtered",
        );
    }
}

fn queues(asterisk: &Asterisk, findings: &mut Findings) {
    let state = &asterisk.state;
    let names: Vec<&str> = state.queues.settings.keys().map(String::as_str).collect();
    if names.is_empty() {
        findings.add("queues", "warning", "the PBX has no queues", "define one in queues.conf");
    } else {
        findings.ok("queues", format!("{} queues: {}", names.len(), names.join(", ")));
    }
    let freepbx = is_freepbx(asterisk);
    let dynamic = state.queues.members().filter(|(_, seat)| seat.membership == "dynamic").count();
    let file =
        if freepbx { "queues_general_custom.conf" } else { "queues.conf, section [general]" };
    match state.probes.persistent_members() {
        Some(true) => findings.ok("persistent-members", "dynamic members survive a restart of Asterisk"),
        Some(false) if dynamic > 0 => findings.add(
            "persistent-members",
            "warning",
            format!("{dynamic} dynamic members would be gone after a restart; Jackfield puts back those it knows"),
            format!("set `persistentmembers = yes` in {file}"),
        ),
        None if dynamic > 0 => findings.add(
            "persistent-members",
            "warning",
            "could not check whether dynamic members survive a restart: the account may not read configuration",
            format!("look for `persistentmembers = yes` in {file}"),
        ),
        _ => {}
    }
    let unresolved: Vec<&str> = state
        .queues
        .members()
        .filter(|((_, interface), seat)| {
            asterisk.rules.of_member(interface, &seat.state_interface).is_none()
        })
        .map(|((_, interface), _)| interface.as_str())
        .collect();
    if !unresolved.is_empty() {
        findings.add(
            "members",
            "warning",
            format!("no extension is known behind these members: {}", unresolved.join(", ")),
            "widen `extensions` in the connector's settings, or give the members a phone's interface",
        );
    }
    if freepbx {
        findings.add(
            "freepbx",
            "ok",
            "this looks like FreePBX: its own files are overwritten at every Apply Config",
            "make changes in manager_custom.conf, queues_general_custom.conf and extensions_custom.conf",
        );
    }
}

fn is_freepbx(asterisk: &Asterisk) -> bool {
    asterisk.state.queues.members().any(|((_, interface), seat)| {
        interface.contains("@from-queue") || seat.state_interface.contains("@ext-local")
    })
}

fn extensions(asterisk: &Asterisk, findings: &mut Findings) {
    match asterisk.state.extensions.count() {
        0 => findings.add(
            "extensions",
            "failure",
            format!("nothing on the PBX matches `extensions` = `{}`", asterisk.settings.extensions),
            "set `extensions` to a pattern that your phones' names (the part after PJSIP/) match",
        ),
        count => findings.ok("extensions", format!("{count} extensions")),
    }
}

fn clock(session: &Session, findings: &mut Findings) {
    let Some(off) = session.clock_off else { return };
    let seconds = off / 1_000_000_000;
    if seconds.abs() >= 2 {
        findings.add(
            "clock",
            "warning",
            format!("the PBX's clock is {seconds} s off ours"),
            "run an NTP client on both machines",
        );
    } else {
        findings.ok("clock", "the PBX's clock agrees with ours");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_the_same_whatever_the_uptime_rounds_to() {
        let headers: [Header<'_>; 2] =
            [(b"CoreStartupDate", b"2026-11-21"), (b"CoreStartupTime", b"19:16:50")];
        let wall = |second: u64| (1_795_288_610 + second) * 1_000_000_000;
        assert_eq!(started_at(&headers, None, 0), Some(wall(0)));
        // Told in UTC+1: the same moment an hour earlier.
        for jitter in [0, 1, 2] {
            assert_eq!(
                started_at(&headers, Some(10), wall(10 + jitter) - 3_600_000_000_000),
                Some(wall(0) - 3_600_000_000_000)
            );
        }
    }
}
