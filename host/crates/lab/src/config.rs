//! What a PBX is told: accounts, phones, queues and dialplan, written as Asterisk's own files.
//!
//! The PBX that every test and the demo get (numbers in the dialplan; `pw<extension>` as passwords):
//!
//! | dialled | what happens |
//! | --- | --- |
//! | 1001-1010 | that extension rings 30 s |
//! | 500, 501, 502 | echo; music; answer and hang up after 1 s |
//! | 700, 701, 702 | `AGI(agi:async)`: unanswered; answered; answered and again after every end |
//! | 703 | as 702 under a 3 s lease: `T` puts the caller into `sales` |
//! | 720, 721 | handed over to Jackfield by its template: unanswered, then queue `sales`; answered, then echo |
//! | 112 | handed over as an emergency call, then 1009 |
//! | 800 | queue `support`: 1001 and 1002 are static members; digits 1 and 2 leave it |
//! | 801, 802 | queue `sales`: no member until one is added; `parked`: never a member |
//! | 803 | queue `load`: the load agents u001, u002, ... |
//! | 804 | queue `local`: `Local/1005@from-queue/n` and 1006, state by `hint:1005@ext-local` |
//! | 805 | queue `support`, ringing: the caller is answered only by an agent |
//! | 806 | queue `support` with option `c`: goes on in the dialplan when the agent hangs up |
//! | 810 | queue `full`: room for one caller |
//! | 811 | queue `joinempty`: refuses while it has no member |
//! | 812 | queue `leaveempty`: throws callers out when it has no member |
//! | 813 | queue `short`: 1001, gives up after 3 s |
//! | 900-999 | out by the trunk |
//!
//! Queues without a number of their own: `vip` (1003), `standard` (1004), and `fallback` (1008), where callers go whom
//! nobody holds any more. Music of the class `tone` and the recordings of [`TONES`] are steady tones.
//!
//! Calls come in by the trunk when they carry `X-Trunk: sipp` or come from 127.0.0.2.

use std::{
    fmt::Write,
    fs::{self, File},
    net::{TcpListener, UdpSocket},
};

use crate::{random, release::Tree};

mod held;

pub(crate) use held::write_data;
pub use held::{MUSIC_TONE, TEMPLATE, TONES};

/// What shall differ from the usual PBX.
#[derive(Debug, Clone)]
pub struct PbxConfig {
    /// Accounts of the manager interface (AMI).
    pub managers: Vec<ManagerUser>,
    /// Offer AMI over TLS too, with a self-signed certificate ([`crate::Pbx::certificate`]).
    pub ami_tls: bool,
    /// `timestampevents` of manager.conf; off on a stock PBX.
    pub timestampevents: bool,
    /// `systemname` of asterisk.conf; it prefixes every Uniqueid. Unset on a stock PBX.
    pub systemname: Option<String>,
    /// `persistentmembers` of queues.conf: dynamic members survive a restart.
    pub persistentmembers: bool,
    /// How many agents `u001`... exist, all reached at [`Ports::load_agents`].
    pub load_agents: u16,
    /// Appended to queues.conf. `(q)` is the template of the queues.
    pub queues_extra: String,
    /// Appended to extensions.conf. Dialled numbers belong in a section `[internal](+)`.
    pub extensions_extra: String,
    /// Appended to pjsip.conf. Templates: `(agent)`, `(aor)`, `(auth)`.
    pub pjsip_extra: String,
}

impl Default for PbxConfig {
    fn default() -> Self {
        PbxConfig {
            managers: vec![ManagerUser::stock("jackfield", "lab-secret")],
            ami_tls: false,
            timestampevents: false,
            systemname: None,
            persistentmembers: false,
            load_agents: 20,
            queues_extra: String::new(),
            extensions_extra: String::new(),
            pjsip_extra: String::new(),
        }
    }
}

/// One account of the manager interface.
#[derive(Debug, Clone)]
pub struct ManagerUser {
    /// What to log in with.
    pub name: String,
    /// Its password.
    pub secret: String,
    /// The other lines of its section, as they stand in manager.conf.
    pub text: String,
}

impl ManagerUser {
    /// All that Asterisk's sample file and FreePBX give, as most sites have it.
    pub fn stock(name: &str, secret: &str) -> ManagerUser {
        const CLASSES: &str = "system,call,log,verbose,command,agent,user,config,dtmf,reporting,cdr,dialplan,originate";
        ManagerUser {
            name: name.to_owned(),
            secret: secret.to_owned(),
            text: format!(
                "deny = 0.0.0.0/0.0.0.0\npermit = 127.0.0.1/255.255.255.0\nread = {CLASSES}\nwrite = {CLASSES}\nwritetimeout = 5000\n"
            ),
        }
    }

    /// What watching queues, directing calls and holding callers needs: with `agi`, without `system` and `command`.
    pub fn holding(name: &str, secret: &str) -> ManagerUser {
        ManagerUser {
            name: name.to_owned(),
            secret: secret.to_owned(),
            text: "deny = 0.0.0.0/0.0.0.0\npermit = 127.0.0.1/255.255.255.0\nread = system,call,agent,dialplan,reporting,agi,dtmf\nwrite = call,agent,reporting,agi\nwritetimeout = 5000\n".to_owned(),
        }
    }

    /// Only what watching queues and directing calls needs: no `system`, no `command`, no `agi`.
    pub fn minimal(name: &str, secret: &str) -> ManagerUser {
        ManagerUser {
            name: name.to_owned(),
            secret: secret.to_owned(),
            text: "deny = 0.0.0.0/0.0.0.0\npermit = 127.0.0.1/255.255.255.0\nread = call,agent,reporting,dtmf\nwrite = call,agent,reporting,originate\nwritetimeout = 5000\n".to_owned(),
        }
    }
}

/// Where one PBX listens and where it expects its peers, all on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Manager interface, TCP.
    pub ami: u16,
    /// Manager interface over TLS, when asked for.
    pub ami_tls: u16,
    /// SIP over UDP and TCP.
    pub sip: u16,
    /// Where calls out by the trunk are sent: bind a peer there.
    pub trunk_peer: u16,
    /// Where the load agents are called: bind a peer there.
    pub load_agents: u16,
    /// First of [`Ports::RTP_COUNT`] media ports.
    pub rtp_first: u16,
}

impl Ports {
    /// Media ports of one PBX: four for each call of two legs.
    pub const RTP_COUNT: u16 = 2000;

    /// Ports that are free now, and that no other lab on this machine takes as long as the file is open: also not
    /// while the PBX is down, nor those that only its peers will bind.
    pub(crate) fn reserve() -> Option<(Ports, File)> {
        (0..500).find_map(|_| {
            // Below 32768, where the system takes the ports of outgoing connections from.
            let first = 10_000 + PORTS * u16::try_from(random() % 1000).ok()?;
            let reserved = lock(first)?;
            let ports = Ports {
                ami: first,
                ami_tls: first + 1,
                sip: first + 2,
                trunk_peer: first + 3,
                load_agents: first + 4,
                // Asterisk goes on to the next port of the range when one is taken.
                rtp_first: 20_000 + 2 * u16::try_from(random() % 5000).ok()?,
            };
            (first..first + PORTS).all(is_free).then_some((ports, reserved))
        })
    }
}

/// Of one PBX in a row.
const PORTS: u16 = 5;

/// Locks the ports from `first` on among all labs of this user. The system unlocks them when we end, however we do.
fn lock(first: u16) -> Option<File> {
    let folder = format!("jackfield-lab-ports-{}", rustix::process::getuid().as_raw());
    let folder = std::env::temp_dir().join(folder);
    fs::create_dir_all(&folder).ok()?;
    let file =
        File::options().create(true).append(true).open(folder.join(first.to_string())).ok()?;
    file.try_lock().is_ok().then_some(file)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
}

/// Folders and ports of the instance that a configuration is written for.
pub(crate) struct Instance<'a> {
    pub tree: &'a Tree,
    /// The instance's folder, absolute.
    pub folder: &'a str,
    pub ports: Ports,
}

/// All configuration files, name and text.
pub(crate) fn files(config: &PbxConfig, at: &Instance<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("asterisk.conf", asterisk_conf(config, at)),
        ("modules.conf", modules_conf()),
        ("logger.conf", LOGGER_CONF.to_owned()),
        ("manager.conf", manager_conf(config, at)),
        ("http.conf", "[general]\nenabled = no\n".to_owned()),
        ("rtp.conf", rtp_conf(at.ports)),
        ("pjsip.conf", pjsip_conf(config, at.ports)),
        ("queues.conf", queues_conf(config)),
        ("extensions.conf", extensions_conf(config)),
        ("musiconhold.conf", musiconhold_conf(at)),
        ("cdr.conf", "[general]\nenable = yes\n".to_owned()),
        ("cel.conf", "[general]\nenable = no\n".to_owned()),
        // Modules that are loaded and complain when these are missing.
        ("ari.conf", "[general]\nenabled = no\n".to_owned()),
        ("features.conf", "[general]\n".to_owned()),
        ("acl.conf", String::new()),
        ("pjproject.conf", String::new()),
        ("websocket_client.conf", String::new()),
        ("ccss.conf", "[general]\n".to_owned()),
        ("queuerules.conf", "[general]\n".to_owned()),
        ("res_parking.conf", "[general]\n".to_owned()),
        ("confbridge.conf", "[general]\n".to_owned()),
        ("cdr_manager.conf", "[general]\nenabled = no\n".to_owned()),
        ("indications.conf", INDICATIONS_CONF.to_owned()),
        ("udptl.conf", "[general]\n".to_owned()),
    ]
}

fn asterisk_conf(config: &PbxConfig, at: &Instance<'_>) -> String {
    let Instance { tree, folder, .. } = at;
    let modules = tree.modules().display();
    let sbin = tree.asterisk().parent().unwrap_or(tree.root()).display();
    let systemname = config.systemname.iter().map(|name| format!("systemname = {name}\n"));
    // Without an entityid Asterisk wants the address of an ethernet card.
    format!(
        "[directories]
astetcdir => {folder}/etc
astmoddir => {modules}
astvarlibdir => {folder}/lib
astdbdir => {folder}/lib
astkeydir => {folder}/lib
astdatadir => {folder}/data
astagidir => {folder}/agi-bin
astspooldir => {folder}/spool
astrundir => {folder}/run
astlogdir => {folder}/log
astcachedir => {folder}/cache
astsbindir => {sbin}
[options]
verbose = 3
nocolor = yes
entityid = 02:00:00:00:00:01
documentation_language = en_US
live_dangerously = no
{}",
        systemname.collect::<String>()
    )
}

/// Everything but what listens elsewhere, wants hardware or a database, or sends to the world.
fn modules_conf() -> String {
    const UNWANTED: &str = "
        chan_sip chan_iax2 chan_unistim chan_motif chan_console chan_alsa chan_oss chan_dahdi chan_mgcp chan_skinny
        chan_ooh323 chan_mobile chan_phone chan_misdn chan_vpb
        app_dahdiras codec_dahdi res_timing_dahdi res_phoneprov res_pjsip_phoneprov_provider
        res_xmpp res_snmp res_corosync res_config_odbc res_config_pgsql res_config_mysql res_config_ldap
        res_config_curl res_config_sqlite3 res_odbc res_odbc_transaction func_odbc
        cdr_odbc cdr_adaptive_odbc cdr_pgsql cdr_mysql cdr_radius cdr_tds cdr_syslog cdr_sqlite3_custom cdr_custom
        cdr_csv cdr_beanstalkd cel_odbc cel_pgsql cel_radius cel_tds cel_sqlite3_custom cel_custom cel_beanstalkd
        pbx_dundi pbx_ael pbx_lua pbx_realtime app_festival app_voicemail app_voicemail_imap app_voicemail_odbc
        app_minivm app_ices app_alarmreceiver app_jack app_adsiprog app_getcpeid app_mysql app_followme app_agent_pool
        res_adsi res_smdi res_hep res_hep_pjsip res_hep_rtcp res_geolocation res_pjsip_geolocation
        res_stir_shaken res_pjsip_stir_shaken res_fax res_fax_spandsp res_fax_digium
        res_calendar res_calendar_caldav res_calendar_exchange res_calendar_icalendar res_calendar_ews
        res_stun_monitor res_prometheus res_speech_aeap res_aeap res_http_media_cache res_resolver_unbound
        res_pjsip_notify res_pjsip_config_wizard chan_websocket
        res_statsd app_amd res_clialiases";
    let mut text = "[modules]\nautoload = yes\n".to_owned();
    for module in UNWANTED.split_whitespace() {
        text += &format!("noload => {module}.so\n");
    }
    text
}

const LOGGER_CONF: &str = "[general]
dateformat = %F %T.%3q
queue_log = yes
[logfiles]
messages => notice,warning,error
full => notice,warning,error,verbose
";

const INDICATIONS_CONF: &str = "[general]
country = us
[us]
description = United States
ringcadence = 2000,4000
dial = 350+440
busy = 480+620/500,0/500
ring = 440+480/2000,0/4000
congestion = 480+620/250,0/250
callwaiting = 440/300,0/10000
dialrecall = !350+440/100,!0/100,350+440
record = 1400/500,0/15000
info = !950/330,!1400/330,!1800/330,0
";

fn manager_conf(config: &PbxConfig, at: &Instance<'_>) -> String {
    let Ports { ami, ami_tls, .. } = at.ports;
    let folder = at.folder;
    let mut text = format!(
        "[general]\nenabled = yes\nwebenabled = no\nport = {ami}\nbindaddr = 127.0.0.1\ntimestampevents = {}\n",
        yes_no(config.timestampevents)
    );
    if config.ami_tls {
        text += &format!(
            "tlsenable = yes\ntlsbindaddr = 127.0.0.1:{ami_tls}\ntlscertfile = {folder}/etc/asterisk.pem\n"
        );
    }
    for ManagerUser { name, secret, text: lines } in &config.managers {
        text += &format!("[{name}]\nsecret = {secret}\n{lines}\n");
    }
    text
}

fn rtp_conf(ports: Ports) -> String {
    let first = ports.rtp_first;
    let last = first + Ports::RTP_COUNT - 1;
    format!("[general]\nrtpstart = {first}\nrtpend = {last}\nicesupport = no\nstrictrtp = yes\n")
}

fn pjsip_conf(config: &PbxConfig, ports: Ports) -> String {
    let Ports { sip, trunk_peer, load_agents, .. } = ports;
    let mut text = format!(
        "; All peers share one address: phones are told by their user, the trunk by a header.
[global]
type = global
user_agent = Asterisk lab
endpoint_identifier_order = username,ip,header,anonymous
[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{sip}
[tcp]
type = transport
protocol = tcp
bind = 127.0.0.1:{sip}
[media](!)
type = endpoint
disallow = all
direct_media = no
rtp_symmetric = yes
media_address = 127.0.0.1
bind_rtp_to_media_address = yes
[agent](!,media)
context = agents
allow = ulaw,alaw
force_rport = yes
rewrite_contact = yes
allow_subscribe = yes
dtmf_mode = rfc4733
[aor](!)
type = aor
; With more contacts a phone that died would go on being rung.
max_contacts = 1
remove_existing = yes
qualify_frequency = 0
default_expiration = 300
[auth](!)
type = auth
auth_type = userpass
[trunk](media)
context = from-trunk
allow = ulaw,alaw
aors = trunk
from_user = trunk
identify_by = header,ip
dtmf_mode = auto
[trunk]
type = aor
contact = sip:127.0.0.1:{trunk_peer}
qualify_frequency = 0
[trunk-by-header]
type = identify
endpoint = trunk
match_header = X-Trunk: sipp
[trunk-by-address]
type = identify
endpoint = trunk
match = 127.0.0.2/32
"
    );
    const NAMES: [&str; 10] =
        ["One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"];
    for (extension, name) in (1001..).zip(NAMES) {
        text += &format!(
            "[{extension}](agent)
auth = {extension}
aors = {extension}
callerid = \"Agent {name}\" <{extension}>
[{extension}](auth)
username = {extension}
password = pw{extension}
[{extension}](aor)
"
        );
    }
    for agent in load_agent_names(config) {
        text += &format!(
            "[{agent}](media)\ncontext = agents\nallow = ulaw\naors = {agent}\n[{agent}]\ntype = aor\ncontact = sip:{agent}@127.0.0.1:{load_agents}\nqualify_frequency = 0\n"
        );
    }
    text + &config.pjsip_extra
}

fn queues_conf(config: &PbxConfig) -> String {
    let mut text = format!(
        "[general]
persistentmembers = {}
autofill = yes
shared_lastcall = yes
log_membername_as_agent = yes
[q](!)
strategy = rrmemory
timeout = 5
retry = 1
wrapuptime = 0
ringinuse = no
joinempty = yes
leavewhenempty = no
announce-frequency = 0
announce-holdtime = no
announce-position = no
reportholdtime = no
musicclass = default
setinterfacevar = yes
setqueueentryvar = yes
setqueuevar = yes
autopause = no
memberdelay = 0
[support](q)
servicelevel = 20
weight = 1
context = queue-exit
member => PJSIP/1001,0,Agent One,PJSIP/1001
member => PJSIP/1002,0,Agent Two,PJSIP/1002
[sales](q)
servicelevel = 30
context = queue-exit
[parked](q)
[local](q)
member => Local/1005@from-queue/n,0,Agent Five,hint:1005@ext-local
member => Local/1006@from-queue/n,0,Agent Six,hint:1006@ext-local
[full](q)
maxlen = 1
[joinempty](q)
joinempty = no
[leaveempty](q)
leavewhenempty = strict
[short](q)
member => PJSIP/1001,0,Agent One,PJSIP/1001
{}[load](q)
",
        yes_no(config.persistentmembers),
        // Where nobody holds callers, nobody sits for them: their members would be people of no test.
        if config.managers.iter().any(|manager| manager.text.contains("agi")) {
            held::QUEUES
        } else {
            ""
        }
    );
    for agent in load_agent_names(config) {
        text += &format!("member => PJSIP/{agent}\n");
    }
    text + &config.queues_extra
}

fn extensions_conf(config: &PbxConfig) -> String {
    let mut text = format!(
        "[general]\nstatic = yes\nwriteprotect = no\n[globals]\n{}{TEMPLATE}",
        held::GLOBALS
    );
    text += "[agents]
include => internal
[from-trunk]
include => internal
[internal]
include => ext-local
exten => _10XX,1,Dial(PJSIP/${EXTEN},30)
 same => n,Hangup()
exten => 500,1,Answer()
 same => n,Echo()
 same => n,Hangup()
exten => 501,1,Answer()
 same => n,MusicOnHold()
 same => n,Hangup()
exten => 502,1,Answer()
 same => n,Wait(1)
 same => n,Hangup()
exten => 700,1,AGI(agi:async)
 same => n,Hangup()
exten => 701,1,Answer()
 same => n,AGI(agi:async)
 same => n,Hangup()
exten => 702,1,Answer()
 same => n(again),AGI(agi:async)
 same => n,Goto(again)
exten => 703,1,Answer()
 same => n,Set(TIMEOUT(absolute)=3)
 same => n(again),AGI(agi:async)
 same => n,Goto(again)
; the lease of a caller in AsyncAGI ran out
exten => T,1,Set(TIMEOUT(absolute)=0)
 same => n,Queue(sales,t,,,60)
 same => n,Hangup()
exten => 805,1,Queue(support,tr,,,60)
 same => n,Hangup()
exten => _9XX,1,Dial(PJSIP/${EXTEN}@trunk,30)
 same => n,Hangup()
";
    text += held::NUMBERS;
    for (number, queue, options, seconds) in [
        (800, "support", "t", 60),
        (801, "sales", "t", 60),
        (802, "parked", "t", 300),
        (803, "load", "t", 60),
        (804, "local", "t", 60),
        (806, "support", "tc", 60),
        (810, "full", "t", 60),
        (811, "joinempty", "t", 60),
        (812, "leaveempty", "t", 60),
        (813, "short", "t", 3),
    ] {
        text += &format!(
            "exten => {number},1,Answer()
 same => n,Queue({queue},{options},,,{seconds})
 same => n,NoOp(QUEUESTATUS=${{QUEUESTATUS}})
 same => n,Hangup()
"
        );
    }
    text += "[from-queue]
exten => _10XX,1,Dial(PJSIP/${EXTEN},30)
 same => n,Hangup()
[queue-exit]
; digits pressed while waiting
exten => 1,1,UserEvent(CallbackRequested,Queue: ${QUEUENAME},Caller: ${CALLERID(num)})
 same => n,Playback(vm-goodbye)
 same => n,Hangup()
exten => 2,1,Queue(sales,t,,,60)
 same => n,Hangup()
; where the manager interface may redirect to: the extension is the queue
[to-queue]
exten => _[a-z].,1,Queue(${EXTEN},t,,,60)
 same => n,Hangup()
[to-agi]
exten => s,1,AGI(agi:async)
 same => n,Hangup()
[ext-local]
";
    for extension in 1001..=1010 {
        let _ = writeln!(text, "exten => {extension},hint,PJSIP/{extension}");
    }
    text + &config.extensions_extra
}

fn musiconhold_conf(at: &Instance<'_>) -> String {
    let moh = at.tree.shared().join("moh");
    format!("[default]\nmode = files\ndirectory = {}\n", moh.display())
        + &held::music_class(at.folder)
}

fn load_agent_names(config: &PbxConfig) -> impl Iterator<Item = String> {
    (1..=config.load_agents).map(|number| format!("u{number:03}"))
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
