//! The store against everything that goes wrong: files, signatures, disks, crashes, and two at once.

use std::{
    fs,
    sync::{Barrier, OnceLock, atomic::Ordering},
};

use plugin_runtime::{MANIFEST_SECTION, MAX_COMPONENT};
use serde_json::json;

use super::*;
use crate::plugins::signing::{SignaturePolicy, testing::Publisher};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

struct World {
    folder: tempfile::TempDir,
    store: Option<Store>,
}

impl World {
    fn new() -> Self {
        Self::signed(Signing::new(SignaturePolicy::Off, &[]).unwrap())
    }

    fn signed(signing: Signing) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("j.plugins"), signing).unwrap();
        Self { folder, store: Some(store) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("j.plugins")
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is gone only within restart")
    }

    fn restart(&mut self) {
        self.store = None;
        self.store = Some(Store::open(&self.path(), Signing::default()).unwrap());
    }

    fn install(&self, wasm: &[u8]) -> Result<Installed, InstallError> {
        self.install_signed(wasm, None)
    }

    fn install_signed(
        &self,
        wasm: &[u8],
        signature: Option<&str>,
    ) -> Result<Installed, InstallError> {
        let (runtime, actor) = (runtime(), Actor::Token("ops".into()));
        self.store().install(runtime, wasm, signature, "upload", &actor, NOW)
    }

    fn change(&self, work: impl FnOnce(&mut Change<'_>) -> Result<(), StoreError>) {
        self.store().change(NOW, work).unwrap();
    }

    /// Names of all files in a folder of the store.
    fn files(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn nothing_is_kept(&self) {
        assert_eq!(self.files("components"), [""; 0]);
        assert_eq!(self.store().versions().unwrap(), []);
        assert_eq!(self.store().audit(0, 10).unwrap(), []);
    }
}

/// A guest of `plugin-runtime`'s tests; a test there keeps it what it is.
const TINY: &[u8] = include_bytes!("tiny.wasm");

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(None).unwrap())
}

fn component(version: &str) -> Vec<u8> {
    described(version, "A guest for tests.")
}

/// With a manifest of its own, which counts more than the one inside.
fn described(version: &str, description: &str) -> Vec<u8> {
    let manifest = json!({
        "id": "tiny", "name": "Tiny", "version": version, "author": "A", "license": "MIT",
        "description": description,
    });
    let (name, manifest) = (MANIFEST_SECTION.as_bytes(), manifest.to_string());
    let body = [&leb(name.len()), name, manifest.as_bytes()].concat();
    [TINY, &[0], &leb(body.len()), &body].concat()
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

#[test]
fn what_was_verified_is_what_is_kept_and_what_is_loaded() {
    let mut world = World::new();
    // A file that changes as soon as it was read.
    let file = world.folder.path().join("tiny.wasm");
    fs::write(&file, component("1.0.0")).unwrap();
    let read = fs::read(&file).unwrap();
    fs::write(&file, component("6.6.6")).unwrap();
    let Installed { plugin, version, is_new, warning } = world.install(&read).unwrap();
    assert!(is_new && warning.is_none());
    assert_eq!((version.plugin.as_str(), version.version.as_str()), ("tiny", "1.0.0"));
    assert_eq!((plugin.sha256(), version.size), (version.sha256.as_str(), read.len() as u64));
    let kept = world.path().join("components").join(format!("{}.wasm", version.sha256));
    assert_eq!(fs::read(&kept).unwrap(), read);

    world.restart();
    assert_eq!(world.store().versions().unwrap(), std::slice::from_ref(&version));
    let again = world.store().load(runtime(), &version.sha256).unwrap();
    assert_eq!(again.manifest().version, "1.0.0");
    // Exchanged behind the store's back, with a component that is good in itself.
    fs::write(&kept, component("6.6.6")).unwrap();
    let error = world.store().load(runtime(), &version.sha256).unwrap_err().to_string();
    assert!(
        error.contains("plugin tiny 1.0.0") && error.contains("fix: install it again"),
        "{error}"
    );
    assert!(!world.install(&read).unwrap().is_new);
    world.store().load(runtime(), &version.sha256).unwrap();
}

#[test]
fn what_is_no_plugin_is_refused_by_name_cause_and_fix_and_nothing_is_kept() {
    let world = World::new();
    let whole = component("1.0.0");
    for (wasm, cause, fix) in [
        (whole[..whole.len() / 2].to_vec(), "ends in the middle", "upload or copy it again"),
        (b"PK\x03\x04....".to_vec(), "zip archive", "give the `.wasm` file in it"),
        (vec![0; MAX_COMPONENT + 1], "67108865 bytes", "at most"),
        (b"<html>".to_vec(), "not WebAssembly", "give the `.wasm` file"),
        (b"\0asm\x01\0\0\0".to_vec(), "core WebAssembly module", "cargo xtask plugins"),
    ] {
        let error = world.install(&wasm).unwrap_err().to_string();
        for part in ["upload: ", cause, fix] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
    world.nothing_is_kept();
}

#[test]
fn an_unsigned_tampered_or_foreign_component_is_refused_where_signatures_are_required() {
    let (publisher, stranger) = (Publisher::new(1), Publisher::new(2));
    let keys = [publisher.public_key()];
    let world = World::signed(Signing::new(SignaturePolicy::Require, &keys).unwrap());
    let (wasm, other) = (component("1.0.0"), component("1.0.1"));
    for (signature, cause) in [
        (None, "not signed"),
        (Some(stranger.sign(&wasm)), "not among the trusted keys"),
        (Some(publisher.sign(&other)), "does not fit"),
        (Some("minisign".into()), "cannot be read"),
    ] {
        let error = world.install_signed(&wasm, signature.as_deref()).unwrap_err().to_string();
        for part in ["upload: ", cause, "fix: "] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
    world.nothing_is_kept();

    world.store().set_signing(Signing::new(SignaturePolicy::Warn, &keys).unwrap());
    let warned = world.install_signed(&wasm, Some(&publisher.sign(&other))).unwrap();
    assert_eq!((warned.version.signed_by, warned.warning), (None, Some(SignatureProblem::Wrong)));
}

#[test]
fn a_key_that_is_trusted_no_more_opens_nothing_that_it_signed() {
    let (publisher, successor) = (Publisher::new(1), Publisher::new(2));
    let require = |keys: &[String]| Signing::new(SignaturePolicy::Require, keys).unwrap();
    let world = World::signed(require(&[publisher.public_key()]));
    let wasm = component("1.0.0");
    let Installed { version, .. } =
        world.install_signed(&wasm, Some(&publisher.sign(&wasm))).unwrap();
    assert_eq!(version.signed_by.as_deref(), Some("0101010101010101"));
    let load = || world.store().load(runtime(), &version.sha256);
    load().unwrap();
    world.store().set_signing(require(&[successor.public_key()]));
    let error = load().unwrap_err().to_string();
    assert!(error.contains("tiny 1.0.0: it is signed by the key 0101010101010101"), "{error}");
    // Signed by the new key, the same component is good again.
    let again = world.install_signed(&wasm, Some(&successor.sign(&wasm))).unwrap();
    assert_eq!(
        (again.is_new, again.version.signed_by.as_deref()),
        (false, Some("0202020202020202"))
    );
    load().unwrap();
}

#[test]
fn two_installs_at_once_wait_for_each_other() {
    let world = World::new();
    let (one, two) = (component("1.0.0"), component("2.0.0"));
    let barrier = Barrier::new(4);
    let new: usize = std::thread::scope(|scope| {
        let threads = [&one, &two, &one, &two].map(|wasm| {
            let (world, barrier) = (&world, &barrier);
            scope.spawn(move || {
                barrier.wait();
                usize::from(world.install(wasm).unwrap().is_new)
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(new, 2);
    assert_eq!(world.files("components").len(), 2);
    assert_eq!(world.store().audit(0, 10).unwrap().len(), 2);
    let two = Store::open(&world.path(), Signing::default()).unwrap_err().to_string();
    assert!(two.contains("another jackfield has it open"), "{two}");
}

/// A failing write is injected: half the file is there, then the disk is full.
#[test]
fn a_disk_that_is_full_for_the_file_keeps_nothing() {
    let world = World::new();
    let wasm = component("1.0.0");
    let room = &world.store().inner.files.room;
    room.store(wasm.len() as u64 - 1, Ordering::Relaxed);
    let error = world.install(&wasm).unwrap_err().to_string();
    assert!(
        error.contains("fix: make room on the disk and try again; nothing was kept"),
        "{error}"
    );
    world.nothing_is_kept();
    room.store(u64::MAX, Ordering::Relaxed);
    assert!(world.install(&wasm).unwrap().is_new);
}

/// SQLite is told that its file may not grow: it answers as on a full disk.
#[test]
fn a_disk_that_is_full_for_the_database_keeps_nothing() {
    let world = World::new();
    let pages = |pages: u32| {
        let connection = world.store().connection();
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    pages(1);
    let long = "A guest for tests. ".repeat(90);
    let mut error = String::new();
    // What pages there are have some room.
    for version in 0..20 {
        let wasm = described(&format!("1.0.{version}"), &long);
        let kept = world.files("components");
        if let Err(refused) = world.install(&wasm) {
            error = refused.to_string();
            assert_eq!(world.files("components"), kept, "its file is gone again");
            break;
        }
    }
    assert!(
        error.contains("fix: make room on the disk and try again; nothing was kept"),
        "{error}"
    );
    let versions = world.store().versions().unwrap().len();
    assert_eq!(world.store().audit(0, 100).unwrap().len(), versions);
    pages(1_000_000);
    assert!(world.install(&component("2.0.0")).unwrap().is_new);
    world.store().verify_audit().unwrap().unwrap();
}

#[test]
fn what_a_crash_left_half_done_is_swept_away() {
    let mut world = World::new();
    let Installed { version, .. } = world.install(&component("1.0.0")).unwrap();
    world.change(|change| change.set_secret("hq", "ami", &"kept".to_owned().into()));
    let kept = (world.files("components"), world.files("secrets"));
    for left in ["components/abc.wasm", "components/def.wasm.new", "secrets/hq.99"] {
        fs::write(world.path().join(left), "half").unwrap();
    }
    world.restart();
    assert_eq!((world.files("components"), world.files("secrets")), kept);
    world.store().load(runtime(), &version.sha256).unwrap();
    assert_eq!(world.store().secret("hq", "ami").unwrap().unwrap().expose(), "kept");
}

#[test]
fn versions_are_found_by_number_and_hash_and_removed_for_good() {
    let world = World::new();
    let one = world.install(&component("1.0.0")).unwrap().version;
    let two = world.install(&component("2.0.0")).unwrap().version;
    let twin = described("2.0.0", "Another build.");
    let store = world.store();
    assert_eq!(store.find("tiny", "2.0.0").unwrap(), two);
    assert_eq!(store.find("tiny", &one.sha256[..8]).unwrap(), one);
    assert!(matches!(store.find("tiny", &one.sha256[..7]), Err(StoreError::NoVersion { .. })));
    assert!(matches!(store.find("other", "1.0.0"), Err(StoreError::NoVersion { .. })));
    world.install(&twin).unwrap();
    assert!(matches!(store.find("tiny", "2.0.0"), Err(StoreError::Ambiguous { .. })));
    world.change(|change| {
        change.select("tiny", Some(&one.sha256))?;
        change.select("tiny", Some(&two.sha256))?;
        change.reject(&one.sha256, Some("it traps"))
    });
    let chosen = Selection { used: Some(two.sha256.clone()), before: Some(one.sha256.clone()) };
    assert_eq!(store.selection("tiny").unwrap(), chosen);
    assert_eq!(store.find("tiny", "1.0.0").unwrap().rejected.as_deref(), Some("it traps"));
    world.change(|change| change.remove_version(&one.sha256));
    assert_eq!(
        store.selection("tiny").unwrap(),
        Selection { used: Some(two.sha256), before: None }
    );
    assert!(store.load(runtime(), &one.sha256).is_err());
    assert_eq!(world.files("components").len(), 2);
}

#[test]
fn old_drafts_go_by_themselves_and_nothing_else_does() {
    let world = World::new();
    let draft = |number: usize| draft_of("1.1.0", 1_795_338_000_000 + number as u64);
    // A vendor calls versions what it likes.
    for version in ["1.0.0", "1.1.0-dev.1", "1.1.0-dev.20261122"] {
        world.install(&component(version)).unwrap();
    }
    let drafts: Vec<Version> = (0..MAX_DRAFTS + 5)
        .map(|number| world.install(&component(&draft(number))).unwrap().version)
        .collect();
    world.change(|change| change.select("tiny", Some(&drafts[0].sha256)));
    world.change(|change| change.select("tiny", Some(&drafts[MAX_DRAFTS].sha256)));
    let in_use = InUse {
        hashes: [drafts[1].sha256.clone()].into(),
        names: [draft(2), drafts[3].sha256[..8].to_owned(), "1.1.0".to_owned()].into(),
    };
    let mut gone = Vec::new();
    world.change(|change| {
        gone = change.drop_drafts("tiny", &in_use)?;
        assert!(change.drop_drafts("another", &in_use)?.is_empty());
        Ok(())
    });
    // 0 was chosen before, 1 runs, 2 and 3 are named; of the five that are too many only this is of no use.
    assert_eq!(gone, [drafts[4].sha256.as_str()]);
    let kept = world.store().versions().unwrap();
    assert_eq!(kept.len(), 3 + drafts.len() - 1);
    assert_eq!(world.files("components").len(), kept.len());
    let log = world.store().audit(0, 100).unwrap();
    let said: Vec<&AuditEntry> = log.iter().filter(|it| it.action == "plugin.forget").collect();
    assert_eq!((said.len(), said[0].subject.as_str()), (1, "plugin tiny"));
    let detail: Value = serde_json::from_str(&said[0].detail).unwrap();
    assert_eq!(detail["version"], draft(4));
    assert_eq!(detail["sha256"], drafts[4].sha256);
}

#[test]
fn a_change_that_fails_leaves_everything_as_it_was() {
    let mut world = World::new();
    world.change(|change| {
        change.set_overlay("hq", &json!({ "enabled": true }))?;
        change.set_actual("hq", &json!({ "status": "auto_enabled" }))?;
        change.set_secret("hq", "ami", &"old".to_owned().into())
    });
    let files = world.files("secrets");
    let refused = world.store().change(NOW, |change| {
        change.set_overlay("hq", &json!({ "enabled": false }))?;
        change.set_secret("hq", "ami", &"new".to_owned().into())?;
        change.audit(&Actor::Host, "test", "connector hq", &json!({}))?;
        Err::<(), _>(StoreError::TooMany { what: "tests".into(), most: 1 })
    });
    assert!(refused.is_err());
    world.restart();
    let store = world.store();
    assert_eq!(store.overlays().unwrap()["hq"], json!({ "enabled": true }));
    assert_eq!(store.actuals().unwrap()["hq"], json!({ "status": "auto_enabled" }));
    assert_eq!(store.secret("hq", "ami").unwrap().unwrap().expose(), "old");
    assert_eq!(world.files("secrets"), files);
    assert_eq!(store.audit(0, 10).unwrap(), []);
    world.change(|change| change.remove_overlay("hq"));
    assert_eq!(store_names(&world), (0, 0));
}

fn store_names(world: &World) -> (usize, usize) {
    (world.store().overlays().unwrap().len(), world.files("secrets").len())
}

#[test]
fn a_secret_is_in_its_own_file_and_nowhere_else() {
    const CANARY: &str = "canary-7f3a9c51";
    let mut world = World::new();
    world.change(|change| {
        change.set_overlay("hq", &json!({ "links": { "ami": "tls://pbx" } }))?;
        change.set_secret("hq", "ami", &"canary-before-it".to_owned().into())?;
        change.set_secret("hq", "ami", &CANARY.to_owned().into())?;
        change.audit(&Actor::Host, "settings", "connector hq", &json!({ "secrets.ami": "set" }))
    });
    world.restart();
    let file = world.files("secrets");
    let [file] = &file[..] else { panic!("{file:?}") };
    let file = world.path().join("secrets").join(file);
    let mut folders = vec![world.path()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(6).any(|part| part == b"canary");
            assert_eq!(found, path == file, "{}", path.display());
        }
    }
    assert_eq!(fs::read(&file).unwrap(), CANARY.as_bytes());
    assert!(!format!("{:?}", world.store().secret("hq", "ami")).contains(CANARY));
    assert_eq!(world.store().secret_names("hq").unwrap(), ["ami"]);
    let overlay = json!({ "secrets": { "ami": CANARY } });
    let refused = world.store().change(NOW, |change| change.set_overlay("hq", &overlay));
    assert!(!refused.unwrap_err().to_string().contains(CANARY));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};

        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o660, 0o700] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let error = world.store().secret("hq", "ami").unwrap_err().to_string();
            assert!(
                error.contains("\"ami\" of connector hq") && error.contains("chmod 600"),
                "{error}"
            );
            assert!(!error.contains(CANARY));
        }
    }
}

#[test]
fn a_secret_that_cannot_be_one_and_a_name_that_leads_elsewhere_are_refused() {
    let world = World::new();
    let set = |connector: &str, name: &str, secret: &str| {
        let secret = secret.to_owned().into();
        world.store().change(NOW, |change| change.set_secret(connector, name, &secret)).unwrap_err()
    };
    for secret in ["", "two\nlines", "nul\0", &"x".repeat(5000)] {
        assert!(matches!(set("hq", "ami", secret), StoreError::Secret { .. }));
    }
    for (connector, name) in
        [("../hq", "ami"), ("", "ami"), (".", "ami"), ("hq", "a/b"), ("hq", "..")]
    {
        assert!(matches!(set(connector, name, "x"), StoreError::BadName { .. }));
    }
    assert_eq!(world.files("secrets"), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_folder_others_can_look_into_is_refused_with_the_fix() {
    use std::os::unix::fs::PermissionsExt;

    let mut world = World::new();
    world.store = None;
    for folder in ["", "components", "secrets"] {
        let folder = world.path().join(folder);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        let error = Store::open(&world.path(), Signing::default()).unwrap_err().to_string();
        assert!(error.contains("mode 750") && error.contains("chmod 700"), "{error}");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
    world.restart();
    let registry = fs::metadata(world.path().join("registry.db")).unwrap();
    assert_eq!(registry.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_store_of_a_newer_jackfield_is_not_touched() {
    let mut world = World::new();
    world.store().connection().pragma_update(None, "user_version", 99).unwrap();
    world.store = None;
    let error = Store::open(&world.path(), Signing::default()).unwrap_err();
    assert!(matches!(error, StoreError::NewerLayout { found: 99, .. }), "{error}");
}
