//! The life of hooks in a running host, with a real component: left out, taken up, changed, exchanged, tried on some
//! calls; and an observer that keeps up.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use calls::Actor;
use jackfield::{
    config::{CanaryConfig, Config},
    hooks::canary::Budgets,
    plugins::{HookView, KeeperError, Report},
    serve::Host,
};
use jackfield_tests::world::test_plugin;
use plugin_runtime::MANIFEST_SECTION;

/// A version of the test guest `hooks`, with a manifest of our own.
fn version(version: &str, more: &str) -> Result<Vec<u8>> {
    let manifest = format!(
        r#"{{"id": "hooks", "name": "All hooks", "version": "{version}", "author": "Jackfield",
            "license": "MIT", "description": "For tests.",
            "settings": {{ "type": "object", "additionalProperties": false,
                           "properties": {{ "greeting": {{ "type": "string" }} }} }}{more}}}"#
    );
    let mut wasm = without_manifest(&fs::read(test_plugin("hooks")?)?)?;
    let name = MANIFEST_SECTION.as_bytes();
    let body = [leb(name.len()), name.to_vec(), manifest.into_bytes()].concat();
    wasm.push(0);
    wasm.extend(leb(body.len()));
    wasm.extend(body);
    Ok(wasm)
}

/// The component without the section that its own manifest is in.
fn without_manifest(wasm: &[u8]) -> Result<Vec<u8>> {
    let named = [leb(MANIFEST_SECTION.len()), MANIFEST_SECTION.as_bytes().to_vec()].concat();
    let (header, mut rest) = wasm.split_at(8);
    let mut kept = header.to_vec();
    while let [kind, tail @ ..] = rest {
        let digits = tail.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
        let (length, tail) = tail.split_at_checked(digits).context("a length")?;
        let size = length.iter().rev().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        let (body, after) = tail.split_at_checked(size).context("a section")?;
        if *kind != 0 || !body.starts_with(&named) {
            kept.push(*kind);
            kept.extend_from_slice(length);
            kept.extend_from_slice(body);
        }
        rest = after;
    }
    Ok(kept)
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

struct World {
    folder: tempfile::TempDir,
    host: Host,
}

const HEAD: &str = "[api]\nlisten = \"127.0.0.1:0\"\n[plugins]\ndir = \"plugins\"\nwatch = false\n";

impl World {
    async fn start(config: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("plugins"))?;
        fs::write(folder.path().join("plugins/hooks.wasm"), version("0.1.0", "")?)?;
        write(folder.path(), config)?;
        let host = Host::start(Config::load(&folder.path().join("jackfield.toml"))?).await?;
        Ok(Self { folder, host })
    }

    async fn reload(&self, config: &str) -> Result<Report> {
        write(self.folder.path(), config)?;
        Ok(self.host.keeper().reload(&Actor::Config).await?)
    }

    fn hook(&self, id: &str) -> Result<HookView> {
        self.host.keeper().hook(id).with_context(|| format!("no hook {id}"))
    }

    fn runs(&self, id: &str) -> Result<String> {
        Ok(self.hook(id)?.running.with_context(|| format!("{id} is not called"))?.version)
    }
}

fn write(folder: &Path, config: &str) -> Result<()> {
    Ok(fs::write(folder.join("jackfield.toml"), format!("{HEAD}{config}"))?)
}

fn changes(report: &Report) -> Vec<String> {
    let change = |it: &jackfield::plugins::Change| {
        format!("{}: {}: {}", it.subject, it.kind.code(), it.detail)
    };
    report.changes.iter().map(change).collect()
}

fn admin() -> Actor {
    Actor::Token("admin".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_cannot_be_called_is_left_out_with_the_reason_and_the_others_go_on()
-> Result<()> {
    let world = World::start(
        "[hooks.instances.a]\nplugin = \"hooks\"\n\
         [hooks.instances.b]\nplugin = \"hooks\"\nsettings = { greting = \"x\" }\n\
         [hooks.instances.c]\nplugin = \"nowhere\"\n\
         [hooks.instances.d]\nplugin = \"hooks\"\nenabled = false\n\
         [hooks.router]\norder = [\"a\", \"b\", \"c\", \"d\"]\n",
    )
    .await?;
    ensure!(world.runs("a")? == "0.1.0");
    let words = ["a", "b", "c", "d"].map(|id| world.hook(id).map(|it| it.status.code()));
    let words: Vec<&str> = words.into_iter().collect::<Result<_>>()?;
    assert_eq!(
        words,
        [
            "auto_enabled",
            "invalid_settings_disabled",
            "invalid_installation_disabled",
            "manually_disabled"
        ]
    );
    let b = world.hook("b")?;
    ensure!(b.reason.contains("hooks.instances.b.settings.greting"), "{}", b.reason);
    ensure!(b.reason.contains("did you mean `greeting`?"), "{}", b.reason);
    ensure!(world.hook("c")?.reason.contains("no plugin \"nowhere\""));
    assert_eq!(world.hook("a")?.roles, ["router 1"]);
    let report = world.reload("[hooks.instances.a]\nplugin = \"hooks\"\n").await?;
    let told = changes(&report);
    ensure!(told.len() == 3 && told.iter().all(|it| it.contains("removed")), "{told:?}");
    world.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_versions_are_taken_up_while_it_runs_and_a_way_back_is_there() -> Result<()> {
    let plain = "[hooks.instances.a]\nplugin = \"hooks\"\n[hooks.router]\norder = [\"a\"]\n";
    let world = World::start(plain).await?;
    let greeted = plain.replace("\"hooks\"", "\"hooks\"\nsettings = { greeting = \"hi\" }");
    assert_eq!(changes(&world.reload(&greeted).await?), ["hook a: swapped: other settings"]);
    assert_eq!(changes(&world.reload(&greeted).await?), [""; 0]);
    let wrong = plain.replace("\"hooks\"", "\"hooks\"\nsettings = { greeting = 7 }");
    let report = world.reload(&wrong).await?;
    ensure!(report.complaints.len() == 1, "{report:?}");
    ensure!(report.complaints[0].place.line == 8, "{report:?}");
    ensure!(world.runs("a")? == "0.1.0", "it goes on as it was");
    world.reload(plain).await?;
    let keeper = world.host.keeper();
    let report = keeper.install(version("0.2.0", "")?, None, &admin()).await?;
    ensure!(
        changes(&report)
            .contains(&"hook a: swapped: hooks 0.2.0 instead of hooks 0.1.0".to_owned()),
        "{report:?}"
    );
    keeper.roll_back("hooks", &admin()).await?;
    ensure!(world.runs("a")? == "0.1.0");
    let used = keeper.uninstall("hooks", &admin()).await;
    ensure!(matches!(used, Err(KeeperError::Conflict { .. })), "{used:?}");
    // It asks for more than is granted: the version before goes on.
    let curious =
        version("0.3.0", r#", "http": [{ "host": "crm.example.org", "reason": "To ask." }]"#)?;
    let report = keeper.install(curious, None, &admin()).await?;
    let told = changes(&report).join("\n");
    ensure!(
        told.contains("waiting_for_consent: hooks 0.3.0 asks for http:crm.example.org (To ask.)")
            || told.contains("waiting_for_consent: All hooks 0.3.0"),
        "{told}"
    );
    ensure!(world.runs("a")? == "0.1.0");
    ensure!(world.hook("a")?.waiting.is_some());
    let granted = plain.replace("\"hooks\"", "\"hooks\"\ngrants = [\"http:crm.example.org\"]");
    world.reload(&granted).await?;
    ensure!(world.runs("a")? == "0.3.0" && world.hook("a")?.waiting.is_none());
    world.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_begun_and_ended_and_a_wrong_one_is_refused() -> Result<()> {
    let pinned = "[hooks.instances.a]\nplugin = \"hooks\"\nversion = \"0.1.0\"\n[hooks.router]\norder = [\"a\"]\n";
    let world = World::start(pinned).await?;
    let keeper = world.host.keeper();
    keeper.install(version("0.2.0", "")?, None, &admin()).await?;
    ensure!(world.runs("a")? == "0.1.0", "it is pinned");
    let wish = |version: &str| {
        Some(CanaryConfig { version: version.to_owned(), percent: 10, budgets: Budgets::default() })
    };
    ensure!(keeper.canary("a", wish("9.9.9"), &admin()).await.is_err());
    ensure!(keeper.canary("a", wish("0.1.0"), &admin()).await.is_err(), "it runs already");
    ensure!(matches!(
        keeper.canary("x", wish("0.2.0"), &admin()).await,
        Err(KeeperError::NotFound { .. })
    ));
    let report = keeper.canary("a", wish("0.2.0"), &admin()).await?;
    assert_eq!(changes(&report), ["hook a: swapped: hooks 0.2.0 for 10 % of the calls"]);
    let canary = world.hook("a")?.canary.context("it has one")?;
    assert_eq!((canary.version.as_str(), canary.percent, canary.tally.asked), ("0.2.0", 10, 0));
    let report = keeper.canary("a", None, &admin()).await?;
    assert_eq!(changes(&report), ["hook a: swapped: no hooks 0.2.0 any more"]);
    let of_file = pinned.replace(
        "version = \"0.1.0\"",
        "version = \"0.1.0\"\ncanary = { version = \"0.2.0\", percent = 50 }",
    );
    world.reload(&of_file).await?;
    ensure!(world.hook("a")?.canary.is_some_and(|it| it.percent == 50));
    let owned = keeper.canary("a", None, &admin()).await;
    ensure!(matches!(&owned, Err(KeeperError::OwnedByFile { line: 9, .. })), "{owned:?}");
    let log = keeper.audit(0, 1000)?;
    ensure!(log.iter().any(|it| it.action == "hook.canary" && it.actor == "token admin"));
    world.host.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_in_the_host_is_told_what_happens_and_keeps_its_place() -> Result<()> {
    let world = World::start(
        "[hooks.instances.watch]\nplugin = \"hooks\"\n[hooks.observers]\nrun = [\"watch\"]\n",
    )
    .await?;
    let agent = "[agents.anna]\nname = \"Anna\"\n";
    let hooks =
        "[hooks.instances.watch]\nplugin = \"hooks\"\n[hooks.observers]\nrun = [\"watch\"]\n";
    // An event: somebody is new.
    world.reload(&format!("{hooks}{agent}")).await?;
    let mut committed = world.host.publisher().committed();
    let last = *tokio::time::timeout(Duration::from_secs(60), committed.wait_for(|seq| *seq > 0))
        .await??;
    lab::until(Duration::from_secs(60), "the observer deals with it", async || {
        let figures = world.hook("watch")?.figures;
        let done = figures.lag.cursor >= last && figures.lag.events == 0;
        done.then_some(()).context("not yet")
    })
    .await?;
    assert_eq!(world.hook("watch")?.figures.last_error, None);
    world.host.stop().await;
    Ok(())
}
