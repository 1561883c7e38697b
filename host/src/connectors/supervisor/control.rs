//! What the keeper asks of a running connector, and what it is told.

use std::time::Duration;

use calls::{Timestamp, switchboard::Input as SwitchInput};
use plugin_runtime::{Incident, OnRefusal, Successor, SwapError, Swapped};

use super::{Instance, LinkState, Supervisor, masked_texts};
use crate::{
    connectors::{Control, News, Plan},
    links::Redial,
    plugins::ProbationView,
};

impl Supervisor {
    pub(super) async fn obey(&mut self, control: Control) {
        match control {
            // Nobody waits for it any more: it must not happen then.
            Control::Swap { answer, .. } if answer.is_closed() => {}
            Control::RollBack { answer, .. } if answer.is_closed() => {}
            Control::Swap { plan, on_refusal, probation, answer } => {
                let swapped = self.swap(*plan, on_refusal, probation).await;
                let _ = answer.send(swapped);
            }
            Control::RollBack { reason, answer } => {
                let _ = answer.send(self.roll_back(&reason).await);
            }
            Control::Shadow { plan, answer } => {
                let _ = answer.send(self.shadow(plan.map(|plan| *plan)));
            }
            Control::Recording { answer } => {
                let recording = match &mut self.instance {
                    Instance::Running(connector) => Some(connector.recording()),
                    Instance::Stopped(_) => None,
                };
                let _ = answer.send(recording);
            }
            Control::Capture { most, answer } => {
                let ended = match &mut self.instance {
                    Instance::Running(connector) => {
                        let ended = connector.end_capture();
                        most.into_iter().for_each(|most| connector.begin_capture(most));
                        ended.filter(|_| most.is_none())
                    }
                    Instance::Stopped(_) => None,
                };
                let capturing = most.is_some() && matches!(self.instance, Instance::Running(_));
                self.show(|status, _| status.capturing = capturing);
                let _ = answer.send(ended);
            }
        }
        self.show_shadow();
    }

    async fn swap(
        &mut self,
        plan: Plan,
        on_refusal: OnRefusal,
        probation: Duration,
    ) -> Result<Swapped, SwapError> {
        let now = self.now();
        let Instance::Running(connector) = &mut self.instance else {
            // Nothing runs that could be disturbed: it begins at once, without waiting for its back-off.
            self.instance = Instance::Stopped(Redial::new(now.monotonic));
            self.take_up(plan).await;
            return Ok(Swapped { cold: true, pause: Duration::ZERO, snapshot_bytes: 0 });
        };
        let successor = Successor {
            plugin: plan.plugin.plugin.clone(),
            config: plan.instance.clone(),
            on_refusal,
            probation,
        };
        let (swapped, mut outcome) = connector.swap(successor, now)?;
        // Of the swap before this one; nobody goes back behind it any more.
        outcome.incidents.retain(|incident| !matches!(incident, Incident::ProbationPassed { .. }));
        let before = std::mem::replace(&mut self.plan, plan.clone());
        self.before = (!probation.is_zero()).then_some(before);
        self.take_up(plan).await;
        self.show(|status, _| {
            let pause = u64::try_from(swapped.pause.as_micros()).unwrap_or(u64::MAX);
            status.swaps.done += 1;
            status.swaps.cold += u64::from(swapped.cold);
            status.swaps.last_pause_us = pause;
            status.swaps.max_pause_us = status.swaps.max_pause_us.max(pause);
        });
        tracing::info!(
            plugin = self.plan.plugin.info.name_and_version(),
            cold = swapped.cold,
            pause_us = swapped.pause.as_micros() as u64,
            "swapped"
        );
        self.carry_out(outcome).await;
        Ok(swapped)
    }

    /// From now on this plan is the one that runs.
    async fn take_up(&mut self, plan: Plan) {
        let plugin = plan.plugin.info.name_and_version();
        let info = plan.plugin.info.clone();
        self.errands.allow(&plan);
        self.plan = plan;
        for link in &mut self.links {
            if let LinkState::Up { mask, .. } = &mut link.state {
                mask.renew(&self.plan.secrets, masked_texts(&self.plan));
            }
        }
        let connector = self.id.clone();
        self.tell(vec![SwitchInput::Runs { connector, plugin }]).await;
        let probation = self.probation_view();
        self.show(|status, _| {
            status.plugin = Some(info);
            status.probation = probation;
        });
        // Whatever kept a link down may be mended.
        let now = self.now().monotonic;
        for index in 0..self.links.len() {
            if matches!(self.links[index].state, LinkState::Down) {
                self.links[index].redial = Redial::new(now);
                self.show_link(index);
            }
        }
    }

    async fn roll_back(&mut self, reason: &str) -> Result<(), SwapError> {
        let now = self.now();
        let Instance::Running(connector) = &mut self.instance else {
            return Err(SwapError::GivenUp { connector: self.id.to_string() });
        };
        let outcome = connector.roll_back(reason, now)?;
        self.carry_out(outcome).await;
        Ok(())
    }

    fn shadow(&mut self, plan: Option<Plan>) -> Result<(), SwapError> {
        let now = self.now();
        let Instance::Running(connector) = &mut self.instance else {
            return Err(SwapError::GivenUp { connector: self.id.to_string() });
        };
        match plan {
            Some(plan) => connector.begin_shadow(&plan.plugin.plugin, plan.instance, now),
            None => {
                connector.end_shadow();
                Ok(())
            }
        }
    }

    /// Swaps that ended, one way or the other.
    pub(super) async fn look_at_incident(&mut self, incident: &Incident) {
        match incident {
            Incident::RolledBack { from, to, reason, .. } => {
                if let Some(before) = self.before.take() {
                    // Secrets are the host's: a new one stays new.
                    let secrets = self.plan.secrets.clone();
                    let secret_texts = self.plan.secret_texts.clone();
                    self.take_up(Plan { secrets, secret_texts, ..before }).await;
                }
                self.show(|status, _| status.swaps.rolled_back += 1);
                self.report(News::RolledBack {
                    connector: self.id.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    reason: reason.clone(),
                });
            }
            Incident::ProbationPassed { .. } => {
                self.before = None;
                self.show(|status, _| status.probation = None);
                self.report(News::ProbationPassed { connector: self.id.clone() });
            }
            Incident::Trapped { .. } => {
                let now = self.now().monotonic;
                let earliest = self.bundled.map_or(now, |last| last + super::BUNDLES_GAP);
                self.bundles_due.get_or_insert(earliest.max(now));
                self.hand_out_bundles(now);
            }
            Incident::ColdStart { .. } | Incident::GivenUp { .. } => {
                self.show(|status, _| status.restarts += 1);
            }
            _ => {}
        }
    }

    /// What led to crashes, when it is time.
    pub(super) fn hand_out_bundles(&mut self, now: Duration) {
        if self.bundles_due.is_none_or(|due| due > now) {
            return;
        }
        self.bundles_due = None;
        self.bundled = Some(now);
        let Instance::Running(connector) = &mut self.instance else { return };
        for bundle in connector.take_bundles() {
            let connector = self.id.clone();
            self.report(News::Crashed { connector, bundle: Box::new(bundle) });
        }
    }

    /// The keeper reads its news while it waits for nobody, so a full channel means that it is gone.
    fn report(&self, news: News) {
        if let Err(error) = self.around.news.try_send(news) {
            tracing::error!(%error, "the keeper does not hear of it");
        }
    }

    fn probation_view(&self) -> Option<ProbationView> {
        let Instance::Running(connector) = &self.instance else { return None };
        let view = connector.probation()?;
        let now = self.now();
        let left = view.until.saturating_sub(now.monotonic).as_nanos();
        Some(ProbationView {
            from: self.before.as_ref()?.plugin.info.name_and_version(),
            from_sha256: view.old.sha256.clone(),
            to: self.plan.plugin.info.name_and_version(),
            until: Timestamp(now.wall.0.saturating_add(u64::try_from(left).unwrap_or(u64::MAX))),
        })
    }

    /// Shows what the shadow did so far.
    pub(super) fn show_shadow(&mut self) {
        self.shadow_due = None;
        let shadow = match &self.instance {
            Instance::Running(connector) => connector.shadow(),
            Instance::Stopped(_) => None,
        };
        self.shadowing = shadow.is_some();
        self.show(|status, _| status.shadow = shadow);
    }
}
