//! What may be loaded, and what is said about the rest.

use std::path::Path;

use plugin_runtime::{Kind, LoadError, Runtime};

use crate::guests::{MANIFEST, component, component_for, lines, plugin, runtime, simple, wat};

fn refusal(wasm: &[u8]) -> String {
    runtime().load(wasm).unwrap_err().to_string()
}

#[test]
fn kinds_and_abilities_come_from_the_exports() {
    assert_eq!(lines().kinds(), [Kind::Connector]);
    assert!(lines().has_snapshot());
    assert!(!lines().has_settings_check());
    assert!(!simple("quiet").has_snapshot());
    assert_eq!(lines().manifest().id, "tiny");
    assert_eq!(lines().sha256().len(), 64);
}

#[test]
fn what_is_no_component_is_named() {
    assert!(refusal(b"\x7fELF and so on").contains("not WebAssembly"));
    assert!(refusal(b"").contains("not WebAssembly"));
    assert!(refusal(&wat::parse_str("(module)").unwrap()).contains("cargo xtask plugins"));
    assert!(refusal(b"PK\x03\x04 and so on").contains("zip archive"));
    let whole = component(&["quiet", "simple-init"], &["connector"], Some(MANIFEST));
    for length in (8..whole.len()).step_by(97) {
        let error = runtime().load(&whole[..length]).unwrap_err();
        // Between two sections it looks whole.
        assert!(
            matches!(
                error,
                LoadError::Truncated(_) | LoadError::NoKind { .. } | LoadError::Manifest(_)
            ),
            "{length}: {error}"
        );
    }
    assert!(refusal(&whole[..whole.len() / 2]).contains("ends in the middle"));
    let mut flipped = whole.clone();
    for at in (8..whole.len()).step_by(61) {
        flipped[at] ^= 0x55;
        // Whatever it says, it does not panic.
        let _ = runtime().load(&flipped);
        flipped[at] ^= 0x55;
    }
}

#[test]
fn a_file_that_is_too_large_is_not_looked_at() {
    assert!(refusal(&vec![0; (64 << 20) + 1]).contains("at most 67108864"));
}

#[test]
fn an_unknown_import_is_named_with_the_flag_that_removes_it() {
    let error = refusal(&wat::parse_str(wat("wasi")).unwrap());
    assert!(error.contains("`wasi:cli/environment@0.2.0`"), "{error}");
    for flag in
        ["wasm32-unknown-unknown", "--backend-qjs-stub-wasi", "--disable all", "componentize-py -s"]
    {
        assert!(error.contains(flag), "{error}");
    }
    let other =
        "(component (import \"acme:net/sockets@1.0.0\" (instance (export \"open\" (func)))))";
    let error = refusal(&wat::parse_str(other).unwrap());
    assert!(error.contains("acme:net/sockets@1.0.0") && !error.contains("WASI"), "{error}");
    // The allowed names for types must not carry functions.
    let sly = "(component (import \"jackfield:connector/types@0.1.0\" (instance (export \"open\" (func)))))";
    assert!(refusal(&wat::parse_str(sly).unwrap()).contains("jackfield:connector/types@0.1.0"));
}

#[test]
fn a_component_of_no_kind_is_told_what_it_exports() {
    assert!(refusal(&wat::parse_str("(component)").unwrap()).contains("it exports: nothing"));
    let error = refusal(&component(&["picky-settings"], &["settings"], Some(MANIFEST)));
    assert!(error.contains("it exports: jackfield:settings/settings@0.1.0"), "{error}");
}

#[test]
fn another_version_of_the_interface_is_named() {
    let other = component_for("0.2.0", &["quiet", "simple-init"], &["connector"], Some(MANIFEST));
    let error = refusal(&other);
    assert!(error.contains("@0.2.0`, but this host speaks 0.1.0"), "{error}");
}

#[test]
fn other_types_under_the_right_name_are_refused() {
    let impostor = "(component
        (core module $m (func (export \"f\")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i \"f\")))
        (instance $c (export \"init\" (func $f)) (export \"step\" (func $f)))
        (export \"jackfield:connector/connector@0.1.0\" (instance $c))
        (@custom \"jackfield:manifest\" \"MANIFEST\"))";
    let impostor = impostor.replace("MANIFEST", &MANIFEST.replace('"', "\\22").replace('\n', " "));
    let error = refusal(&wat::parse_str(impostor).unwrap());
    assert!(error.contains("its interfaces are not those of this host"), "{error}");
}

#[test]
fn a_manifest_must_be_there_and_readable() {
    let with = |manifest| refusal(&component(&["quiet", "simple-init"], &["connector"], manifest));
    assert!(with(None).contains("register_connector!"));
    assert!(with(Some("id = 1")).contains("cannot be read"));
    assert!(with(Some("{\"id\": \"x\", \"colour\": 1}")).contains("unknown field `colour`"));
}

#[test]
fn settings_are_looked_at_by_the_plugin_itself() {
    assert_eq!(lines().validate_settings("{}").unwrap(), []);
    let picky = plugin(&["quiet", "simple-init", "picky-settings"], &["connector", "settings"]);
    let problems = picky.validate_settings("{}").unwrap();
    assert_eq!((problems[0].path.as_str(), problems[0].message.as_str()), ("oops", "oops"));
}

/// Tests of the host use it as a file, so that they need no toolchain either.
#[test]
fn the_guest_of_the_hosts_tests_is_the_one_of_these() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/plugins/store/tiny.wasm");
    let wasm = component(&["quiet", "simple-init"], &["connector"], Some(MANIFEST));
    if std::env::var_os("JACKFIELD_WRITE_GUESTS").is_some() {
        std::fs::write(&path, &wasm).unwrap();
    }
    let same = std::fs::read(&path).is_ok_and(|kept| kept == wasm);
    assert!(same, "run this test once with JACKFIELD_WRITE_GUESTS=1");
}

#[test]
fn compiled_plugins_are_kept_and_a_damaged_one_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let wasm = component(&["quiet", "simple-init"], &["connector"], Some(MANIFEST));
    let load = || Runtime::new(Some(&cache)).unwrap().load(&wasm).unwrap();
    load();
    let files = || {
        let mut files: Vec<_> =
            std::fs::read_dir(&cache).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    };
    let kept = files();
    assert_eq!(kept.len(), 2, "{kept:?}");
    let good = std::fs::read(&kept[0]).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    for damage in [bad, good[..good.len() / 2].to_vec(), vec![]] {
        std::fs::write(&kept[0], damage).unwrap();
        load();
        assert_eq!(std::fs::read(&kept[0]).unwrap().len(), good.len());
    }
    std::fs::remove_file(&kept[1]).unwrap();
    load();
    assert_eq!(files(), kept);
}

#[cfg(unix)]
#[test]
fn a_cache_folder_others_can_write_is_refused_with_the_fix() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = Runtime::new(Some(folder.path())).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("chmod 700"), "{source}");
}

/// Tests of the host's keeper use it as a file.
#[test]
fn the_guest_of_the_keepers_tests_is_the_one_of_these() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/plugins/tests/lines.wasm");
    let files = ["lines", "lines-v1", "sane", "with-state"];
    let wasm = component(&files, &["connector", "state"], Some(MANIFEST));
    if std::env::var_os("JACKFIELD_WRITE_GUESTS").is_some() {
        std::fs::write(&path, &wasm).unwrap();
    }
    let kept = std::fs::read(&path).unwrap();
    assert!(kept == wasm, "run this test once with JACKFIELD_WRITE_GUESTS=1");
}
