//! The command `probe`: asks the PBX what is not known yet, and answers with what the doctor shows.

mod findings;
mod held;

use std::collections::BTreeMap;

use jackfield_sdk::{Action, Command, Error};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Asterisk,
    frame::{Header, get_text, text},
    held::TEMPLATE,
    out::Out,
    session::{Asked, Session},
};

/// Probes that wait for an answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Probes {
    waiting: BTreeMap<u64, Found>,
}

/// What a probe has found out so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Found {
    /// Callers shall be held here: the host has hooks.
    hooks: bool,
    /// What queues.conf says of `persistentmembers`, if it could be read.
    persistent_members: Option<bool>,
    /// The dialplan's `[jackfield]`: what its `version` says; empty when there is none, or no such context.
    template: Option<String>,
    /// The queue of callers whom nobody holds any more; empty when none is named.
    fallback: Option<String>,
    /// Numbers that shall wait for nobody, as the host was told; in the form of the template's list.
    emergency: Option<String>,
    /// The template's list of them; empty when it has none.
    emergency_at_pbx: Option<String>,
}

impl Probes {
    /// Asks what is not known yet.
    pub fn begin(&mut self, command: &Command, session: &mut Session, out: &mut Out<'_>) {
        let hooks = command.argument("hooks") == Some("true");
        let emergency = command.argument("emergency").map(str::to_owned);
        let command = command.id;
        self.waiting.insert(command, Found { hooks, emergency, ..Found::default() });
        session.ping(out);
        session.ask(Asked::ListCommands, "ListCommands", &[], out);
        if session.actions.contains_key("GetConfig") {
            let headers = [("Filename", "queues.conf"), ("Category", "general")];
            session.ask(Asked::ProbeConfig(command), "GetConfig", &headers, out);
        }
        let holds = hooks || session.actions.contains_key("AGI");
        if holds && session.actions.contains_key("ShowDialPlan") {
            let headers = [("Context", TEMPLATE)];
            session.ask(Asked::ProbeDialplan(command), "ShowDialPlan", &headers, out);
        }
        if holds && session.actions.contains_key("Getvar") {
            for (asked, global) in [
                (Asked::ProbeFallback(command), "JACKFIELD_FALLBACK_QUEUE"),
                (Asked::ProbeEmergency(command), EMERGENCY),
            ] {
                session.ask(asked, "Getvar", &[("Variable", global)], out);
            }
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
        if let Some(found) = self.waiting.get_mut(&command) {
            found.persistent_members = Some(persistent);
        }
    }

    /// The dialplan has no such context, or this account may not look.
    pub fn no_dialplan(&mut self, command: u64, headers: &[Header<'_>]) {
        let is_missing = get_text(headers, b"Message").contains("not find");
        if let Some(found) = self.waiting.get_mut(&command).filter(|_| is_missing) {
            found.template = Some(String::new());
        }
    }

    /// A line of the template; true when it was the last.
    pub fn dialplan(&mut self, command: u64, headers: &[Header<'_>]) -> bool {
        if let Some(found) = self.waiting.get_mut(&command) {
            let version = found.template.get_or_insert_default();
            if get_text(headers, b"Extension") == "version" {
                *version = get_text(headers, b"AppData");
            }
        }
        headers[0].1 == b"ShowDialPlanComplete"
    }

    /// The global variable that names the fallback queue.
    pub fn fallback(&mut self, command: u64, headers: &[Header<'_>], success: bool) {
        if let Some(found) = self.waiting.get_mut(&command).filter(|_| success) {
            found.fallback = Some(get_text(headers, b"Value"));
        }
    }

    /// The global variable that lists the emergency numbers.
    pub fn emergency(&mut self, command: u64, headers: &[Header<'_>], success: bool) {
        if let Some(found) = self.waiting.get_mut(&command).filter(|_| success) {
            found.emergency_at_pbx = Some(get_text(headers, b"Value"));
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
}

/// `Ping: Keepalive command.  (Priv: <none>)`: the part in parentheses.
pub fn privilege(description: &[u8]) -> Option<String> {
    let description = text(description);
    let (_, privilege) = description.rsplit_once("(Priv: ")?;
    Some(privilege.trim_end().trim_end_matches(')').to_owned())
}

/// The template's list of numbers that wait for nobody.
const EMERGENCY: &str = "JACKFIELD_EMERGENCY";

/// The actions that callers who are held need.
pub const HOLDING: [&str; 5] = ["AGI", "Setvar", "AbsoluteTimeout", "Redirect", "Hangup"];

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
        ("held-callers", HOLDING.into_iter().all(may)),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect()
}

/// When Asterisk started, nanoseconds since the Unix epoch, its local time taken for UTC.
///
/// It says so in its own local time without naming the zone. The host tells a restart by another value, so
/// the same start must always give the same one: nothing that varies (uptime, clocks) goes into it.
pub fn started_at(headers: &[Header<'_>]) -> Option<u64> {
    let local =
        seconds(&get_text(headers, b"CoreStartupDate"), &get_text(headers, b"CoreStartupTime"))?;
    u64::try_from(local).ok()?.checked_mul(1_000_000_000)
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
pub fn report(asterisk: &Asterisk, command: u64) -> String {
    let state = &asterisk.state;
    let found = state.probes.waiting.get(&command).cloned().unwrap_or_default();
    let session = &state.session;
    json!({
        "version": state.pbx.version,
        "capabilities": state.pbx.capabilities,
        "privileges": session.actions,
        "classes": session.classes,
        "queues": state.queues.settings.keys().collect::<Vec<_>>(),
        "findings": findings::all(asterisk, &found),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_what_the_pbx_prints_of_it_and_nothing_else() {
        let started = |date: &'static str, time: &'static str| {
            let headers: [Header<'_>; 2] =
                [(b"CoreStartupDate", date.as_bytes()), (b"CoreStartupTime", time.as_bytes())];
            started_at(&headers)
        };
        assert_eq!(started("2026-11-21", "19:16:50"), Some(1_795_288_610_000_000_000));
        assert_eq!(started("2026-11-21", "19:16:51"), Some(1_795_288_611_000_000_000));
        assert_eq!(started("", ""), None);
        assert_eq!(started("2026-13-21", "19:16:50"), None);
        assert_eq!(started_at(&[]), None);
    }
}
