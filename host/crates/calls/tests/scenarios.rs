//! Whole scenarios as phone bills: each file in `scenarios` is a test, lines of input and behind each what it made.

mod bill;

use std::{fs, path::Path};

use bill::{Bill, check_journal};

#[test]
fn every_scenario_reads_as_its_phone_bill() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("scenarios").map(|file| file.expect("file").path()).collect();
    files.sort();
    assert!(files.len() > 20);
    let mut wrong = Vec::new();
    for file in files {
        let script = fs::read_to_string(&file).expect("text");
        let mut bill = Bill::new();
        let played = bill.play(&script);
        check_journal(&bill.events, bill.switchboard.state());
        if played != script {
            wrong.push(format!("{}\n{played}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
