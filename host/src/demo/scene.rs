//! What happens on a real Asterisk while people watch: agents come, callers call, wait, give up, are passed on.

use std::{path::Path, time::Duration};

use anyhow::Context;
use lab::{Answering, Pbx, Phone, PhoneConfig, Sipp, Tree};

/// The phones of the agents, registered as long as this lives.
pub struct Agents {
    first: Phone,
    second: Phone,
    /// Rings in no queue until the scene adds it.
    third: Phone,
}

/// Nothing of a scene takes longer than this; a busy machine may be slow.
const PATIENCE: Duration = Duration::from_secs(20);

impl Agents {
    /// Registers extensions 1001, 1002 and 1003.
    pub async fn arrive(pbx: &Pbx) -> anyhow::Result<Self> {
        let first = phone(pbx, "1001", Duration::from_millis(1500)).await?;
        let second = phone(pbx, "1002", Duration::from_millis(2500)).await?;
        let third = phone(pbx, "1003", Duration::from_millis(1000)).await?;
        Ok(Self { first, second, third })
    }
}

async fn phone(pbx: &Pbx, extension: &str, rings: Duration) -> anyhow::Result<Phone> {
    let config = PhoneConfig {
        answering: Answering::After(rings),
        ..PhoneConfig::extension(pbx.sip(), extension)
    };
    let phone = Phone::start(config).await?;
    phone.register().await.with_context(|| format!("extension {extension} cannot register"))?;
    Ok(phone)
}

/// One round of about half a minute. It ends with nobody in a call and nobody paused.
pub async fn round(pbx: &Pbx, agents: &Agents) -> anyhow::Result<()> {
    // One caller is served and hangs up.
    let caller = caller(pbx, "+4930123456", "Ada").await?;
    let call = caller.call("800")?;
    call.answered(PATIENCE).await?;
    let service = agents_call(agents).await?;
    service.lasts(Duration::from_secs(3)).await?;
    service.hold().await?;
    service.lasts(Duration::from_secs(1)).await?;
    service.unhold().await?;
    service.lasts(Duration::from_secs(1)).await?;
    call.hang_up().await?;

    // One is passed on by the agent.
    let passed_on = caller.call("800")?;
    passed_on.answered(PATIENCE).await?;
    let service = agents_call(agents).await?;
    service.lasts(Duration::from_secs(2)).await?;
    service.transfer("1003").await?;
    let target = agents.third.next_call(PATIENCE).await?;
    target.answered(PATIENCE).await?;
    target.lasts(Duration::from_secs(2)).await?;

    // Two wait behind each other while one agent has lunch; the second gives up.
    pbx.cli("queue pause member PJSIP/1002 queue support reason lunch").await?;
    agents.first.set_answering(Answering::After(Duration::from_secs(4)));
    let patient = caller.call("800")?;
    let waiting = agents.first.next_call(PATIENCE).await?;
    let impatient = self::caller(pbx, "+4915112345678", "Grace").await?;
    let hasty = impatient.call("800")?;
    hasty.lasts(Duration::from_secs(2)).await?;
    hasty.hang_up().await?;
    waiting.answered(PATIENCE).await?;
    target.hang_up().await?;
    patient.lasts(Duration::from_secs(2)).await?;
    patient.hang_up().await?;
    pbx.cli("queue unpause member PJSIP/1002 queue support").await?;

    // A dynamic member takes a call of another queue; one queue's patience ends first.
    pbx.cli("queue add member PJSIP/1003 to sales penalty 0 as Cleo").await?;
    agents.first.set_answering(Answering::ByHand);
    let sale = caller.call("801")?;
    let late = impatient.call("813")?;
    agents.third.next_call(PATIENCE).await?.answered(PATIENCE).await?;
    sale.lasts(Duration::from_secs(2)).await?;
    sale.hang_up().await?;
    late.ended(PATIENCE).await?;
    while agents.first.next_call(Duration::from_millis(10)).await.is_ok() {}
    agents.first.set_answering(Answering::After(Duration::from_millis(1500)));
    pbx.cli("queue remove member PJSIP/1003 from sales").await?;
    Ok(())
}

/// As at the beginning of a round: calls over, nobody paused, the extra seat gone.
pub async fn tidy(pbx: &Pbx, agents: &Agents) {
    let commands = [
        "channel request hangup all",
        "queue unpause member PJSIP/1001",
        "queue unpause member PJSIP/1002",
        "queue remove member PJSIP/1003 from sales",
    ];
    for command in commands {
        // What is so already is refused.
        let _ = pbx.cli(command).await;
    }
    for phone in [&agents.first, &agents.second, &agents.third] {
        while phone.next_call(Duration::from_millis(10)).await.is_ok() {}
    }
    agents.first.set_answering(Answering::After(Duration::from_millis(1500)));
}

/// A crowd, by sipp: callers of `support` who talk for two seconds each.
pub async fn crowd(
    pbx: &Pbx,
    agents: &Agents,
    tree: &Tree,
    folder: &Path,
    calls: u32,
) -> anyhow::Result<()> {
    let run = Sipp { calls_per_second: 1, ..Sipp::callers("800", calls) };
    let report = run.run(tree, pbx.sip(), folder).await?;
    while agents.first.next_call(Duration::from_millis(10)).await.is_ok() {}
    while agents.second.next_call(Duration::from_millis(10)).await.is_ok() {}
    tracing::info!(successful = report.successful, failed = report.failed, "sipp's crowd is done");
    Ok(())
}

async fn caller(pbx: &Pbx, number: &str, name: &str) -> anyhow::Result<Phone> {
    let config = PhoneConfig {
        display_name: Some(name.to_owned()),
        ..PhoneConfig::trunk(pbx.sip(), number)
    };
    Ok(Phone::start(config).await?)
}

/// The call that one of the queue's two agents gets next, when it is up.
async fn agents_call(agents: &Agents) -> anyhow::Result<lab::Call> {
    let call = tokio::select! {
        call = agents.first.next_call(PATIENCE) => call?,
        call = agents.second.next_call(PATIENCE) => call?,
    };
    call.answered(PATIENCE).await?;
    Ok(call)
}
