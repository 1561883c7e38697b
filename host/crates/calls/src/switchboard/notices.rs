//! Notices, so many that they can be read.

use std::{collections::BTreeMap, time::Duration};

use super::Switchboard;
use crate::{
    Actor, Body, ConnectorId,
    event::About,
    fact::{Notice, Severity},
};

/// Notices of one code and connector in one window that are told one by one.
const MOST_PER_WINDOW: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Codes that are counted apart; the others are counted together.
const MOST_CODES: usize = 1_000;

type Kind = (Option<ConnectorId>, String);

/// Counts notices, and holds back what is too many.
#[derive(Default)]
pub(super) struct Throttle {
    windows: BTreeMap<Kind, Window>,
}

struct Window {
    ends: Duration,
    told: u32,
    held: u32,
    /// The last one held back stands for all of them.
    last: Option<(Actor, Notice)>,
}

impl Throttle {
    /// When something held back must be told.
    pub(super) fn due(&self) -> Option<Duration> {
        let held = self.windows.values().filter(|window| window.held > 0);
        held.map(|window| window.ends).min()
    }
}

impl Switchboard {
    pub(super) fn notice(&mut self, connector: Option<ConnectorId>, actor: Actor, notice: Notice) {
        self.flush_notices();
        let now = self.now.monotonic;
        let windows = &mut self.throttle.windows;
        let mut kind = (connector.clone(), notice.code.clone());
        if windows.len() >= MOST_CODES && !windows.contains_key(&kind) {
            kind.1.clear();
        }
        let window = windows.entry(kind).or_insert_with(|| Window {
            ends: now + WINDOW,
            told: 0,
            held: 0,
            last: None,
        });
        if window.told >= MOST_PER_WINDOW {
            window.held += 1;
            window.last = Some((actor, notice));
            return;
        }
        window.told += 1;
        self.emit(connector, None, false, actor, About::default(), Body::Notice(notice));
    }

    /// Ends the windows that are over, and tells what was held back in them.
    pub(super) fn flush_notices(&mut self) {
        let now = self.now.monotonic;
        let over = self.throttle.windows.iter().filter(|(_, window)| window.ends <= now);
        let over: Vec<Kind> = over.map(|(kind, _)| kind.clone()).collect();
        for kind in over {
            let Some(window) = self.throttle.windows.remove(&kind) else { continue };
            let Some((actor, mut notice)) = window.last else { continue };
            if window.held > 1 {
                notice.message =
                    format!("{} (and {} more like it)", notice.message, window.held - 1);
            }
            self.emit(kind.0, None, false, actor, About::default(), Body::Notice(notice));
        }
    }

    /// Something was dropped because there is too much of it; said once per connection.
    pub(super) fn full(&mut self, connector: &ConnectorId, what: &'static str, most: usize) {
        if !self.session(connector).full_told.insert(what) {
            return;
        }
        let notice = Notice {
            code: "too-many".to_owned(),
            severity: Severity::Error,
            message: format!(
                "connector `{connector}` reports more than {most} {what}; the rest is ignored"
            ),
            fix:
                "look for a fault in the connector or its PBX, then POST /v1/connectors/{id}/resync"
                    .to_owned(),
        };
        self.notice(Some(connector.clone()), Actor::Host, notice);
    }
}
