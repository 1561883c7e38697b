//! `plugin check`: everything a host would refuse a plugin for, and what its admin would ask, before it is shipped.

use sha2::{Digest, Sha256};

use crate::component;

/// Refuses a component that no host would load: what can be told without running or compiling it.
pub fn conforms(component: &[u8]) -> anyhow::Result<()> {
    component::check_world(component)
}

/// SHA-256, lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
