//! People's lines: device states and dialplan hints made into extensions.

use std::collections::BTreeMap;

use jackfield_sdk::{Extension, Fact};
use serde::{Deserialize, Serialize};

use crate::{out::Out, settings::Rules};

/// All extensions, by number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Extensions {
    known: BTreeMap<String, Line>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// As told: the device, or the hint's first.
    device: String,
    /// What the device says, when it is one of ours.
    by_device: Option<String>,
    /// What the hint says.
    by_hint: Option<String>,
}

impl Extensions {
    /// A device changed state; says which extension that was.
    pub fn device(&mut self, device: &str, state: &[u8], rules: &Rules) -> Option<String> {
        let number = rules.of_device(device)?;
        if !self.is_so(&number, device, state) {
            let line = self.known.entry(number.clone()).or_default();
            line.device = device.into();
            line.by_device = Some(device_state(state).into());
        }
        Some(number)
    }

    /// Was an extension's device and its state told before?
    pub fn is_so(&self, number: &str, device: &str, state: &[u8]) -> bool {
        self.known.get(number).is_some_and(|line| {
            line.device == device && line.by_device.as_deref() == Some(device_state(state))
        })
    }

    /// A hint changed state; says which extension that was.
    pub fn hint(&mut self, number: &str, hint: &str, status: i64, rules: &Rules) -> Option<String> {
        if !rules.is_extension(number) {
            return None;
        }
        if status < 0 {
            if let Some(line) = self.known.get_mut(number) {
                line.by_hint = None;
            }
            return Some(number.into());
        }
        let line = self.known.entry(number.into()).or_default();
        let first = hint.split(['&', ',']).next().unwrap_or_default();
        if line.device.is_empty() && !first.is_empty() {
            line.device = first.into();
        }
        line.by_hint = Some(hint_state(status).into());
        Some(number.into())
    }

    /// Tells an extension if it is not as `before`.
    pub fn tell(&mut self, number: &str, before: Option<Extension>, out: &mut Out<'_>) {
        let now = self.fact(number);
        match (before, now) {
            (Some(before), Some(now))
                if before.device == now.device && before.state == now.state => {}
            (_, Some(now)) => out.fact(Fact::Extension(now)),
            (Some(_), None) => {
                self.known.remove(number);
                out.fact(Fact::ExtensionRemoved(number.into()));
            }
            (None, None) => {}
        }
    }

    /// An extension as it is now.
    pub fn fact(&self, number: &str) -> Option<Extension> {
        let line = self.known.get(number)?;
        let state = line.by_device.as_ref().or(line.by_hint.as_ref())?;
        Some(Extension {
            number: number.into(),
            device: line.device.clone(),
            name: String::new(),
            state: state.clone(),
        })
    }

    /// All of them.
    pub fn picture(&self) -> Vec<Fact> {
        self.known.keys().filter_map(|number| self.fact(number)).map(Fact::Extension).collect()
    }

    /// Lines that may be trunks with a number for a name, as number and device: where most lines have a hint,
    /// those without one; else those whose number is not as long as most.
    pub fn odd_ones(&self) -> Vec<(&str, &str)> {
        let total = self.known.len();
        let hinted = self.known.values().filter(|line| line.by_hint.is_some()).count();
        let mut lengths = BTreeMap::new();
        for number in self.known.keys() {
            *lengths.entry(number.len()).or_insert(0_usize) += 1;
        }
        let usual = lengths.into_iter().max_by_key(|(_, count)| *count);
        let odd = |number: &str, line: &Line| {
            if hinted * 2 > total {
                line.by_hint.is_none()
            } else {
                usual
                    .is_some_and(|(length, count)| count * 4 >= total * 3 && number.len() != length)
            }
        };
        self.known
            .iter()
            .filter(|(number, line)| odd(number, line))
            .map(|(number, line)| (number.as_str(), line.device.as_str()))
            .collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Takes the picture of complete lists; what changed live meanwhile is kept.
    pub fn take_picture(&mut self, picture: Self, touched: &std::collections::BTreeSet<String>) {
        let before = std::mem::replace(&mut self.known, picture.known);
        for number in touched {
            if let Some(line) = before.get(number) {
                self.known.insert(number.clone(), line.clone());
            }
        }
    }
}

fn device_state(state: &[u8]) -> &'static str {
    match state {
        b"NOT_INUSE" => "registered",
        b"INUSE" => "in-use",
        b"BUSY" => "busy",
        b"RINGING" | b"RINGINUSE" => "ringing",
        b"ONHOLD" => "on-hold",
        b"UNAVAILABLE" => "unregistered",
        _ => "unknown",
    }
}

/// Asterisk's extension states are bits: 1 in use, 2 busy, 4 unavailable, 8 ringing, 16 on hold.
fn hint_state(status: i64) -> &'static str {
    match status {
        0 => "registered",
        status if status & 8 != 0 => "ringing",
        status if status & 2 != 0 => "busy",
        status if status & 16 != 0 => "on-hold",
        status if status & 1 != 0 => "in-use",
        status if status & 4 != 0 => "unregistered",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(devices: &[&str], hints: &[&str]) -> Extensions {
        let settings = r#"{"username":"u","extensions":"^[0-9]+$"}"#;
        let (_, rules) = crate::settings::read(settings).unwrap();
        let mut extensions = Extensions::default();
        for device in devices {
            extensions.device(device, b"NOT_INUSE", &rules);
        }
        for number in hints {
            extensions.hint(number, &format!("PJSIP/{number}"), 0, &rules);
        }
        extensions
    }

    #[test]
    fn a_line_without_a_hint_among_hinted_ones_may_be_a_trunk() {
        let devices = ["PJSIP/1001", "PJSIP/1002", "PJSIP/49301234"];
        let extensions = with(&devices, &["1001", "1002"]);
        assert_eq!(extensions.odd_ones(), [("49301234", "PJSIP/49301234")]);
    }

    #[test]
    fn without_hints_a_number_of_another_length_may_be_a_trunk() {
        let devices = ["PJSIP/1001", "PJSIP/1002", "PJSIP/1003", "PJSIP/49301234"];
        assert_eq!(with(&devices, &[]).odd_ones(), [("49301234", "PJSIP/49301234")]);
        assert!(with(&devices[..3], &[]).odd_ones().is_empty());
        assert!(
            with(&["PJSIP/10", "PJSIP/1001"], &[]).odd_ones().is_empty(),
            "too few to say what is usual"
        );
    }
}
