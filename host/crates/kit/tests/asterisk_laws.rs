//! The Asterisk connector keeps every law, on conversations recorded from a real Asterisk.

#![expect(clippy::print_stdout, reason = "the report is what a reader wants to see")]

mod support {
    pub mod asterisk;
    mod plugins;
    pub use plugins::*;
}

use std::time::Duration;

use kit::{
    Silent,
    conformance::{Command, Conversation, Holds, Options, Turn, conform},
    report,
};
use support::{
    asterisk::{Asterisk, Transcript, setup, transcripts},
    plugin,
};

/// Commands of an admin, each with an answer of the PBX.
fn commands() -> Vec<Turn> {
    let given: [(&str, &[(&str, &str)]); 7] = [
        ("pause", &[("interface", "PJSIP/1001"), ("reason", "lunch")]),
        ("unpause", &[("interface", "PJSIP/1001")]),
        ("member-add", &[("queue", "sales"), ("interface", "PJSIP/1003"), ("name", "Three")]),
        ("member-remove", &[("queue", "sales"), ("interface", "PJSIP/1003")]),
        ("pause", &[("interface", "a\r\nAction: Logoff")]),
        ("resync", &[]),
        ("probe", &[]),
    ];
    given
        .iter()
        .zip(0..)
        .map(|((kind, arguments), number)| Turn {
            at: Duration::from_secs(12 + 5 * number),
            command: Some(Command {
                kind: (*kind).to_owned(),
                arguments: arguments
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                within: Duration::from_secs(30),
            }),
        })
        .collect()
}

#[test]
fn the_asterisk_connector_keeps_every_law() {
    let plugin = plugin("asterisk");
    let recorded = transcripts();
    let quiet = Transcript { name: "commands".into(), turns: Vec::new() };
    let mut conversations: Vec<Conversation<'_>> = recorded
        .iter()
        .map(|transcript| Conversation {
            name: transcript.name.clone(),
            setup: setup(&plugin),
            pbx: Box::new(|| Box::new(Asterisk::new(transcript))),
            turns: transcript.turns.iter().map(|(at, _)| Turn { at: *at, command: None }).collect(),
        })
        .collect();
    conversations.push(Conversation {
        name: quiet.name.clone(),
        setup: setup(&plugin),
        pbx: Box::new(|| Box::new(Asterisk::new(&quiet))),
        turns: commands(),
    });
    let report = conform(&conversations, Options::default(), &Silent).expect("it starts");
    println!("{}", report::laws(&report, report::Paint::new(false)));
    for verdict in &report.laws {
        assert_eq!(verdict.holds, Holds::Holds, "{verdict:#?}");
    }
}
