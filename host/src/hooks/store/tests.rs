use super::*;

fn put(key: &str, value: &str) -> StoreWrite {
    StoreWrite { key: key.to_owned(), value: Some(value.as_bytes().to_vec()) }
}

fn remove(key: &str) -> StoreWrite {
    StoreWrite { key: key.to_owned(), value: None }
}

struct World {
    folder: tempfile::TempDir,
    store: HookStore,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = HookStore::open(&folder.path().join("hooks.db")).unwrap();
    World { folder, store }
}

impl World {
    /// As after a crash: nobody has closed anything.
    fn again(self) -> Self {
        let Self { folder, store } = self;
        let path = store.inner.path.clone();
        std::mem::forget(store);
        let store = HookStore::open(&path).unwrap();
        Self { folder, store }
    }

    fn keys(&self, instance: &str, prefix: &str) -> Vec<String> {
        let pairs = self.store.page(instance, prefix, "", 100).unwrap();
        pairs.into_iter().map(|pair| pair.key).collect()
    }
}

#[test]
fn each_instance_has_keys_of_its_own() {
    let world = world();
    world.store.put("vip", &[put("a", "1"), put("b", "2")]).unwrap();
    world.store.put("hours", &[put("a", "3")]).unwrap();
    world.store.put("vip", &[remove("b"), put("dead/2", ""), put("dead/1", "")]).unwrap();
    assert_eq!(world.store.get("vip", "a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(world.store.get("hours", "a").unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(world.store.get("hours", "b").unwrap(), None);
    assert_eq!(world.keys("vip", ""), ["a", "dead/1", "dead/2"]);
    assert_eq!(world.keys("vip", "dead/"), ["dead/1", "dead/2"]);
    assert_eq!(world.keys("vip", "%"), [""; 0]);
    assert_eq!(world.store.page("vip", "dead/", "dead/1", 5).unwrap().len(), 1);
}

#[test]
fn an_ack_and_what_was_stored_with_it_survive_a_crash_together_or_not_at_all() {
    let world = world();
    world.store.step("feed", Some(7), &[put("dead/7", "x")]).unwrap();
    let too_long = StoreWrite { key: "k".to_owned(), value: Some(vec![0; MAX_VALUE + 1]) };
    let refused = world.store.step("feed", Some(9), &[put("dead/9", "x"), too_long]);
    assert!(matches!(refused, Err(HookStoreError::Limit { .. })));
    let world = world.again();
    assert_eq!(world.store.cursor("feed").unwrap(), Some(7));
    assert_eq!(world.keys("feed", ""), ["dead/7"]);
    assert_eq!(world.store.cursor("other").unwrap(), None);
}

#[test]
fn an_instance_keeps_no_more_than_its_share() {
    let world = world();
    let many: Vec<_> = (0..MAX_KEYS).map(|n| put(&format!("{n:05}"), "")).collect();
    world.store.put("vip", &many).unwrap();
    let error = world.store.put("vip", &[put("one more", "")]).unwrap_err();
    assert!(error.to_string().contains("10001 keys"), "{error}");
    // What is replaced or removed makes room.
    world.store.put("vip", &[put("00000", "new")]).unwrap();
    world.store.put("vip", &[remove("00000"), put("one more", "")]).unwrap();
    assert_eq!(world.store.usage("vip").unwrap().keys, MAX_KEYS);
    let big = StoreWrite { key: "big".to_owned(), value: Some(vec![0; MAX_VALUE]) };
    for n in 0..15 {
        world.store.put("hours", &[StoreWrite { key: format!("big{n}"), ..big.clone() }]).unwrap();
    }
    assert!(world.store.put("hours", &[big]).is_err());
    world.store.put("other", &[put("k", "v")]).unwrap();
    assert_eq!(world.store.usage("other").unwrap(), StoreUsage { keys: 1, bytes: 2 });
}

#[test]
fn a_key_that_cannot_be_is_refused() {
    let world = world();
    assert!(world.store.put("vip", &[put("", "x")]).is_err());
    assert!(world.store.put("vip", &[put(&"k".repeat(MAX_KEY + 1), "x")]).is_err());
    world.store.put("vip", &[put(&"k".repeat(MAX_KEY), "x")]).unwrap();
}

#[test]
fn what_a_treatment_knows_of_a_caller_is_there_after_a_crash() {
    let world = world();
    world.store.keep_state("c1", "standard", b"menu", &[put("seen", "1")]).unwrap();
    world.store.keep_state("c1", "standard", b"music", &[]).unwrap();
    world.store.keep_state("c2", "standard", b"x", &[]).unwrap();
    assert!(world.store.keep_state("c3", "standard", &[0; MAX_STATE + 1], &[]).is_err());
    let world = world.again();
    world.store.drop_state("c2").unwrap();
    let known = world.store.state("c1").unwrap();
    assert_eq!(known, Some(("standard".to_owned(), b"music".to_vec())));
    assert_eq!(world.store.states().unwrap(), ["c1"]);
    assert_eq!(world.keys("standard", ""), ["seen"]);
}

#[test]
fn what_a_treatment_knew_of_a_caller_who_is_gone_is_nowhere_in_the_files() {
    let World { folder, store } = world();
    store.keep_state("c1", "standard", b"pin 4711", &[]).unwrap();
    store.keep_state("c2", "standard", b"menu", &[]).unwrap();
    store.drop_state("c1").unwrap();
    assert!(store.wipe().unwrap());
    let holds = |text: &[u8]| {
        let files = ["hooks.db", "hooks.db-wal"].map(|name| folder.path().join(name));
        let files = files.map(|file| std::fs::read(file).unwrap());
        files.iter().any(|file| file.windows(text.len()).any(|window| window == text))
    };
    assert!(holds(b"menu") && !holds(b"pin 4711"));
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_done() {
    let world = world();
    world.store.step("feed", Some(1), &[put("a", "1")]).unwrap();
    world.store.limit_pages(1);
    let big = StoreWrite { key: "big".to_owned(), value: Some(vec![7; MAX_VALUE]) };
    let error = world.store.step("feed", Some(2), &[put("b", "2"), big.clone()]).unwrap_err();
    assert!(matches!(error, HookStoreError::Full { .. }), "{error}");
    assert!(world.store.is_full());
    assert_eq!(world.store.cursor("feed").unwrap(), Some(1));
    assert_eq!(world.keys("feed", ""), ["a"]);
    world.store.limit_pages(10_000);
    world.store.step("feed", Some(2), &[put("b", "2"), big]).unwrap();
    assert!(!world.store.is_full());
    assert_eq!(world.store.cursor("feed").unwrap(), Some(2));
}

#[test]
fn a_damaged_database_is_put_aside_and_callers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hooks.db");
    std::fs::write(&path, b"this is no database, whatever it was before. ".repeat(100)).unwrap();
    let store = HookStore::open(&path).unwrap();
    assert_eq!(store.cursor("feed").unwrap(), None);
    store.put("feed", &[put("a", "1")]).unwrap();
    assert!(folder.path().join("hooks.db.damaged").is_file());
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let world = world();
    let mode =
        std::fs::metadata(world.folder.path().join("hooks.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
}
