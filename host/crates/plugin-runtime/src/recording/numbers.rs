//! Callers' numbers a connector has heard of, for redaction.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::bindings::facts::Fact;

/// Shorter ones are extensions, queues or service numbers.
pub(super) const MIN_DIGITS: usize = 5;
/// Longer texts are no numbers.
const MAX_LENGTH: usize = 64;
/// Legs that live and have numbers; those of more are counted, not kept.
const MAX_LIVE: usize = 16_384;
/// Longest id of a leg that is followed.
const MAX_LEG_ID: usize = 128;
/// Numbers of one leg; of more the oldest counts as over.
const MAX_PER_LEG: usize = 8;
/// Numbers of legs that are over; of more the oldest is forgotten.
const MAX_OVER: usize = 8192;
const MAX_EXTENSIONS: usize = 16_384;

/// Numbers of callers and of those who were called. Those of living legs are never forgotten: a snapshot may
/// hold them however long a call lasts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    live: HashMap<Box<str>, Vec<Arc<str>>>,
    over: VecDeque<Arc<str>>,
    extensions: HashSet<Box<str>>,
    /// Numbers that were not taken because there was no room.
    missed: u64,
}

impl Numbers {
    /// Takes what a fact tells about numbers.
    pub(crate) fn hear(&mut self, fact: &Fact) {
        if let Fact::LegEnded(end) = fact {
            for number in self.live.remove(end.leg.as_str()).into_iter().flatten() {
                self.is_over(number);
            }
            return;
        }
        each_number(fact, &mut |leg, number| self.number(leg, number));
        each_extension(fact, &mut |extension| self.extension(extension));
    }

    /// No leg lives any more that anybody knows of.
    pub(crate) fn forget_legs(&mut self) {
        for number in std::mem::take(&mut self.live).into_values().flatten() {
            self.is_over(number);
        }
    }

    /// As a file has them.
    pub(super) fn from_file(numbers: Vec<String>, extensions: Vec<String>, missed: u64) -> Self {
        Self {
            live: HashMap::new(),
            over: numbers.into_iter().map(Arc::from).collect(),
            extensions: extensions.into_iter().map(Box::from).collect(),
            missed,
        }
    }

    /// Numbers as they came, those that are extensions among them.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.live.values().flatten().chain(&self.over).map(AsRef::as_ref)
    }

    /// Extensions that are as long as numbers.
    pub(super) fn extensions(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().map(AsRef::as_ref)
    }

    /// How many numbers could not be taken: redaction cannot promise anything then.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    fn number(&mut self, leg: &str, number: &str) {
        if let Some(known) = self.live.get_mut(leg) {
            if known.iter().any(|one| &**one == number) {
                return;
            }
            known.push(number.into());
            if known.len() > MAX_PER_LEG {
                let oldest = known.remove(0);
                self.is_over(oldest);
            }
        } else if self.live.len() < MAX_LIVE && leg.len() <= MAX_LEG_ID {
            self.live.insert(leg.into(), vec![number.into()]);
        } else {
            self.missed += 1;
        }
    }

    fn is_over(&mut self, number: Arc<str>) {
        if self.over.len() == MAX_OVER {
            self.over.pop_front();
        }
        self.over.push_back(number);
    }

    fn extension(&mut self, number: &str) {
        if self.extensions.len() < MAX_EXTENSIONS && !self.extensions.contains(number) {
            self.extensions.insert(number.into());
        }
    }
}

/// Calls for each number in a fact that may be a person's, with the leg it belongs to.
pub(super) fn each_number(fact: &Fact, take: &mut dyn FnMut(&str, &str)) {
    let mut take = |leg: &str, number: &str| {
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        if digits >= MIN_DIGITS && number.len() <= MAX_LENGTH {
            take(leg, number);
        }
    };
    match fact {
        Fact::LegStarted(leg) => {
            take(&leg.id, &leg.party.number);
            take(&leg.id, &leg.dialled);
        }
        Fact::LegParty(change) => take(&change.leg, &change.party.number),
        Fact::Transfer(transfer) => take(&transfer.transferer, &transfer.target),
        _ => {}
    }
}

/// Calls for each extension in a fact that is as long as a number.
pub(super) fn each_extension(fact: &Fact, take: &mut dyn FnMut(&str)) {
    let extension = match fact {
        Fact::LegStarted(leg) => leg.extension.as_deref(),
        Fact::Member(member) => member.extension.as_deref(),
        Fact::Extension(extension) => Some(extension.number.as_str()),
        _ => None,
    };
    if let Some(extension) =
        extension.filter(|text| (MIN_DIGITS..=MAX_LENGTH).contains(&text.len()))
    {
        take(extension);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::facts::{Cause, Extension, LegEnded, LegParty, Party};

    fn party(leg: &str, number: &str) -> Fact {
        let (name, presentation) = (String::new(), String::new());
        let party = Party { number: number.into(), name, presentation };
        Fact::LegParty(LegParty { leg: leg.into(), party })
    }

    fn ended(leg: &str) -> Fact {
        let cause = Cause { q850: 16, sip: 0, text: String::new() };
        Fact::LegEnded(LegEnded { leg: leg.into(), cause, ended_by: String::new() })
    }

    fn known(numbers: &Numbers) -> Vec<&str> {
        let mut all: Vec<&str> = numbers.all().collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn only_what_may_be_a_persons_number_is_kept() {
        let mut numbers = Numbers::default();
        for number in ["", "1001", "0049301234567", "1(2)345", "anonymous", &"1".repeat(65)] {
            numbers.hear(&party("a", number));
        }
        assert_eq!(known(&numbers), ["0049301234567", "1(2)345"]);
        let extension = |number: &str| {
            Fact::Extension(Extension {
                number: number.into(),
                device: String::new(),
                name: String::new(),
                state: String::new(),
            })
        };
        numbers.hear(&extension("1001"));
        numbers.hear(&extension("10010"));
        assert_eq!(numbers.extensions().collect::<Vec<_>>(), ["10010"]);
    }

    #[test]
    fn a_living_legs_number_outlasts_any_number_of_others() {
        let mut numbers = Numbers::default();
        numbers.hear(&party("long", "4930123456"));
        for call in 0..3 * MAX_OVER {
            let leg = call.to_string();
            numbers.hear(&party(&leg, &format!("49{call:08}")));
            numbers.hear(&ended(&leg));
        }
        assert!(known(&numbers).contains(&"4930123456"));
        assert_eq!(known(&numbers).len(), MAX_OVER + 1);
        assert_eq!(numbers.missed(), 0);
        numbers.hear(&ended("long"));
        numbers.forget_legs();
        assert!(numbers.live.is_empty() && known(&numbers).contains(&"4930123456"));
    }

    #[test]
    fn whatever_a_plugin_tells_the_room_it_takes_is_bounded() {
        let mut numbers = Numbers::default();
        for leg in 0..MAX_LIVE + 10 {
            numbers.hear(&party(&leg.to_string(), "4930123456"));
        }
        numbers.hear(&party(&"x".repeat(MAX_LEG_ID + 1), "4930123456"));
        assert_eq!((numbers.live.len(), numbers.missed()), (MAX_LIVE, 11));
        for number in 0..10_000 {
            numbers.hear(&party("0", &format!("49{number:08}")));
        }
        assert_eq!((numbers.live["0"].len(), numbers.over.len()), (MAX_PER_LEG, MAX_OVER));
    }
}
