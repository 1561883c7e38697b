//! How much of the PBX is seen, as the plugin's facts tell it.

use calls::{Fact, fact::Severity, switchboard::Input as SwitchInput};

use super::Supervisor;
use crate::status::StatusWord;

/// How much of the PBX is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// A required link was up and nothing was said about its end to the switch yet.
    pub(super) linked: bool,
    /// The PBX has introduced itself since then.
    pub(super) introduced: bool,
    /// A picture was completed since then.
    pub(super) pictured: bool,
}

impl Supervisor {
    /// Some facts are also news about the connector itself.
    pub(super) fn look_at(&mut self, fact: &Fact) {
        match fact {
            Fact::Pbx(_) => self.sight.introduced = true,
            Fact::Notice(notice) if notice.severity == Severity::Error => {
                self.show(|status, now| status.fail(&notice.message, &notice.fix, now));
            }
            _ => {}
        }
    }

    pub(super) fn why_blind(&self) -> String {
        let status = self.around.board.get(&self.id);
        status
            .map(|status| status.reason)
            .filter(|reason| !reason.is_empty())
            .unwrap_or_else(|| "a required link is down".to_owned())
    }

    /// Tells the switch once that nothing is seen any more.
    pub(super) async fn lose_sight(&mut self, reason: &str) {
        if std::mem::take(&mut self.sight).linked {
            let input =
                SwitchInput::Disconnected { connector: self.id.clone(), reason: reason.to_owned() };
            self.tell(vec![input]).await;
        }
    }

    pub(super) fn show_sight(&self) {
        let Sight { linked, introduced, pictured } = self.sight;
        if !linked {
            return;
        }
        let word =
            if introduced && pictured { StatusWord::Connected } else { StatusWord::Connecting };
        self.show(|status, now| {
            // A refused login is shown as such until the next one succeeds.
            let stays = status.word == StatusWord::Refused && word == StatusWord::Connecting;
            if status.word != word && !stays {
                status.set(word, "", now);
            }
        });
    }
}
