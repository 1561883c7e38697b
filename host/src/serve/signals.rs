//! Signals of the system, heard from the moment on at which somebody listens.

use std::io;

#[cfg(unix)]
use tokio::signal::unix;

/// SIGTERM and Ctrl-C, heard from when it is made.
#[cfg(unix)]
pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(unix::SignalKind::terminate())?,
            interrupt: unix::signal(unix::SignalKind::interrupt())?,
        })
    }

    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP, heard from when it is made.
#[cfg(unix)]
pub(super) struct HangUps(Option<unix::Signal>);

#[cfg(unix)]
impl HangUps {
    pub(super) fn listen() -> Self {
        let signal = unix::signal(unix::SignalKind::hangup()).inspect_err(|error| {
            tracing::warn!(%error, "SIGHUP cannot be heard; change the file instead, it is watched");
        });
        Self(signal.ok())
    }

    /// False when there will be none.
    pub(super) async fn next(&mut self) -> bool {
        match &mut self.0 {
            Some(signal) => signal.recv().await.is_some(),
            None => false,
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn stop(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// There is no such signal.
#[cfg(not(unix))]
pub(super) struct HangUps;

#[cfg(not(unix))]
impl HangUps {
    pub(super) fn listen() -> Self {
        Self
    }

    pub(super) async fn next(&mut self) -> bool {
        false
    }
}
