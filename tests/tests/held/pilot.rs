//! The Asterisk connector itself, at a real PBX, without a host: instructions go straight in, facts come straight out.
//!
//! It runs natively in the mock host, whose clock follows the real one; its bytes go over a real socket. What the PBX
//! sends is written down as the sans-IO tests of the connector read it.

use std::{fmt::Write, time::Duration};

use anyhow::{Context, Result, bail};
use jackfield_asterisk::Asterisk;
use jackfield_sdk::{
    CommandOutcome, Fact, LegOffered,
    mock::{MockHost, Seen},
};
use lab::Pbx;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

/// Generous: a test machine may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(30);

const LINK: &str = "ami";

/// The connector and its wire.
pub struct Pilot {
    host: MockHost<Asterisk>,
    stream: TcpStream,
    /// When the mock host's clock was read last.
    clock: Instant,
    /// All that happened, in order.
    pub seen: Vec<Seen>,
    /// How far `seen` was read.
    read: usize,
    began: Instant,
    partial: Vec<u8>,
    /// Events as they came, and instructions as they went.
    pub transcript: String,
}

impl Pilot {
    /// Logs in as `jackfield` and waits for the first picture.
    pub async fn start(pbx: &Pbx) -> Result<Pilot> {
        let settings = r#"{"username":"jackfield","extensions":"^1[0-9]{3}$"}"#;
        let mut host =
            MockHost::<Asterisk>::start(settings).map_err(|e| anyhow::anyhow!(e.message))?;
        host.set_secret(LINK, "lab-secret");
        let stream = TcpStream::connect(pbx.ami()).await?;
        host.link_up(LINK);
        let now = Instant::now();
        let mut pilot = Pilot {
            host,
            stream,
            clock: now,
            seen: Vec::new(),
            read: 0,
            began: now,
            partial: Vec::new(),
            transcript: String::new(),
        };
        pilot
            .wait("the first picture", |seen| matches!(seen, Seen::ResyncEnd(_)).then_some(()))
            .await?;
        Ok(pilot)
    }

    /// Breaks the wire and dials again.
    pub async fn reconnect(&mut self, pbx: &Pbx) -> Result<()> {
        self.host.link_closed(LINK, "cut by the test");
        self.stream = TcpStream::connect(pbx.ami()).await?;
        self.partial.clear();
        self.host.link_up(LINK);
        self.wait("the picture after the cut", |seen| {
            matches!(seen, Seen::ResyncEnd(_)).then_some(())
        })
        .await
    }

    /// Gives an instruction.
    pub async fn tell(&mut self, kind: &str, arguments: &[(&str, &str)]) -> Result<u64> {
        self.follow_clock();
        let said: String =
            arguments.iter().map(|(key, value)| format!("\t{key}={value}")).collect();
        let _ = writeln!(self.transcript, "+{}\n> {kind}{said}", self.began.elapsed().as_millis());
        let id = self.host.command(kind, arguments);
        self.flush().await?;
        Ok(id)
    }

    /// Gives an instruction and waits for its outcome.
    pub async fn order(
        &mut self,
        kind: &str,
        arguments: &[(&str, &str)],
    ) -> Result<CommandOutcome> {
        let id = self.tell(kind, arguments).await?;
        self.outcome(id).await
    }

    /// As `order`; anything but `done` is an error.
    pub async fn done(&mut self, kind: &str, arguments: &[(&str, &str)]) -> Result<()> {
        let outcome = self.order(kind, arguments).await?;
        if outcome.outcome != "done" {
            bail!("{kind} ended as {outcome:?}");
        }
        Ok(())
    }

    /// Waits for the outcome of this instruction; it may have come.
    pub async fn outcome(&mut self, id: u64) -> Result<CommandOutcome> {
        let of_it = |seen: &Seen| match seen {
            Seen::Outcome(outcome) if outcome.id == id => Some(outcome.clone()),
            _ => None,
        };
        if let Some(found) = self.seen.iter().find_map(of_it) {
            return Ok(found);
        }
        self.wait("an outcome", of_it).await
    }

    /// Waits for the next caller who is offered.
    pub async fn offered(&mut self) -> Result<LegOffered> {
        self.fact("an offer", |fact| match fact {
            Fact::LegOffered(offered) => Some(offered.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the next caller whom a picture of the PBX shows as held.
    pub async fn pictured(&mut self) -> Result<LegOffered> {
        self.wait("a held caller in a picture", |seen| match seen {
            Seen::ResyncItem(_, Fact::LegOffered(offered)) => Some(offered.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the end of the first picture since `mark`, a place in `seen`; who is held in it.
    pub async fn picture_since(&mut self, mark: usize) -> Result<Vec<LegOffered>> {
        let end = Instant::now() + SOON;
        loop {
            let since = &self.seen[mark..];
            if since.iter().any(|seen| matches!(seen, Seen::ResyncEnd(_))) {
                let held = since.iter().filter_map(|seen| match seen {
                    Seen::ResyncItem(_, Fact::LegOffered(offered)) => Some(offered.clone()),
                    _ => None,
                });
                return Ok(held.collect());
            }
            if Instant::now() >= end {
                bail!("no picture ended");
            }
            self.pump(Duration::from_millis(100)).await?;
        }
    }

    /// Waits for the next release; its reason.
    pub async fn released(&mut self) -> Result<String> {
        self.fact("a release", |fact| match fact {
            Fact::LegReleased(released) => Some(released.reason.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the next key.
    pub async fn key(&mut self) -> Result<String> {
        self.fact("a key", |fact| match fact {
            Fact::LegKey(key) => Some(key.key.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the next fact like this, from where the last one was found.
    pub async fn fact<T>(&mut self, what: &str, wanted: impl Fn(&Fact) -> Option<T>) -> Result<T> {
        self.wait(what, |seen| match seen {
            Seen::Fact(_, fact) => wanted(fact),
            _ => None,
        })
        .await
    }

    async fn wait<T>(&mut self, what: &str, wanted: impl Fn(&Seen) -> Option<T>) -> Result<T> {
        let end = Instant::now() + SOON;
        loop {
            while let Some(seen) = self.seen.get(self.read) {
                self.read += 1;
                if let Some(found) = wanted(seen) {
                    return Ok(found);
                }
            }
            if Instant::now() >= end {
                bail!(
                    "{what} did not come; since then: {:#?}",
                    &self.seen[self.seen.len().saturating_sub(12)..]
                );
            }
            self.pump(Duration::from_millis(100))
                .await
                .with_context(|| format!("waiting for {what}"))?;
        }
    }

    /// Lets what comes within this time in.
    pub async fn listen(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.pump(Duration::from_millis(20)).await?;
        }
        Ok(())
    }

    async fn pump(&mut self, within: Duration) -> Result<()> {
        self.flush().await?;
        let mut bytes = vec![0; 65_536];
        if let Ok(read) = timeout(within, self.stream.read(&mut bytes)).await {
            let length = read?;
            if length == 0 {
                bail!("the PBX closed the connection");
            }
            self.follow_clock();
            self.write_down(&bytes[..length]);
            self.host.receive(LINK, &bytes[..length]);
        }
        self.follow_clock();
        self.flush().await
    }

    fn follow_clock(&mut self) {
        let now = Instant::now();
        self.host.advance(now - self.clock);
        self.clock = now;
        self.seen.extend(self.host.take_seen());
    }

    async fn flush(&mut self) -> Result<()> {
        self.seen.extend(self.host.take_seen());
        let sent = self.host.take_sent(LINK);
        self.stream.write_all(&sent).await?;
        Ok(())
    }

    /// Keeps live events; answers are played by the fake PBX of those who read this.
    fn write_down(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.windows(4).position(|four| four == b"\r\n\r\n") {
            let frame: Vec<u8> = self.partial.drain(..end + 4).collect();
            let frame = String::from_utf8_lossy(&frame).replace("\r\n", "\n");
            if frame.contains("\nPrivilege: ") {
                let _ = write!(
                    self.transcript,
                    "+{}\n{}",
                    self.began.elapsed().as_millis(),
                    frame.trim_start()
                );
            }
        }
    }
}
