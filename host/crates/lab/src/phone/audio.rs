//! What was heard, and whether a tone is in it: G.711 µ-law at 8 kHz, and Goertzel's filter for one frequency.

use std::{f64::consts::TAU, time::Duration};

/// Samples in a second.
const RATE: u32 = 8000;

/// Samples that are judged together: a tenth of a second.
const BLOCK: usize = 800;

/// Below this, as the root of the mean square, it is silence. The loudest sine has 23,000.
const SILENCE: f64 = 300.0;

/// Of a block's energy, so much must be the tone's.
const SHARE: f64 = 0.5;

/// What a phone heard in one call, from a moment on.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    samples: Vec<i16>,
}

impl Recording {
    pub(super) fn of_mu_law(bytes: &[u8]) -> Recording {
        Recording { samples: bytes.iter().map(|byte| linear(*byte)).collect() }
    }

    /// How long it is. Time in which no packets came is not in it.
    pub fn length(&self) -> Duration {
        time(self.samples.len())
    }

    /// For how long in all this tone was the better part of what was heard.
    pub fn tone(&self, hertz: u32) -> Duration {
        time(BLOCK * self.blocks().filter(|block| holds(block, hertz)).count())
    }

    /// For how long in all there was any sound.
    pub fn sound(&self) -> Duration {
        time(BLOCK * self.blocks().filter(|block| loudness(block) >= SILENCE).count())
    }

    /// Which of these tones were heard, in order; each as long as it lasted counts once. What lasted less than three
    /// tenths of a second does not count, and neither does what is none of them.
    pub fn order(&self, tones: &[u32]) -> Vec<u32> {
        let mut order: Vec<u32> = Vec::new();
        let mut last = (None, 0);
        for block in self.blocks() {
            let found = tones.iter().copied().find(|tone| holds(block, *tone));
            last = if found == last.0 { (found, last.1 + 1) } else { (found, 1) };
            if let (Some(tone), 3) = last
                && order.last() != Some(&tone)
            {
                order.push(tone);
            }
        }
        order
    }

    fn blocks(&self) -> impl Iterator<Item = &[i16]> {
        self.samples.chunks_exact(BLOCK)
    }
}

fn time(samples: usize) -> Duration {
    Duration::from_secs_f64(samples as f64 / f64::from(RATE))
}

fn loudness(block: &[i16]) -> f64 {
    let energy: f64 = block.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (energy / block.len() as f64).sqrt()
}

/// Is this tone the better part of the block?
fn holds(block: &[i16], hertz: u32) -> bool {
    let loudness = loudness(block);
    if loudness < SILENCE {
        return false;
    }
    let step = 2.0 * (TAU * f64::from(hertz) / f64::from(RATE)).cos();
    let (mut one, mut two) = (0.0, 0.0);
    for sample in block {
        (one, two) = (step * one - two + f64::from(*sample), one);
    }
    let power = one * one + two * two - step * one * two;
    // A sine of this loudness alone would have so much.
    let most = loudness.powi(2) * (block.len() as f64).powi(2) / 2.0;
    power >= SHARE * most
}

/// A sine that goes on where it stopped.
#[derive(Debug, Default)]
pub(super) struct Tone {
    phase: f64,
}

impl Tone {
    /// The next 20 ms, in µ-law.
    pub fn next(&mut self, hertz: u32) -> [u8; 160] {
        std::array::from_fn(|_| {
            self.phase = (self.phase + TAU * f64::from(hertz) / f64::from(RATE)) % TAU;
            mu_law((self.phase.sin() * 8000.0) as i16)
        })
    }
}

/// A WAV file of a tone, as Asterisk plays it.
pub(crate) fn wav(hertz: u32, length: Duration) -> Vec<u8> {
    let count = (length.as_secs_f64() * f64::from(RATE)) as u32;
    let bytes = count * 2;
    let mut file = Vec::with_capacity(bytes as usize + 44);
    file.extend(b"RIFF");
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend([1, 0, 1, 0]);
    file.extend(RATE.to_le_bytes());
    file.extend((2 * RATE).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    for number in 0..count {
        let phase = TAU * f64::from(hertz) * f64::from(number) / f64::from(RATE);
        file.extend(((phase.sin() * 8000.0) as i16).to_le_bytes());
    }
    file
}

/// G.711 §A.2, µ-law.
fn linear(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i16::from(byte & 0x0f) << 3) + 0x84) << ((byte & 0x70) >> 4);
    if byte & 0x80 != 0 { 0x84 - magnitude } else { magnitude - 0x84 }
}

fn mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(32_635) + 0x84;
    let exponent = (15 - magnitude.leading_zeros()).saturating_sub(7) as u8;
    let mantissa = ((magnitude >> (exponent + 3)) & 0x0f) as u8;
    !(sign | (exponent << 4) | mantissa)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(parts: &[(u32, usize)]) -> Recording {
        let mut tone = Tone::default();
        let bytes: Vec<u8> = parts
            .iter()
            .flat_map(|(hertz, packets)| {
                (0..*packets)
                    .flat_map(|_| if *hertz == 0 { [0xff; 160] } else { tone.next(*hertz) })
                    .collect::<Vec<u8>>()
            })
            .collect();
        Recording::of_mu_law(&bytes)
    }

    #[test]
    fn mu_law_is_read_as_it_was_written() {
        for sample in (-32_000_i16..=32_000).step_by(37) {
            let read = linear(mu_law(sample));
            let off = (i32::from(read) - i32::from(sample)).abs();
            assert!(off <= 4 + i32::from(sample.unsigned_abs()) / 16, "{sample} {read}");
        }
        assert_eq!(linear(0xff), 0);
    }

    #[test]
    fn a_tone_is_found_and_another_is_not() {
        let heard = spoken(&[(0, 50), (440, 50), (0, 10), (1000, 100)]);
        assert_eq!(heard.length(), Duration::from_millis(4200));
        assert_eq!(heard.tone(440), Duration::from_secs(1));
        assert_eq!(heard.tone(1000), Duration::from_secs(2));
        assert_eq!(heard.tone(620), Duration::ZERO);
        assert_eq!(heard.sound(), Duration::from_secs(3));
        assert_eq!(heard.order(&[1000, 440, 620]), [440, 1000]);
    }

    #[test]
    fn a_tone_that_comes_back_is_told_again() {
        let heard = spoken(&[(440, 50), (1000, 50), (440, 50)]);
        assert_eq!(heard.order(&[1000, 440]), [440, 1000, 440]);
    }
}
