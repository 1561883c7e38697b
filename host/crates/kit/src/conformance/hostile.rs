//! No bytes make it trap or grow, and what comes of them is bounded.
//!
//! What the PBX says in the conversations is bent: bits flipped, parts cut out, doubled, exchanged, lines made long,
//! random bytes put in. Who knows the seed and the round has the bytes again.

use super::{ConformError, Conversation, Law, Options, REST, Verdict};
use crate::{
    dice::Dice,
    rig::{Told, Unkind, What},
};

/// Effects that any message may have, however short.
const EFFECTS: usize = 2000;
/// What an instance may grow by after it has warmed up.
const GROWTH: u64 = 4 << 20;
/// Bytes of one message.
const LONGEST: usize = 200_000;

pub(super) fn judge(
    conversations: &[Conversation<'_>],
    options: Options,
) -> Result<Verdict, ConformError> {
    let law = Law::HostileBytes;
    let rounds = (options.rounds / u32::try_from(conversations.len()).unwrap_or(1)).max(20);
    let (mut messages, mut bytes, mut growth) = (0_u32, 0, 0);
    for conversation in conversations {
        let corpus = corpus(conversation)?;
        if corpus.is_empty() {
            continue;
        }
        let links = conversation.links();
        let mut dice = Dice::new(options.seed);
        let mut rig = conversation.rig(Unkind::default())?;
        rig.run_until(REST);
        rig.told();
        let mut warm = 0;
        for round in 0..rounds {
            let message = bent(&corpus, &mut dice);
            let link = &links[dice.below(links.len())];
            let place = || {
                vec![
                    format!("seed {}, round {round} of `{}`", options.seed, conversation.name),
                    format!("bytes: {}", shown(&message)),
                ]
            };
            messages += 1;
            bytes += message.len();
            for piece in pieces(&message, &mut dice) {
                rig.say_bytes(link, piece.to_vec());
                rig.settle();
            }
            let told = rig.told();
            if let Some(failure) = super::failed(&told) {
                let mut evidence = place();
                evidence.push(failure);
                return Ok(law.broken("Some bytes make the connector fail.", evidence));
            }
            let effects = told.iter().filter(|told| is_effect(told)).count();
            if effects > EFFECTS + message.len() {
                let mut evidence = place();
                evidence.push(format!("{effects} effects of {} bytes", message.len()));
                return Ok(
                    law.broken("A few bytes have more effects than any PBX needs.", evidence)
                );
            }
            // Every now and then it begins anew, with time for timers and pictures.
            if round % 25 == 24 || !rig.is_up() {
                for link in &links {
                    rig.cut(link, std::time::Duration::ZERO);
                }
                rig.run_until(rig.at() + REST * 8);
                if let Some(failure) = super::failed(&rig.told()) {
                    let mut evidence = place();
                    evidence.push(failure);
                    return Ok(law.broken("After some bytes the connector fails.", evidence));
                }
                let memory = rig.usage().memory_bytes;
                if round < rounds / 4 {
                    warm = memory;
                }
            }
        }
        let memory = rig.usage().memory_bytes;
        growth = growth.max(memory.saturating_sub(warm.max(1)));
        if warm > 0 && memory > warm + GROWTH {
            let evidence = vec![format!(
                "seed {}: {warm} bytes of memory after a quarter of {rounds} messages, {memory} at the end",
                options.seed
            )];
            return Ok(law.broken("Hostile bytes make the connector grow.", evidence));
        }
    }
    if messages == 0 {
        return Ok(law.not_tried("The PBX of the conversations says nothing."));
    }
    Ok(law.holds(format!(
        "{messages} hostile messages ({bytes} bytes, seed {}) made it neither trap nor grow, and had bounded effects.",
        options.seed
    )))
}

fn is_effect(told: &Told) -> bool {
    !matches!(told.what, What::Refused(_) | What::Link(..))
}

/// What the PBX says in a whole conversation.
fn corpus(conversation: &Conversation<'_>) -> Result<Vec<Vec<u8>>, ConformError> {
    let mut rig = conversation.rig(Unkind::default())?;
    rig.keep_heard();
    for (number, turn) in conversation.turns.iter().enumerate() {
        rig.run_until(turn.at);
        rig.turn(number);
    }
    rig.run_until(rig.at() + REST);
    let mut heard = rig.heard();
    heard.retain(|said| !said.is_empty());
    Ok(heard)
}

fn bent(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = corpus[dice.below(corpus.len())].clone();
    bytes.truncate(LONGEST);
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        let some = dice.below(64);
        let end = (at + some).min(bytes.len());
        match dice.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            3 => bytes.truncate(at),
            4 => {
                let random: Vec<u8> = (0..some).map(|_| dice.roll().to_le_bytes()[0]).collect();
                bytes.splice(at..at, random);
            }
            5 => {
                // A line without end.
                let letter = bytes.get(at).copied().unwrap_or(b'x');
                let many = [100, 5000, 70_000][dice.below(3)];
                bytes.splice(at..at, std::iter::repeat_n(letter, many));
            }
            6 => {
                let other = &corpus[dice.below(corpus.len())];
                let from = dice.below(other.len() + 1);
                let to = (from + dice.below(300)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            7 => {
                let odd: [&[u8]; 8] = [
                    b"\0",
                    b"\r\n\r\n",
                    b"\n",
                    b"\xff\xfe",
                    b"-1",
                    b"99999999999999999999",
                    b"\r",
                    b": ",
                ];
                bytes.splice(at..at, odd[dice.below(odd.len())].iter().copied());
            }
            _ => {
                // Numbers become others.
                if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                    bytes[at + digit] = b'0' + dice.roll().to_le_bytes()[0] % 10;
                }
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn pieces<'a>(message: &'a [u8], dice: &mut Dice) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let size = if dice.below(3) == 0 { 1 + dice.below(40) } else { rest.len() };
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = tail;
        // Whoever sends many small pieces only takes our time.
        if pieces.len() > 20 {
            pieces.push(rest);
            break;
        }
    }
    pieces
}

fn shown(bytes: &[u8]) -> String {
    let text: String =
        bytes.iter().take(400).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    if bytes.len() > 400 { format!("{text} .. ({} bytes)", bytes.len()) } else { text }
}
