//! Every command ends in exactly one outcome: whether the PBX answers, breaks off, is away, or says nothing.

use std::{collections::BTreeMap, time::Duration};

use super::{Command, ConformError, Conversation, Law, Verdict, failed};
use crate::rig::{Told, Unkind, What};

/// How long after its deadline an outcome still counts, as in the host.
const GRACE: Duration = Duration::from_secs(60);

pub(super) fn judge(conversations: &[Conversation<'_>]) -> Result<Verdict, ConformError> {
    let law = Law::Command;
    let mut tried = 0;
    for conversation in conversations {
        if conversation.turns.iter().all(|turn| turn.command.is_none()) {
            continue;
        }
        for how in [How::Answered, How::CutAfter, How::Away, How::Mute] {
            let (told, given) = run(conversation, how)?;
            tried += given.len();
            if let Some(failure) = failed(&told) {
                let sentence =
                    format!("When {how}, the connector fails (`{}`).", conversation.name);
                return Ok(law.broken(sentence, vec![failure]));
            }
            let evidence = wrong(&told, &given);
            if !evidence.is_empty() {
                let sentence = format!(
                    "When {how}, not every command has exactly one outcome (`{}`).",
                    conversation.name
                );
                return Ok(law.broken(sentence, evidence));
            }
        }
    }
    if tried == 0 {
        return Ok(law.not_tried("No conversation gives a command: add steps with `command`."));
    }
    Ok(law.holds(format!(
        "Each of {tried} commands had exactly one outcome: answered, cut off, given while the PBX was away, never answered, and \
         unknown to the connector."
    )))
}

#[derive(Clone, Copy)]
enum How {
    Answered,
    CutAfter,
    Away,
    Mute,
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Answered => "the PBX answers",
            Self::CutAfter => "the connection breaks right after the command",
            Self::Away => "the PBX is away",
            Self::Mute => "the PBX never answers",
        })
    }
}

/// All that was told, and the kinds of the commands given, by id.
fn run(
    conversation: &Conversation<'_>,
    how: How,
) -> Result<(Vec<Told>, BTreeMap<u64, String>), ConformError> {
    let links = conversation.links();
    let mut rig = conversation.rig(Unkind::default())?;
    let mut given = BTreeMap::new();
    let mut late = Duration::ZERO;
    let mut longest = Duration::from_secs(30);
    for (number, turn) in conversation.turns.iter().enumerate() {
        rig.run_until(turn.at + late);
        rig.turn(number);
        rig.settle();
        let Some(Command { kind, arguments, within }) = &turn.command else { continue };
        longest = longest.max(*within);
        let before = rig.at();
        let cut = |rig: &mut crate::rig::Rig, down| {
            for link in &links {
                rig.cut(link, down);
            }
        };
        match how {
            How::Answered => {
                given.insert(rig.command(kind, arguments, *within), kind.clone());
            }
            How::CutAfter => {
                given.insert(rig.command(kind, arguments, *within), kind.clone());
                cut(&mut rig, Duration::ZERO);
                rig.run_until(rig.at() + super::REST);
            }
            How::Away => {
                cut(&mut rig, Duration::from_secs(5));
                given.insert(rig.command(kind, arguments, *within), kind.clone());
                rig.run_until(rig.at() + super::REST);
            }
            How::Mute => {
                rig.mute();
                given.insert(rig.command(kind, arguments, *within), kind.clone());
            }
        }
        rig.settle();
        late += rig.at() - before;
    }
    // What nobody knows has an outcome too.
    let kind = "no-such-command-as-this";
    given.insert(rig.command(kind, &[], Duration::from_secs(30)), kind.to_owned());
    rig.run_until(rig.at() + longest + GRACE);
    Ok((rig.told(), given))
}

fn wrong(told: &[Told], given: &BTreeMap<u64, String>) -> Vec<String> {
    let mut outcomes: BTreeMap<u64, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for told in told {
        match &told.what {
            What::Outcome(id, ..) => *outcomes.entry(*id).or_default() += 1,
            // The host hears only the first.
            What::Refused(what) if what.starts_with("an outcome of command") => {
                wrong.push(format!("it gives {what}"));
            }
            _ => {}
        }
    }
    for (id, kind) in given {
        if !outcomes.contains_key(id) {
            wrong.push(format!(
                "command {id} (`{kind}`) has no outcome, a minute after its deadline"
            ));
        }
    }
    wrong
}
