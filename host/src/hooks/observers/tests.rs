//! Observers against scripts: what they are told, when, and what is on disk afterwards.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use calls::Timestamp;
use plugin_runtime::hooks::{HttpRequest, Store};

use super::*;
use crate::{
    api::tests::world,
    figures::Zones,
    hooks::store::HookStore,
    journal::{Journal, JournalOptions, Retention},
};

mod laws;
mod threads;

/// Events of the tests: made of facts about legs, so that they are real ones.
pub(super) fn events(count: usize) -> Vec<calls::Event> {
    let mut core = world::core(calls::State::default());
    let mut facts = Vec::new();
    for n in 0..count {
        facts.push(world::leg(&format!("c{n}")));
    }
    core.facts("hq", facts);
    core.events()
}

pub(super) fn ack(seq: u64) -> ObserverAction {
    ObserverAction::Ack(seq)
}

pub(super) fn store(key: &str) -> ObserverAction {
    ObserverAction::Store(Store {
        key: key.to_owned(),
        value: Some(key.as_bytes().to_vec()),
        facts: Vec::new(),
    })
}

pub(super) fn post(id: &str) -> ObserverAction {
    ObserverAction::Lookup(Lookup {
        id: id.to_owned(),
        facts: Vec::new(),
        question: Question::Http(HttpRequest {
            method: "POST".to_owned(),
            url: "https://receiver.example.org/".to_owned(),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            body: id.as_bytes().to_vec(),
            timeout: None,
        }),
    })
}

pub(super) fn seqs(inputs: &[ObserverInput]) -> Vec<u64> {
    let seq = |input: &ObserverInput| match input {
        ObserverInput::Event(event) => Some(event.seq),
        _ => None,
    };
    inputs.iter().filter_map(seq).collect()
}
