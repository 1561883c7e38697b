//! The command `probe`: asks the PBX what is not known yet, and answers with what the doctor shows.

mod findings;

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
pub fn report(asterisk: &Asterisk, _out: &Out<'_>) -> String {
    let state = &asterisk.state;
    let session = &state.session;
    json!({
        "version": state.pbx.version,
        "capabilities": state.pbx.capabilities,
        "privileges": session.actions,
        "classes": session.classes,
        "queues": state.queues.settings.keys().collect::<Vec<_>>(),
        "findings": findings::all(asterisk, state.probes.persistent_members()),
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
