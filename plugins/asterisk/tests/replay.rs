//! Recorded conversations with a real Asterisk, and the facts that each of them holds.
//!
//! `transcripts/<name>.ami` is what the PBX sent (`+ms` lines say when); `transcripts/<name>.facts` is what
//! must be told. Adding the two files adds a test. The expectations were written by reading the recordings.

mod support;

use std::{fs, path::Path};

use support::{Fake, Lab, UNFILTERED};

fn transcripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut found: Vec<(String, String)> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ami"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("it is text"))
        })
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn expected(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(name)
        .with_extension("facts");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with("//") && !line.is_empty())
        .map(Into::into)
        .collect()
}

fn facts(recording: &str, pieces: usize, swapping: bool) -> Vec<String> {
    let mut lab = Lab::ready(UNFILTERED, Fake::default());
    lab.told();
    lab.pieces = pieces;
    if swapping {
        lab.host.swap_at_every_step();
    }
    lab.replay(recording);
    lab.told()
}

#[test]
fn each_recording_tells_its_facts() {
    let mut wrong = Vec::new();
    for (name, recording) in transcripts() {
        let told = facts(&recording, 0, false);
        if told != expected(&name) {
            wrong.push(format!("== {name} told:\n{}", told.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_pieces_in_which_bytes_come_change_nothing() {
    for (name, recording) in transcripts() {
        let whole = facts(&recording, 0, false);
        for size in [1, 7, 1000] {
            if size > 1 || recording.len() < 40_000 {
                assert_eq!(facts(&recording, size, false), whole, "{name} in pieces of {size}");
            }
        }
    }
}

#[test]
fn a_swap_between_any_two_steps_changes_nothing() {
    for (name, recording) in transcripts() {
        let size = if recording.len() < 40_000 { 100 } else { 2000 };
        assert_eq!(facts(&recording, size, true), facts(&recording, size, false), "{name}");
    }
}
