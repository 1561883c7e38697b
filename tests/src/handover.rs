//! A manager interface that hands callers over. A fake, no Asterisk: it answers what the connector asks while it logs
//! in, says what Asterisk says when the dialplan reaches `AGI(agi:async)`, and takes every caller wherever it is told.
//!
//! For what is measured to the microsecond, and for callers who shall come when a test wants it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use lab::until;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Mutex as AsyncMutex,
    time::Instant,
};

use crate::world::Connector;

const QUEUES: [&str; 3] = ["vip", "standard", "fallback"];
/// What the account may do, as `ListCommands` has it.
const ACTIONS: &str = "QueueStatus: x  (Priv: <none>)\nCoreShowChannels: x  (Priv: system,reporting,all)\nDeviceStateList: x  (Priv: call,reporting,all)\nExtensionStateList: x  (Priv: call,reporting,all)\nAGI: x  (Priv: agi,all)\nSetvar: x  (Priv: call,all)\nGetvar: x  (Priv: call,reporting,all)\nAbsoluteTimeout: x  (Priv: call,all)\nRedirect: x  (Priv: call,all)\nHangup: x  (Priv: call,all)\nFilter: x  (Priv: system,all)\n";
/// No action of a manager client is longer.
const MAX_ACTION: usize = 64 * 1024;

/// A PBX that hands callers over.
#[derive(Debug)]
pub struct Handing {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Of the session that logged in last.
    writer: AsyncMutex<Option<OwnedWriteHalf>>,
    heard: Mutex<Vec<Heard>>,
    callers: AtomicU64,
}

/// An action about a caller.
#[derive(Debug, Clone)]
pub struct Heard {
    /// When it was read from the socket.
    pub at: Instant,
    /// The caller's channel.
    pub channel: String,
    /// The action, e.g. `Redirect`.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// A caller who was handed over.
#[derive(Debug, Clone)]
pub struct Caller {
    /// `PJSIP/trunk-00000001`
    pub channel: String,
    /// When AsyncAGIStart was written to the socket.
    pub at: Instant,
    id: u64,
    number: String,
}

impl Handing {
    /// Listens on loopback.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let sessions = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(session(stream, Arc::clone(&sessions)));
            }
        });
        Ok(Self { address, shared })
    }

    /// A connector to it.
    pub fn connector(&self, id: &str) -> Connector {
        Connector::new(id, &format!("tcp://{}", self.address))
    }

    /// A caller dials 720, and the dialplan hands them over.
    pub async fn hand_over(&self, number: &str) -> Result<Caller> {
        let id = self.shared.callers.fetch_add(1, Ordering::Relaxed);
        let channel = format!("PJSIP/trunk-{id:08x}");
        let mut caller = Caller { channel, at: Instant::now(), id, number: number.to_owned() };
        let first = caller.event("Newchannel", "call", "from-trunk", "");
        let env = caller.env(&["main", "720", "", ""]);
        let offer = caller.event("AsyncAGIStart", "agi", "jackfield", &format!("Env: {env}\n"));
        self.say(&first).await?;
        caller.at = Instant::now();
        self.say(&offer).await?;
        Ok(caller)
    }

    /// The caller's channel ends.
    pub async fn hang_up(&self, caller: &Caller) -> Result<()> {
        let cause = "Cause: 16\nCause-txt: Normal Clearing\n";
        self.say(&caller.event("Hangup", "call", "jackfield", cause)).await
    }

    async fn say(&self, frame: &str) -> Result<()> {
        let mut writer = self.shared.writer.lock().await;
        let writer = writer.as_mut().context("nobody is logged in")?;
        Ok(writer.write_all(frame.replace('\n', "\r\n").as_bytes()).await?)
    }

    /// What was told about callers, the earliest first.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the hand-over of this caller: everything that was told until then.
    pub async fn taken(&self, caller: &Caller, within: Duration) -> Result<Vec<Heard>> {
        let taken = until(within, "the caller to be sent on", async || {
            let mut heard = self.heard();
            heard.retain(|heard| heard.channel == caller.channel);
            ensure!(heard.last().is_some_and(Heard::is_hand_over), "{heard:?}");
            Ok(heard)
        });
        Ok(taken.await?)
    }
}

impl Heard {
    /// The caller leaves Jackfield with it.
    pub fn is_hand_over(&self) -> bool {
        self.name == "Redirect" || self.text.contains("ASYNCAGI BREAK") || self.name == "Hangup"
    }
}

impl Caller {
    /// Theirs, as they show it.
    pub fn number(&self) -> &str {
        &self.number
    }

    fn event(&self, name: &str, class: &str, context: &str, more: &str) -> String {
        let Self { channel, id, number, .. } = self;
        format!(
            "Event: {name}\nPrivilege: {class},all\nChannel: {channel}\nChannelState: 4\nChannelStateDesc: Ring\nCallerIDNum: {number}\nCallerIDName: <unknown>\nConnectedLineNum: <unknown>\nConnectedLineName: <unknown>\nLanguage: en\nAccountCode: \nContext: {context}\nExten: 720\nPriority: 1\nUniqueid: 1795322852.{id}\nLinkedid: 1795322852.{id}\n{more}\n"
        )
    }

    /// As Asterisk writes it.
    fn env(&self, arguments: &[&str]) -> String {
        let Self { channel, id, number, .. } = self;
        let mut lines = format!(
            "agi_request: async\nagi_channel: {channel}\nagi_language: en\nagi_type: PJSIP\nagi_uniqueid: 1795322852.{id}\nagi_version: 22.10.1\nagi_callerid: {number}\nagi_calleridname: unknown\nagi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\nagi_callingtns: 0\nagi_dnid: 720\nagi_rdnis: unknown\nagi_context: jackfield\nagi_extension: held\nagi_priority: 3\nagi_enhanced: 0.0\nagi_accountcode: \nagi_threadid: 1\n"
        );
        for (number, argument) in (1..).zip(arguments) {
            lines += &format!("agi_arg_{number}: {argument}\n");
        }
        lines.push('\n');
        let encoded = |byte: u8| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        lines.bytes().map(encoded).collect()
    }
}

async fn session(stream: TcpStream, shared: Arc<Shared>) -> Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    writer.write_all(b"Asterisk Call Manager/11.0.0\r\n").await?;
    *shared.writer.lock().await = Some(writer);
    answer(reader, &shared).await
}

async fn answer(mut reader: OwnedReadHalf, shared: &Shared) -> Result<()> {
    let mut asked: Vec<u8> = Vec::new();
    loop {
        if reader.read_buf(&mut asked).await? == 0 {
            return Ok(());
        }
        let at = Instant::now();
        ensure!(asked.len() < MAX_ACTION, "an action without end");
        let mut reply = String::new();
        while let Some(end) = asked.windows(4).position(|four| four == b"\r\n\r\n") {
            let action: Vec<u8> = asked.drain(..end + 4).collect();
            let text = String::from_utf8(action)?;
            let heard = Heard {
                at,
                channel: value(&text, "Channel").to_owned(),
                name: value(&text, "Action").to_owned(),
                text,
            };
            reply += &reply_to(&heard);
            if !heard.channel.is_empty() {
                shared.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
            }
        }
        let mut writer = shared.writer.lock().await;
        let Some(writer) = writer.as_mut() else { bail!("nobody is logged in") };
        writer.write_all(reply.replace('\n', "\r\n").as_bytes()).await?;
    }
}

fn value<'t>(text: &'t str, key: &str) -> &'t str {
    let mut lines = text.split("\r\n");
    lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).unwrap_or_default()
}

fn reply_to(asked: &Heard) -> String {
    let id = format!("ActionID: {}\n", value(&asked.text, "ActionID"));
    let name = asked.name.as_str();
    let list = |items: String| {
        format!(
            "Response: Success\n{id}EventList: start\nMessage: follows\n\n{items}Event: {name}Complete\n{id}EventList: Complete\nListItems: 1\n\n"
        )
    };
    let done = format!("Response: Success\n{id}Message: done\n\n");
    match name {
        "Challenge" => format!("Response: Success\n{id}Challenge: 213904017\n\n"),
        "Login" => format!(
            "{done}Event: FullyBooted\nPrivilege: system,all\nUptime: 203\nLastReload: 203\nStatus: Fully Booted\n\n"
        ),
        "ListCommands" => format!("Response: Success\n{id}{ACTIONS}\n"),
        "CoreSettings" => format!(
            "Response: Success\n{id}AMIversion: 11.0.0\nAsteriskVersion: 22.10.1\nSystemName: \n\n"
        ),
        "CoreStatus" => format!(
            "Response: Success\n{id}CoreStartupDate: 2026-11-21\nCoreStartupTime: 19:16:50\n\n"
        ),
        "Ping" => format!("Response: Success\n{id}Ping: Pong\nTimestamp: 1795288814.385029\n\n"),
        "QueueStatus" => {
            let queue = |name: &&str| {
                format!(
                    "Event: QueueParams\nQueue: {name}\nMax: 0\nStrategy: rrmemory\nCalls: 0\nHoldtime: 0\nTalkTime: 0\nCompleted: 0\nAbandoned: 0\nServiceLevel: 20\nServicelevelPerf: 0.0\nServicelevelPerf2: 0.0\nWeight: 1\n{id}\n"
                )
            };
            list(QUEUES.iter().map(queue).collect())
        }
        "CoreShowChannels" | "DeviceStateList" | "ExtensionStateList" => list(String::new()),
        "AGI" if asked.text.contains("ASYNCAGI BREAK") => {
            format!("{done}{}", end_of_agi(&asked.channel))
        }
        // Those that it has are in its list, and nobody asks about them.
        "Getvar" if value(&asked.text, "Variable").starts_with("QUEUE_EXISTS(") => {
            let variable = value(&asked.text, "Variable");
            format!("Response: Success\n{id}Variable: {variable}\nValue: 0\n\n")
        }
        "Filter" | "Setvar" | "AbsoluteTimeout" | "AGI" => done,
        "Redirect" => format!("{done}{}", end_of_agi(&asked.channel)),
        _ => format!("Response: Error\n{id}Message: Invalid/unknown command: {name}.\n\n"),
    }
}

/// The channel leaves `AGI(agi:async)`.
fn end_of_agi(channel: &str) -> String {
    let id = channel.rsplit_once('-').and_then(|(_, id)| u64::from_str_radix(id, 16).ok());
    let caller = Caller {
        channel: channel.to_owned(),
        at: Instant::now(),
        id: id.unwrap_or_default(),
        number: "<unknown>".to_owned(),
    };
    caller.event("AsyncAGIEnd", "agi", "jackfield", "")
}
