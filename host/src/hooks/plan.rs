//! Which hooks there are, as the engine sees them: made by the keeper, never changed, replaced as a whole.
//!
//! A desk keeps the [`HookPlan`] it began with until its caller comes back from elsewhere, so a reload or a new version
//! is for those who come after it. Instances that stay as they are keep their `Arc` from one plan to the next: whoever
//! keeps a warm guest for an instance can know it by [`Arc::ptr_eq`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;
use plugin_runtime::{
    Plugin, Secrets,
    hooks::{HookConfig, HookLimits},
};

use super::{canary::Canary, meter::HookMeter};
use crate::{
    config::{Config, SecretText},
    http::Rules,
};

/// Every hook of this host.
#[derive(Clone, Debug)]
pub struct HookPlan {
    /// What holds for all of them.
    pub site: Site,
    /// Who decides where a call goes.
    pub router: Chain,
    /// Who comforts a caller whose router names nobody.
    pub treatment: Option<String>,
    /// Instances that are told what happened.
    pub observers: Vec<String>,
    /// Those that can be called, by id.
    pub instances: BTreeMap<String, Arc<HookInstance>>,
    /// Those that cannot, by id, with why: one sentence with the fix in it.
    pub left_out: BTreeMap<String, String>,
}

/// What holds for every hook.
#[derive(Clone)]
pub struct Site {
    /// `time_zone`; UTC when nothing is configured.
    pub zone: TimeZone,
    /// The zone's IANA name.
    pub zone_name: String,
    /// Numbers that no hook and no limit stands in the way of, as they are dialled.
    pub emergency: BTreeSet<String>,
    /// Contexts of the dialplan that hooks may send callers into.
    pub contexts: BTreeSet<String>,
    /// Worker threads of routers and treatments.
    pub threads: usize,
    /// How long a caller is safe when this host dies.
    pub lease: Duration,
}

/// The routers, and what happens when none of them decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// In the admin's order; also those that are left out, see [`HookPlan::chain`].
    pub order: Vec<String>,
    /// For a call that nobody decides about, and one that somebody decides about too late.
    pub fallback: Fallback,
    /// For the whole chain with its lookups.
    pub decision: Duration,
}

/// Where a call goes that nobody decided about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Behind the place in the dialplan where it was handed over.
    ContinueInDialplan,
    /// Into a queue of the PBX.
    Queue(String),
    /// To an extension.
    Extension(String),
    /// It ends, with this Q.850 cause.
    HangUp(u16),
}

impl Fallback {
    /// As the config has it.
    pub fn code(&self) -> String {
        match self {
            Self::ContinueInDialplan => "continue-in-dialplan".to_owned(),
            Self::Queue(name) => format!("queue:{name}"),
            Self::Extension(number) => format!("extension:{number}"),
            Self::HangUp(_) => "reject".to_owned(),
        }
    }
}

/// One place in the chain of routers.
#[derive(Clone, Debug)]
pub enum Asked<'p> {
    /// It is asked.
    Instance(&'p Arc<HookInstance>),
    /// It cannot be asked: for the record of the call.
    LeftOut {
        /// As in the config.
        id: &'p str,
        /// One sentence.
        why: &'p str,
    },
}

/// A configured hook that can be called.
#[derive(Clone)]
pub struct HookInstance {
    /// As in `[hooks.instances.<id>]`.
    pub id: String,
    /// The component; several hooks can be in one.
    pub plugin: Plugin,
    /// Plugin and version, e.g. `skills 0.1.0`.
    pub label: String,
    /// As JSON text, valid by the manifest's schema.
    pub settings: String,
    /// E.g. `http:crm.example.org`, `secret:crm`.
    pub grants: Vec<String>,
    /// What it may use.
    pub limits: HookLimits,
    /// Requests it may send within a minute.
    pub http_per_minute: u32,
    /// Put in when the host sends; only those that are granted.
    pub secrets: Secrets,
    /// The same as texts: to be masked, and to see that one is another now.
    pub secret_texts: BTreeMap<String, SecretText>,
    /// Whom its requests may go to.
    pub rules: Rules,
    /// A version that is tried on some of the calls.
    pub canary: Option<Arc<Canary>>,
    /// What it did: shared by all versions of the instance.
    pub meter: Arc<HookMeter>,
}

impl HookPlan {
    /// Of a host without hooks: every call goes on in the dialplan.
    pub fn empty() -> Self {
        Self {
            site: Site::default(),
            router: Chain {
                order: Vec::new(),
                fallback: Fallback::ContinueInDialplan,
                decision: Duration::from_secs(2),
            },
            treatment: None,
            observers: Vec::new(),
            instances: BTreeMap::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// What the config says beside its instances, which the keeper adds when it has found their plugins.
    pub fn of(config: &Config) -> Self {
        let hooks = &config.hooks;
        let of_connector = || config.connectors.iter().find_map(|it| it.time_zone.clone());
        let zone_name =
            hooks.time_zone.clone().or_else(of_connector).unwrap_or_else(|| "UTC".to_owned());
        Self {
            site: Site {
                // The configuration was refused if it were unknown.
                zone: TimeZone::get(&zone_name).unwrap_or(TimeZone::UTC),
                zone_name,
                emergency: hooks.emergency.clone(),
                contexts: hooks.contexts.clone(),
                threads: hooks.threads,
                lease: hooks.lease,
            },
            router: Chain {
                order: hooks.order.clone(),
                fallback: hooks.fallback.clone(),
                decision: hooks.decision,
            },
            treatment: hooks.treatment.clone(),
            observers: hooks.observers.clone(),
            instances: BTreeMap::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// Nobody would notice if the one took the place of the other.
    pub fn is_same(&self, other: &Self) -> bool {
        let instances = |plan: &Self| -> Vec<_> {
            plan.instances.iter().map(|(id, it)| (id.clone(), Arc::as_ptr(it))).collect()
        };
        let site = |plan: &Self| {
            let Site { zone: _, zone_name, emergency, contexts, threads, lease } =
                plan.site.clone();
            (zone_name, emergency, contexts, threads, lease)
        };
        site(self) == site(other)
            && self.router == other.router
            && self.treatment == other.treatment
            && self.observers == other.observers
            && self.left_out == other.left_out
            && instances(self) == instances(other)
    }

    /// The routers in order, with those that are missing.
    pub fn chain(&self) -> impl Iterator<Item = Asked<'_>> {
        self.router.order.iter().map(|id| match self.instances.get(id) {
            Some(instance) => Asked::Instance(instance),
            None => Asked::LeftOut {
                id,
                why: self.left_out.get(id).map_or("it is not configured", String::as_str),
            },
        })
    }

    /// An instance that can be called.
    pub fn instance(&self, id: &str) -> Option<&Arc<HookInstance>> {
        self.instances.get(id)
    }

    /// No hook and no limit stands in the way of a call to this number.
    pub fn is_emergency(&self, dialled: &str) -> bool {
        self.site.emergency.contains(dialled)
    }
}

impl Default for Site {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
            zone_name: "UTC".to_owned(),
            emergency: BTreeSet::from([
                "110".to_owned(),
                "112".to_owned(),
                "911".to_owned(),
                "999".to_owned(),
            ]),
            contexts: BTreeSet::new(),
            threads: 2,
            lease: Duration::from_secs(45),
        }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("zone", &self.zone_name)
            .field("emergency", &self.emergency)
            .field("contexts", &self.contexts)
            .field("threads", &self.threads)
            .field("lease", &self.lease)
            .finish()
    }
}

impl HookInstance {
    /// The same without its canary.
    pub fn plain(&self) -> Self {
        Self { canary: None, ..self.clone() }
    }

    /// What a guest of it is started with.
    pub fn config(&self) -> HookConfig {
        HookConfig {
            id: self.id.clone(),
            settings: self.settings.clone(),
            grants: self.grants.clone(),
            limits: self.limits.clone(),
            log: self.meter.log().clone(),
        }
    }

    /// A guest of the one can answer in the place of a guest of the other.
    pub fn is_same(&self, other: &Self) -> bool {
        self.plugin.sha256() == other.plugin.sha256()
            && self.settings == other.settings
            && self.grants == other.grants
            && self.limits == other.limits
            && self.http_per_minute == other.http_per_minute
            && self.secret_texts == other.secret_texts
            && self.rules == other.rules
    }
}

impl fmt::Debug for HookInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookInstance")
            .field("id", &self.id)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
