//! The floor of a call centre: lanes of agents on one PBX, and the scripts that callers follow on them.
//!
//! A lane has two agents in one queue, a colleague for transfers and its own numbers, so that lanes run at
//! the same time and what a phone hears on one can only come from its own callers:
//!
//! | dialled (L is the lane) | what happens |
//! | --- | --- |
//! | 3L0 | queue `laneL`, answered first; 2 leads to `laneLwait`, 3 out |
//! | 3L1 | the same, ringing: only an agent answers |
//! | 3L2 | the same for 4 s, while a phone rings for 8 s |
//! | 3L3, 3L4 | `laneLwait`, which never has a member: for ever, for 2 s |
//! | 3L5 | `laneLfull`: room for one, no member |
//! | 3L6 | `laneL`; goes on in the dialplan when the agent hangs up |

mod script;

use std::{fmt::Write, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::{Answering, Call, Pbx, PbxConfig, Phone, PhoneConfig, Sipp, Tree};
use tokio::time::Instant;

pub use script::{Kind, Told};

use crate::{
    ami::{self, Ami},
    visit::WENT_ON,
};

/// Generous: a test machine may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(60);

/// Lanes of one PBX; their phones are all that the lab's PBX has.
pub const LANES: usize = 3;

/// How the agents of a lane sit in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seats {
    /// `PJSIP/1001`, written in queues.conf.
    Static,
    /// `Local/1004@from-queue/n` with `hint:1004@ext-local`, as FreePBX makes them.
    Local,
    /// `PJSIP/1007`, added while the PBX runs.
    Dynamic,
}

impl Seats {
    /// The seats of this lane.
    pub fn of(lane: usize) -> Seats {
        match lane % LANES {
            0 => Seats::Static,
            1 => Seats::Local,
            _ => Seats::Dynamic,
        }
    }
}

/// The PBX with its lanes.
pub fn pbx_config() -> PbxConfig {
    let mut config = PbxConfig { load_agents: 8, ..PbxConfig::default() };
    config.managers.push(ami::account());
    config.queues_extra = "[main](!,q)\ntimeout = 8\nretry = 1\ncontext = lane-exit\n".to_owned();
    config.extensions_extra = "[lane-exit]
exten => 2,1,Queue(${QUEUENAME}wait,t,,,300)
 same => n,Hangup()
exten => 3,1,Hangup()
[internal](+)
"
    .to_owned();
    for lane in 0..LANES {
        write_lane(&mut config, lane);
    }
    for (number, queue) in [(340, "joinempty"), (341, "leaveempty")] {
        write_number(&mut config.extensions_extra, number, queue, "t", 300, true);
    }
    config
}

fn write_lane(config: &mut PbxConfig, lane: usize) {
    let queues = &mut config.queues_extra;
    let _ = writeln!(queues, "[lane{lane}](main)");
    for extension in agents_of(lane) {
        let name = agent_name(extension);
        let _ = match Seats::of(lane) {
            Seats::Static => {
                writeln!(queues, "member => PJSIP/{extension},0,{name},PJSIP/{extension}")
            }
            Seats::Local => writeln!(
                queues,
                "member => Local/{extension}@from-queue/n,0,{name},hint:{extension}@ext-local"
            ),
            Seats::Dynamic => Ok(()),
        };
    }
    let _ = writeln!(queues, "[lane{lane}wait](main)\n[lane{lane}full](q)\nmaxlen = 1");
    let dialplan = &mut config.extensions_extra;
    let main = format!("lane{lane}");
    for (digit, queue, options, seconds, answers) in [
        (0, main.clone(), "t", 300, true),
        (1, main.clone(), "tr", 300, false),
        (2, main.clone(), "t", 4, true),
        (3, format!("{main}wait"), "t", 300, true),
        (4, format!("{main}wait"), "t", 2, true),
        (5, format!("{main}full"), "t", 300, true),
        (6, main, "tc", 300, true),
    ] {
        write_number(dialplan, 300 + 10 * lane + digit, &queue, options, seconds, answers);
    }
}

fn write_number(
    dialplan: &mut String,
    number: usize,
    queue: &str,
    options: &str,
    seconds: u32,
    answers: bool,
) {
    let first = if answers { "Answer()" } else { "NoOp()" };
    let _ = writeln!(
        dialplan,
        "exten => {number},1,{first}
 same => n,Queue({queue},{options},,,{seconds})
 same => n,QueueLog({queue},${{UNIQUEID}},NONE,{WENT_ON},${{QUEUESTATUS}}|${{CALLERID(num)}})
 same => n,Hangup()"
    );
}

/// Extensions of a lane's two agents.
pub fn agents_of(lane: usize) -> [u16; 2] {
    let first = first_of(lane);
    [first, first + 1]
}

fn first_of(lane: usize) -> u16 {
    1001 + 3 * u16::try_from(lane).unwrap_or(0)
}

/// The display name that queues.conf and the endpoints give an extension.
pub fn agent_name(extension: u16) -> String {
    const NAMES: [&str; 10] =
        ["One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"];
    let index = usize::from(extension.saturating_sub(1001));
    format!("Agent {}", NAMES.get(index).unwrap_or(&"Nobody"))
}

/// What the queue dials for an agent of a lane.
pub fn interface_of(extension: u16, seats: Seats) -> String {
    match seats {
        Seats::Static | Seats::Dynamic => format!("PJSIP/{extension}"),
        Seats::Local => format!("Local/{extension}@from-queue/n"),
    }
}

/// A lane with its phones on their hooks.
#[derive(Debug)]
pub struct Lane {
    /// Its number on its PBX.
    pub number: usize,
    agents: [Agent; 2],
    colleague: Agent,
    /// First digits of its callers' numbers.
    prefix: String,
    calls: u32,
}

#[derive(Debug)]
struct Agent {
    extension: u16,
    phone: Phone,
}

impl Agent {
    async fn start(pbx: &Pbx, extension: u16) -> Result<Agent> {
        let config = PhoneConfig {
            answering: Answering::ByHand,
            ..PhoneConfig::extension(pbx.sip(), &extension.to_string())
        };
        let phone = Phone::start(config).await?;
        phone.register().await.with_context(|| format!("phone {extension}"))?;
        Ok(Agent { extension, phone })
    }

    fn name(&self) -> String {
        agent_name(self.extension)
    }
}

/// An agent's phone rings.
struct Ringing {
    agent: usize,
    call: Call,
}

impl Lane {
    /// Registers its phones. `prefix` begins the numbers of its callers and is its own among all lanes.
    pub async fn start(pbx: &Pbx, number: usize, prefix: &str) -> Result<Lane> {
        let [one, two] = agents_of(number);
        Ok(Lane {
            number,
            agents: [Agent::start(pbx, one).await?, Agent::start(pbx, two).await?],
            colleague: Agent::start(pbx, two + 1).await?,
            prefix: prefix.to_owned(),
            calls: 0,
        })
    }

    /// Its agents' queue.
    pub fn queue(&self) -> String {
        format!("lane{}", self.number)
    }

    /// Registers its phones again: the PBX that restarted has forgotten them.
    pub async fn register(&self) -> Result<()> {
        for agent in self.agents.iter().chain([&self.colleague]) {
            agent.phone.register().await?;
        }
        Ok(())
    }

    fn number_dialled(&self, digit: usize) -> String {
        (300 + 10 * self.number + digit).to_string()
    }

    /// A new caller with a number nobody else has.
    async fn caller(&mut self, pbx: &Pbx) -> Result<Caller> {
        self.calls += 1;
        let number = format!("{}{:04}", self.prefix, self.calls);
        let phone = Phone::start(PhoneConfig::trunk(pbx.sip(), &number)).await?;
        Ok(Caller { number, phone })
    }

    /// Waits until one of the agents' phones rings for this caller.
    async fn next_ringing(&self, caller: &str) -> Result<Ringing> {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "no agent of lane {} was rung", self.number);
            let [one, two] = &self.agents;
            let ringing = tokio::select! {
                call = one.phone.next_call(left) => Ringing { agent: 0, call: call? },
                call = two.phone.next_call(left) => Ringing { agent: 1, call: call? },
            };
            // Calls of earlier scripts may still lie here.
            if ringing.call.from().is_some_and(|from| from.contains(caller)) {
                return Ok(ringing);
            }
        }
    }

    fn agent(&self, ringing: &Ringing) -> &Agent {
        &self.agents[ringing.agent % 2]
    }
}

/// Callers of sipp: as many as `each` are answered by its agents in `load`, as many give up in `sales`.
pub async fn bulk(pbx: &Pbx, tree: &Tree, each: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let agents =
        Sipp { pause: Duration::from_millis(200), ..Sipp::agents(pbx.ports().load_agents) };
    let agents = agents.start(tree, pbx.sip(), folder)?;
    let answered = Sipp { calls_per_second: 2, ..Sipp::callers("803", each) };
    let gives_up = Sipp { calls_per_second: 2, ..Sipp::callers("801", each) };
    let (answered, gives_up) = tokio::try_join!(
        answered.run(tree, pbx.sip(), folder),
        gives_up.run(tree, pbx.sip(), folder),
    )?;
    for report in [&answered, &gives_up] {
        ensure!((report.successful, report.failed) == (each, 0), "sipp: {}", report.errors);
    }
    // What its agents heard: each call that a caller ended was answered and ended there too. On a busy machine sipp
    // answers late, and a CANCEL crosses its answer: it counts that as failed, though all callers were served.
    let heard = agents.stop().await?;
    let all = heard.successful + heard.failed >= each && heard.failed <= each / 10;
    ensure!(all, "sipp agents: {heard:?}");
    Ok(())
}

/// Somebody in the telephone network.
struct Caller {
    number: String,
    phone: Phone,
}

/// The caller's channel.
async fn channel_of(ami: &mut Ami, uniqueid: &str) -> Result<String> {
    let channels = ami.list("CoreShowChannels", &[]).await?;
    let found = channels.iter().find(|channel| channel.get("Uniqueid") == uniqueid);
    Ok(found.context("the PBX has no such channel")?.get("Channel").to_owned())
}

/// Waits until queue_log says this about this caller.
async fn entered(pbx: &Pbx, queue: &str, number: &str) -> Result<String> {
    let line = pbx
        .wait_for_queue_log(SOON, |line| {
            line.event == "ENTERQUEUE"
                && line.queue == queue
                && line.data.get(1).is_some_and(|caller| caller == number)
        })
        .await?;
    Ok(line.callid)
}

/// Waits until queue_log has this event of this caller.
async fn logged(pbx: &Pbx, uniqueid: &str, event: &str) -> Result<()> {
    pbx.wait_for_queue_log(SOON, |line| line.callid == uniqueid && line.event == event).await?;
    Ok(())
}
