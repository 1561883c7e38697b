//! Files that are no recordings, or pretend to be.

use plugin_runtime::{ReadError, Recording, replay};

use crate::{
    guests::{Bench, command, lines},
    recording::{file, read},
};

fn sample() -> String {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntwo \x00\nth");
    bench.handle(vec![command(1, "done"), command(2, "send"), command(3, "error")]);
    bench.receive(b"ree\nX\n");
    file(&bench.connector.recording()).0
}

fn problem(file: impl AsRef<[u8]>) -> String {
    Recording::read(&mut file.as_ref()).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_is_no_recording_says_so() {
    for file in [
        &b""[..],
        b"\n",
        b"\0asm\x0d\0\x01\0",
        b"{}\n",
        b"PK\x03\x04",
        b"[1,2]\n",
        b"{\"format\":\"x\"}\n",
    ] {
        assert!(problem(file).contains("this is no recording of Jackfield"), "{file:?}");
    }
    let future = sample().replacen("\"version\":1", "\"version\":7", 1);
    assert!(problem(future).contains("has format version 7, and this host reads 1"));
}

#[test]
fn a_line_that_makes_no_sense_is_named_with_what_is_wrong() {
    let sample = sample();
    for (change, to, said) in [
        (
            "{\"step\"",
            "{\"stop\"",
            "line 4 of the recording makes no sense: it is no JSON, or neither",
        ),
        ("{\"step\":", "{\"step\"", "line 4 of the recording makes no sense"),
        ("\"epoch\":1", "\"epoch\":-1", "`step.inputs.link-up.epoch`: it should be a whole number"),
        (
            "\"from\":\"start\"",
            "\"from\":\"nowhere\"",
            "an instance from `nowhere` has other parts",
        ),
        ("\"kind\":\"ring\"", "\"kind\":\"moebius\"", "nobody knows the kind `moebius`"),
        ("\"kind\":\"trap\"", "\"kind\":\"tripe\"", "nobody knows the failure `tripe`"),
        ("\"base64\":\"", "\"base64\":\"!", "it is not base64"),
        ("\"memory_mib\":64", "\"memory_mib\":64,\"x\":1", "nobody knows its field `x`"),
        ("{\"snapshot\":", "{\"snapshot\":null,\"x\":", "`snapshot`"),
        ("\"actions\":[]", "\"actions\":[null]", "one case of a variant, but is null"),
    ] {
        let file = sample.replacen(change, to, 1);
        assert_ne!(file, sample, "{change}");
        assert!(problem(&file).contains(said), "{change}: {}", problem(&file));
    }
    let without_instance: Vec<&str> =
        sample.lines().filter(|line| !line.starts_with("{\"instance\"")).collect();
    assert!(problem(without_instance.join("\n") + "\n").contains("a step before any instance"));
}

#[test]
fn a_file_that_was_cut_off_or_changed_is_refused() {
    let sample = sample();
    let first = sample.find('\n').unwrap() + 1;
    for length in first..sample.len() {
        let error = problem(&sample[..length]);
        assert!(error.contains("is cut off after line"), "{length}: {error}");
    }
    let changed = sample.replace("\"extension-removed\":\"one\"", "\"extension-removed\":\"won\"");
    assert!(problem(&changed).contains("was damaged or changed"), "{}", problem(&changed));
}

#[test]
fn endless_lines_and_lists_are_not_read_to_their_end() {
    let head = sample().lines().next().unwrap().to_owned() + "\n";
    // Longer than memory: whoever reads it whole does not come back.
    let mut endless = std::io::BufReader::new(std::io::Read::chain(
        std::io::Cursor::new(head.clone().into_bytes()),
        std::io::repeat(b' '),
    ));
    let error = Recording::read(&mut endless).map(|_| ()).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
    let many = format!("{head}[{}]\n", "[],".repeat(3 << 20));
    assert!(problem(many).contains("values of one line"));
    let deep = format!("{head}{}\n", "[".repeat(1 << 20));
    assert!(problem(deep).contains("line 2 of the recording makes no sense"));
}

#[test]
fn any_damage_ends_in_an_error_or_in_a_replay_but_never_in_a_panic() {
    let sample = sample().into_bytes();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |below: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % below as u64) as usize
    };
    let mut read_all_the_same = 0;
    for _ in 0..3000 {
        let mut file = sample.clone();
        for _ in 0..=roll(3) {
            let at = roll(file.len());
            match roll(4) {
                0 => file[at] = roll(256) as u8,
                1 => file[at] = b"0123456789{}[]\",:\\\n"[roll(19)],
                2 => drop(file.drain(at..(at + roll(40)).min(file.len()))),
                _ => {
                    let piece = file[at..(at + roll(60)).min(file.len())].to_vec();
                    file.splice(at..at, piece);
                }
            }
        }
        if let Ok(recording) = Recording::read(&mut &file[..]) {
            read_all_the_same += 1;
            let _ = replay(&[lines()], &recording, None);
        }
    }
    assert!(read_all_the_same > 30, "{read_all_the_same} of 3000");
}

#[test]
fn limits_from_a_file_are_not_taken_as_they_come() {
    let huge = sample()
        .replace("\"memory_mib\":64", "\"memory_mib\":4294967295")
        .replace("\"effects_per_step\":65536", "\"effects_per_step\":4294967295")
        .replace("\"step_ms\":400", "\"step_ms\":4294967295")
        .replace("\"snapshot_kib\":4096", "\"snapshot_kib\":4294967295")
        .replace("\"bytes_per_step\":4194304", "\"bytes_per_step\":4294967295");
    assert!(replay(&[lines()], &read(&huge), None).unwrap().is_same());
}
