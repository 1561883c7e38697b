//! What a test does with one call of a phone, and hears of it.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Ending, PhoneError, Recording, Side, Sound,
    dialog::{Dialog, Stage},
    line::{
        FIRST_RESEND, GIVE_UP, Header, Line, LineAddress, Request, accepted, cancel_key, locked,
        new_branch, transaction_name,
    },
    media,
    message::{Draft, Message, parameter},
};

/// One call of a phone.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) line: Arc<Line>,
    pub(super) dialog: Arc<Dialog>,
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

    /// Sends this tone (in hertz) from now on; none: silence.
    pub fn speak(&self, tone: Option<u32>) {
        self.dialog.media.tone.send_replace(tone);
    }

    /// What was heard since its first `from`; [`Recording::length`] of an earlier one is where to go on.
    pub fn recording(&self, from: Duration) -> Recording {
        self.dialog.media.heard(from)
    }

    /// Presses keys (0-9 * # A-D), one each 280 ms; done when the last is released.
    pub async fn press(&self, digits: &str) -> Result<(), PhoneError> {
        self.need_up("press a key")?;
        self.dialog.media.press(digits).await;
        Ok(())
    }

    /// Our INVITE until its final answer.
    pub(super) async fn dial(&self, uri: &str) -> Result<(), PhoneError> {
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

    pub(super) fn response(&self, request: &Message, status: u16, phrase: &str) -> Draft {
        request.response(status, phrase, &self.dialog.tag, &self.line.contact())
    }

    pub(super) fn ringing_invite(&self) -> Option<&Message> {
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

    pub(super) fn end(&self, ending: Ending) {
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

    /// Their INVITE again, or a re-INVITE.
    pub(super) fn take_invite(&self, request: &Message) -> Option<String> {
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
