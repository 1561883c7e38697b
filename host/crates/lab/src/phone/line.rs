//! What a phone, its calls and its listener share: the socket, requests until their answers, what comes in.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Answering, Call, Ending, Heard, PhoneConfig, PhoneError, Side, Sound,
    dialog::{Dialog, Route, Stage},
    digest,
    media::{self, Ear, Media},
    message::{Draft, Message, parameter},
};
use crate::random;

/// T1 of RFC 3261 §17.1.1.1.
pub(super) const FIRST_RESEND: Duration = Duration::from_millis(500);
pub(super) const GIVE_UP: Duration = Duration::from_secs(32);
/// An INVITE may ring as long as a caller waits in a queue.
const LONGEST_RING: Duration = Duration::from_secs(600);

/// What the phone, its calls and its listener share.
pub(super) struct Line {
    pub config: PhoneConfig,
    pub answering: Mutex<Answering>,
    pub socket: UdpSocket,
    pub address: SocketAddr,
    pub desk: Mutex<Desk>,
    pub heard: watch::Sender<Vec<Heard>>,
    pub tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
pub(super) struct Desk {
    /// Who waits for the responses of a request, by the name of its transaction.
    pub waiting: HashMap<String, mpsc::Sender<Message>>,
    /// The ACK of each final response, for when that comes again.
    pub acks: HashMap<String, String>,
    /// By Call-ID.
    pub calls: HashMap<String, Call>,
}

pub(super) type Header = (&'static str, String);

pub(super) struct Request {
    pub branch: String,
    pub text: String,
}

pub(super) struct LineAddress<'a> {
    pub user: &'a str,
    pub server: IpAddr,
}

impl Line {
    pub fn identity(&self) -> LineAddress<'_> {
        LineAddress { user: &self.config.user, server: self.config.server.ip() }
    }

    pub fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.config.user, self.address)
    }

    pub fn sdp(&self, dialog: &Dialog, direction: &str) -> String {
        let mut version = locked(&dialog.sdp_version);
        *version += 1;
        media::sdp(self.address.ip(), dialog.media.port, *version, direction)
    }

    /// What all our requests begin with.
    pub fn draft(&self, method: &str, route: &Route, cseq: u32, branch: &str) -> Draft {
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

    pub fn request(
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

    pub fn credentials(&self, response: &Message, method: &str, uri: &str) -> Option<Header> {
        let PhoneConfig { user, password, .. } = &self.config;
        digest::answer(response, method, uri, user, password.as_ref()?)
    }

    /// Sends a request until it is answered, and returns the final response.
    pub async fn transact(
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

    pub async fn send(&self, text: &str) -> io::Result<()> {
        match self.socket.send_to(text.as_bytes(), self.config.server).await {
            // An earlier packet found nobody listening (the PBX restarts): this one may.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            other => other.map(|_| ()),
        }
    }

    pub fn hear(&self, call_id: &str, sound: Sound) {
        let call_id = call_id.to_owned();
        self.heard.send_modify(|all| all.push(Heard { at: SystemTime::now(), call_id, sound }));
    }

    pub fn late(&self, what: &'static str, within: Duration) -> PhoneError {
        let heard = self.heard.borrow();
        let heard = heard.iter().map(|heard| format!("{:?}", heard.sound)).collect::<Vec<_>>();
        PhoneError::Late { what, within, heard: heard.join(", ") }
    }

    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    pub fn open_dialog(
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

    pub async fn listen(self: Arc<Line>, calls: mpsc::Sender<Call>) {
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

pub(super) fn accepted(method: &'static str, response: &Message) -> Result<(), PhoneError> {
    match response.status() {
        Some(200..=299) => Ok(()),
        status => Err(PhoneError::Refused { method, status: status.unwrap_or(0) }),
    }
}

/// CANCEL has the branch of its INVITE and yet is a transaction of its own (RFC 3261 §17.1.3).
pub(super) fn transaction_name(response: &Message) -> String {
    let branch = response.branch().unwrap_or("");
    match response.method() {
        "CANCEL" => cancel_key(branch),
        _ => branch.to_owned(),
    }
}

pub(super) fn cancel_key(branch: &str) -> String {
    format!("{branch} CANCEL")
}

pub(super) fn new_branch() -> String {
    format!("z9hG4bK{}", token())
}

pub(super) fn token() -> String {
    format!("{:016x}", random())
}

/// No code panics while it holds one of these locks.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
