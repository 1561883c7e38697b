//! What must change nothing: a snapshot and a restore at every step, and the pieces in which bytes come.

use super::{ConformError, Conversation, Law, Options, Verdict, failed};
use crate::{
    dice::Dice,
    rig::{Split, Told, Unkind, What},
    scenario::time,
};

/// Runs with pieces of random sizes.
const RANDOM: u64 = 8;

pub(super) fn judge_snapshot(conversations: &[Conversation<'_>]) -> Result<Verdict, ConformError> {
    let law = Law::Snapshot;
    if !conversations.iter().all(|it| it.setup.plugin.has_snapshot()) {
        return Ok(law.not_tried(
            "It has no snapshot: a crash or an update costs it its connection. Export `state` to keep it.",
        ));
    }
    let mut steps = 0;
    for conversation in conversations {
        let (_, plain) = conversation.run(Unkind::default(), |_, _| {})?;
        let unkind = Unkind { swap: true, ..Unkind::default() };
        let (rig, swapped) = conversation.run(unkind, |_, _| {})?;
        steps += rig.usage().swaps;
        if let Some(evidence) = other_effects(&plain, &swapped, true) {
            let sentence = format!(
                "Restored from its snapshot after every step of `{}` it does something else.",
                conversation.name
            );
            return Ok(law.broken(sentence, evidence));
        }
    }
    Ok(law
        .holds(format!("A snapshot and a restore after each of {steps} steps changed no effect.")))
}

pub(super) fn judge_chunking(
    conversations: &[Conversation<'_>],
    options: Options,
) -> Result<Verdict, ConformError> {
    let law = Law::Chunking;
    let (mut ways, mut bytes) = (0, 0);
    for conversation in conversations {
        let (rig, plain) = conversation.run(Unkind::default(), |_, _| {})?;
        bytes += rig.received();
        let every = [1, 2, 3, 7, 64, 1000].map(Split::Every).into_iter();
        let random = (0..RANDOM).map(|n| {
            let seed = options.seed + n;
            let most = [8, 60, 400, 3000][usize::try_from(n % 4).unwrap_or(0)];
            Split::Random(most, Dice::new(seed))
        });
        ways = every.len() + RANDOM as usize;
        for split in every.chain(random) {
            let how = match &split {
                Split::Every(size) => format!("in pieces of {size} bytes"),
                Split::Random(most, _) => {
                    format!("in random pieces of up to {most} bytes (seed {})", options.seed)
                }
            };
            let unkind = Unkind { split: Some(split), ..Unkind::default() };
            let (_, pieces) = conversation.run(unkind, |_, _| {})?;
            if let Some(evidence) = other_effects(&plain, &pieces, false) {
                let sentence = format!("{how}, `{}` is told otherwise.", conversation.name);
                let mut letters = sentence.chars();
                let first = letters.next().map(|letter| letter.to_ascii_uppercase());
                let sentence = first.into_iter().chain(letters).collect::<String>();
                return Ok(law.broken(sentence, evidence));
            }
        }
    }
    Ok(law.holds(format!(
        "{bytes} bytes of the PBX gave the same events in {ways} ways of cutting them in pieces."
    )))
}

/// The first effect that is not the same, with what is around it.
fn other_effects(plain: &[Told], other: &[Told], with_sends: bool) -> Option<Vec<String>> {
    if let Some(failure) = failed(other) {
        return Some(vec![failure]);
    }
    let lines = |told: &[Told]| -> Vec<String> {
        let told = told.iter().filter(|told| {
            told.what.is_told() || (with_sends && matches!(told.what, What::Sent(..)))
        });
        told.map(|told| format!("{} {}", time::shown(told.at), told.what.line())).collect()
    };
    let (plain, other) = (lines(plain), lines(other));
    if plain == other {
        return None;
    }
    let same = plain.iter().zip(&other).take_while(|(one, other)| one == other).count();
    let mut evidence: Vec<String> =
        plain[same.saturating_sub(3)..same].iter().map(|line| format!("  {line}")).collect();
    evidence.extend(plain[same..].iter().take(4).map(|line| format!("- {line}")));
    evidence.extend(other[same..].iter().take(4).map(|line| format!("+ {line}")));
    Some(evidence)
}
