//! A small SIP phone over UDP that a test drives call by call, and that writes down what it hears.
//!
//! It is an agent's phone (registers, rings, answers) or the telephone network (calls in by the
//! trunk) and knows just enough SIP for that: digest, re-INVITE, REFER with and without Replaces,
//! RFC 4733 keys. It is lenient with its peer and has no timers but resending.
//!
//! ```text
//!             Answering          answer
//! INVITE in  ----------> ringing -------> up --- BYE by either --> ended
//! INVITE out -> trying -> ringing ------> up
//!                  \----------\-- refused or cancelled ----------> ended
//! ```
//!
//! Dropping a [`Phone`] pulls its plug: no BYE, no un-REGISTER.

mod digest;
mod media;
mod message;

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    net::UdpSocket,
    sync::{Mutex as AsyncMutex, mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::random;
use media::{Ear, Media};
use message::{Draft, Message, parameter};

/// What kind of phone to start.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// Where the PBX speaks SIP.
    pub server: SocketAddr,
    /// The user of Contact and From, and of the registration.
    pub user: String,
    /// Needed to register and to call as an extension.
    pub password: Option<String>,
    /// The display name of From.
    pub display_name: Option<String>,
    /// The user part of From exactly as written on the wire, when not `user`.
    pub from_user: Option<String>,
    /// Mark requests with `X-Trunk: sipp`, so that the PBX takes them as coming from its trunk.
    pub trunk: bool,
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// What to do when called.
    pub answering: Answering,
}

impl PhoneConfig {
    /// The phone of an extension of [`crate::config`]: password `pw<extension>`, answers at once.
    pub fn extension(server: SocketAddr, extension: &str) -> PhoneConfig {
        PhoneConfig {
            server,
            user: extension.to_owned(),
            password: Some(format!("pw{extension}")),
            display_name: None,
            from_user: None,
            trunk: false,
            bind: (Ipv4Addr::LOCALHOST, 0).into(),
            answering: Answering::After(Duration::ZERO),
        }
    }

    /// A caller in the telephone network with this number.
    pub fn trunk(server: SocketAddr, number: &str) -> PhoneConfig {
        PhoneConfig { password: None, trunk: true, ..PhoneConfig::extension(server, number) }
    }
}

/// What a phone does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// Rings, then answers.
    After(Duration),
    /// Rings until someone calls [`Call::answer`] or [`Call::reject`].
    ByHand,
    /// Refuses with 486.
    Busy,
    /// Refuses with 480.
    Unavailable,
}

/// One thing that a phone heard, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When it was heard.
    pub at: SystemTime,
    /// The SIP Call-ID; empty for a registration.
    pub call_id: String,
    /// What was heard.
    pub sound: Sound,
}

/// What a phone can hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sound {
    /// The PBX took our registration.
    Registered,
    /// It calls us.
    Called {
        /// The From header.
        from: String,
    },
    /// It says that the other side rings.
    Ringing,
    /// The conversation is up, whoever called.
    Answered,
    /// The first media packet came.
    Audio,
    /// The other side pressed a key.
    Digit(char),
    /// How the transfer goes that we asked for (SIP status).
    Transfer(u16),
    /// The call is over.
    Ended(Ending),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Who ended it.
    pub by: Side,
    /// The status that refused it; `None` when a conversation ended.
    pub status: Option<u16>,
    /// The Reason header.
    pub reason: Option<String>,
}

/// A side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This phone.
    Us,
    /// The PBX.
    Peer,
}

/// Why a phone could not do as told.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// No port to listen at.
    #[error("cannot listen at {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket failed.
    #[error("cannot send: {0}")]
    Send(#[from] io::Error),
    /// No answer to a request.
    #[error("the PBX does not answer {0}")]
    Silent(&'static str),
    /// A request was refused.
    #[error("the PBX refused {method}: {status}")]
    Refused {
        /// The request.
        method: &'static str,
        /// The answer.
        status: u16,
    },
    /// The call ended while something else was waited for.
    #[error("the call ended first: {0:?}")]
    Ended(Ending),
    /// It makes no sense in the call's state.
    #[error("cannot {verb}: the call is {stage}")]
    WrongStage {
        /// What was wanted.
        verb: &'static str,
        /// What the call is.
        stage: &'static str,
    },
    /// What was waited for did not come.
    #[error("{what} did not come within {} s; heard so far: {heard}", within.as_secs_f32())]
    Late {
        /// What was waited for.
        what: &'static str,
        /// How long.
        within: Duration,
        /// All that was heard.
        heard: String,
    },
}

/// A phone on its hook. Clones of its [`Call`]s may outlive it but then hear nothing.
#[derive(Debug)]
pub struct Phone {
    line: Arc<Line>,
    incoming: AsyncMutex<mpsc::Receiver<Call>>,
}

/// One call of a phone.
#[derive(Debug, Clone)]
pub struct Call {
    line: Arc<Line>,
    dialog: Arc<Dialog>,
}

/// T1 of RFC 3261 §17.1.1.1.
const FIRST_RESEND: Duration = Duration::from_millis(500);
const GIVE_UP: Duration = Duration::from_secs(32);
/// An INVITE may ring as long as a caller waits in a queue.
const LONGEST_RING: Duration = Duration::from_secs(600);

impl Phone {
    /// Listens; sends nothing yet.
    pub async fn start(config: PhoneConfig) -> Result<Phone, PhoneError> {
        let bind = |source| PhoneError::Bind { address: config.bind, source };
        let socket = UdpSocket::bind(config.bind).await.map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        let (calls, incoming) = mpsc::channel(64);
        let line = Arc::new(Line {
            answering: Mutex::new(config.answering),
            config,
            socket,
            address,
            desk: Mutex::default(),
            heard: watch::Sender::new(Vec::new()),
            tasks: Mutex::default(),
        });
        let listening = line.clone();
        line.spawn(async move { listening.listen(calls).await });
        Ok(Phone { line, incoming: AsyncMutex::new(incoming) })
    }

    /// Registers for an hour; 0 seconds un-registers.
    pub async fn register(&self) -> Result<(), PhoneError> {
        self.register_for(Duration::from_secs(3600)).await
    }

    /// Takes the registration back.
    pub async fn unregister(&self) -> Result<(), PhoneError> {
        self.register_for(Duration::ZERO).await
    }

    async fn register_for(&self, lifetime: Duration) -> Result<(), PhoneError> {
        let line = &self.line;
        let server = format!("sip:{}", line.config.server);
        let mut route = Route::new(line, server.clone());
        route.remote = format!("<sip:{}@{}>", line.config.user, line.config.server);
        let expires = ("Expires", lifetime.as_secs().to_string());
        let extra = std::slice::from_ref(&expires);
        let request = line.request("REGISTER", &mut route, extra, "");
        let mut response = line.transact("REGISTER", &request, |_| ()).await?;
        if let Some(credentials) = line.credentials(&response, "REGISTER", &server) {
            let request = line.request("REGISTER", &mut route, &[expires, credentials], "");
            response = line.transact("REGISTER", &request, |_| ()).await?;
        }
        accepted("REGISTER", &response)?;
        line.hear("", Sound::Registered);
        Ok(())
    }

    /// Dials; the call goes on by itself while the caller waits for [`Call::answered`].
    pub fn call(&self, number: &str) -> Result<Call, PhoneError> {
        let line = self.line.clone();
        let uri = format!("sip:{number}@{}", line.config.server);
        let route = Route::new(&line, uri.clone());
        let dialog = line.open_dialog(route, None)?;
        let call = Call { line: line.clone(), dialog };
        let dialling = call.clone();
        line.spawn(async move {
            if let Err(error) = dialling.dial(&uri).await {
                let reason = Some(error.to_string());
                dialling.end(Ending { by: Side::Us, status: None, reason });
            }
        });
        Ok(call)
    }

    /// The next call that came in.
    pub async fn next_call(&self, within: Duration) -> Result<Call, PhoneError> {
        let next = async { self.incoming.lock().await.recv().await };
        let call = timeout(within, next).await.ok().flatten();
        call.ok_or_else(|| self.line.late("a call", within))
    }

    /// Changes what happens at the next call.
    pub fn set_answering(&self, answering: Answering) {
        *locked(&self.line.answering) = answering;
    }

    /// All that was heard so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.line.heard.borrow().clone()
    }

    /// Waits until the phone has heard what is `wanted`; it may have been before.
    pub async fn hears(
        &self,
        within: Duration,
        wanted: impl Fn(&Heard) -> bool,
    ) -> Result<Heard, PhoneError> {
        let mut heard = self.line.heard.subscribe();
        let found = timeout(within, heard.wait_for(|all| all.iter().any(&wanted))).await;
        let found = found.ok().and_then(|found| found.ok()?.iter().find(|h| wanted(h)).cloned());
        found.ok_or_else(|| self.line.late("a sound", within))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.line.address
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        locked(&self.line.tasks).abort_all();
        // Calls know their line: let go of each other.
        locked(&self.line.desk).calls.clear();
    }
}

impl Call {
    /// The SIP Call-ID.
    pub fn call_id(&self) -> &str {
        &self.dialog.call_id
    }

    /// The From header of a call that came in: who calls, as the PBX puts it.
    pub fn from(&self) -> Option<&str> {
        self.dialog.invite.as_ref()?.header("From")
    }

    /// Waits until the conversation is up.
    pub async fn answered(&self, within: Duration) -> Result<(), PhoneError> {
        self.reached("an answer", within, |stage| matches!(stage, Stage::Up)).await
    }

    /// Waits until the other side rings, or the conversation is up.
    pub async fn rings(&self, within: Duration) -> Result<(), PhoneError> {
        self.reached("ringing", within, |stage| matches!(stage, Stage::Ringing | Stage::Up)).await
    }

    /// Waits until the call is over.
    pub async fn ended(&self, within: Duration) -> Result<Ending, PhoneError> {
        match self.reached("the end of the call", within, |_| false).await {
            Err(PhoneError::Ended(ending)) => Ok(ending),
            Err(other) => Err(other),
            Ok(()) => Err(self.line.late("the end of the call", within)),
        }
    }

    /// Lets the call go on for a while; an error if it ends meanwhile.
    pub async fn lasts(&self, time: Duration) -> Result<(), PhoneError> {
        let mut stage = self.dialog.stage.subscribe();
        let end = stage.wait_for(|now| matches!(now, Stage::Ended(_)));
        match timeout(time, end).await {
            Ok(Ok(stage)) => match &*stage {
                Stage::Ended(ending) => Err(PhoneError::Ended(ending.clone())),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Whether the conversation is up now.
    pub fn is_up(&self) -> bool {
        *self.dialog.stage.borrow() == Stage::Up
    }

    /// How many media packets came.
    pub fn packets_heard(&self) -> u64 {
        self.dialog.media.received()
    }

    /// Picks up.
    pub async fn answer(&self) -> Result<(), PhoneError> {
        let Some(invite) = self.ringing_invite() else { return Err(self.wrong_stage("answer")) };
        self.follow_media(invite);
        self.set_stage(Stage::Up);
        self.line.hear(self.call_id(), Sound::Answered);
        let sdp = self.line.sdp(&self.dialog, "sendrecv");
        let answer = self.response(invite, 200, "OK").finish_with(&sdp);
        *locked(&self.dialog.last_response) = Some(answer.clone());
        self.line.send(&answer).await?;
        // Nobody else repeats a 2xx until its ACK comes (RFC 3261 §13.3.1.4).
        let call = self.clone();
        self.line.spawn(async move {
            let mut acknowledged = call.dialog.acknowledged.subscribe();
            let mut gap = FIRST_RESEND;
            while gap < GIVE_UP && timeout(gap, acknowledged.wait_for(|yes| *yes)).await.is_err() {
                let _ = call.line.send(&answer).await;
                gap *= 2;
            }
        });
        Ok(())
    }

    /// Refuses a ringing call with this status.
    pub async fn reject(&self, status: u16) -> Result<(), PhoneError> {
        let Some(invite) = self.ringing_invite() else { return Err(self.wrong_stage("reject")) };
        let phrase = match status {
            480 => "Temporarily Unavailable",
            486 => "Busy Here",
            603 => "Decline",
            _ => "Refused",
        };
        let answer = self.response(invite, status, phrase).finish();
        *locked(&self.dialog.last_response) = Some(answer.clone());
        self.end(Ending { by: Side::Us, status: Some(status), reason: None });
        self.line.send(&answer).await?;
        Ok(())
    }

    /// Ends the call in the way its state demands: BYE, CANCEL or 603. Fine when already over.
    pub async fn hang_up(&self) -> Result<(), PhoneError> {
        let stage = self.dialog.stage.borrow().clone();
        match stage {
            Stage::Ended(_) => Ok(()),
            Stage::Up => {
                self.end(Ending { by: Side::Us, status: None, reason: None });
                let request = self.request("BYE", &[], "");
                let response = self.line.transact("BYE", &request, |_| ()).await?;
                match response.status() {
                    // The peer hung up at the same moment.
                    Some(481) => Ok(()),
                    _ => accepted("BYE", &response),
                }
            }
            Stage::Trying | Stage::Ringing if self.dialog.invite.is_some() => {
                self.reject(603).await
            }
            Stage::Trying | Stage::Ringing => self.cancel().await,
        }
    }

    /// Takes back a call that is not answered.
    async fn cancel(&self) -> Result<(), PhoneError> {
        *locked(&self.dialog.cancelled) = true;
        // Before any provisional response nothing may be cancelled (RFC 3261 §9.1).
        let mut provisional = self.dialog.provisional.subscribe();
        let _ = timeout(GIVE_UP, provisional.wait_for(|yes| *yes)).await;
        let request = {
            let route = locked(&self.dialog.route);
            let mut draft = self.line.draft("CANCEL", &route, route.cseq, &route.branch);
            draft.header("Max-Forwards", "70");
            Request { branch: cancel_key(&route.branch), text: draft.finish() }
        };
        let response = self.line.transact("CANCEL", &request, |_| ()).await?;
        match response.status() {
            // Too late: the final response is on its way, and a 2xx gets its BYE in `dial`.
            Some(481) => Ok(()),
            _ => accepted("CANCEL", &response),
        }
    }

    /// Puts the peer on hold.
    pub async fn hold(&self) -> Result<(), PhoneError> {
        self.reinvite("sendonly").await
    }

    /// Takes the peer back from hold.
    pub async fn unhold(&self) -> Result<(), PhoneError> {
        self.reinvite("sendrecv").await
    }

    async fn reinvite(&self, direction: &str) -> Result<(), PhoneError> {
        self.need_up("hold")?;
        let sdp = self.line.sdp(&self.dialog, direction);
        let request = self.request("INVITE", &[], &sdp);
        let response = self.line.transact("INVITE", &request, |_| ()).await?;
        self.acknowledge(&response, &request.branch).await?;
        accepted("INVITE", &response)
    }

    /// Sends the peer to another number (REFER), and hangs up when that has answered.
    pub async fn transfer(&self, number: &str) -> Result<(), PhoneError> {
        self.refer(&format!("<sip:{number}@{}>", self.line.config.server)).await
    }

    /// Connects the peers of two calls of this phone (REFER with Replaces), and hangs up.
    pub async fn transfer_to(&self, other: &Call) -> Result<(), PhoneError> {
        let refer_to = {
            let route = locked(&other.dialog.route);
            let target = route.target.split(';').next().unwrap_or("");
            let ours = parameter(&route.local, "tag").unwrap_or("");
            let theirs = parameter(&route.remote, "tag").unwrap_or("");
            let call_id = other.dialog.call_id.replace('@', "%40");
            format!("<{target}?Replaces={call_id}%3Bto-tag%3D{theirs}%3Bfrom-tag%3D{ours}>")
        };
        self.refer(&refer_to).await
    }

    async fn refer(&self, refer_to: &str) -> Result<(), PhoneError> {
        self.need_up("transfer")?;
        let LineAddress { user, server } = self.line.identity();
        let extra =
            [("Refer-To", refer_to.to_owned()), ("Referred-By", format!("<sip:{user}@{server}>"))];
        let request = self.request("REFER", &extra, "");
        accepted("REFER", &self.line.transact("REFER", &request, |_| ()).await?)
    }

    /// Presses keys (0-9 * # A-D), one each 280 ms; done when the last is released.
    pub async fn press(&self, digits: &str) -> Result<(), PhoneError> {
        self.need_up("press a key")?;
        self.dialog.media.press(digits).await;
        Ok(())
    }

    /// Our INVITE until its final answer.
    async fn dial(&self, uri: &str) -> Result<(), PhoneError> {
        let line = &self.line;
        let sdp = line.sdp(&self.dialog, "sendrecv");
        let progress = |response: &Message| {
            self.dialog.provisional.send_replace(true);
            if matches!(response.status(), Some(180 | 183)) && self.set_stage(Stage::Ringing) {
                line.hear(self.call_id(), Sound::Ringing);
            }
        };
        let mut request = self.request("INVITE", &[], &sdp);
        let mut response = line.transact("INVITE", &request, progress).await?;
        if let Some(credentials) = line.credentials(&response, "INVITE", uri) {
            self.acknowledge(&response, &request.branch).await?;
            request = self.request("INVITE", &[credentials], &sdp);
            response = line.transact("INVITE", &request, progress).await?;
        }
        let was_cancelled = *locked(&self.dialog.cancelled);
        let status = response.status().unwrap_or(0);
        if status < 300 {
            let mut route = locked(&self.dialog.route);
            route.remote = response.header("To").unwrap_or("").to_owned();
            route.target = response.contact().unwrap_or(uri).to_owned();
            route.routes = response.headers("Record-Route").map(str::to_owned).collect();
            route.routes.reverse();
        }
        self.acknowledge(&response, &request.branch).await?;
        if status >= 300 {
            let by = if was_cancelled { Side::Us } else { Side::Peer };
            let reason = response.header("Reason").map(str::to_owned);
            self.end(Ending { by, status: Some(status), reason });
            return Ok(());
        }
        self.follow_media(&response);
        self.set_stage(Stage::Up);
        line.hear(self.call_id(), Sound::Answered);
        // The answer overtook our CANCEL.
        if was_cancelled { self.hang_up().await } else { Ok(()) }
    }

    async fn acknowledge(&self, response: &Message, branch: &str) -> Result<(), PhoneError> {
        let text = {
            let mut route = locked(&self.dialog.route).clone();
            route.remote = response.header("To").unwrap_or("").to_owned();
            let fresh = new_branch();
            let is_success = response.status().is_some_and(|status| status < 300);
            // Only the ACK of a refusal belongs to the transaction (RFC 3261 §17.1.1.3).
            let branch = if is_success { &fresh } else { branch };
            let mut draft = self.line.draft("ACK", &route, response.cseq().unwrap_or(1), branch);
            draft.header("Max-Forwards", "70");
            draft.finish()
        };
        locked(&self.line.desk).acks.insert(transaction_name(response), text.clone());
        Ok(self.line.send(&text).await?)
    }

    fn request(&self, method: &'static str, extra: &[Header], sdp: &str) -> Request {
        self.line.request(method, &mut locked(&self.dialog.route), extra, sdp)
    }

    fn response(&self, request: &Message, status: u16, phrase: &str) -> Draft {
        request.response(status, phrase, &self.dialog.tag, &self.line.contact())
    }

    fn ringing_invite(&self) -> Option<&Message> {
        let is_ringing = *self.dialog.stage.borrow() == Stage::Ringing;
        self.dialog.invite.as_ref().filter(|_| is_ringing)
    }

    fn follow_media(&self, message: &Message) {
        if let Some(address) = media::media_address(&message.body) {
            self.dialog.media.peer.send_replace(Some(address));
        }
    }

    /// Moves on to `stage`; false when the call is there or beyond already.
    fn set_stage(&self, stage: Stage) -> bool {
        self.dialog.stage.send_if_modified(|now| {
            let moves = match (&*now, &stage) {
                (Stage::Ended(_), _) => false,
                (_, Stage::Ended(_)) => true,
                (Stage::Up, _) => false,
                (now, next) => *now != *next,
            };
            if moves {
                *now = stage;
            }
            moves
        })
    }

    fn end(&self, ending: Ending) {
        if self.set_stage(Stage::Ended(ending.clone())) {
            self.dialog.media.peer.send_replace(None);
            self.line.hear(self.call_id(), Sound::Ended(ending));
        }
    }

    fn need_up(&self, verb: &'static str) -> Result<(), PhoneError> {
        if self.is_up() { Ok(()) } else { Err(self.wrong_stage(verb)) }
    }

    fn wrong_stage(&self, verb: &'static str) -> PhoneError {
        let stage = match *self.dialog.stage.borrow() {
            Stage::Trying => "not yet ringing",
            Stage::Ringing => "ringing",
            Stage::Up => "up",
            Stage::Ended(_) => "over",
        };
        PhoneError::WrongStage { verb, stage }
    }

    async fn reached(
        &self,
        what: &'static str,
        within: Duration,
        there: impl Fn(&Stage) -> bool,
    ) -> Result<(), PhoneError> {
        let mut stage = self.dialog.stage.subscribe();
        let arrival = stage.wait_for(|now| there(now) || matches!(now, Stage::Ended(_)));
        match timeout(within, arrival).await {
            Ok(Ok(now)) => match &*now {
                Stage::Ended(ending) => Err(PhoneError::Ended(ending.clone())),
                _ => Ok(()),
            },
            _ => Err(self.line.late(what, within)),
        }
    }
}

/// What the phone, its calls and its listener share.
struct Line {
    config: PhoneConfig,
    answering: Mutex<Answering>,
    socket: UdpSocket,
    address: SocketAddr,
    desk: Mutex<Desk>,
    heard: watch::Sender<Vec<Heard>>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Desk {
    /// Who waits for the responses of a request, by the name of its transaction.
    waiting: HashMap<String, mpsc::Sender<Message>>,
    /// The ACK of each final response, for when that comes again.
    acks: HashMap<String, String>,
    /// By Call-ID.
    calls: HashMap<String, Call>,
}

/// One SIP dialog and its media.
#[derive(Debug)]
struct Dialog {
    call_id: String,
    /// Our tag.
    tag: String,
    /// The INVITE that called us; `None` when we called.
    invite: Option<Message>,
    route: Mutex<Route>,
    stage: watch::Sender<Stage>,
    media: Media,
    /// Grows with each SDP we write.
    sdp_version: Mutex<u32>,
    /// A provisional response came for our INVITE.
    provisional: watch::Sender<bool>,
    /// The ACK for our 200 came.
    acknowledged: watch::Sender<bool>,
    /// We sent CANCEL, or are about to.
    cancelled: Mutex<bool>,
    /// What to say again when their INVITE comes again.
    last_response: Mutex<Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Trying,
    Ringing,
    Up,
    Ended(Ending),
}

/// Who and where the two ends of a dialog are.
#[derive(Debug, Clone)]
struct Route {
    call_id: String,
    /// Our From (or To) with its tag.
    local: String,
    remote: String,
    target: String,
    routes: Vec<String>,
    /// Of our last request but ACK and CANCEL.
    cseq: u32,
    branch: String,
}

impl Route {
    fn new(line: &Line, target: String) -> Route {
        let PhoneConfig { server, user, from_user, display_name, .. } = &line.config;
        let user = from_user.as_ref().unwrap_or(user);
        let name = display_name.as_ref().map(|name| format!("\"{name}\" ")).unwrap_or_default();
        Route {
            call_id: format!("{}@{}", token(), line.address.ip()),
            local: format!("{name}<sip:{user}@{server}>;tag={}", token()),
            remote: format!("<{target}>"),
            target,
            routes: Vec::new(),
            cseq: 0,
            branch: String::new(),
        }
    }
}

type Header = (&'static str, String);

struct Request {
    branch: String,
    text: String,
}

struct LineAddress<'a> {
    user: &'a str,
    server: IpAddr,
}

impl Line {
    fn identity(&self) -> LineAddress<'_> {
        LineAddress { user: &self.config.user, server: self.config.server.ip() }
    }

    fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.config.user, self.address)
    }

    fn sdp(&self, dialog: &Dialog, direction: &str) -> String {
        let mut version = locked(&dialog.sdp_version);
        *version += 1;
        media::sdp(self.address.ip(), dialog.media.port, *version, direction)
    }

    /// What all our requests begin with.
    fn draft(&self, method: &str, route: &Route, cseq: u32, branch: &str) -> Draft {
        let mut draft = Draft::new(format!("{method} {} SIP/2.0", route.target));
        draft
            .header("Via", &format!("SIP/2.0/UDP {};branch={branch};rport", self.address))
            .header("From", &route.local)
            .header("To", &route.remote)
            .header("Call-ID", &route.call_id)
            .header("CSeq", &format!("{cseq} {method}"));
        for hop in &route.routes {
            draft.header("Route", hop);
        }
        if self.config.trunk {
            draft.header("X-Trunk", "sipp");
        }
        draft
    }

    fn request(
        &self,
        method: &'static str,
        route: &mut Route,
        extra: &[Header],
        sdp: &str,
    ) -> Request {
        route.cseq += 1;
        route.branch = new_branch();
        let mut draft = self.draft(method, route, route.cseq, &route.branch);
        draft
            .header("Max-Forwards", "70")
            .header("Contact", &self.contact())
            .header("Allow", "INVITE, ACK, BYE, CANCEL, REFER, NOTIFY, OPTIONS, INFO, UPDATE")
            .header("Supported", "replaces");
        for (name, value) in extra {
            draft.header(name, value);
        }
        let text = if sdp.is_empty() { draft.finish() } else { draft.finish_with(sdp) };
        Request { branch: route.branch.clone(), text }
    }

    fn credentials(&self, response: &Message, method: &str, uri: &str) -> Option<Header> {
        let PhoneConfig { user, password, .. } = &self.config;
        digest::answer(response, method, uri, user, password.as_ref()?)
    }

    /// Sends a request until it is answered, and returns the final response.
    async fn transact(
        &self,
        method: &'static str,
        request: &Request,
        mut progress: impl FnMut(&Message),
    ) -> Result<Message, PhoneError> {
        let (sender, mut responses) = mpsc::channel(16);
        locked(&self.desk).waiting.insert(request.branch.clone(), sender);
        let _unregister = OnDrop(|| {
            locked(&self.desk).waiting.remove(&request.branch);
        });
        self.send(&request.text).await?;
        let give_up = Instant::now() + GIVE_UP;
        let mut patience = FIRST_RESEND;
        loop {
            match timeout(patience, responses.recv()).await {
                Ok(Some(response)) if response.status().is_some_and(|status| status < 200) => {
                    progress(&response);
                    if method == "INVITE" {
                        patience = LONGEST_RING;
                    }
                }
                Ok(Some(response)) => return Ok(response),
                Err(_) if patience < GIVE_UP && Instant::now() < give_up => {
                    patience = (patience * 2).min(Duration::from_secs(4));
                    self.send(&request.text).await?;
                }
                _ => return Err(PhoneError::Silent(method)),
            }
        }
    }

    async fn send(&self, text: &str) -> io::Result<()> {
        match self.socket.send_to(text.as_bytes(), self.config.server).await {
            // An earlier packet found nobody listening (the PBX restarts): this one may.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            other => other.map(|_| ()),
        }
    }

    fn hear(&self, call_id: &str, sound: Sound) {
        let call_id = call_id.to_owned();
        self.heard.send_modify(|all| all.push(Heard { at: SystemTime::now(), call_id, sound }));
    }

    fn late(&self, what: &'static str, within: Duration) -> PhoneError {
        let heard = self.heard.borrow();
        let heard = heard.iter().map(|heard| format!("{:?}", heard.sound)).collect::<Vec<_>>();
        PhoneError::Late { what, within, heard: heard.join(", ") }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    fn open_dialog(
        self: &Arc<Line>,
        route: Route,
        invite: Option<Message>,
    ) -> Result<Arc<Dialog>, PhoneError> {
        let (line, call_id) = (Arc::downgrade(self), route.call_id.clone());
        let hears = move |sound| {
            let Some(line) = line.upgrade() else { return };
            match sound {
                Ear::FirstPacket => line.hear(&call_id, Sound::Audio),
                Ear::Digit(digit) => line.hear(&call_id, Sound::Digit(digit)),
            }
        };
        let bind = |source| PhoneError::Bind { address: self.address, source };
        let (media, work) = Media::open(self.address.ip(), hears).map_err(bind)?;
        let stage = watch::Sender::new(match invite {
            Some(_) => Stage::Ringing,
            None => Stage::Trying,
        });
        let mut stages = stage.subscribe();
        let dialog = Arc::new(Dialog {
            call_id: route.call_id.clone(),
            tag: parameter(&route.local, "tag").unwrap_or("").to_owned(),
            invite,
            route: Mutex::new(route),
            stage,
            media,
            sdp_version: Mutex::default(),
            provisional: watch::Sender::new(false),
            acknowledged: watch::Sender::new(false),
            cancelled: Mutex::default(),
            last_response: Mutex::default(),
        });
        self.spawn(async move {
            tokio::select! {
                () = work => (),
                _ = stages.wait_for(|stage| matches!(stage, Stage::Ended(_))) => (),
            }
        });
        let call = Call { line: self.clone(), dialog: dialog.clone() };
        locked(&self.desk).calls.insert(dialog.call_id.clone(), call);
        Ok(dialog)
    }

    async fn listen(self: Arc<Line>, calls: mpsc::Sender<Call>) {
        let mut datagram = vec![0; 65_536];
        loop {
            let Ok((length, _)) = self.socket.recv_from(&mut datagram).await else { continue };
            let Some(message) = Message::parse(&datagram[..length]) else { continue };
            let reply = match message.status() {
                Some(_) => self.take_response(message),
                None => self.take_request(message, &calls).await,
            };
            if let Some(reply) = reply {
                let _ = self.send(&reply).await;
            }
        }
    }

    /// Gives a response to whoever waits for it; repeats the ACK for one that comes again.
    fn take_response(&self, response: Message) -> Option<String> {
        let name = transaction_name(&response);
        let desk = locked(&self.desk);
        match desk.waiting.get(&name) {
            // Full only when nobody reads, and then it is resent.
            Some(waiting) => {
                let _ = waiting.try_send(response);
                None
            }
            None => desk.acks.get(&name).cloned(),
        }
    }

    async fn take_request(
        self: &Arc<Line>,
        request: Message,
        calls: &mpsc::Sender<Call>,
    ) -> Option<String> {
        let known = locked(&self.desk).calls.get(request.call_id()).cloned();
        let tag = known.as_ref().map_or_else(token, |call| call.dialog.tag.clone());
        let reply =
            |status, phrase| Some(request.response(status, phrase, &tag, &self.contact()).finish());
        match (request.method(), known) {
            ("INVITE", None) => self.ring(request, calls).await,
            ("INVITE", Some(call)) => call.take_invite(&request),
            ("ACK", known) => {
                known?.dialog.acknowledged.send_replace(true);
                None
            }
            ("CANCEL", Some(call)) => {
                if let Some(invite) = call.ringing_invite() {
                    let text = call.response(invite, 487, "Request Terminated").finish();
                    *locked(&call.dialog.last_response) = Some(text.clone());
                    let reason = request.header("Reason").map(str::to_owned);
                    call.end(Ending { by: Side::Peer, status: Some(487), reason });
                    let _ = self.send(&text).await;
                }
                reply(200, "OK")
            }
            ("BYE", Some(call)) => {
                let reason = request.header("Reason").map(str::to_owned);
                call.end(Ending { by: Side::Peer, status: None, reason });
                reply(200, "OK")
            }
            ("BYE" | "CANCEL", None) => reply(481, "Call/Transaction Does Not Exist"),
            ("NOTIFY", Some(call)) => {
                let status = request.body.strip_prefix("SIP/2.0 ").and_then(|b| b.get(..3));
                if let Some(status) = status.and_then(|status| status.parse::<u16>().ok()) {
                    self.hear(call.call_id(), Sound::Transfer(status));
                    // It is the transferor who leaves (RFC 5589 §6.1); Asterisk waits for that.
                    if (200..300).contains(&status) {
                        self.spawn(async move {
                            let _ = call.hang_up().await;
                        });
                    }
                }
                reply(200, "OK")
            }
            _ => reply(200, "OK"),
        }
    }

    /// A new call came in.
    async fn ring(self: &Arc<Line>, invite: Message, calls: &mpsc::Sender<Call>) -> Option<String> {
        let header = |name| invite.header(name).unwrap_or("").to_owned();
        let mut routes: Vec<String> = Vec::new();
        routes.extend(invite.headers("Record-Route").map(str::to_owned));
        let route = Route {
            call_id: header("Call-ID"),
            local: format!("{};tag={}", header("To"), token()),
            remote: header("From"),
            target: invite.contact()?.to_owned(),
            routes,
            cseq: 0,
            branch: String::new(),
        };
        let from = header("From");
        let dialog = self.open_dialog(route, Some(invite)).ok()?;
        let call = Call { line: self.clone(), dialog };
        self.hear(call.call_id(), Sound::Called { from });
        let answering = *locked(&self.answering);
        match answering {
            Answering::Busy | Answering::Unavailable => {
                let status = if answering == Answering::Busy { 486 } else { 480 };
                let _ = call.reject(status).await;
                return None;
            }
            Answering::ByHand => (),
            Answering::After(delay) => {
                let call = call.clone();
                self.spawn(async move {
                    // The caller may be faster, which is no fault.
                    if call.lasts(delay).await.is_ok() {
                        let _ = call.answer().await;
                    }
                });
            }
        }
        let ringing = call.response(call.dialog.invite.as_ref()?, 180, "Ringing").finish();
        let mut last_response = locked(&call.dialog.last_response);
        let is_answered = last_response.is_some();
        if !is_answered {
            *last_response = Some(ringing.clone());
        }
        drop(last_response);
        // A test that never asks for its calls is not kept from making them.
        let _ = calls.try_send(call);
        (!is_answered).then_some(ringing)
    }
}

impl Call {
    /// Their INVITE again, or a re-INVITE.
    fn take_invite(&self, request: &Message) -> Option<String> {
        let first = self.dialog.invite.as_ref();
        if first.is_some_and(|first| first.branch() == request.branch()) {
            return locked(&self.dialog.last_response).clone();
        }
        if !self.is_up() {
            return Some(self.response(request, 491, "Request Pending").finish());
        }
        self.follow_media(request);
        let sdp = self.line.sdp(&self.dialog, "sendrecv");
        Some(self.response(request, 200, "OK").finish_with(&sdp))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("user", &self.config.user).finish_non_exhaustive()
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn accepted(method: &'static str, response: &Message) -> Result<(), PhoneError> {
    match response.status() {
        Some(200..=299) => Ok(()),
        status => Err(PhoneError::Refused { method, status: status.unwrap_or(0) }),
    }
}

/// CANCEL has the branch of its INVITE and yet is a transaction of its own (RFC 3261 §17.1.3).
fn transaction_name(response: &Message) -> String {
    let branch = response.branch().unwrap_or("");
    match response.method() {
        "CANCEL" => cancel_key(branch),
        _ => branch.to_owned(),
    }
}

fn cancel_key(branch: &str) -> String {
    format!("{branch} CANCEL")
}

fn new_branch() -> String {
    format!("z9hG4bK{}", token())
}

fn token() -> String {
    format!("{:016x}", random())
}

/// No code panics while it holds one of these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
