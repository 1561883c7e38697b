//! One caller's stay in one queue, as three witnesses tell it: Asterisk's queue_log, the phones, Jackfield.

use std::{collections::BTreeMap, fmt, time::Duration};

use lab::QueueLogLine;

use crate::lateness;

/// One stay. What a witness cannot know is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Visit {
    /// Native name of the queue.
    pub queue: String,
    /// How it ended, by Jackfield's word; `None` while it goes on.
    pub exit: Option<Exit>,
    /// Display name of the member who talked.
    pub member: Option<String>,
    /// Offers to members who did not take them while the caller stayed.
    pub refusals: Option<usize>,
    /// From the entry to the exit.
    pub waited: Option<Duration>,
    /// The conversation with the member.
    pub talked: Option<Duration>,
    /// Who ended that conversation: `caller`, `member`, `transfer`.
    pub ended_by: Option<String>,
}

impl Visit {
    /// A stay that has just begun.
    pub fn new(queue: &str) -> Visit {
        Visit {
            queue: queue.to_owned(),
            exit: None,
            member: None,
            refusals: None,
            waited: None,
            talked: None,
            ended_by: None,
        }
    }

    /// A stay that ended this way.
    pub fn ended(queue: &str, exit: &str) -> Visit {
        Visit { exit: Some(Exit::new(exit)), ..Visit::new(queue) }
    }

    /// A stay that led to a member.
    pub fn answered(queue: &str, member: &str, ended_by: &str) -> Visit {
        Visit {
            member: Some(member.to_owned()),
            ended_by: Some(ended_by.to_owned()),
            ..Visit::ended(queue, "answered")
        }
    }
}

/// How a stay ended: one word, or several that this witness cannot tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit(Vec<String>);

impl Exit {
    /// Exactly this.
    pub fn new(word: &str) -> Exit {
        Exit(vec![word.to_owned()])
    }

    fn one_of(words: &[&str]) -> Exit {
        Exit(words.iter().map(|&word| word.to_owned()).collect())
    }

    fn agrees(&self, other: &Exit) -> bool {
        self.0.iter().any(|word| other.0.contains(word))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" or "))
    }
}

/// Two clocks that are read in whole seconds differ by less than one; the rest is the way to the host, whose
/// every hop (PBX, wire, socket, connector) waits as long for a processor as we do.
fn clocks() -> Duration {
    Duration::from_millis(1_150) + 4 * lateness::worst()
}

/// What two witnesses say differently about the same stays; empty when they agree.
pub fn differences(one: &[Visit], other: &[Visit]) -> Vec<String> {
    if one.len() != other.len() {
        return vec![format!("{} stays against {}", one.len(), other.len())];
    }
    let clocks = clocks();
    let mut found = Vec::new();
    for (number, (one, other)) in one.iter().zip(other).enumerate() {
        let mut differ = |what: &str, one: &dyn fmt::Debug, other: &dyn fmt::Debug| {
            found.push(format!("stay {}: {what} {one:?} against {other:?}", number + 1));
        };
        if one.queue != other.queue {
            differ("queue", &one.queue, &other.queue);
        }
        match (&one.exit, &other.exit) {
            (Some(a), Some(b)) if a.agrees(b) => {}
            (None, None) => {}
            (a, b) => differ("exit", a, b),
        }
        both(&one.member, &other.member, |a, b| a == b, |a, b| differ("member", a, b));
        both(&one.refusals, &other.refusals, |a, b| a == b, |a, b| differ("refusals", a, b));
        let near = |a: &Duration, b: &Duration| a.abs_diff(*b) <= clocks;
        both(&one.waited, &other.waited, near, |a, b| differ("waited", a, b));
        both(&one.talked, &other.talked, near, |a, b| differ("talked", a, b));
        both(&one.ended_by, &other.ended_by, |a, b| a == b, |a, b| differ("ended by", a, b));
    }
    found
}

/// Compares what both know.
fn both<T: fmt::Debug>(
    one: &Option<T>,
    other: &Option<T>,
    agree: impl Fn(&T, &T) -> bool,
    mut differ: impl FnMut(&dyn fmt::Debug, &dyn fmt::Debug),
) {
    if let (Some(one), Some(other)) = (one, other)
        && !agree(one, other)
    {
        differ(one, other);
    }
}

/// The event that the dialplan of [`crate::floor`] writes into queue_log where a caller leaves `Queue()`
/// and goes on: Asterisk itself logs nothing when it refuses a caller.
pub const WENT_ON: &str = "WENTON";

/// All stays of every caller by the Uniqueid of the caller's channel, as queue_log tells.
pub fn by_queue_log(log: &[QueueLogLine]) -> BTreeMap<String, Vec<Visit>> {
    let mut callers: BTreeMap<String, Vec<Visit>> = BTreeMap::new();
    for line in log {
        if matches!(line.callid.as_str(), "NONE" | "MANAGER" | "REALTIME") {
            continue;
        }
        note(line, callers.entry(line.callid.clone()).or_default());
    }
    callers
}

fn note(line: &QueueLogLine, visits: &mut Vec<Visit>) {
    let field = |index: usize| line.data.get(index).map(String::as_str).unwrap_or_default();
    let seconds = |index: usize| field(index).parse().ok().map(Duration::from_secs);
    match line.event.as_str() {
        "ENTERQUEUE" => {
            visits.push(Visit { refusals: Some(0), ..Visit::new(&line.queue) });
            return;
        }
        // Refused at the door, or taken in and sent away: only the former has no entry.
        WENT_ON => {
            let refused = match field(0) {
                "FULL" => "full",
                "JOINEMPTY" | "JOINUNAVAIL" => "join-empty",
                _ => return,
            };
            visits.push(Visit { refusals: Some(0), ..Visit::ended(&line.queue, refused) });
            return;
        }
        _ => {}
    }
    let Some(visit) = visits.iter_mut().rev().find(|visit| visit.queue == line.queue) else {
        return;
    };
    match line.event.as_str() {
        "RINGNOANSWER" => *visit.refusals.get_or_insert(0) += 1,
        "CONNECT" => {
            visit.exit = Some(Exit::new("answered"));
            visit.member = Some(line.agent.clone());
            visit.waited = seconds(0);
        }
        "COMPLETECALLER" | "COMPLETEAGENT" => {
            let by = if line.event == "COMPLETECALLER" { "caller" } else { "member" };
            visit.ended_by = Some(by.to_owned());
            visit.talked = seconds(1);
        }
        "BLINDTRANSFER" => {
            visit.ended_by = Some("transfer".to_owned());
            visit.talked = seconds(3);
        }
        // Its fields before the last three depend on how the transfer was made.
        "ATTENDEDTRANSFER" => {
            visit.ended_by = Some("transfer".to_owned());
            visit.talked = line.data.len().checked_sub(2).and_then(seconds);
        }
        // The log has one word for three ways; the phones know which.
        "ABANDON" => {
            visit.exit = Some(Exit::one_of(&["abandoned", "redirected", "hung-up-by-pbx"]));
            visit.waited = seconds(2);
        }
        "EXITWITHKEY" => {
            visit.exit = Some(Exit::new("pressed-key"));
            visit.waited = seconds(3);
        }
        "EXITWITHTIMEOUT" => {
            visit.exit = Some(Exit::new("timed-out"));
            visit.waited = seconds(2);
        }
        "EXITEMPTY" => {
            visit.exit = Some(Exit::new("leave-empty"));
            visit.waited = seconds(2);
        }
        "WITHDRAW" => {
            visit.exit = Some(Exit::new("withdrawn"));
            visit.waited = seconds(2);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, data: &[&str]) -> QueueLogLine {
        QueueLogLine {
            time: 1,
            callid: "1.1".to_owned(),
            queue: "support".to_owned(),
            agent: "Agent One".to_owned(),
            event: event.to_owned(),
            data: data.iter().map(|&field| field.to_owned()).collect(),
        }
    }

    #[test]
    fn a_log_of_one_answered_call_is_one_stay() {
        let log = [
            line("ENTERQUEUE", &["", "030", "1"]),
            line("RINGNOANSWER", &["2000"]),
            line("CONNECT", &["5", "1.2", "1"]),
            line("COMPLETEAGENT", &["5", "7", "1"]),
        ];
        let told = &by_queue_log(&log)["1.1"];
        let mut expected = Visit::answered("support", "Agent One", "member");
        assert_eq!(differences(told, std::slice::from_ref(&expected)), Vec::<String>::new());
        expected.waited = Some(Duration::from_millis(5_900));
        expected.talked = Some(Duration::from_millis(8_900));
        expected.refusals = Some(0);
        let found = differences(told, &[expected]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_refused_caller_has_a_stay_without_entry() {
        let told = &by_queue_log(&[line(WENT_ON, &["FULL"])])["1.1"];
        assert_eq!(differences(told, &[Visit::ended("support", "full")]), Vec::<String>::new());
        assert_eq!(differences(told, &[]).len(), 1);
    }
}
