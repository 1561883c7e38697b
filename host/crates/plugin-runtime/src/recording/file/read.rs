//! Reading a recording's file, which may be anything.

use std::{
    io::{BufRead, Read},
    sync::Arc,
};

use serde_json::Value;

use super::{
    super::{
        Answer, Call, Failed, Head, Numbers, Origin, RecordedPlugin, Recording, RecordingKind,
        Segment, Step,
        codec::{Fields, Misfit, Wire, shown},
    },
    EffectsHash, FORMAT, ReadError, VERSION,
    line::{self, from},
};
use crate::{
    FailureKind, Limits,
    bindings::types::{Action, Config, Now},
};

/// Longest line that is read.
const MAX_LINE: u64 = 64 << 20;
/// Most commas and brackets in a line: each may become a value in memory.
const MAX_VALUES: usize = 4 << 20;
/// Longest file that is read.
const MAX_FILE: u64 = 1 << 30;

/// Lines of a file that may be anything.
pub(super) struct Lines<'a, R> {
    from: &'a mut R,
    /// Of the line that was read last, from 1.
    pub(super) number: u64,
    total: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(from: &'a mut R) -> Self {
        Self { from, number: 0, total: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let mut text = Vec::new();
        let read = (&mut *self.from).take(MAX_LINE + 1).read_until(b'\n', &mut text)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.total += read;
        if read > MAX_LINE {
            return Err(ReadError::TooLarge { what: "bytes of one line", most: MAX_LINE });
        }
        if self.total > MAX_FILE {
            return Err(ReadError::TooLarge { what: "bytes of the file", most: MAX_FILE });
        }
        if text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).count() > MAX_VALUES
        {
            let what = "values of one line";
            return Err(ReadError::TooLarge { what, most: MAX_VALUES as u64 });
        }
        if text.pop() != Some(b'\n') {
            return Err(ReadError::CutOff { line: self.number });
        }
        Ok(Some(text))
    }
}

/// JSON or nothing: what is wrong with a line that is none is said by who wants fields of it.
pub(super) fn parse(text: &[u8]) -> Result<Value, ReadError> {
    Ok(serde_json::from_slice(text).unwrap_or(Value::Null))
}

pub(super) struct Reader {
    recording: Recording,
    hash: EffectsHash,
    /// Of the segment that is read.
    steps: Vec<Step>,
    scratch: String,
}

impl Reader {
    pub(super) fn begin(lines: &mut Lines<'_, impl BufRead>) -> Result<Self, ReadError> {
        // A first line of ours is short: whatever is longer needs no parsing.
        let first = match lines.next() {
            Ok(first) => first.unwrap_or_default(),
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(_) => return Err(ReadError::NotARecording),
        };
        let value = parse(&first)?;
        if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
            return Err(ReadError::NotARecording);
        }
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            found => return Err(ReadError::OtherVersion { found: found.unwrap_or(0) }),
        }
        let problem = |misfit: Misfit| ReadError::Line { line: 1, problem: misfit.to_string() };
        let header = line::Header::read(value).map_err(problem)?;
        let kind = RecordingKind::ALL.into_iter().find(|kind| kind.code() == header.kind);
        let recording = Recording {
            kind: kind.ok_or_else(|| {
                problem(Misfit::new(format!("nobody knows the kind `{}`", shown(&header.kind))))
            })?,
            connector: header.connector,
            segments: Vec::new(),
            numbers: Arc::new(Numbers::default()),
            is_cut: header.cut,
            is_redacted: header.redacted,
            unfaithful: header.unfaithful,
        };
        let (hash, steps, scratch) = (EffectsHash::default(), Vec::new(), String::new());
        Ok(Self { recording, hash, steps, scratch })
    }

    /// Takes a line; the last one comes back.
    pub(super) fn line(&mut self, value: Value) -> Result<Option<line::End>, Misfit> {
        let mut fields = Fields::of(value)?;
        let ended = if let Some(step) = fields.take_value("step") {
            let line::Step { now, inputs } = read(step, "step")?;
            let answer = self.answer(&mut fields)?;
            let answer = answer.ok_or_else(|| Misfit::new("a step without its answer"))?;
            self.push(Step { now, call: Call::Step(inputs), answer })?;
            None
        } else if let Some(now) = fields.take_value("snapshot") {
            let now = read(now, "snapshot")?;
            match self.answer(&mut fields)? {
                None => self.go_on(now)?,
                Some(answer @ Answer::Failed(_)) => {
                    self.push(Step { now, call: Call::Snapshot, answer })?;
                }
                Some(_) => return Err(Misfit::new("a snapshot has no actions")),
            }
            None
        } else if let Some(instance) = fields.take_value("instance") {
            let instance = read(instance, "instance")?;
            let answer = self.answer(&mut fields)?;
            self.instance(instance, answer)?;
            None
        } else if let Some(known) = fields.take_value("numbers") {
            let line::Known { people, extensions, missed } = read(known, "numbers")?;
            self.recording.numbers = Arc::new(Numbers::from_file(people, extensions, missed));
            None
        } else if let Some(end) = fields.take_value("end") {
            Some(read(end, "end")?)
        } else {
            return Err(Misfit::new(
                "it is no JSON, or neither numbers, instance, step, snapshot nor end",
            ));
        };
        fields.end()?;
        Ok(ended)
    }

    fn answer(&mut self, fields: &mut Fields) -> Result<Option<Answer>, Misfit> {
        let answer = if let Some(actions) = fields.take_value("actions") {
            let actions: Vec<Action> = read(actions, "actions")?;
            Answer::Actions(actions.into())
        } else if let Some(failed) = fields.take_value("failed") {
            let line::Failed { kind, message } = read(failed, "failed")?;
            let known = FAILURES.into_iter().find(|known| known.code() == kind);
            let kind = known.ok_or_else(|| {
                Misfit::new(format!("nobody knows the failure `{}`", shown(&kind)))
            })?;
            Answer::Failed(Box::new(Failed { kind, message }))
        } else if let Some(why) = fields.take_value("unknown") {
            Answer::Unknown(read::<String>(why, "unknown")?.into())
        } else {
            return Ok(None);
        };
        self.scratch.clear();
        self.hash.answer(&answer, &mut self.scratch);
        Ok(Some(answer))
    }

    fn push(&mut self, step: Step) -> Result<(), Misfit> {
        if self.recording.segments.is_empty() {
            return Err(Misfit::new("a step before any instance"));
        }
        self.steps.push(step);
        Ok(())
    }

    fn go_on(&mut self, now: Now) -> Result<(), Misfit> {
        self.close();
        let Some(last) = self.recording.segments.last() else {
            return Err(Misfit::new("a snapshot before any instance"));
        };
        let origin = Arc::new(Origin::Continues { asked: Some(now) });
        let (head, life) = (last.head.clone(), last.life);
        self.recording.segments.push(Segment { head, life, origin, chunks: Vec::new() });
        Ok(())
    }

    fn instance(&mut self, instance: line::Instance, answer: Option<Answer>) -> Result<(), Misfit> {
        self.close();
        let line::Instance { plugin, settings, links, facts, limits, from, now, snapshot } =
            instance;
        let origin = match (from.as_str(), snapshot, answer) {
            (from::START, None, Some(answer)) => Origin::Start { now, answer },
            (from::HANDED_OVER, Some(snapshot), Some(answer)) => {
                Origin::Restored { snapshot, now, answer }
            }
            (from::SNAPSHOT, Some(snapshot), None) => Origin::Rebased { snapshot, now },
            (from::NOTHING, None, None) => Origin::Continues { asked: None },
            _ => {
                let from = shown(&from);
                return Err(Misfit::new(format!("an instance from `{from}` has other parts")));
            }
        };
        let line::Component { id, version, sha256 } = plugin;
        let head = Head {
            made_with: RecordedPlugin { id, version, sha256 },
            config: Config { id: self.recording.connector.clone(), settings, links, facts },
            limits: Limits {
                memory_mib: limits.memory_mib,
                step_ms: limits.step_ms,
                snapshot_kib: limits.snapshot_kib,
                effects_per_step: limits.effects_per_step,
                bytes_per_step: limits.bytes_per_step,
                ..Limits::default()
            },
            plugin: None,
        };
        self.recording.segments.push(Segment {
            head: Arc::new(head),
            life: self.recording.segments.len() as u64,
            origin: Arc::new(origin),
            chunks: Vec::new(),
        });
        Ok(())
    }

    fn close(&mut self) {
        if let Some(last) = self.recording.segments.last_mut()
            && !self.steps.is_empty()
        {
            last.chunks.push(Arc::new(std::mem::take(&mut self.steps)));
        }
    }

    pub(super) fn end(mut self, end: line::End, line: u64) -> Result<Recording, ReadError> {
        self.close();
        if end.steps != self.hash.steps() {
            let (said, there) = (end.steps, self.hash.steps());
            let problem = format!("it says there were {said} steps, but there are {there}");
            return Err(ReadError::Line { line, problem });
        }
        let found = self.hash.hex();
        if end.effects_sha256 != found {
            let expected = shown(&end.effects_sha256);
            return Err(ReadError::Damaged { found, expected });
        }
        Ok(self.recording)
    }
}

fn read<T: Wire>(value: Value, at: &'static str) -> Result<T, Misfit> {
    T::read(value).map_err(|misfit| misfit.within(at))
}

const FAILURES: [FailureKind; 6] = [
    FailureKind::Trap,
    FailureKind::Deadline,
    FailureKind::Memory,
    FailureKind::TooMuch,
    FailureKind::Error,
    FailureKind::HostPanic,
];
