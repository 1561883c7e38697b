//! What tests of hooks share.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use plugin_runtime::{Runtime, Secrets};

use super::{meter::HookMeter, plan::HookInstance};
use crate::{http::Rules, plugins::tests::world::Tiny};

/// An instance `vip` of a version of a plugin that nobody asks anything.
pub fn instance(version: &str) -> Arc<HookInstance> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new(None).expect("an engine"));
    Arc::new(HookInstance {
        id: "vip".to_owned(),
        plugin: runtime.load(&Tiny::version(version).component()).expect("a plugin"),
        label: format!("tiny {version}"),
        settings: "{}".to_owned(),
        grants: Vec::new(),
        limits: Default::default(),
        http_per_minute: 0,
        secrets: Secrets::new(),
        secret_texts: BTreeMap::new(),
        rules: Rules::default(),
        canary: None,
        meter: Arc::new(HookMeter::new("vip")),
    })
}
