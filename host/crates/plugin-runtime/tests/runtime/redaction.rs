//! Recordings without anybody's number.

use std::time::Duration;

use plugin_runtime::{Input, Recording, WriteError, WriteOptions, Written};

use crate::{
    guests::{Bench, command, link_up},
    recording::{callers, file, limited, read, replayed, write},
};

const KEY: [u8; 32] = [42; 32];

fn redacted(recording: &Recording) -> (String, Written) {
    let how = WriteOptions { redact: Some(KEY), secrets: None };
    write(recording, &how).unwrap_or_else(|error| panic!("{error}"))
}

/// What happened, with all digits made equal.
fn shape(file: &str) -> String {
    let other = ["{\"format\":", "{\"numbers\":", "{\"end\":"];
    let happened = |line: &&str| !other.iter().any(|other| line.starts_with(other));
    let body = file.lines().filter(happened).collect::<Vec<_>>().join("\n");
    body.chars().map(|char| if char.is_ascii_digit() { '#' } else { char }).collect()
}

/// No number is in the file, it runs, and nothing but digits differs from the file as it was.
fn check(recording: &Recording, numbers: &[&str], what: &str) -> String {
    let (plain, _) = file(recording);
    let (text, written) = redacted(recording);
    for number in numbers {
        assert!(!text.contains(number), "{what}: {number} in {text}");
    }
    assert_eq!(shape(&text), shape(&plain), "{what}");
    let report = replayed(&callers(), &text);
    assert!(report.is_same(), "{what}: {report:#?}\n{text}");
    assert_eq!(report.effects_sha256, written.effects_sha256, "{what}");
    assert!(read(&text).is_redacted());
    text
}

fn dial(id: u64, number: &str) -> Input {
    Input::Command {
        id,
        kind: "originate".into(),
        arguments: vec![("number".into(), number.into()), ("note".into(), format!("0{number}!"))],
        deadline: Duration::from_secs(1_000_000),
    }
}

#[test]
fn no_number_is_left_however_steps_and_snapshots_cut_it() {
    let stream =
        b"N+4930123456789\nsaid 004930123456789 to 030123456789\nN(089) 55 66-778\nx89556677 8\n\
                   id 1800000000.4930123456789\nN12345\n12345 and 9123459 (089) 55 66-778\n";
    let numbers = ["30123456789", "23456789", "55 66-778", "12345"];
    for cut in 0..=stream.len() {
        for forgets_the_beginning in [false, true] {
            let mut bench = Bench::with(&callers(), limited(8192, 1));
            bench.link_up();
            bench.receive(&stream[..cut]);
            // A trap, so that there is a snapshot.
            bench.handle(vec![command(1, "trap")]);
            assert_eq!(bench.connector.usage().snapshots, 1);
            if forgets_the_beginning {
                bench.now.monotonic += Duration::from_secs(120);
            }
            bench.receive(&stream[cut..]);
            bench.handle(vec![dial(2, "4930123456789"), command(3, "say")]);
            let recording = bench.connector.recording();
            let what = format!("cut at {cut}, beginning forgotten: {forgets_the_beginning}");
            let text = check(&recording, &numbers, &what);
            assert_eq!(text.contains("\"from\":\"start\""), !forgets_the_beginning, "{what}");
            // A crash as well, which the file on its own has to show.
            drop(bench.connector.take_bundles());
            bench.handle(vec![dial(4, "4930123456789"), command(5, "trap")]);
            let bundle = bench.connector.take_bundles().remove(0);
            check(&bundle, &numbers, &what);
        }
    }
}

#[test]
fn a_key_that_a_caller_pressed_is_in_no_file_however_steps_cut_it() {
    let stream = b"Digit: 7\nN4930123456789\nDigit: 4\nDigits 4\n";
    let keys = ["Digit: 7", "Digit: 4"];
    for cut in 0..=stream.len() {
        let mut bench = Bench::with(&callers(), limited(8192, 60));
        bench.link_up();
        bench.receive(&stream[..cut]);
        bench.receive(&stream[cut..]);
        let recording = bench.connector.recording();
        let (plain, written) = file(&recording);
        assert!(plain.contains("N4930123456789"), "cut at {cut}");
        let report = replayed(&callers(), &plain);
        assert!(report.is_same(), "cut at {cut}: {report:#?}\n{plain}");
        assert_eq!(report.effects_sha256, written.effects_sha256, "cut at {cut}");
        let text = check(&recording, &["4930123456789"], &format!("cut at {cut}"));
        for text in [plain, text] {
            assert!(keys.iter().all(|key| !text.contains(key)), "cut at {cut}: {text}");
            assert!(!text.contains("Digits 0"), "cut at {cut}");
        }
    }
}

#[test]
fn a_number_of_long_ago_is_known_when_only_the_snapshot_holds_it() {
    let mut bench = Bench::with(&callers(), limited(8192, 1));
    bench.link_up();
    bench.receive(b"N+4930123456789\n");
    bench.handle(vec![command(1, "trap")]);
    bench.now.monotonic += Duration::from_secs(3600);
    bench.handle(vec![command(2, "say")]);
    let recording = bench.connector.recording();
    let (plain, _) = file(&recording);
    assert!(plain.contains(r#""from":"snapshot""#) && plain.contains("N+4930123456789"));
    check(&recording, &["4930123456789", "23456789"], "snapshot");
}

#[test]
fn a_piece_of_a_number_at_the_end_of_a_recording_tells_nothing() {
    for length in 3..13 {
        let mut bench = Bench::with(&callers(), limited(8192, 1));
        bench.link_up();
        bench.receive(b"N4930123456789\n");
        bench.receive(&b"again 4930123456789"[..6 + length]);
        let (text, _) = redacted(&bench.connector.recording());
        let piece = format!("again {}", &"4930123456789"[..length]);
        assert!(!text.contains(&piece), "{piece} in {text}");
        assert!(replayed(&callers(), &text).is_same());
    }
}

#[test]
fn one_number_is_one_token_in_one_file_and_another_in_the_next() {
    let mut bench = Bench::with(&callers(), limited(8192, 1));
    bench.link_up();
    bench.receive(
        b"N+4930123456789\nN4930123456789\nN0049 30 123456789\nN0301234567\nN+49301234567\n",
    );
    let recording = bench.connector.recording();
    let tokens = |key: u8| {
        let how = WriteOptions { redact: Some([key; 32]), secrets: None };
        let (text, _) = write(&recording, &how).unwrap();
        let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
        let told = text.split("\"number\":\"").skip(1);
        told.map(|rest| digits(rest.split('"').next().unwrap())).collect::<Vec<_>>()
    };
    let one = tokens(1);
    assert_eq!(one[0].len(), 13);
    assert_eq!(one[0], one[1]);
    assert_eq!(one[2], format!("00{}", one[0]));
    // The same eight digits at the end, with and without the country.
    assert_eq!(one[3][2..], one[4][3..]);
    assert_ne!(one[0], "4930123456789");
    assert_ne!(tokens(2)[0], one[0]);
}

#[test]
fn several_links_and_connections_are_redacted_each_by_itself() {
    let mut config = limited(8192, 60);
    config.links.push(("control".into(), "tcp://127.0.0.1:5039".into()));
    config.grants.push("link:control".into());
    let mut bench = Bench::with(&callers(), config);
    bench.link_up();
    let control = |data: &str| Input::Received { link: "control".into(), data: data.into() };
    let up = Input::LinkUp { link: "control".into(), peer: "p".into(), nonce: [1; 32] };
    bench.handle(vec![up]);
    bench.receive(b"N493012");
    bench.handle(vec![control("N3456789012\nx 345678")]);
    bench.receive(b"3456789\n");
    let closed = Input::LinkClosed { link: "ami".into(), reason: "49301234567 89".into() };
    bench.handle(vec![closed, link_up()]);
    bench.receive(b"left behind 4930123456789 and 3456789012\n");
    bench.handle(vec![control("9012\n")]);
    check(&bench.connector.recording(), &["4930123456789", "3456789012"], "links");
}

#[test]
fn a_file_can_be_redacted_later_by_who_has_the_component() {
    let mut bench = Bench::with(&callers(), limited(8192, 1));
    bench.link_up();
    bench.receive(b"N+4930123456789\n");
    bench.handle(vec![command(1, "trap")]);
    bench.now.monotonic += Duration::from_secs(120);
    bench.receive(b"N0301234567\nN12345\n12345 calls (030) 1234567\n");
    bench.handle(vec![command(2, "trap")]);
    bench.receive(b"049301234567\n");
    let recording = bench.connector.recording();
    let (plain, _) = file(&recording);
    // The first number was told before the recording begins, and only its snapshot holds it.
    assert!(plain.contains(r#"{"numbers":{"people":["+4930123456789","0301234567","12345"],"#));
    let mut from_file = read(&plain);
    let how = WriteOptions { redact: Some(KEY), secrets: None };
    let error = write(&from_file, &how).unwrap_err();
    assert!(matches!(error, WriteError::NoComponent), "{error}");
    from_file.attach(&[callers()]);
    assert_eq!(redacted(&from_file), redacted(&recording));
    check(&from_file, &["301234567", "23456789", "12345"], "from a file");
}
