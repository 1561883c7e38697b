//! Old rows of the journal, lifted to what this version reads.

use serde_json::Value;

use super::{Event, NotAnEvent};

/// The schema this version writes. Raise it when a stored event can no longer be read as it is, add the step
/// to [`STEPS`], and leave a row of the old kind in the museum (`host/src/journal/museum.jsonl`).
pub const SCHEMA: u32 = 1;

/// `STEPS[n]` lifts an event from schema `n + 1` to `n + 2`.
const STEPS: [fn(&mut Value); SCHEMA as usize - 1] = [];

/// Reads an event that was written with `schema`.
pub fn read_event(schema: u32, json: &str) -> Result<calls::Event, NotAnEvent> {
    let event: Event = if schema == SCHEMA {
        serde_json::from_str(json)?
    } else {
        serde_json::from_value(lifted(schema, json)?)?
    };
    event.try_into()
}

/// The text of an event as this version would have written it.
pub(crate) fn current(schema: u32, json: String) -> Result<String, NotAnEvent> {
    if schema == SCHEMA { Ok(json) } else { Ok(lifted(schema, &json)?.to_string()) }
}

fn lifted(schema: u32, json: &str) -> Result<Value, NotAnEvent> {
    if schema > SCHEMA {
        return Err(NotAnEvent::NewerSchema { found: schema, known: SCHEMA });
    }
    let mut event = serde_json::from_str(json)?;
    for step in STEPS.iter().skip((schema as usize).saturating_sub(1)) {
        step(&mut event);
    }
    Ok(event)
}
