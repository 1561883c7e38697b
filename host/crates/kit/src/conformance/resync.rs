//! After any cut the state is the PBX's picture.
//!
//! The truth after each turn is what an instance sees that connects only then. It is compared with an instance that was
//! there all the time, with one whose connection is cut after every turn, and with ones that are cut in its middle.

use super::{ConformError, Conversation, Law, Options, REST, Verdict, failed};
use crate::{
    dice::Dice,
    picture::Picture,
    rig::{Rig, Unkind},
};

/// Runs that are cut in the middle of turns.
const MIDDLES: u64 = 4;
/// A cut in the middle comes within so many bytes.
const MIDDLE: usize = 600;

pub(super) fn judge(
    conversations: &[Conversation<'_>],
    options: Options,
) -> Result<Verdict, ConformError> {
    let law = Law::Resync;
    let (mut cuts, mut things) = (0, 0);
    for conversation in conversations {
        let truth = truth(conversation)?;
        things = things.max(truth.iter().map(Vec::len).max().unwrap_or(0));
        for how in [How::Uncut, How::AfterTurns]
            .into_iter()
            .chain((0..MIDDLES).map(|n| How::Within(options.seed + n)))
        {
            let found = pictures(conversation, &how, &mut cuts)?;
            let pictures = match found {
                Ok(pictures) => pictures,
                Err(failure) => {
                    let sentence =
                        format!("With {how} in `{}` the connector fails.", conversation.name);
                    return Ok(law.broken(sentence, vec![failure]));
                }
            };
            for (turn, (wanted, got)) in truth.iter().zip(&pictures).enumerate() {
                if wanted != got {
                    let sentence = format!(
                        "With {how}, after turn {} of `{}`, the state is not the PBX's picture.",
                        turn + 1,
                        conversation.name
                    );
                    return Ok(law.broken(sentence, difference(wanted, got)));
                }
            }
        }
    }
    if things == 0 {
        return Ok(law.not_tried(
            "The PBX never has anything: let its rules answer pictures, with `now` in the steps.",
        ));
    }
    Ok(law.holds(format!(
        "After each of {cuts} cuts, and without one, the state was the PBX's picture (up to {things} things)."
    )))
}

enum How {
    Uncut,
    AfterTurns,
    Within(u64),
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uncut => f.write_str("the connection up all the time"),
            Self::AfterTurns => f.write_str("a cut after every turn"),
            Self::Within(seed) => write!(f, "a cut within every turn (seed {seed})"),
        }
    }
}

/// What the PBX has after each turn, as somebody sees it who connects then.
fn truth(conversation: &Conversation<'_>) -> Result<Vec<Vec<String>>, ConformError> {
    let mut truth = Vec::new();
    for last in 0..conversation.turns.len() {
        let mut pbx = (conversation.pbx)();
        for (number, turn) in conversation.turns.iter().enumerate().take(last + 1) {
            pbx.turn(number, turn.at);
        }
        let mut rig = Rig::start(conversation.setup.clone(), pbx, Unkind::default())?;
        rig.run_until(REST);
        let mut picture = Picture::new();
        rig.told().iter().for_each(|told| picture.take(&told.what));
        truth.push(picture.lines());
    }
    Ok(truth)
}

/// The state after each turn. Commands are left out: what they change at the PBX is not in its script.
fn pictures(
    conversation: &Conversation<'_>,
    how: &How,
    cuts: &mut u32,
) -> Result<Result<Vec<Vec<String>>, String>, ConformError> {
    let links = conversation.links();
    let mut rig = conversation.rig(Unkind::default())?;
    let mut dice = Dice::new(if let How::Within(seed) = how { *seed } else { 0 });
    let mut picture = Picture::new();
    let mut pictures = Vec::new();
    // The first picture is there before anything happens.
    rig.run_until(REST);
    let mut before = conversation.turns.first().map_or_else(Default::default, |turn| turn.at);
    for (number, turn) in conversation.turns.iter().enumerate() {
        rig.run_until(rig.at() + turn.at.saturating_sub(before));
        before = turn.at;
        if let How::Within(_) = how {
            rig.cut_after(dice.below(MIDDLE) as u64);
        }
        rig.turn(number);
        rig.settle();
        let cut = match how {
            How::Uncut => false,
            How::AfterTurns => true,
            How::Within(_) => {
                *cuts += 1;
                // It had fewer bytes than that.
                rig.cut_no_more()
            }
        };
        if cut {
            *cuts += u32::from(matches!(how, How::AfterTurns));
            for link in &links {
                rig.cut(link, std::time::Duration::ZERO);
            }
        }
        rig.run_until(rig.at() + REST);
        let told = rig.told();
        if let Some(failure) = failed(&told) {
            return Ok(Err(failure));
        }
        told.iter().for_each(|told| picture.take(&told.what));
        pictures.push(picture.lines());
    }
    Ok(Ok(pictures))
}

/// `-` what is missing, `+` what should not be there.
fn difference(wanted: &[String], got: &[String]) -> Vec<String> {
    let missing = wanted.iter().filter(|line| !got.contains(line)).map(|line| format!("- {line}"));
    let more = got.iter().filter(|line| !wanted.contains(line)).map(|line| format!("+ {line}"));
    missing.chain(more).collect()
}
