//! The voice of one call: 20 ms packets of silence or a tone, digits by RFC 4733, and an ear for the peer.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot, watch},
    time::MissedTickBehavior,
};

use super::{
    audio::{Recording, Tone},
    line::locked,
};
use crate::random;

/// Payload type of RFC 4733 events, in what we offer and in what Asterisk offers.
const EVENT: u8 = 101;
const DIGITS: &str = "0123456789*#ABCD";

/// The controls of one call's media.
#[derive(Debug)]
pub(super) struct Media {
    pub port: u16,
    /// Where to send; nothing is sent while `None`.
    pub peer: watch::Sender<Option<SocketAddr>>,
    /// The tone to send instead of silence, in hertz.
    pub tone: watch::Sender<Option<u32>>,
    digits: mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>,
    received: Arc<AtomicU64>,
    /// What was heard, as it came.
    heard: Arc<Mutex<Vec<u8>>>,
}

/// A quarter of an hour is kept of what was heard.
const MOST_HEARD: usize = 8000 * 900;

/// What the ear hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ear {
    FirstPacket,
    Digit(char),
}

impl Media {
    /// Media on a free port of `address`, and the work to be run while the call lasts.
    pub fn open(
        address: IpAddr,
        mut hears: impl FnMut(Ear) + Send + 'static,
    ) -> io::Result<(Media, impl Future<Output = ()> + Send + 'static)> {
        let socket = std::net::UdpSocket::bind((address, 0))?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let port = socket.local_addr()?.port();
        let (peer, peers) = watch::channel(None);
        let (digits, mut pressed) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>(8);
        let received = Arc::new(AtomicU64::new(0));
        let count = received.clone();
        let (tone, tones) = watch::channel(None);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let memory = heard.clone();
        let work = async move {
            let mut voice = Voice::new();
            let mut ear = Listener::default();
            let mut pressing = None;
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut packet = [0; 2048];
            loop {
                tokio::select! {
                    _ = tick.tick() => {
                        let Some(to) = *peers.borrow() else { continue };
                        voice.hertz = *tones.borrow();
                        // A peer that is gone refuses packets; the call's end comes by SIP.
                        let _ = socket.send_to(&voice.next_packet(), to).await;
                        if voice.is_idle() {
                            pressing = None;
                        }
                    }
                    came = socket.recv_from(&mut packet) => {
                        let Ok((length, _)) = came else { continue };
                        if count.fetch_add(1, Ordering::Relaxed) == 0 {
                            hears(Ear::FirstPacket);
                        }
                        if let [_, kind, _, _, _, _, _, _, _, _, _, _, audio @ ..] = &packet[..length] {
                            let mut memory = locked(&memory);
                            if kind & 0x7f == 0 && memory.len() < MOST_HEARD {
                                memory.extend(audio);
                            }
                        }
                        if let Some(digit) = ear.digit(&packet[..length]) {
                            hears(Ear::Digit(digit));
                        }
                    }
                    Some((events, done)) = pressed.recv(), if pressing.is_none() => {
                        voice.press(&events);
                        pressing = Some(done);
                    }
                }
            }
        };
        Ok((Media { port, peer, tone, digits, received, heard }, work))
    }

    /// Presses the keys one by one; done when the last is released.
    pub async fn press(&self, digits: &str) {
        let events = digits.chars().filter_map(|digit| DIGITS.find(digit.to_ascii_uppercase()));
        let events: Vec<u8> = events.filter_map(|event| u8::try_from(event).ok()).collect();
        let (done, is_done) = oneshot::channel();
        if self.digits.send((events, done)).await.is_ok() {
            // Dropped unsent when the last key is released: both ends of waiting mean the same.
            let _ = is_done.await;
        }
    }

    /// What was heard after the first `from` of it.
    pub fn heard(&self, from: Duration) -> Recording {
        let heard = locked(&self.heard);
        let from = (from.as_secs_f64() * 8000.0) as usize;
        Recording::of_mu_law(heard.get(from..).unwrap_or_default())
    }

    /// How many packets came from the peer.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Where the peer wants media, from its SDP.
pub(super) fn media_address(sdp: &str) -> Option<SocketAddr> {
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?;
    let address = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?;
    Some(SocketAddr::new(address.trim().parse().ok()?, port.parse().ok()?))
}

/// Our SDP: G.711 µ-law and events.
pub(super) fn sdp(address: IpAddr, port: u16, version: u32, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 {version} IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 {EVENT}\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:{EVENT} telephone-event/8000\r\na=fmtp:{EVENT} 0-16\r\na={direction}\r\n"
    )
}

/// The packets we send, one each 20 ms.
struct Voice {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    /// What is pressed, last key first.
    keys: Vec<u8>,
    /// Packets of the key being pressed that are already sent.
    key_packets: u32,
    /// Packets of silence until the next key.
    pause: u32,
    /// The tone between keys.
    hertz: Option<u32>,
    tone: Tone,
}

impl Voice {
    /// Five packets grow the event, three end it (RFC 4733 §2.5.1.4).
    const GROWING: u32 = 5;
    const ENDING: u32 = 3;
    const PAUSE: u32 = 6;

    fn new() -> Voice {
        let bits = random().to_be_bytes();
        Voice {
            sequence: u16::from_be_bytes([bits[0], bits[1]]) >> 1,
            timestamp: 0,
            ssrc: u32::from_be_bytes([bits[4], bits[5], bits[6], bits[7]]),
            keys: Vec::new(),
            key_packets: 0,
            pause: 0,
            hertz: None,
            tone: Tone::default(),
        }
    }

    fn press(&mut self, events: &[u8]) {
        self.keys = events.iter().rev().copied().collect();
    }

    fn is_idle(&self) -> bool {
        self.keys.is_empty() && self.pause == 0
    }

    fn next_packet(&mut self) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        match self.keys.last().copied() {
            Some(key) if self.pause == 0 => self.key_packet(key),
            _ => {
                self.pause = self.pause.saturating_sub(1);
                self.timestamp = self.timestamp.wrapping_add(160);
                let mut packet = self.header(0, self.timestamp);
                packet.extend(self.hertz.map_or([0xff; 160], |hertz| self.tone.next(hertz)));
                packet
            }
        }
    }

    fn key_packet(&mut self, key: u8) -> Vec<u8> {
        let sent = self.key_packets;
        let is_end = sent >= Self::GROWING;
        let duration = 160 * (sent + 1).min(Self::GROWING + 1);
        let marker = if sent == 0 { 0x80 } else { 0 };
        // All packets of one event carry the time of its start.
        let mut packet = self.header(marker | EVENT, self.timestamp.wrapping_add(160));
        packet.extend([key, if is_end { 0x8a } else { 0x0a }]);
        packet.extend(u16::try_from(duration).unwrap_or(u16::MAX).to_be_bytes());
        self.key_packets += 1;
        if self.key_packets == Self::GROWING + Self::ENDING {
            self.timestamp = self.timestamp.wrapping_add(160 * self.key_packets);
            self.keys.pop();
            self.key_packets = 0;
            self.pause = Self::PAUSE;
        }
        packet
    }

    fn header(&self, kind: u8, timestamp: u32) -> Vec<u8> {
        let mut packet = vec![0x80, kind];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet
    }
}

/// Tells one key from the many packets that say it.
#[derive(Default)]
struct Listener {
    /// Time of the last key that was told.
    told: Option<[u8; 4]>,
}

impl Listener {
    fn digit(&mut self, packet: &[u8]) -> Option<char> {
        let [_, kind, _, _, t0, t1, t2, t3, _, _, _, _, event, flags, ..] = *packet else {
            return None;
        };
        let time = Some([t0, t1, t2, t3]);
        let is_end = flags & 0x80 != 0;
        if kind & 0x7f != EVENT || !is_end || self.told == time {
            return None;
        }
        self.told = time;
        DIGITS.chars().nth(event.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_pressed_are_keys_heard() {
        let mut voice = Voice::new();
        voice.press(&[1, 1, 11]);
        let mut ear = Listener::default();
        let mut heard = String::new();
        while !voice.is_idle() {
            heard.extend(ear.digit(&voice.next_packet()));
        }
        assert_eq!(heard, "11#");
    }

    #[test]
    fn the_peers_media_address_is_read_from_its_sdp() {
        let text = sdp([127, 0, 0, 1].into(), 4000, 1, "sendrecv");
        assert_eq!(media_address(&text), "127.0.0.1:4000".parse().ok());
    }
}
