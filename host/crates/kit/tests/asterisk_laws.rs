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

const LEG: &str = "1795322852.0";

/// Every instruction there is for a caller who is held; the last ones are for somebody who is gone, and nonsense.
fn instructions(after: Duration) -> Vec<Turn> {
    let given: [(&str, &[(&str, &str)]); 20] = [
        ("leg-answer", &[]),
        ("leg-lease", &[("secs", "45")]),
        ("leg-music", &[("class", "tone")]),
        ("leg-play", &[("media", "lab/tone-600"), ("media", "lab/tone-800")]),
        ("leg-play", &[("media", "lab/nowhere")]),
        ("leg-say", &[("kind", "number"), ("value", "42"), ("language", "de")]),
        ("leg-say", &[("kind", "digits"), ("value", "0815")]),
        ("leg-listen", &[("on", "true")]),
        ("leg-listen", &[("on", "false")]),
        ("leg-silence", &[]),
        ("leg-set", &[("variable.TARIFF", "gold"), ("variable.LEVEL", "2"), ("language", "de")]),
        ("leg-play", &[("media", "a\r\nAction: Logoff")]),
        ("leg-to-extension", &[("extension", "4711")]),
        ("leg-to-dialplan", &[("context", "internal"), ("extension", "500")]),
        ("leg-to-queue", &[("queue", "vip"), ("priority", "7"), ("variable.LEVEL", "3")]),
        ("leg-to-extension", &[("extension", "1001")]),
        ("leg-continue", &[]),
        ("leg-hang-up", &[("q850", "21")]),
        ("leg-lease", &[("secs", "0")]),
        ("leg-dance", &[]),
    ];
    let leg = ("leg".to_owned(), LEG.to_owned());
    given
        .iter()
        .zip(0..)
        .map(|((kind, arguments), number)| {
            let mut all = vec![leg.clone()];
            all.extend(arguments.iter().map(|(name, value)| ((*name).into(), (*value).into())));
            Turn {
                at: after + Duration::from_secs(5 + 5 * number),
                command: Some(Command {
                    kind: (*kind).to_owned(),
                    arguments: all,
                    within: Duration::from_secs(30),
                }),
            }
        })
        .collect()
}

/// The moments of a recording, with the instructions that were given then.
fn turns(transcript: &Transcript) -> Vec<Turn> {
    let command = |number| {
        let (kind, arguments) = transcript.given.get(&number)?.clone();
        Some(Command { kind, arguments, within: Duration::from_secs(30) })
    };
    let turns = transcript.turns.iter().enumerate();
    turns.map(|(number, (at, _))| Turn { at: *at, command: command(number) }).collect()
}

#[test]
fn the_asterisk_connector_keeps_every_law() {
    let plugin = plugin("asterisk");
    let recorded = transcripts();
    let quiet = Transcript { name: "commands".into(), ..Transcript::default() };
    let talked = recorded.iter().find(|it| it.name == "talked").expect("somebody is held");
    let mut held = talked.before("leg-to-queue");
    held.name = "instructions".into();
    let mut conversations: Vec<Conversation<'_>> = recorded
        .iter()
        .map(|transcript| Conversation {
            name: transcript.name.clone(),
            setup: setup(&plugin),
            pbx: Box::new(|| Box::new(Asterisk::new(transcript))),
            turns: turns(transcript),
        })
        .collect();
    conversations.push(Conversation {
        name: quiet.name.clone(),
        setup: setup(&plugin),
        pbx: Box::new(|| Box::new(Asterisk::new(&quiet))),
        turns: commands(),
    });
    let (last, _) = held.turns.last().expect("something came");
    conversations.push(Conversation {
        name: held.name.clone(),
        setup: setup(&plugin),
        pbx: Box::new(|| Box::new(Asterisk::new(&held))),
        turns: turns(&held).into_iter().chain(instructions(*last)).collect(),
    });
    let report = conform(&conversations, Options::default(), &Silent).expect("it starts");
    println!("{}", report::laws(&report, report::Paint::new(false)));
    for verdict in &report.laws {
        assert_eq!(verdict.holds, Holds::Holds, "{verdict:#?}");
    }
}
