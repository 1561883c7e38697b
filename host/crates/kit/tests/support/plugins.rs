//! Plugins that `cargo xtask plugins` has built, and scenarios of this repository.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use kit::scenario::Scenario;
use plugin_runtime::{Plugin, Runtime};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(None).expect("wasmtime starts"))
}

/// `asterisk`, `test/faulty`.
pub fn plugin(name: &str) -> Plugin {
    let folder = std::env::var_os("JACKFIELD_PLUGINS_DIR").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| root().join("target/plugins"));
    let file = folder.join(format!("{name}.wasm"));
    let wasm = fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins`", file.display()));
    runtime().load(&wasm).expect("the plugin loads")
}

pub fn shop() -> Scenario {
    let file = root().join("tests/scenarios/shop.toml");
    Scenario::load(&file, None).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}
