//! Which events an observer wants to be told.

use super::Wishes;

/// The name of the wish.
const WISH: &str = "events";

/// Which events an observer wants, by what it wished for at its start; by default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedEvents(Vec<String>);

impl WantedEvents {
    /// From the wish `events`: words such as `call.ended` or `call.*`, apart by spaces or commas. None: all.
    pub fn of(wishes: &Wishes) -> Self {
        let wish = wishes.facts.iter().filter(|(name, _)| name == WISH);
        let words = wish.flat_map(|(_, value)| value.split([' ', ',']));
        Self(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    /// Is an event of this type among them?
    pub fn takes(&self, kind: &str) -> bool {
        let fits = |word: &String| match word.strip_suffix('*') {
            Some(start) => kind.starts_with(start),
            None => word == kind,
        };
        self.0.is_empty() || self.0.iter().any(fits)
    }
}
