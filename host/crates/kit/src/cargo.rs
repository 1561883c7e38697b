//! Cargo, as guests are built with it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::toolchain::{TARGET, Toolchain};

/// A cargo that builds guests.
#[derive(Debug)]
pub struct Cargo<'a> {
    /// The compiler.
    pub toolchain: &'a Toolchain,
    /// Its target folder, not the one of native builds.
    pub target: &'a Path,
    /// The sources.
    pub root: &'a Path,
    /// What the sources' folder is called in what is shipped. Cargo names the files of a package that is a workspace
    /// of its own relative to it, and then nothing has to be said: flags that differ would make projects that share a
    /// target folder build everything anew.
    pub called: Option<&'a str>,
    /// Fetch nothing.
    pub offline: bool,
}

impl Cargo<'_> {
    /// `cargo` with the environment guests need; its messages come as JSON lines. The verb is the caller's, and so
    /// are arguments behind it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(cargo());
        command
            .current_dir(self.root)
            .env("CARGO_BUILD_TARGET", TARGET)
            .env("CARGO_TARGET_DIR", self.target)
            .env("CARGO_ENCODED_RUSTFLAGS", self.rust_flags())
            .env("RUSTC", &self.toolchain.rustc)
            // A wrapper is tuned to the host's compiler; an empty value also overrides config files.
            .env("RUSTC_WRAPPER", "")
            .env("RUSTC_WORKSPACE_WRAPPER", "")
            .stdin(Stdio::null());
        if self.offline {
            command.env("CARGO_NET_OFFLINE", "true");
        }
        if let Some(linker) = &self.toolchain.linker {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        if self.toolchain.build_std {
            command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
        }
        command
    }

    fn rust_flags(&self) -> OsString {
        let mut flags: Vec<OsString> =
            ["-Ctarget-feature=+simd128", "-Clink-arg=-zstack-size=65536"].map(Into::into).into();
        // The same source gives the same bytes wherever it is built, and no one's home is shipped.
        let mut remap = |from: &Path, to: &str| {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(from);
            flag.push("=");
            flag.push(to);
            flags.push(flag);
        };
        if let Some(home) = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(cargo_home) {
            remap(&home, "/cargo");
        }
        if let Some(called) = self.called {
            remap(self.root, called);
        }
        flags.join(&OsString::from("\u{1f}"))
    }
}

/// The cargo that started us, else the one on PATH.
pub fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

fn cargo_home() -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".cargo"))
}

/// The `.wasm` among cargo's JSON messages that is `wanted`.
pub fn core_module(messages: &str, wanted: impl Fn(&Value) -> bool) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && is_cdylib(&message["target"]))
        .filter(wanted)
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

/// Whether a target of `cargo metadata`, or of a build message, is a cdylib.
pub fn is_cdylib(target: &Value) -> bool {
    target["crate_types"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
}
