//! What is kept of closed segments: the last minutes, bounded by bytes and by age; or all of a capture,
//! bounded by bytes.

use std::{collections::VecDeque, time::Duration};

use super::Segment;
use crate::Limits;

/// Closed segments, oldest first.
pub(crate) struct Ring {
    segments: VecDeque<Kept>,
    bytes: usize,
    most_bytes: usize,
    most_age: Duration,
}

struct Kept {
    segment: Segment,
    bytes: usize,
    /// Monotonic time of its last step.
    last_ns: u64,
}

impl Ring {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            segments: VecDeque::new(),
            bytes: 0,
            most_bytes: limits.recording_kib as usize * 1024,
            most_age: Duration::from_secs(60 * u64::from(limits.recording_minutes)),
        }
    }

    /// From now on it may hold as much as these limits say.
    pub(crate) fn set_limits(&mut self, limits: &Limits) {
        let Self { most_bytes, most_age, .. } = Self::new(limits);
        (self.most_bytes, self.most_age) = (most_bytes, most_age);
        self.trim(0, 0);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.most_bytes > 0
    }

    /// Keeps a segment, if it is to keep any.
    pub(crate) fn push(&mut self, segment: Segment, bytes: usize, last_ns: u64) {
        if self.is_on() {
            self.segments.push_back(Kept { segment, bytes, last_ns });
            self.bytes += bytes;
            self.trim(0, last_ns);
        }
    }

    /// Forgets the oldest: what is too old, and what is too much beside so many bytes not closed yet.
    pub(crate) fn trim(&mut self, open_bytes: usize, now_ns: u64) {
        let age = u64::try_from(self.most_age.as_nanos()).unwrap_or(u64::MAX);
        while let Some(oldest) = self.segments.front()
            && (self.bytes.saturating_add(open_bytes) > self.most_bytes
                || now_ns.saturating_sub(oldest.last_ns) > age)
        {
            self.bytes -= oldest.bytes;
            self.segments.pop_front();
        }
    }

    pub(crate) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().map(|kept| &kept.segment)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Everything since somebody asked for it, as long as there is room.
pub(crate) struct Capture {
    segments: Vec<Segment>,
    bytes: usize,
    most_bytes: usize,
    is_full: bool,
}

impl Capture {
    pub(crate) fn new(segments: Vec<Segment>, most_bytes: usize) -> Self {
        Self { segments, bytes: 0, most_bytes, is_full: false }
    }

    /// Takes a segment; when there is no room for it, this and all later ones are left out. There is always
    /// room for the first.
    pub(crate) fn push(&mut self, segment: &Segment, bytes: usize) {
        let is_first = self.bytes == 0;
        self.is_full |= !is_first && self.bytes.saturating_add(bytes) > self.most_bytes;
        if !self.is_full {
            self.bytes += bytes;
            self.segments.push(segment.clone());
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn into_segments(self) -> Vec<Segment> {
        self.segments
    }
}
