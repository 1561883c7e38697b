//! The host's clock is set back: what is told of time stays sane.

use std::{collections::BTreeMap, time::Duration};

use calls::{
    Body, ConnectorId, Fact, Now, State, Timestamp,
    event::Party,
    fact::Pbx,
    switchboard::{ConnectorPolicy, Input, Output, Policy, Switchboard},
};

#[test]
fn a_gap_never_ends_before_it_begins() {
    let hq = ConnectorId::from("hq");
    let policy = Policy {
        connectors: BTreeMap::from([(hq.clone(), ConnectorPolicy::default())]),
        parties: Box::new(|_, _| Party::default()),
    };
    let mut switchboard = Switchboard::new(policy, State::default());
    let pbx = Pbx {
        product: "Asterisk".into(),
        version: String::new(),
        system_name: String::new(),
        started_at: None,
        capabilities: Vec::new(),
    };
    for (second, wall) in [(1, 1_000), (2, 500)] {
        let now = Now { monotonic: Duration::from_secs(second), wall: Timestamp(wall) };
        let connector = || hq.clone();
        let fact = Fact::Pbx(pbx.clone());
        switchboard.handle(Input::Fact { connector: connector(), at_pbx: None, fact }, now);
        let scope = "all".into();
        switchboard.handle(Input::ResyncBegin { connector: connector(), id: 1, scope }, now);
        switchboard.handle(Input::ResyncEnd { connector: connector(), id: 1 }, now);
        let reason = "link broke".into();
        switchboard.handle(Input::Disconnected { connector: connector(), reason }, now);
    }
    let mut gaps = Vec::new();
    while let Some(output) = switchboard.poll_output() {
        if let Output::Event(event) = output
            && let Body::ObservationGap { from, to } = event.body
        {
            gaps.push((from, to));
        }
    }
    assert_eq!(gaps, [(Timestamp(500), Timestamp(500))]);
}
