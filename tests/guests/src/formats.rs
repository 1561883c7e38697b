//! Snapshots of the real connector in other clothes.

use std::marker::PhantomData;

use jackfield_asterisk::Asterisk;
use jackfield_sdk::{Action, Config, Connector, Error, Input, Now, Problem, Snapshot};

/// How a version writes its snapshots; every version here reads all of them.
pub trait Format: 'static {
    /// The version of the format.
    const VERSION: u32;
}

/// The real connector that writes its snapshots as `F`.
pub struct Reformatted<F> {
    inner: Asterisk,
    format: PhantomData<F>,
}

impl<F: Format> Connector for Reformatted<F> {
    fn init(
        config: Config,
        state: Option<Snapshot>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<Self, Error> {
        let state = state.map(read).transpose()?;
        Ok(Self { inner: Asterisk::init(config, state, now, out)?, format: PhantomData })
    }

    fn step(&mut self, now: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        self.inner.step(now, inputs, out)
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let first = self.inner.snapshot()?;
        let data = match F::VERSION {
            2 => [HEADER, &first.data].concat(),
            _ => {
                let scrambled = scrambled(&first.data);
                let sum = checksum(&scrambled).to_le_bytes();
                [MAGIC, &sum, &scrambled].concat()
            }
        };
        Ok(Snapshot { version: F::VERSION, data, ..first })
    }

    fn validate(settings: &str) -> Vec<Problem> {
        Asterisk::validate(settings)
    }
}

/// Format 2 begins with this line.
const HEADER: &[u8] = b"asterisk snapshot, format 2\n";
/// Format 3 begins with this, then its checksum, then bytes that are no text.
const MAGIC: &[u8] = b"JF3\0";

/// Any format as the one that the real connector reads.
fn read(snapshot: Snapshot) -> Result<Snapshot, Error> {
    let Snapshot { format, version, data } = snapshot;
    let damaged =
        || Error::new("bad-snapshot", format!("a snapshot of format {version} is damaged"));
    let data = match version {
        1 => data,
        2 => data.strip_prefix(HEADER).ok_or_else(damaged)?.to_vec(),
        3 => {
            let rest = data.strip_prefix(MAGIC).ok_or_else(damaged)?;
            let (sum, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
            if u64::from_le_bytes(*sum) != checksum(rest) {
                return Err(damaged());
            }
            scrambled(rest)
        }
        _ => {
            let message = format!("a snapshot {format} {version} is not ours");
            return Err(Error::new("unknown-snapshot", message));
        }
    };
    Ok(Snapshot { format, version: 1, data })
}

fn scrambled(data: &[u8]) -> Vec<u8> {
    data.iter().map(|byte| byte ^ 0xa5).collect()
}

/// FNV-1a by words: a test of the way, not of an attacker.
fn checksum(data: &[u8]) -> u64 {
    data.chunks(8).fold(0xcbf2_9ce4_8422_2325, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3)
    })
}
