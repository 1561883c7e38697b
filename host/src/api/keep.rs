//! The way to the keeper of plugins: the real one, or a test's.

use std::{fs::File, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use ::calls::Actor;
use plugin_runtime::LogLine;
use serde_json::Value;

use crate::plugins::{AuditEntry, HookView, InstanceView, Keeper, KeeperError, PluginView, Report};
use crate::{config::CanaryConfig, hooks::store::Pair};

/// What becomes of a change.
pub type Kept<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeeperError>> + Send + 'a>>;

/// What the API asks of a keeper; each as [`Keeper`] has it.
#[expect(missing_docs, reason = "as in `Keeper`")]
pub trait Keep: Send + Sync + 'static {
    fn reload<'a>(&'a self, actor: &'a Actor) -> Kept<'a, Report>;
    fn install<'a>(
        &'a self,
        wasm: Vec<u8>,
        signature: Option<String>,
        actor: &'a Actor,
    ) -> Kept<'a, Report>;
    fn use_version<'a>(
        &'a self,
        plugin: &'a str,
        version: &'a str,
        actor: &'a Actor,
    ) -> Kept<'a, Report>;
    fn roll_back<'a>(&'a self, plugin: &'a str, actor: &'a Actor) -> Kept<'a, Report>;
    fn uninstall<'a>(&'a self, plugin: &'a str, actor: &'a Actor) -> Kept<'a, Report>;
    fn change<'a>(&'a self, connector: &'a str, patch: Value, actor: &'a Actor)
    -> Kept<'a, Report>;
    fn remove<'a>(&'a self, connector: &'a str, actor: &'a Actor) -> Kept<'a, Report>;
    fn shadow<'a>(
        &'a self,
        connector: &'a str,
        version: Option<&'a str>,
        actor: &'a Actor,
    ) -> Kept<'a, ()>;
    fn capture<'a>(
        &'a self,
        connector: &'a str,
        on: bool,
        redact: bool,
        actor: &'a Actor,
    ) -> Kept<'a, Option<PathBuf>>;
    fn ring<'a>(&'a self, connector: &'a str, redact: bool) -> Kept<'a, File>;
    fn plugins(&self) -> Vec<PluginView>;
    fn plugin(&self, id: &str) -> Option<PluginView>;
    fn instances(&self) -> Vec<InstanceView>;
    fn instance(&self, connector: &str) -> Option<InstanceView>;
    fn log(&self, connector: &str) -> Option<Vec<LogLine>>;
    fn difference(&self) -> Result<Report, KeeperError>;
    fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, KeeperError>;
    fn hooks(&self) -> Vec<HookView>;
    fn hook_log(&self, hook: &str) -> Option<Vec<LogLine>>;
    fn hook_pairs(
        &self,
        hook: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Pair>, KeeperError>;
    fn canary<'a>(
        &'a self,
        hook: &'a str,
        wish: Option<CanaryConfig>,
        actor: &'a Actor,
    ) -> Kept<'a, Report>;
}

impl Keep for Keeper {
    fn reload<'a>(&'a self, actor: &'a Actor) -> Kept<'a, Report> {
        Box::pin(self.reload(actor))
    }

    fn install<'a>(
        &'a self,
        wasm: Vec<u8>,
        signature: Option<String>,
        actor: &'a Actor,
    ) -> Kept<'a, Report> {
        Box::pin(self.install(wasm, signature, actor))
    }

    fn use_version<'a>(
        &'a self,
        plugin: &'a str,
        version: &'a str,
        actor: &'a Actor,
    ) -> Kept<'a, Report> {
        Box::pin(self.use_version(plugin, version, actor))
    }

    fn roll_back<'a>(&'a self, plugin: &'a str, actor: &'a Actor) -> Kept<'a, Report> {
        Box::pin(self.roll_back(plugin, actor))
    }

    fn uninstall<'a>(&'a self, plugin: &'a str, actor: &'a Actor) -> Kept<'a, Report> {
        Box::pin(self.uninstall(plugin, actor))
    }

    fn change<'a>(
        &'a self,
        connector: &'a str,
        patch: Value,
        actor: &'a Actor,
    ) -> Kept<'a, Report> {
        Box::pin(self.change(connector, patch, actor))
    }

    fn remove<'a>(&'a self, connector: &'a str, actor: &'a Actor) -> Kept<'a, Report> {
        Box::pin(self.remove(connector, actor))
    }

    fn shadow<'a>(
        &'a self,
        connector: &'a str,
        version: Option<&'a str>,
        actor: &'a Actor,
    ) -> Kept<'a, ()> {
        Box::pin(self.shadow(connector, version, actor))
    }

    fn capture<'a>(
        &'a self,
        connector: &'a str,
        on: bool,
        redact: bool,
        actor: &'a Actor,
    ) -> Kept<'a, Option<PathBuf>> {
        Box::pin(self.capture(connector, on, redact, actor))
    }

    fn ring<'a>(&'a self, connector: &'a str, redact: bool) -> Kept<'a, File> {
        Box::pin(self.ring(connector, redact))
    }

    fn plugins(&self) -> Vec<PluginView> {
        self.plugins()
    }

    fn plugin(&self, id: &str) -> Option<PluginView> {
        self.plugin(id)
    }

    fn instances(&self) -> Vec<InstanceView> {
        self.instances()
    }

    fn instance(&self, connector: &str) -> Option<InstanceView> {
        self.instance(connector)
    }

    fn log(&self, connector: &str) -> Option<Vec<LogLine>> {
        self.log(connector)
    }

    fn difference(&self) -> Result<Report, KeeperError> {
        self.difference()
    }

    fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, KeeperError> {
        self.audit(after, limit)
    }

    fn hooks(&self) -> Vec<HookView> {
        self.hooks()
    }

    fn hook_log(&self, hook: &str) -> Option<Vec<LogLine>> {
        self.hook_log(hook)
    }

    fn hook_pairs(
        &self,
        hook: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Pair>, KeeperError> {
        self.hook_pairs(hook, prefix, after, limit)
    }

    fn canary<'a>(
        &'a self,
        hook: &'a str,
        wish: Option<CanaryConfig>,
        actor: &'a Actor,
    ) -> Kept<'a, Report> {
        Box::pin(self.canary(hook, wish, actor))
    }
}

impl From<Keeper> for Arc<dyn Keep> {
    fn from(keeper: Keeper) -> Self {
        Arc::new(keeper)
    }
}
