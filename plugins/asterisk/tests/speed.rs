//! How fast recorded traffic is read, natively: `cargo test --test speed -- --ignored --nocapture`.

mod support;

use std::time::Instant;

use support::{Fake, Lab, UNFILTERED};

#[test]
#[ignore = "a measurement, not a promise"]
fn events_per_second() {
    for name in ["answered", "answered-unfiltered"] {
        let path = format!("{}/tests/transcripts/{name}.ami", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("it is there");
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with('+'))
            .map(|line| format!("{line}\r\n"))
            .collect();
        let events = text.matches("Event: ").count();
        let mut lab = Lab::ready(UNFILTERED, Fake::default());
        let block = text.repeat(8);
        // Each call has ids of its own, as on a real PBX.
        let blocks: Vec<String> = (0..200)
            .map(|n| block.replace("pbx22-17952", &format!("pbx22-{}", 20_000 + n)))
            .collect();
        let started = Instant::now();
        for block in &blocks {
            for piece in block.as_bytes().chunks(16 * 1024) {
                lab.host.receive("ami", piece);
            }
            lab.host.take_seen();
        }
        let rate = (events * 8 * blocks.len()) as f64 / started.elapsed().as_secs_f64();
        eprintln!(
            "{name}: {rate:.0} events/s, {:.0} MB/s",
            rate * (text.len() / events) as f64 / 1e6
        );
    }
}
