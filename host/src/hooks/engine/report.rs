//! What the operator's log says of hooks' words.

use calls::{
    LegId,
    event::{HookOutcome, HookWord},
};

use super::{Engine, usual_fallback};
use crate::{hooks::desk::deciding::is_by_design, redact::Redacted};

impl Engine {
    /// Tells the operator what went wrong: each kind of failure in its own words.
    pub(super) fn report(&self, leg: LegId, word: &HookWord) {
        let HookWord { instance: hook, plugin, attempt, outcome, verdict, reason, .. } = word;
        let Some(seat) = self.desks.get(&leg) else { return };
        let call = seat.call;
        // Of a trap the backtrace is in the journal.
        let reason = Redacted(reason.lines().next().unwrap_or_default());
        let (failure, fix) = match outcome {
            HookOutcome::Trapped => {
                tracing::error!(%call, hook, plugin, attempt, %reason, "a hook trapped");
                ("trapped", "report it to the plugin's author, or use another version")
            }
            HookOutcome::Late => {
                tracing::warn!(%call, hook, plugin, attempt, %reason, "a hook was late");
                ("late", "raise its limits, or `decision_ms`, or use a faster plugin")
            }
            HookOutcome::Refused => {
                tracing::warn!(%call, hook, plugin, attempt, %reason, "a hook refused");
                ("refused", "look at its settings")
            }
            HookOutcome::Nonsense => {
                tracing::warn!(%call, hook, plugin, attempt, %reason, "a hook talked nonsense");
                ("nonsense", "look at its settings, or report it to the plugin's author")
            }
            HookOutcome::Fallback
                if is_by_design(word, &usual_fallback(&seat.plan.router.fallback)) =>
            {
                return tracing::info!(%call, attempt, verdict, %reason, "a caller gets the fallback");
            }
            HookOutcome::Fallback => {
                return tracing::warn!(%call, attempt, verdict, %reason, "a caller gets the fallback");
            }
            HookOutcome::Bypassed => {
                return tracing::info!(%call, attempt, verdict, %reason, "hooks are bypassed");
            }
            _ => {
                return tracing::debug!(%call, hook, attempt, %outcome, verdict, "a hook's word");
            }
        };
        if let Some(instance) = seat.plan.instance(hook) {
            let at = self.clock.now().wall;
            instance.meter.failed(failure, word.reason.clone(), fix, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use calls::event::Hook;
    use plugin_runtime::hooks::Target;

    use super::*;

    #[test]
    fn a_caller_about_whom_no_router_has_an_opinion_is_no_warning() {
        let main = Target::queue("main");
        for (outcome, verdict, reason, by_design) in [
            (HookOutcome::Fallback, "queue:main", "no router decided", true),
            (HookOutcome::Fallback, "queue:main", "no router is configured", true),
            // Something failed, or the caller goes in circles.
            (HookOutcome::Fallback, "queue:main", "hours: trapped", false),
            (HookOutcome::Fallback, "queue:main", "the caller comes back too often", false),
            (HookOutcome::Fallback, "continue-in-dialplan", "no router decided", false),
            (HookOutcome::Refused, "queue:main", "no router decided", false),
        ] {
            let word = HookWord {
                hook: Hook::Host,
                instance: String::new(),
                plugin: String::new(),
                attempt: 1,
                outcome,
                verdict: verdict.to_owned(),
                reason: reason.to_owned(),
                facts: Vec::new(),
                took_us: 0,
            };
            assert_eq!(is_by_design(&word, &main), by_design, "{verdict}: {reason}");
        }
    }
}
