//! The lease: how long the PBX leaves a caller with us before it takes them back by itself.
//!
//! A host that died, hangs or lost its link renews nothing, and the PBX's own dialplan takes over. A caller who goes
//! on in the dialplan keeps no lease: it would cut their conversation.

use std::time::Duration;

/// A decision is usually over long before; only who waits longer needs a lease of ours beside the dialplan's.
const FIRST: Duration = Duration::from_secs(1);
/// Renewed so often within its length: one renewal may be lost.
const RENEWALS: u32 = 3;

/// When to renew the lease of one caller.
#[derive(Debug)]
pub(super) struct Lease {
    length: Duration,
    renew_at: Option<Duration>,
}

impl Lease {
    /// None yet; zero length is none at all.
    pub fn new(length: Duration) -> Self {
        Self { length, renew_at: None }
    }

    /// The caller is with us now.
    pub fn begin(&mut self, now: Duration) {
        if !self.length.is_zero() && self.renew_at.is_none() {
            self.renew_at = Some(now + FIRST.min(self.length / RENEWALS));
        }
    }

    /// The caller stays for longer: renew at once.
    pub fn stay(&mut self, now: Duration) {
        if !self.length.is_zero() {
            self.renew_at = Some(now);
        }
    }

    /// The caller is not with us any more.
    pub fn end(&mut self) {
        self.renew_at = None;
    }

    /// The next renewal.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.renew_at
    }

    /// Its seconds, when it is time to renew it.
    pub fn handle_timeout(&mut self, now: Duration) -> Option<u64> {
        self.renew_at.filter(|at| *at <= now)?;
        self.renew_at = Some(now + self.length / RENEWALS);
        Some(self.length.as_secs().max(1))
    }
}
