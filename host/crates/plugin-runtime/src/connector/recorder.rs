//! What an operator asks of the recorder.

use super::Connector;
use crate::Recording;

impl Connector {
    /// What was kept of the last minutes, as much as [`Limits`](crate::Limits) allow and at least what came
    /// since the last snapshot. Cheap: nothing is copied but a list of what is there, and numbers of callers.
    pub fn recording(&mut self) -> Recording {
        self.history.recording(&self.numbers)
    }

    /// Records from now on, however long it takes, until so many bytes are kept in memory; what comes later is
    /// left out. One that is under way is dropped.
    pub fn begin_capture(&mut self, most_bytes: usize) {
        self.history.begin_capture(most_bytes);
    }

    /// Bytes captured so far, and whether there is room for no more; none if nothing is captured.
    pub fn capture(&self) -> Option<(usize, bool)> {
        self.history.capture()
    }

    /// Ends the capture. None if there was none.
    pub fn end_capture(&mut self) -> Option<Recording> {
        self.history.end_capture(&self.numbers)
    }

    /// For each of the first crashes since this was last called: the inputs since the last snapshot and the
    /// step that failed, last. Call it after a [`Trapped`](crate::Incident::Trapped); at most four are kept,
    /// and those of later crashes are not made.
    pub fn take_bundles(&mut self) -> Vec<Recording> {
        self.history.take_bundles()
    }
}
