//! A recording as a file: lines of JSON.
//!
//! ```text
//! {"format":"jackfield-recording","version":1, ..}         what it is
//! {"numbers":{..}}                                         of people, those in the file; not if it is redacted
//! {"instance":{"plugin":{..}, .., "from":"start"},"actions":[..]}
//! {"step":{"now":{..},"inputs":[..]},"actions":[..]}       or "failed":{..}, or "unknown":"why"
//! {"snapshot":{..}}                                        the plugin was asked for its state here
//! {"end":{"steps":2,"effects_sha256":".."}}                without this line it was cut off
//! ```
//!
//! `effects_sha256` is over the answers in order: the text of each `actions` as it stands in the file, or
//! `failed` and the kind of the failure, each followed by a line feed.

mod line;
mod read;

use std::io::{self, BufRead, Write};

use serde_json::Value;
use sha2::{Digest, Sha256};

use self::{
    line::from,
    read::{Lines, Reader, parse},
};
use super::{
    Answer, Call, Head, Origin, Recording, Segment,
    codec::{Fields, Misfit, Visitor, Wire, records, write_text},
    player::Answers,
    redact::{self, Streams},
};
use crate::{
    Secrets,
    bindings::types::{Action, Input, Now},
};

const FORMAT: &str = "jackfield-recording";
const VERSION: u32 = 1;
const WIT: &str = "0.1.0";

/// How a recording is written.
#[derive(Clone, Copy, Default)]
pub struct WriteOptions<'a> {
    /// Replaces numbers of people, with the help of these random bytes. Use them for this file only, and do not
    /// keep them: who has them can find out the numbers.
    pub redact: Option<[u8; 32]>,
    /// The connector's secrets. Should one be in the recording in spite of all, nothing is written.
    pub secrets: Option<&'a Secrets>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file.
    pub bytes: u64,
    /// Calls of the plugin in it: its starts, its steps.
    pub steps: u64,
    /// SHA-256 over all answers, lower-case hex: what a replay must give too.
    pub effects_sha256: String,
}

/// A recording that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file cannot be written.
    #[error("the recording cannot be written: {0}")]
    Io(#[from] io::Error),
    /// Its answers have to be made again, and there is nothing to make them with.
    #[error(
        "the recording was read from a file, and the component it was made with, which its answers have to be made \
         again with, is not at hand"
    )]
    NoComponent,
    /// A secret is in it. It should not have got that far.
    #[error(
        "the recording holds the secret `{name}`, so it is not written; look whether it is in the settings or in a \
         command, and report this if it is not"
    )]
    HoldsSecret {
        /// The secret's name.
        name: String,
    },
    /// Numbers of people would be left in it.
    #[error("the recording is not written, because {0}; it can be written without redaction")]
    NotRedacted(Unredacted),
}

/// Why numbers would be left in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unredacted {
    /// The connector told of more legs with numbers than are followed.
    #[error("{0} numbers of callers were not followed: there were too many legs at once")]
    Missed(u64),
    /// There are too many numbers to give each another one.
    #[error("there are too many numbers in it to give each another one")]
    TooMany,
    /// The plugin made a number out of pieces.
    #[error("a number is left in it, which the plugin put together in a way that was not foreseen")]
    Left,
}

/// A file that is no recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("the recording cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Something else.
    #[error(
        "this is no recording of Jackfield (it does not begin with {{\"format\":\"jackfield-recording\"); get one with \
         `jackfield plugin record`"
    )]
    NotARecording,
    /// Of another time.
    #[error(
        "this recording has format version {found}, and this host reads {VERSION}; use the host that wrote it"
    )]
    OtherVersion {
        /// Its version.
        found: u64,
    },
    /// Longer than any recording of ours.
    #[error("the recording is too large: {what}; at most {most} are read")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it may be.
        most: u64,
    },
    /// A line that makes no sense.
    #[error("line {line} of the recording makes no sense: {problem}; get the file again")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// The end is missing.
    #[error(
        "the recording is cut off after line {line}: it has no `end`; get the whole file again"
    )]
    CutOff {
        /// The last line there is.
        line: u64,
    },
    /// Its answers are not those it was written with.
    #[error(
        "the recording was damaged or changed: its answers have the SHA-256 {found}, not {expected} as its last \
         line says; get the file again"
    )]
    Damaged {
        /// What the answers have.
        found: String,
        /// What the file says.
        expected: String,
    },
}

records! {
    line::Header { format, version, wit, host, kind, connector, redacted, cut, unfaithful }
    line::Known { people, extensions, missed }
    line::Instance { plugin, settings, links, facts, limits, from, now, snapshot }
    line::Component { id, version, sha256 }
    line::Bounds { memory_mib, step_ms, snapshot_kib, effects_per_step, bytes_per_step }
    line::Step { now, inputs }
    line::Failed { kind, message }
    line::End { steps, effects_sha256 }
}

impl Recording {
    /// Writes it. Answers of which only hashes were kept are made again, which takes as long as the plugin
    /// took: do not call it on a connector's thread. Keys that callers pressed are hidden in every file.
    pub fn write(
        &self,
        to: &mut impl Write,
        options: &WriteOptions<'_>,
    ) -> Result<Written, WriteError> {
        let without_keys = redact::without_keys(self);
        let recording = without_keys.as_ref().unwrap_or(self);
        let answers = Answers::make(recording).ok_or(WriteError::NoComponent)?;
        let Some(key) = options.redact else {
            return recording.write_answered(&answers, to, options.secrets);
        };
        if self.numbers.missed() > 0 {
            return Err(WriteError::NotRedacted(Unredacted::Missed(self.numbers.missed())));
        }
        let (redacted, redactor) = redact::redacted(recording, &answers, key)
            .map_err(|redact::TooMany| WriteError::NotRedacted(Unredacted::TooMany))?;
        let answers = Answers::make(&redacted).ok_or(WriteError::NoComponent)?;
        let streams = Streams::of(&redacted);
        let mut find = |text: &[u8]| redactor.finds(text).then_some(());
        if redact::every_text(&redacted, &streams, Some(&answers), &mut find).is_some() {
            return Err(WriteError::NotRedacted(Unredacted::Left));
        }
        redacted.write_answered(&answers, to, options.secrets)
    }

    fn write_answered(
        &self,
        answers: &Answers,
        to: &mut impl Write,
        secrets: Option<&Secrets>,
    ) -> Result<Written, WriteError> {
        let streams = Streams::of(self);
        if let Some(secrets) = secrets {
            let mut find = |text: &[u8]| secrets.found_in(text).map(str::to_owned);
            if let Some(name) = redact::every_text(self, &streams, Some(answers), &mut find) {
                return Err(WriteError::HoldsSecret { name });
            }
        }
        let mut writer = Writer { to, bytes: 0, hash: EffectsHash::default(), line: String::new() };
        writer.header(self, answers.unfaithful + self.unfaithful)?;
        if !self.is_redacted {
            let (people, extensions) = redact::present(self, &streams, answers);
            writer.call(
                "numbers",
                &line::Known { people, extensions, missed: self.numbers.missed() },
                None,
            )?;
        }
        for (segment, answers) in self.segments.iter().zip(&answers.segments) {
            if answers.is_new {
                writer.instance(segment, answers.init.as_ref())?;
            } else if let Some(now) = segment.origin.now() {
                writer.asked(now, None)?;
            }
            let steps = segment.chunks.iter().flat_map(|chunk| chunk.iter());
            for (step, answer) in steps.zip(&answers.steps) {
                match &step.call {
                    Call::Step(inputs) => writer.step(step.now, inputs, answer)?,
                    Call::Snapshot => writer.asked(step.now, Some(answer))?,
                }
            }
        }
        writer.end()
    }

    /// Reads one. The whole of it is checked: a file is outside input.
    pub fn read(from: &mut impl BufRead) -> Result<Self, ReadError> {
        let mut lines = Lines::new(from);
        let mut reader = Reader::begin(&mut lines)?;
        loop {
            let Some(text) = lines.next()? else {
                return Err(ReadError::CutOff { line: lines.number });
            };
            let line = lines.number;
            let ended = reader
                .line(parse(&text)?)
                .map_err(|misfit| ReadError::Line { line, problem: misfit.to_string() })?;
            if let Some(end) = ended {
                return reader.end(end, line);
            }
        }
    }
}

/// SHA-256 over answers.
#[derive(Clone, Default)]
pub(super) struct EffectsHash {
    sha: Sha256,
    steps: u64,
}

impl EffectsHash {
    /// Takes an answer, and gives it as the fields it has in a line.
    pub(super) fn answer(&mut self, answer: &Answer, out: &mut String) {
        self.steps += 1;
        let from = match answer {
            Answer::Actions(actions) => {
                out.push_str("\"actions\":");
                let from = out.len();
                Action::write_list(actions, out);
                from
            }
            Answer::Failed(failed) => {
                out.push_str("\"failed\":");
                line::Failed::from(&**failed).write(out);
                self.sha.update(b"failed ");
                self.sha.update(failed.kind.code());
                out.len()
            }
            Answer::Unknown(why) => {
                out.push_str("\"unknown\":");
                write_text(why, out);
                out.len()
            }
            // Answers are made before they are written.
            Answer::Hash(_) | Answer::Unmade => {
                out.push_str("\"unknown\":\"\"");
                out.len()
            }
        };
        self.sha.update(&out[from..]);
        self.sha.update(b"\n");
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn hex(&self) -> String {
        let digest = self.sha.clone().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

struct Writer<'a, W> {
    to: &'a mut W,
    bytes: u64,
    hash: EffectsHash,
    line: String,
}

impl<W: Write> Writer<'_, W> {
    fn header(&mut self, recording: &Recording, unfaithful: u64) -> io::Result<()> {
        let header = line::Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            wit: WIT.to_owned(),
            host: env!("CARGO_PKG_VERSION").to_owned(),
            kind: recording.kind.code().to_owned(),
            connector: recording.connector.clone(),
            redacted: recording.is_redacted,
            cut: recording.is_cut,
            unfaithful,
        };
        header.write(&mut self.line);
        self.end_line()
    }

    fn instance(&mut self, segment: &Segment, init: Option<&Answer>) -> io::Result<()> {
        let Head { made_with, config, limits, .. } = &*segment.head;
        let first = || segment.chunks.iter().find_map(|chunk| chunk.first());
        let now = segment.origin.now().or_else(|| first().map(|step| step.now));
        let instance = line::Instance {
            plugin: line::Component {
                id: made_with.id.clone(),
                version: made_with.version.clone(),
                sha256: made_with.sha256.clone(),
            },
            settings: config.settings.clone(),
            links: config.links.clone(),
            facts: config.facts.clone(),
            limits: line::Bounds {
                memory_mib: limits.memory_mib,
                step_ms: limits.step_ms,
                snapshot_kib: limits.snapshot_kib,
                effects_per_step: limits.effects_per_step,
                bytes_per_step: limits.bytes_per_step,
            },
            from: match &*segment.origin {
                Origin::Start { .. } => from::START,
                Origin::Restored { .. } => from::HANDED_OVER,
                Origin::Rebased { .. } => from::SNAPSHOT,
                Origin::Continues { .. } => from::NOTHING,
            }
            .to_owned(),
            now: now.unwrap_or(Now { monotonic_ns: 0, wall_ns: 0 }),
            snapshot: segment.origin.snapshot().cloned(),
        };
        self.call("instance", &instance, init)
    }

    fn step(&mut self, now: Now, inputs: &[Input], answer: &Answer) -> io::Result<()> {
        self.line.push_str("{\"step\":{\"now\":");
        now.write(&mut self.line);
        self.line.push_str(",\"inputs\":");
        Input::write_list(inputs, &mut self.line);
        self.line.push_str("},");
        self.hash.answer(answer, &mut self.line);
        self.line.push('}');
        self.end_line()
    }

    fn asked(&mut self, now: Now, answer: Option<&Answer>) -> io::Result<()> {
        self.call("snapshot", &now, answer)
    }

    fn end(mut self) -> Result<Written, WriteError> {
        let (steps, effects_sha256) = (self.hash.steps(), self.hash.hex());
        let end = line::End { steps, effects_sha256: effects_sha256.clone() };
        self.call("end", &end, None)?;
        self.to.flush()?;
        Ok(Written { bytes: self.bytes, steps, effects_sha256 })
    }

    fn call(&mut self, name: &str, value: &impl Wire, answer: Option<&Answer>) -> io::Result<()> {
        self.line.push_str("{\"");
        self.line.push_str(name);
        self.line.push_str("\":");
        value.write(&mut self.line);
        if let Some(answer) = answer {
            self.line.push(',');
            self.hash.answer(answer, &mut self.line);
        }
        self.line.push('}');
        self.end_line()
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.push('\n');
        self.bytes += self.line.len() as u64;
        self.to.write_all(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
    }
}
