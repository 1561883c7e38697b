//! Compiling in a child process: the real binary as its own compiler.

use std::{
    ffi::OsString,
    path::Path,
    sync::{Arc, Mutex},
};

use plugin_runtime::{CompileChild, Compiler, Compiling, LoadError, Runtime};

fn arguments(memory_mib: u32, cpu_secs: u32) -> Vec<OsString> {
    let (memory, cpu) = (memory_mib.to_string(), cpu_secs.to_string());
    ["compile-plugin", "--memory-mib", &memory, "--cpu-secs", &cpu].map(OsString::from).to_vec()
}

fn child(memory_mib: u32, wall_secs: u32) -> CompileChild {
    CompileChild {
        exe: env!("CARGO_BIN_EXE_jackfield").into(),
        arguments: arguments(memory_mib, 60),
        memory_mib,
        cpu_secs: 60,
        wall_secs,
        progress: None,
    }
}

fn load(cache: Option<&Path>, child: CompileChild, wasm: &[u8]) -> Result<String, LoadError> {
    let runtime = Runtime::with_compiler(cache, Compiler::Child(child)).unwrap();
    runtime.load(wasm).map(|plugin| plugin.sha256().to_owned())
}

const TINY: &[u8] = include_bytes!("../src/plugins/store/tiny.wasm");

#[test]
fn what_the_child_compiled_runs_and_the_next_start_needs_no_child() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let first = load(Some(&cache), child(512, 60), TINY).unwrap();
    let nobody = || CompileChild { exe: "/nowhere".into(), ..child(512, 60) };
    assert_eq!(load(Some(&cache), nobody(), TINY).unwrap(), first);
    let error = load(None, nobody(), TINY).unwrap_err().to_string();
    assert!(error.contains("does not start (/nowhere"), "{error}");
    // What it is made of must not matter.
    assert_eq!(load(None, child(512, 60), TINY).unwrap(), first);
}

/// A plugin beside a module with one function so long that compiling it takes minutes and gigabytes.
fn heavy() -> Vec<u8> {
    const BLOCKS: usize = 400_000;
    // local.get 0, i64.const 77, i64.xor, local.get 0, i64.mul, local.set 0
    let block = [0x20, 0, 0x42, 0xcd, 0, 0x85, 0x20, 0, 0x7e, 0x21, 0];
    // No locals of its own; at the end local.get 0, end.
    let body = [&[0][..], &block.repeat(BLOCKS), &[0x20, 0, 0x0b]].concat();
    let code = [&[1][..], &leb(body.len()), &body].concat();
    let module = [
        b"\0asm\x01\0\0\0",
        // One type: i64 -> i64; one function of it.
        &[1, 6, 1, 0x60, 1, 0x7e, 1, 0x7e, 3, 2, 1, 0, 10][..],
        &leb(code.len()),
        &code,
    ]
    .concat();
    [TINY, &[1], &leb(module.len()), &module].concat()
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_that_wants_more_than_it_may_is_stopped_and_the_limit_named() {
    let wasm = heavy();
    let stopped = |child: CompileChild, wasm: &[u8], limit: &str| {
        let error = load(None, child, wasm).unwrap_err();
        assert!(matches!(error, LoadError::CompileLimit { .. }), "{error}");
        assert!(error.to_string().contains(&format!("takes more than {limit}, ")), "{error}");
    };
    stopped(child(4, 60), TINY, "4 MiB of memory");
    stopped(child(96, 60), &wasm, "96 MiB of memory");
    stopped(child(512, 0), TINY, "0 s");
    let short = CompileChild { arguments: arguments(4096, 1), cpu_secs: 1, ..child(4096, 60) };
    stopped(short, &wasm, "1 s of processor time");
}

#[test]
fn progress_is_told_while_it_takes_long_and_then_that_it_is_over() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let slow = CompileChild {
        exe: "/bin/sh".into(),
        arguments: ["-c", "cat > /dev/null; exec sleep 60"].map(OsString::from).to_vec(),
        progress: Some(Arc::new(move |news| listener.lock().unwrap().push(news))),
        ..child(512, 1)
    };
    load(None, slow, TINY).unwrap_err();
    let told = told.lock().unwrap();
    assert!(matches!(told[0], Compiling::Running { bytes, .. } if bytes == TINY.len()));
    assert_eq!(told.last(), Some(&Compiling::Ended));
}
