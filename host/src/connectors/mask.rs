//! Secrets in what a PBX says, masked before a plugin, a log or a recording sees them, also when a read
//! ends in the middle of one.

use plugin_runtime::Secrets;

/// One connection's mask.
pub(super) struct Mask {
    secrets: Secrets,
    /// The secrets themselves, to recognise their beginnings.
    texts: Vec<Vec<u8>>,
    /// The end of what came so far, when it may be the beginning of a secret.
    held: Vec<u8>,
}

impl Mask {
    pub(super) fn new(secrets: &Secrets, texts: Vec<Vec<u8>>) -> Self {
        Self { secrets: secrets.clone(), texts, held: Vec::new() }
    }

    /// The secrets are these from now on.
    pub(super) fn renew(&mut self, secrets: &Secrets, texts: Vec<Vec<u8>>) {
        self.secrets = secrets.clone();
        self.texts = texts;
    }

    /// What the plugin may see now, and how many secrets were masked in it.
    pub(super) fn pass(&mut self, data: Vec<u8>) -> (Vec<u8>, usize) {
        let mut data = if self.held.is_empty() {
            data
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(&data);
            joined
        };
        let masked = self.secrets.mask(&mut data);
        let tail = self.texts.iter().map(|text| beginning_at_end(&data, text)).max().unwrap_or(0);
        self.held = data.split_off(data.len() - tail);
        (data, masked)
    }
}

/// Length of the longest end of `data` that is a beginning of `secret`, but not all of it.
fn beginning_at_end(data: &[u8], secret: &[u8]) -> usize {
    let longest = data.len().min(secret.len().saturating_sub(1));
    (1..=longest).rev().find(|length| data.ends_with(&secret[..*length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_the_reads_cut_it() {
        let secret = "open sesame";
        let said = format!("Variable: x={secret}\r\nopen door\r\n");
        let secrets = Secrets::from_iter([("ami", secret)]);
        for cut in 0..said.len() {
            let mut mask = Mask::new(&secrets, vec![secret.into()]);
            let (mut seen, first) = mask.pass(said[..cut].into());
            let (rest, second) = mask.pass(said[cut..].into());
            seen.extend(rest);
            assert_eq!(
                String::from_utf8_lossy(&seen),
                "Variable: x=***********\r\nopen door\r\n",
                "{cut}"
            );
            assert_eq!(first + second, 1);
        }
    }

    #[test]
    fn a_whole_frame_is_never_held_back() {
        let secrets = Secrets::from_iter([("ami", "secret")]);
        let mut mask = Mask::new(&secrets, vec![b"secret".to_vec()]);
        assert_eq!(mask.pass(b"Event: Reload\r\n\r\n".to_vec()).0, b"Event: Reload\r\n\r\n");
    }
}
