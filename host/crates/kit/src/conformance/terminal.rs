//! A leg, a wait in a queue, an offer, a service, a stay with the host ends once, and nothing ends that did not begin.

use std::collections::BTreeSet;

use calls::{Fact, fact::QueueExit};

use super::{ConformError, Conversation, Law, Verdict, failed};
use crate::{
    rig::{Told, Unkind, What},
    scenario::time,
};

pub(super) fn judge(conversations: &[Conversation<'_>]) -> Result<Verdict, ConformError> {
    let law = Law::TerminalEvent;
    let (mut ends, mut evidence) = (0, Vec::new());
    for conversation in conversations {
        let links = conversation.links();
        let (_, plain) = conversation.run(Unkind::default(), |_, _| {})?;
        let (_, cut) = conversation.run(Unkind::default(), |rig, _| {
            for link in &links {
                rig.cut(link, std::time::Duration::ZERO);
            }
            rig.run_until(rig.at() + super::REST);
        })?;
        for (told, sees_all) in [(&plain, true), (&cut, false)] {
            if let Some(failure) = failed(told) {
                let sentence = format!("In `{}` the connector fails.", conversation.name);
                return Ok(law.broken(sentence, vec![failure]));
            }
            let mut lives = Lives { sees_all, ..Lives::default() };
            for told in told {
                lives.take(told);
            }
            ends += lives.ends;
            evidence.extend(lives.wrong);
        }
        if !evidence.is_empty() {
            let sentence =
                format!("In `{}` something does not end exactly once.", conversation.name);
            return Ok(law.broken(sentence, evidence));
        }
    }
    if ends == 0 {
        return Ok(law.not_tried("In no conversation anything ends."));
    }
    Ok(law.holds(format!("Each of {ends} ends was the only one of what had begun.")))
}

/// What has begun and not ended.
#[derive(Default)]
struct Lives {
    /// The connection was up all the time: what ends must have begun before our eyes.
    sees_all: bool,
    going: BTreeSet<Life>,
    /// What ended, and has not begun again.
    over: BTreeSet<Life>,
    ends: u32,
    wrong: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Leg(String),
    Wait(String, String),
    Offer(String, String, String),
    Service(String, String, String),
    Held(String),
}

impl Lives {
    fn take(&mut self, told: &Told) {
        let (fact, is_live) = match &told.what {
            What::Fact(fact) => (fact, true),
            What::Has(_, fact) => (fact, false),
            _ => return,
        };
        let three = |queue: &String, leg: &str, interface: &String| {
            (queue.clone(), leg.to_owned(), interface.clone())
        };
        match fact {
            Fact::LegStarted(it) => self.begins(Life::Leg(it.id.to_string())),
            Fact::CallerJoined(it) => {
                self.begins(Life::Wait(it.queue.clone(), it.leg.to_string()));
            }
            Fact::LegOffered { leg, .. } => self.begins(Life::Held(leg.to_string())),
            Fact::OfferStarted { queue, leg, interface, .. } => {
                let (a, b, c) = three(queue, leg, interface);
                self.begins(Life::Offer(a, b, c));
            }
            Fact::ServiceStarted { queue, leg, interface, .. } => {
                let (a, b, c) = three(queue, leg, interface);
                // Who serves is not offered any more.
                self.going.remove(&Life::Offer(a.clone(), b.clone(), c.clone()));
                self.begins(Life::Service(a, b, c));
            }
            Fact::LegEnded { leg, .. } if is_live => self.ends(told, Life::Leg(leg.to_string())),
            Fact::CallerLeft { queue, leg, exit, .. } if is_live => {
                let life = Life::Wait(queue.clone(), leg.to_string());
                let at_the_door = matches!(exit, QueueExit::Full | QueueExit::JoinEmpty);
                if !at_the_door || self.going.contains(&life) {
                    self.ends(told, life);
                }
            }
            Fact::LegReleased { leg, .. } if is_live => {
                self.ends(told, Life::Held(leg.to_string()));
            }
            Fact::OfferEnded { queue, leg, interface, .. } if is_live => {
                let (a, b, c) = three(queue, leg, interface);
                self.ends(told, Life::Offer(a, b, c));
            }
            Fact::ServiceEnded { queue, leg, interface, .. } if is_live => {
                let (a, b, c) = three(queue, leg, interface);
                self.ends(told, Life::Service(a, b, c));
            }
            Fact::LegState { leg, .. }
            | Fact::LegPeers { leg, .. }
            | Fact::LegParty { leg, .. }
                if self.over.contains(&Life::Leg(leg.to_string())) =>
            {
                let line = told.what.line();
                self.wrong.push(format!("{}: {line}, after its end", time::shown(told.at)));
            }
            _ => {}
        }
    }

    fn begins(&mut self, life: Life) {
        self.over.remove(&life);
        self.going.insert(life);
    }

    fn ends(&mut self, told: &Told, life: Life) {
        self.ends += 1;
        let began = self.going.remove(&life);
        let again = !self.over.insert(life);
        if again || (self.sees_all && !began) {
            let why = if again { "it has ended already" } else { "it never began" };
            self.wrong.push(format!("{}: {}: {why}", time::shown(told.at), told.what.line()));
        }
    }
}
