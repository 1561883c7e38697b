//! How long a caller waits for the routers: from AsyncAGIStart on the wire to the first command for that caller.
//!
//! The real host in a process of its own, with the real Asterisk connector, three routers in the chain (nothing to look
//! up), a journal on disk; and beside it, at the same pace in the same minute, one without routers. Only the PBX is a
//! fake, which says and hears over TCP. `cargo xtask bench -- --bench routing`

#![expect(clippy::print_stdout, reason = "figures are its purpose")]

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jackfield_tests::{
    handover::{Caller, Handing},
    world::{self, Jackfield},
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

const CALLS: usize = 2_500;
/// Callers before it counts: guests are started, code is warm.
const WARM_UP: usize = 100;
const PER_SEC: u32 = 50;
const SOON: Duration = Duration::from_secs(10);
const HALF: Duration = Duration::from_millis(500 / PER_SEC as u64);
/// A caller hangs up after so many others: seconds later, so that nobody goes before they are told something.
const STAYS: usize = 250;
/// What it is called, per mille, and how many ms it may be.
const FIGURES: [(&str, usize, Option<f64>); 3] =
    [("p50", 500, Some(5.0)), ("p99", 990, Some(25.0)), ("longest", 1000, None)];

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("threads").block_on(measure());
}

fn routers() -> String {
    let moody = world::test_plugin("moody-router").expect("a built guest");
    format!(
        r#"
[hooks.instances.moody]
plugin = {:?}

[hooks.instances.hours]
plugin = "business-hours"
settings = {{ time_zone = "Europe/Berlin", week = {{ daily = "00:00-24:00" }}, closed = "reject" }}

[hooks.instances.vip]
plugin = "skills"
declined = ["http:*", "secret:crm"]
settings = {{ lists = {{ vip = ["+4930123456"] }}, rules = [
    {{ name = "VIP", when = {{ lists = "vip" }}, to = "queue:vip", priority = 10 }},
    {{ name = "everybody", to = "queue:standard" }},
] }}

[hooks.router]
order = ["moody", "hours", "vip"]
fallback = "queue:fallback"
"#,
        moody.display().to_string()
    )
}

/// A PBX, its host, and who called.
struct Side {
    pbx: Handing,
    jackfield: Jackfield,
    callers: Vec<Caller>,
}

impl Side {
    async fn start(hooks: &str) -> Self {
        let pbx = Handing::start().await.expect("a port");
        let jackfield = Jackfield::start(&[pbx.connector("hq")], hooks).await.expect("a host");
        jackfield.connected("hq").await.expect("it logs in");
        Self { pbx, jackfield, callers: Vec::new() }
    }

    async fn call(&mut self, number: usize) {
        let from = if number.is_multiple_of(10) { "4930123456" } else { "4930999999" };
        let caller = self.pbx.hand_over(from).await.expect("the host listens");
        self.callers.push(caller);
        if let Some(earlier) = number.checked_sub(STAYS) {
            self.pbx.hang_up(&self.callers[earlier]).await.expect("the host listens");
        }
    }

    /// From being handed over to the first command, and which commands those were.
    fn waits(&self) -> (Vec<Duration>, BTreeMap<String, usize>) {
        let heard = self.pbx.heard();
        let mut first: HashMap<&str, (Instant, &str)> = HashMap::new();
        for heard in &heard {
            first.entry(&heard.channel).or_insert((heard.at, &heard.name));
        }
        let mut kinds = BTreeMap::new();
        let counted = self.callers[WARM_UP..].iter();
        let mut waits: Vec<Duration> = counted
            .filter_map(|caller| {
                let (at, name) = first.get(caller.channel.as_str())?;
                *kinds.entry((*name).to_owned()).or_default() += 1;
                Some(*at - caller.at)
            })
            .collect();
        waits.sort();
        (waits, kinds)
    }
}

async fn measure() {
    let mut with = Side::start(&routers()).await;
    let mut without = Side::start("").await;
    let mut pace = interval(Duration::from_secs(1) / PER_SEC);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut woken = Vec::new();
    let began = Instant::now();
    for number in 0..WARM_UP + CALLS {
        pace.tick().await;
        with.call(number).await;
        // Between two of the others, so that neither is in the way.
        let due = Instant::now() + HALF;
        sleep_until(due).await;
        woken.push(due.elapsed());
        without.call(number).await;
    }
    let took = began.elapsed().as_secs_f64();
    let told = lab::until(SOON, "a first command for every caller", async || {
        let told = [&with, &without].map(|side| side.waits().0.len());
        if told == [CALLS; 2] { Ok(()) } else { Err(format!("{told:?} of {CALLS} have one")) }
    });
    // Those who have none are part of the figures.
    if let Err(late) = told.await {
        println!("{late}");
    }
    println!(
        "routing: {CALLS} calls each, {:.0} a second on each of two hosts",
        (WARM_UP + CALLS) as f64 / took
    );
    woken.sort();
    for (name, side) in [("three routers", &with), ("no router", &without)] {
        let (waits, kinds) = side.waits();
        println!("{name}: {} of {CALLS} callers were told something: {kinds:?}", waits.len());
        print(name, &waits, true);
    }
    println!("for comparison, how late this machine wakes up a thread that only waits:");
    print("nothing", &woken, false);
    for hook in ["moody", "hours", "vip"] {
        let hook = with.jackfield.client.get(&format!("/v1/hooks/{hook}")).await.expect("a hook");
        println!(
            "{}: p50 {} us, p99 {} us, {}",
            hook["id"], hook["p50_us"], hook["p99_us"], hook["outcomes"]
        );
    }
}

fn print(name: &str, sorted: &[Duration], limited: bool) {
    for (figure, permille, limit) in FIGURES {
        let index = (sorted.len() * permille / 1000).min(sorted.len().saturating_sub(1));
        let value = sorted.get(index).map_or(f64::NAN, |it| it.as_secs_f64() * 1e3);
        match limit.filter(|_| limited) {
            None => println!("{name:<14} {figure:<8} {value:>8.3} ms"),
            Some(limit) => println!(
                "{name:<14} {figure:<8} {value:>8.3} ms   limit {limit:>4.1} ms   ratio {:.2}",
                value / limit
            ),
        }
    }
}
