//! Changes of what is kept: everything in one happens, or nothing.

use std::path::PathBuf;

use calls::{Actor, Timestamp};
use rusqlite::Connection;
use serde_json::Value;

use super::{
    Inner, MAX_OVERLAY, MAX_OVERLAYS, MAX_VERSIONS, Selection, StoreError, Version,
    drafts::{MAX_DRAFTS, is_draft},
    registry,
};
use crate::{config::SecretText, plugins::audit};

/// Changes that happen together. An error out of any of them should end the whole.
pub struct Change<'s> {
    pub(super) store: &'s Inner,
    pub(super) transaction: &'s Connection,
    pub(super) now: Timestamp,
    /// Needless if the change fails.
    pub(super) written: Vec<PathBuf>,
    /// Needless if it does not.
    pub(super) forgotten: Vec<PathBuf>,
}

impl Change<'_> {
    /// Writes down who did what; `detail` never holds a secret.
    pub fn audit(
        &mut self,
        actor: &Actor,
        action: &str,
        subject: &str,
        detail: &Value,
    ) -> Result<(), StoreError> {
        let note = audit::Note { actor, action, subject, detail };
        audit::append(self.transaction, &note, self.now)
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    /// Chooses a version of a plugin, or none; what was chosen becomes the one before.
    pub fn select(&mut self, plugin: &str, sha256: Option<&str>) -> Result<(), StoreError> {
        let known =
            registry::selection(self.transaction, plugin).map_err(|source| self.failed(source))?;
        if known.used.as_deref() == sha256 {
            return Ok(());
        }
        let selection =
            Selection { used: sha256.map(str::to_owned), before: known.used.or(known.before) };
        self.set_selection(plugin, &selection)
    }

    /// Sets both: the one in use, and the one before.
    pub fn set_selection(&mut self, plugin: &str, selection: &Selection) -> Result<(), StoreError> {
        registry::set_selection(self.transaction, plugin, selection)
            .map_err(|source| self.failed(source))
    }

    /// Notes why a version is not to be used by itself any more; none takes that back.
    pub fn reject(&mut self, sha256: &str, why: Option<&str>) -> Result<(), StoreError> {
        registry::reject(self.transaction, sha256, why).map_err(|source| self.failed(source))
    }

    /// Forgets a version and its component.
    pub fn remove_version(&mut self, sha256: &str) -> Result<(), StoreError> {
        registry::remove_version(self.transaction, sha256).map_err(|source| self.failed(source))?;
        self.forgotten.push(self.store.files.component_path(sha256));
        Ok(())
    }

    /// Sets what REST wants of a connector: an object without secrets.
    pub fn set_overlay(&mut self, connector: &str, overlay: &Value) -> Result<(), StoreError> {
        check_name("connector", connector)?;
        if overlay.get("secrets").is_some() {
            return Err(StoreError::SecretInOverlay { connector: connector.to_owned() });
        }
        self.set_document("overlays", connector, overlay)
    }

    /// Forgets what REST wanted of a connector, its secrets too.
    pub fn remove_overlay(&mut self, connector: &str) -> Result<(), StoreError> {
        registry::remove_document(self.transaction, "overlays", connector)
            .map_err(|source| self.failed(source))?;
        let secrets =
            registry::secrets(self.transaction, connector).map_err(|source| self.failed(source))?;
        for (name, _) in secrets {
            self.remove_secret(connector, &name)?;
        }
        Ok(())
    }

    /// Notes how a connector is.
    pub fn set_actual(&mut self, connector: &str, actual: &Value) -> Result<(), StoreError> {
        check_name("connector", connector)?;
        self.set_document("actuals", connector, actual)
    }

    /// Forgets how a connector was.
    pub fn remove_actual(&mut self, connector: &str) -> Result<(), StoreError> {
        registry::remove_document(self.transaction, "actuals", connector)
            .map_err(|source| self.failed(source))
    }

    /// Keeps a secret, in a file that only this user can read.
    pub fn set_secret(
        &mut self,
        connector: &str,
        name: &str,
        secret: &SecretText,
    ) -> Result<(), StoreError> {
        check_name("connector", connector)?;
        check_name("secret", name)?;
        self.remove_secret(connector, name)?;
        let number =
            registry::next_secret(self.transaction).map_err(|source| self.failed(source))?;
        let file = format!("{connector}.{number}");
        let path = self
            .store
            .files
            .write_secret(&file, secret)
            .map_err(|problem| problem.of(connector, name))?;
        self.written.push(path);
        registry::set_secret(self.transaction, connector, name, &file)
            .map_err(|source| self.failed(source))
    }

    /// Forgets a secret.
    pub fn remove_secret(&mut self, connector: &str, name: &str) -> Result<(), StoreError> {
        let known =
            registry::secrets(self.transaction, connector).map_err(|source| self.failed(source))?;
        if let Some((_, file)) = known.into_iter().find(|(known, _)| known == name) {
            self.forgotten.push(self.store.files.secret_path(&file));
        }
        registry::remove_secret(self.transaction, connector, name)
            .map_err(|source| self.failed(source))
    }

    pub(super) fn keep(
        &mut self,
        version: Version,
        wasm: &[u8],
        signature: Option<&str>,
        actor: &Actor,
    ) -> Result<(Version, bool), StoreError> {
        let known = registry::version(self.transaction, &version.sha256)
            .map_err(|source| self.failed(source))?;
        let signature = signature.filter(|_| version.signed_by.is_some());
        if let Some((kept, _)) = known {
            let found = self.store.files.component(&version.sha256);
            if found.ok().is_none_or(|(_, found)| found != wasm) {
                let path = self.store.files.write_component(&version.sha256, wasm)?;
                tracing::warn!(file = %path.display(), "a kept plugin was damaged; it is whole again");
            }
            if version.signed_by.is_none() || version.signed_by == kept.signed_by {
                return Ok((kept, false));
            }
            registry::sign(self.transaction, &version, signature)
                .map_err(|source| self.failed(source))?;
            return Ok((Version { signed_by: version.signed_by, ..kept }, false));
        }
        let versions = registry::count(self.transaction, &version.plugin)
            .map_err(|source| self.failed(source))?;
        // For a draft an older one goes as soon as this one was taken up.
        let most = MAX_VERSIONS + if is_draft(&version.version) { MAX_DRAFTS } else { 0 };
        if versions >= most {
            let what = format!("versions of plugin {}", version.plugin);
            return Err(StoreError::TooMany { what, most });
        }
        let path = self.store.files.write_component(&version.sha256, wasm)?;
        self.written.push(path);
        registry::insert(self.transaction, &version, signature)
            .map_err(|source| self.failed(source))?;
        let detail = serde_json::json!({
            "version": version.version,
            "sha256": version.sha256,
            "bytes": version.size,
            "source": version.source,
            "signed_by": version.signed_by,
        });
        self.audit(actor, "plugin.install", &format!("plugin {}", version.plugin), &detail)?;
        Ok((version, true))
    }

    fn set_document(
        &mut self,
        table: &'static str,
        connector: &str,
        document: &Value,
    ) -> Result<(), StoreError> {
        let text = document.to_string();
        if text.len() > MAX_OVERLAY {
            let what = format!("bytes of what is kept about connector {connector}");
            return Err(StoreError::TooMany { what, most: MAX_OVERLAY });
        }
        let failed = |source| StoreError::Database { path: self.store.database.clone(), source };
        registry::set_document(self.transaction, table, connector, &text).map_err(failed)?;
        if registry::count_documents(self.transaction, table).map_err(failed)? > MAX_OVERLAYS {
            let what = "connectors with settings of their own over REST".to_owned();
            return Err(StoreError::TooMany { what, most: MAX_OVERLAYS });
        }
        Ok(())
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.store.database.clone(), source }
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), StoreError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(fine) {
        return Ok(());
    }
    Err(StoreError::BadName { what, name: name.chars().take(80).collect() })
}
