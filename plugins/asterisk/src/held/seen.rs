//! Who is held, as a list of all channels shows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Offer, Place};
use crate::{
    calls::Told,
    frame::{Header, get},
};

/// Callers in AsyncAGI as a list of all channels shows them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// In `AGI(agi:async)` and idle.
    pub(super) held: BTreeMap<String, (Place, String, Offer)>,
    /// All others, and their languages.
    pub(super) others: BTreeMap<String, (Place, String)>,
    /// Handed over or let go since the list was asked for.
    pub(super) touched: BTreeSet<String>,
    /// In the template's `held`: what they came with is being asked for.
    pub(super) asked: BTreeSet<String>,
}

impl Seen {
    /// A channel of the list.
    pub fn channel(&mut self, told: Told<'_, '_>, headers: &[Header<'_>]) {
        let id = told.id();
        if get(headers, b"BridgeId").is_some_and(|bridge| !bridge.is_empty()) {
            // They talk. Put through out of AsyncAGI, Asterisk goes on naming that and the place where they were.
            self.others.insert(id, (Place::default(), told.language()));
            return;
        }
        let offer = match get(headers, b"Application") {
            Some(b"AGI") => {
                Offer::of_application(get(headers, b"ApplicationData").unwrap_or_default())
            }
            _ => None,
        };
        match offer {
            Some(offer) => {
                self.held.insert(id, (place(told), told.language(), offer));
            }
            None => {
                self.others.insert(id, (place(told), told.language()));
            }
        }
    }

    /// A caller was handed over, or let go: the list need not know yet.
    pub fn touch(&mut self, id: String) {
        self.touched.insert(id);
    }

    /// The PBX said what a caller came with; or it did not, and we go by what we know.
    pub fn offer(&mut self, id: &str, headers: &[Header<'_>]) {
        if !self.asked.remove(id) || get(headers, b"Response") != Some(b"Success") {
            return;
        }
        let value = get(headers, b"Value").unwrap_or_default();
        let other = self.others.remove(id);
        // Empty: the template writes it down right before it hands them over, so they are not held.
        if let Some((place, language)) = other.filter(|_| !value.is_empty()) {
            let offer = Offer::of_variable(value);
            self.held.insert(id.into(), (place, language, offer));
        }
    }

    /// Is the PBX yet to say what somebody came with?
    pub fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The list comes once more.
    pub fn again(&mut self) {
        *self = Self { touched: std::mem::take(&mut self.touched), ..Self::default() };
    }
}

pub(super) fn place(told: Told<'_, '_>) -> Place {
    let (context, extension) = told.place();
    Place { context, extension, priority: told.priority() }
}
