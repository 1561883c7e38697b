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

pub(crate) mod audio;
mod call;
mod dialog;
mod digest;
mod line;
mod media;
mod message;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{
    net::UdpSocket,
    sync::{Mutex as AsyncMutex, mpsc, watch},
    time::timeout,
};

pub use audio::Recording;
pub use call::Call;
use dialog::Route;
use line::{Line, accepted, locked};

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
