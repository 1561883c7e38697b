//! One SIP dialog: who and where its ends are, and how far it is.

use std::sync::Mutex;

use tokio::sync::watch;

use super::{
    Ending, PhoneConfig,
    line::{Line, token},
    media::Media,
    message::Message,
};

/// One SIP dialog and its media.
#[derive(Debug)]
pub(super) struct Dialog {
    pub call_id: String,
    /// Our tag.
    pub tag: String,
    /// The INVITE that called us; `None` when we called.
    pub invite: Option<Message>,
    pub route: Mutex<Route>,
    pub stage: watch::Sender<Stage>,
    pub media: Media,
    /// Grows with each SDP we write.
    pub sdp_version: Mutex<u32>,
    /// A provisional response came for our INVITE.
    pub provisional: watch::Sender<bool>,
    /// The ACK for our 200 came.
    pub acknowledged: watch::Sender<bool>,
    /// We sent CANCEL, or are about to.
    pub cancelled: Mutex<bool>,
    /// What to say again when their INVITE comes again.
    pub last_response: Mutex<Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Trying,
    Ringing,
    Up,
    Ended(Ending),
}

/// Who and where the two ends of a dialog are.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub call_id: String,
    /// Our From (or To) with its tag.
    pub local: String,
    pub remote: String,
    pub target: String,
    pub routes: Vec<String>,
    /// Of our last request but ACK and CANCEL.
    pub cseq: u32,
    pub branch: String,
}

impl Route {
    pub fn new(line: &Line, target: String) -> Route {
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
