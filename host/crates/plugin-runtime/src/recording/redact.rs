//! Numbers of people, replaced by other digits.
//!
//! A number is looked for as digits without leading zeros, so that `+49 30..`, `0049 30..` and `4930..` are one; of a
//! long one the last eight digits count by themselves, so that `030..` is that number too. Every number gets
//! other digits, as many, made with a key that is used for one file and never kept. Only runs of digits are
//! looked at, and the same run becomes the same run everywhere: ids that happen to hold a number stay ids.
//!
//! Keys that callers press are hidden in every file, redacted or not (`keys`).
//!
//! A stream of bytes is redacted as a stream, however steps cut it into windows.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{
    Answer, Call, Failed, Head, Origin, Recording, Segment, Step,
    codec::{Text, Visitor, Wire},
    keys::{hide_commanded, hide_keys},
    numbers::{MIN_DIGITS, each_extension, each_number},
    player::Answers,
};
use crate::bindings::{
    facts::Fact,
    types::{Action, Config, Input},
};

/// So many digits tell who it is, whatever is before them.
const TAIL: usize = 8;
/// Shorter pieces of a number at the edge of what was recorded tell nothing.
const MIN_PIECE: usize = 3;
/// How often other digits are made for a number before we give up.
const MAX_TRIES: u32 = 10_000;

/// There are too many numbers to give each another one.
#[derive(Debug)]
pub(super) struct TooMany;

/// Knows which runs of digits are numbers of people, and what they become.
pub(super) struct Redactor {
    key: [u8; 32],
    /// Numbers and tails of numbers, and what they become.
    tokens: HashMap<Vec<u8>, Vec<u8>>,
    /// Their lengths, longest first.
    lengths: Vec<usize>,
    /// The same, sorted, forwards and backwards: for pieces at edges.
    forwards: Vec<Vec<u8>>,
    backwards: Vec<Vec<u8>>,
    /// Numbers written with something between their digits, by their first run of digits.
    literals: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    /// Runs that hold a number, and what they become.
    runs: HashMap<Vec<u8>, Vec<u8>>,
    /// What no run may become.
    taken: HashSet<Vec<u8>>,
}

/// The recording with other numbers. Its answers have to be made again.
pub(super) fn redacted(
    recording: &Recording,
    answers: &Answers,
    key: [u8; 32],
) -> Result<(Recording, Redactor), TooMany> {
    let mut redactor = Redactor::new(&people(recording, answers), key)?;
    let mut streams = Streams::of(recording);
    let mut runs = HashSet::new();
    every_text(recording, &streams, None, &mut |text| {
        for (from, to) in digit_runs(text) {
            if to - from >= MIN_DIGITS {
                runs.insert(text[from..to].to_vec());
            }
        }
        None::<()>
    });
    redactor.learn_runs(runs)?;
    streams.redact(&redactor);
    Ok((with_other_numbers(recording, &redactor, &streams), redactor))
}

/// The recording with the keys hidden that callers pressed; nothing if there is none. Its answers have to be made again.
pub(super) fn without_keys(recording: &Recording) -> Option<Recording> {
    let hidden = Redactor::of_keys();
    let mut streams = Streams::of(recording);
    every_text(recording, &streams, None, &mut |text| {
        let mut other = text.to_vec();
        hide_keys(&mut other);
        (other != text).then_some(())
    })
    .or_else(|| {
        every_input(recording).any(|input| hide_commanded(&mut input.clone())).then_some(())
    })?;
    streams.redact(&hidden);
    let is_redacted = recording.is_redacted;
    Some(Recording { is_redacted, ..with_other_numbers(recording, &hidden, &streams) })
}

/// Those of the numbers and extensions the connector knows of that are in the recording: a file has to have them,
/// so that it can still be redacted.
pub(super) fn present(
    recording: &Recording,
    streams: &Streams,
    answers: &Answers,
) -> (Vec<String>, Vec<String>) {
    let mut by_tail: HashMap<Vec<u8>, Vec<&str>> = HashMap::new();
    for number in recording.numbers.all() {
        let core = core(number.as_bytes());
        if core.len() >= MIN_DIGITS {
            by_tail
                .entry(core[core.len().saturating_sub(TAIL)..].to_vec())
                .or_default()
                .push(number);
        }
    }
    let (mut people, mut extensions) = (HashSet::new(), HashSet::new());
    // Those with something between their digits would have to be looked for in another way; they are few.
    people
        .extend(by_tail.values().flatten().copied().filter(|n| digit_runs(n.as_bytes()).len() > 1));
    let own: HashSet<&[u8]> = recording.numbers.extensions().map(str::as_bytes).collect();
    every_text(recording, streams, Some(answers), &mut |text| {
        for (from, to) in digit_runs(text) {
            let run = &text[from..to];
            if let Some(extension) = own.get(run) {
                extensions.insert(*extension);
            }
            for length in MIN_DIGITS..=TAIL {
                for window in run.windows(length) {
                    if let Some(numbers) = by_tail.remove(window) {
                        people.extend(numbers);
                    }
                }
            }
        }
        None::<()>
    });
    let sorted = |mut list: Vec<String>| {
        list.sort_unstable();
        list
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        sorted(people.into_iter().map(str::to_owned).collect()),
        sorted(extensions.into_iter().map(text).collect()),
    )
}

/// Visits every text of a recording, streams as streams, until something is found.
pub(super) fn every_text<T>(
    recording: &Recording,
    streams: &Streams,
    answers: Option<&Answers>,
    find: &mut dyn FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    let mut found = None;
    {
        let mut visitor = |text: Text<'_>| {
            if found.is_none() {
                found = find(match &text {
                    Text::Str(text) => text.as_bytes(),
                    Text::Bytes(bytes) => bytes,
                });
            }
        };
        for chunk in streams.0.values().flatten() {
            visitor(Text::Bytes(&mut chunk.data.clone()));
        }
        for segment in &recording.segments {
            segment.head.config.clone().visit(&mut visitor);
            if let Some(snapshot) = segment.origin.snapshot() {
                snapshot.clone().visit(&mut visitor);
            }
            for step in segment.chunks.iter().flat_map(|chunk| chunk.iter()) {
                if let Call::Step(inputs) = &step.call {
                    for input in inputs {
                        if !matches!(input, Input::Bytes(_)) {
                            input.clone().visit(&mut visitor);
                        }
                    }
                }
                visit_answer(&step.answer, &mut visitor);
            }
        }
        for segment in answers.iter().flat_map(|answers| &answers.segments) {
            for answer in segment.init.iter().chain(&segment.steps) {
                visit_answer(answer, &mut visitor);
            }
        }
    }
    found
}

fn visit_answer(answer: &Answer, visitor: &mut Visitor<'_>) {
    match answer {
        Answer::Actions(actions) => actions.to_vec().visit(visitor),
        Answer::Failed(failed) => failed.message.clone().visit(visitor),
        Answer::Unknown(why) => why.to_string().visit(visitor),
        Answer::Hash(_) | Answer::Unmade => {}
    }
}

/// Numbers of people that the connector knew, and those it tells of in the recording.
fn people(recording: &Recording, answers: &Answers) -> Vec<String> {
    let mut people: HashSet<String> = recording.numbers.all().map(str::to_owned).collect();
    let mut extensions: HashSet<String> =
        recording.numbers.extensions().map(str::to_owned).collect();
    let mut hear = |fact: &Fact| {
        each_number(fact, &mut |_, number| {
            people.insert(number.to_owned());
        });
        each_extension(fact, &mut |extension| {
            extensions.insert(extension.to_owned());
        });
    };
    for segment in &answers.segments {
        for answer in segment.init.iter().chain(&segment.steps) {
            let Answer::Actions(actions) = answer else { continue };
            for action in actions.iter() {
                match action {
                    Action::Event(event) => hear(&event.fact),
                    Action::ResyncItem(item) => hear(&item.fact),
                    _ => {}
                }
            }
        }
    }
    let mut people: Vec<String> =
        people.into_iter().filter(|number| !extensions.contains(number)).collect();
    people.sort_unstable();
    people
}

impl Redactor {
    /// It knows no number.
    fn of_keys() -> Self {
        Self::empty([0; 32])
    }

    fn empty(key: [u8; 32]) -> Self {
        Self {
            key,
            tokens: HashMap::new(),
            lengths: Vec::new(),
            forwards: Vec::new(),
            backwards: Vec::new(),
            literals: HashMap::new(),
            runs: HashMap::new(),
            taken: HashSet::new(),
        }
    }

    fn new(people: &[String], key: [u8; 32]) -> Result<Self, TooMany> {
        let mut redactor = Self::empty(key);
        let mut needles: Vec<Vec<u8>> = Vec::new();
        for number in people {
            let core = core(number.as_bytes());
            if core.len() < MIN_DIGITS {
                continue;
            }
            needles.push(core[core.len().saturating_sub(TAIL)..].to_vec());
            needles.push(core);
            let digits = digit_runs(number.as_bytes());
            if let ([(from, to), _, ..], Some((_, end))) = (&digits[..], digits.last()) {
                let (from, to, end) = (*from, *to, *end);
                let literal = number.as_bytes()[from..end].to_vec();
                redactor
                    .literals
                    .entry(number.as_bytes()[from..to].to_vec())
                    .or_default()
                    .push(literal);
            }
        }
        // Tails come first: the end of a number is its tail's.
        needles.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        needles.dedup();
        for literals in redactor.literals.values_mut() {
            literals.sort_by_key(|literal| std::cmp::Reverse(literal.len()));
            literals.dedup();
        }
        redactor.lengths = needles.iter().map(Vec::len).rev().collect();
        redactor.lengths.dedup();
        redactor.forwards = needles.clone();
        redactor.forwards.sort();
        redactor.backwards =
            needles.iter().map(|needle| needle.iter().rev().copied().collect()).collect();
        redactor.backwards.sort();
        // No number may become another's.
        redactor.tokens = needles.iter().map(|needle| (needle.clone(), Vec::new())).collect();
        for needle in needles {
            let tail = &needle[needle.len().saturating_sub(TAIL)..];
            let end =
                if tail.len() < needle.len() { redactor.tokens[tail].clone() } else { vec![] };
            let token =
                redactor.unused(&needle, &end).or_else(|_| redactor.unused(&needle, &[]))?;
            redactor.taken.insert(token.clone());
            redactor.tokens.insert(needle, token);
        }
        Ok(redactor)
    }

    /// Other digits for these, ending with those given, that nothing else has become and that hold no number.
    fn unused(&self, digits: &[u8], end: &[u8]) -> Result<Vec<u8>, TooMany> {
        for attempt in 0..MAX_TRIES {
            let mut token = self.digits_for(digits, attempt);
            let from = token.len() - end.len();
            token[from..].copy_from_slice(end);
            if !self.taken.contains(&token) && !self.has_number(&token) {
                return Ok(token);
            }
        }
        Err(TooMany)
    }

    /// Other digits for these; zero comes first only where it came first.
    fn digits_for(&self, digits: &[u8], attempt: u32) -> Vec<u8> {
        let mut token = Vec::with_capacity(digits.len());
        let mut block = 0_u32;
        while token.len() < digits.len() {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
            mac.update(digits);
            mac.update(&attempt.to_be_bytes());
            mac.update(&block.to_be_bytes());
            token.extend(mac.finalize().into_bytes().iter().map(|byte| b'0' + byte % 10));
            block += 1;
        }
        token.truncate(digits.len());
        if let (Some(first), Some(b'1'..)) = (token.first_mut(), digits.first()) {
            *first = b'1' + (*first - b'0') % 9;
        }
        token
    }

    /// Decides what each run becomes that holds a number.
    fn learn_runs(&mut self, runs: HashSet<Vec<u8>>) -> Result<(), TooMany> {
        let mut runs: Vec<Vec<u8>> = runs.into_iter().collect();
        runs.sort_unstable();
        // A run may become nothing that is there already.
        self.taken.clear();
        self.taken.extend(runs.iter().cloned());
        for run in runs {
            if !self.has_number(&run) {
                continue;
            }
            let mut other = self.replaced(&run);
            if self.taken.contains(&other) || self.has_number(&other) {
                other = self.unused(&run, &[])?;
            }
            self.taken.insert(other.clone());
            self.runs.insert(run, other);
        }
        Ok(())
    }

    /// The run with each number in it replaced, the longest first.
    fn replaced(&self, run: &[u8]) -> Vec<u8> {
        let mut other = run.to_vec();
        let mut at = 0;
        while at < run.len() {
            let found = self.lengths.iter().find_map(|&length| {
                let token = self.tokens.get(run.get(at..at + length)?)?;
                Some((length, token))
            });
            at += match found {
                Some((length, token)) => {
                    other[at..at + length].copy_from_slice(token);
                    length
                }
                None => 1,
            };
        }
        other
    }

    /// Does this run of digits hold a number?
    fn has_number(&self, run: &[u8]) -> bool {
        self.lengths
            .iter()
            .any(|&length| run.windows(length).any(|window| self.tokens.contains_key(window)))
    }

    /// Is there a number in this text, as it was?
    pub(super) fn finds(&self, text: &[u8]) -> bool {
        digit_runs(text).into_iter().any(|(from, to)| {
            self.literal_at(text, from, to).is_some() || self.has_number(&text[from..to])
        })
    }

    fn literal_at(&self, text: &[u8], from: usize, to: usize) -> Option<&[u8]> {
        let literals = self.literals.get(&text[from..to])?;
        literals.iter().map(Vec::as_slice).find(|literal| text[from..].starts_with(literal))
    }

    /// Replaces the numbers in a text. `edges`: is something missing before it, and behind it?
    fn redact(&self, text: &mut [u8], edges: (bool, bool)) {
        hide_keys(text);
        let mut done = 0;
        for (from, to) in digit_runs(text) {
            if from < done {
                continue;
            }
            if let Some(literal) = self.literal_at(text, from, to) {
                done = from + literal.len();
                self.redact_literal(&mut text[from..done]);
                continue;
            }
            if let Some(other) = self.runs.get(&text[from..to]) {
                text[from..to].copy_from_slice(other);
                continue;
            }
            if edges.1 && to == text.len() {
                self.redact_beginning(&mut text[from..to]);
            }
            if edges.0 && from == 0 {
                self.redact_ending(&mut text[from..to]);
            }
        }
    }

    /// A number with something between its digits.
    fn redact_literal(&self, literal: &mut [u8]) {
        let digits: Vec<u8> = literal.iter().copied().filter(u8::is_ascii_digit).collect();
        let core = core(&digits);
        let Some(token) = self.tokens.get(&core) else { return };
        let zeros = digits.len() - core.len();
        let places = literal.iter_mut().filter(|byte| byte.is_ascii_digit()).skip(zeros);
        for (place, digit) in places.zip(token) {
            *place = *digit;
        }
    }

    /// A number may begin in this run, and end in what was not recorded.
    fn redact_beginning(&self, run: &mut [u8]) {
        for from in 0..run.len().saturating_sub(MIN_PIECE - 1) {
            let piece = &run[from..];
            let at = self.forwards.partition_point(|needle| needle.as_slice() < piece);
            if let Some(needle) = self.forwards.get(at).filter(|needle| needle.starts_with(piece)) {
                let length = piece.len();
                run[from..].copy_from_slice(&self.tokens[needle][..length]);
                return;
            }
        }
    }

    /// A number may end in this run, and begin in what was not recorded.
    fn redact_ending(&self, run: &mut [u8]) {
        for to in (MIN_PIECE..=run.len()).rev() {
            let piece: Vec<u8> = run[..to].iter().rev().copied().collect();
            let at = self.backwards.partition_point(|needle| *needle < piece);
            if let Some(needle) = self.backwards.get(at).filter(|needle| needle.starts_with(&piece))
            {
                let needle: Vec<u8> = needle.iter().rev().copied().collect();
                let token = &self.tokens[&needle];
                run[..to].copy_from_slice(&token[token.len() - to..]);
                return;
            }
        }
    }

    fn redact_text(&self, text: Text<'_>) {
        match text {
            Text::Bytes(bytes) => self.redact(bytes, (false, false)),
            Text::Str(text) => {
                let mut bytes = std::mem::take(text).into_bytes();
                self.redact(&mut bytes, (false, false));
                // A digit for a digit: what was UTF-8 still is.
                *text = String::from_utf8(bytes).unwrap_or_default();
            }
        }
    }
}

/// Digits without leading zeros.
fn core(number: &[u8]) -> Vec<u8> {
    let digits = number.iter().copied().filter(u8::is_ascii_digit);
    digits.skip_while(|&digit| digit == b'0').collect()
}

/// Where digits begin and end.
fn digit_runs(text: &[u8]) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut from = None;
    for (at, byte) in text.iter().enumerate() {
        match (byte.is_ascii_digit(), from) {
            (true, None) => from = Some(at),
            (false, Some(began)) => {
                runs.push((began, at));
                from = None;
            }
            _ => {}
        }
    }
    runs.extend(from.map(|from| (from, text.len())));
    runs
}

/// Bytes of connections as they came, put together from the windows of all steps.
pub(super) struct Streams(BTreeMap<(String, u64), Vec<Chunk>>);

/// Bytes without a gap.
struct Chunk {
    start: u64,
    data: Vec<u8>,
}

impl Streams {
    pub(super) fn of(recording: &Recording) -> Self {
        let mut streams: BTreeMap<(String, u64), Vec<Chunk>> = BTreeMap::new();
        let segments = recording.segments.iter().flat_map(|segment| &segment.chunks);
        for step in segments.flat_map(|chunk| chunk.iter()) {
            let Call::Step(inputs) = &step.call else { continue };
            for input in inputs {
                let Input::Bytes(bytes) = input else { continue };
                let chunks = streams.entry((bytes.link.clone(), bytes.epoch)).or_default();
                let known = chunks.iter_mut().rev().find_map(|chunk| {
                    let from = usize::try_from(bytes.offset.checked_sub(chunk.start)?).ok()?;
                    (from <= chunk.data.len()).then_some((chunk, from))
                });
                match known {
                    Some((chunk, from)) => {
                        let seen = chunk.data.len() - from;
                        chunk.data.extend_from_slice(bytes.data.get(seen..).unwrap_or_default());
                    }
                    None => chunks.push(Chunk { start: bytes.offset, data: bytes.data.clone() }),
                }
            }
        }
        Self(streams)
    }

    fn redact(&mut self, redactor: &Redactor) {
        for chunk in self.0.values_mut().flatten() {
            // At the very beginning of a connection nothing is missing.
            redactor.redact(&mut chunk.data, (chunk.start > 0, true));
        }
    }

    /// The bytes from there on, as many.
    fn slice(&self, link: &str, epoch: u64, offset: u64, length: usize) -> Option<&[u8]> {
        let chunks = self.0.get(&(link.to_owned(), epoch))?;
        chunks.iter().find_map(|chunk| {
            let from = usize::try_from(offset.checked_sub(chunk.start)?).ok()?;
            chunk.data.get(from..from.checked_add(length)?)
        })
    }
}

fn every_input(recording: &Recording) -> impl Iterator<Item = &Input> {
    let steps = recording.segments.iter().flat_map(|segment| &segment.chunks).flat_map(|it| &**it);
    steps.flat_map(|step| match &step.call {
        Call::Step(inputs) => &inputs[..],
        Call::Snapshot => &[],
    })
}

fn with_other_numbers(recording: &Recording, redactor: &Redactor, streams: &Streams) -> Recording {
    let mut visitor = |text: Text<'_>| redactor.redact_text(text);
    let segments = recording.segments.iter().map(|segment| {
        let Head { made_with, config, limits, plugin } = &*segment.head;
        let mut config: Config = config.clone();
        config.settings.visit(&mut visitor);
        config.links.visit(&mut visitor);
        let head = Head {
            made_with: made_with.clone(),
            config,
            limits: limits.clone(),
            plugin: plugin.clone(),
        };
        let mut other = |snapshot: &crate::bindings::types::Snapshot| {
            let mut snapshot = snapshot.clone();
            snapshot.data.visit(&mut visitor);
            snapshot
        };
        let origin = match &*segment.origin {
            Origin::Start { now, .. } => Origin::Start { now: *now, answer: Answer::Unmade },
            Origin::Restored { snapshot, now, .. } => {
                Origin::Restored { snapshot: other(snapshot), now: *now, answer: Answer::Unmade }
            }
            Origin::Rebased { snapshot, now } => {
                Origin::Rebased { snapshot: other(snapshot), now: *now }
            }
            Origin::Continues { asked } => Origin::Continues { asked: *asked },
        };
        let step = |step: &Step| Step {
            now: step.now,
            call: match &step.call {
                Call::Snapshot => Call::Snapshot,
                Call::Step(inputs) => Call::Step(
                    inputs.iter().map(|input| other_input(input, redactor, streams)).collect(),
                ),
            },
            answer: match &step.answer {
                Answer::Failed(failed) => {
                    let Failed { kind, message } = &**failed;
                    let (kind, mut message) = (*kind, message.clone());
                    redactor.redact_text(Text::Str(&mut message));
                    Answer::Failed(Box::new(Failed { kind, message }))
                }
                _ => Answer::Unmade,
            },
        };
        let chunks = segment.chunks.iter().map(|chunk| Arc::new(chunk.iter().map(step).collect()));
        Segment {
            head: Arc::new(head),
            life: segment.life,
            origin: Arc::new(origin),
            chunks: chunks.collect(),
        }
    });
    Recording { segments: segments.collect(), is_redacted: true, ..recording.clone() }
}

fn other_input(input: &Input, redactor: &Redactor, streams: &Streams) -> Input {
    let mut input = input.clone();
    match &mut input {
        Input::Bytes(bytes) => {
            let found = streams.slice(&bytes.link, bytes.epoch, bytes.offset, bytes.data.len());
            match found {
                Some(data) => bytes.data = data.to_vec(),
                None => redactor.redact(&mut bytes.data, (true, true)),
            }
        }
        other => {
            hide_commanded(other);
            other.visit(&mut |text| redactor.redact_text(text));
        }
    }
    input
}
