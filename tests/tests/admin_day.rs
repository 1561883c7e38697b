//! An admin's day as the documentation tells it, typed in against a real host and a real Asterisk: once with nothing
//! but the config file and the shell, once over REST.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "tests tell people what they saw")]

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result};
use jackfield_tests::{
    docs,
    transcript::{Shell, steps},
    world::{own_address, plugins, target, tree},
};
use lab::{ManagerUser, Pbx, PbxConfig, Release};

const SECRET: &str = "a-long-random-secret";
const BOOK: &str = "host/docs/plugins-day.md";

/// What the documentation calls them, and which of the test plugins they are.
const DOWNLOADS: [(&str, &str); 4] = [
    ("asterisk-0.1.0.wasm", "asterisk.wasm"),
    ("asterisk-0.2.2.wasm", "test/asterisk-trap-on.wasm"),
    ("asterisk-0.3.0.wasm", "test/asterisk-after-next.wasm"),
    ("asterisk-0.4.0.wasm", "test/asterisk-curious.wasm"),
];

/// Commands that change nothing: they are typed again until they see what they shall.
const LOOKS: [&str; 4] = [
    "jackfield plugin list",
    "jackfield plugin permissions",
    "look",
    "curl --silent --output /dev/null",
];

#[tokio::test]
async fn a_day_with_the_file_goes_as_written() -> Result<()> {
    day("a day with the file").await
}

#[tokio::test]
async fn a_day_over_rest_goes_as_written() -> Result<()> {
    day("a day over REST").await
}

async fn day(name: &str) -> Result<()> {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        eprintln!("!!! NOT RUN: {name} needs curl");
        return Ok(());
    }
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let account =
        "read = system,call,agent,reporting,dialplan\nwrite = call,agent,reporting\n".to_owned();
    let account =
        ManagerUser { name: "jackfield".to_owned(), secret: SECRET.to_owned(), text: account };
    let folder = tempfile::tempdir()?;
    let config = PbxConfig { managers: vec![account], load_agents: 0, ..PbxConfig::default() };
    let pbx = Pbx::start(&tree, &folder.path().join("pbx"), config).await?;

    let desk = folder.path().join("desk");
    write_desk(&desk, &pbx)?;
    let api = own_address()?;
    let config = docs::named(BOOK, "the host of the day")?;
    fs::write(
        desk.join("jackfield.toml"),
        config.replace("127.0.0.1:8080", &api.to_string()) + "\n",
    )?;
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = [
        ("PATH", format!("{}:{path}", desk.join("bin").display())),
        ("HQ_AMI_SECRET", SECRET.to_owned()),
        ("JACKFIELD_CACHE_DIR", target().join("test-cache").display().to_string()),
        ("JACKFIELD_URL", format!("http://{api}")),
        ("NO_COLOR", "1".to_owned()),
    ];
    let names = [
        ("127.0.0.1:8080", api.to_string()),
        ("127.0.0.1:5038", pbx.ami().to_string()),
        ("/etc/jackfield", desk.canonicalize()?.display().to_string()),
    ];
    let mut shell = Shell::start(&desk, &environment, &names)?;
    let done = async {
        for part in ["the host starts", name] {
            let steps = steps(&docs::named(BOOK, part)?)?;
            shell
                .replay(&steps, |command| LOOKS.iter().any(|look| command.starts_with(look)))
                .await?;
        }
        anyhow::Ok(())
    };
    let done = done.await;
    shell.end();
    let log = fs::read_to_string(desk.join("host.log")).unwrap_or_default();
    println!("the host's log:\n{log}");
    done.with_context(|| format!("{name}; the host's log:\n{log}"))
}

/// A folder as the documentation has it: tools, and what was downloaded.
fn write_desk(desk: &Path, pbx: &Pbx) -> Result<()> {
    for folder in ["bin", "plugins", "downloads"] {
        fs::create_dir_all(desk.join(folder))?;
    }
    let bin = desk.join("bin");
    symlink(env!("CARGO_BIN_EXE_jackfield-under-test"), bin.join("jackfield"))?;
    symlink(pbx.folder().join("asterisk.sh"), bin.join("asterisk"))?;
    for (name, built) in DOWNLOADS {
        let from = plugins()?.join(built);
        fs::copy(&from, desk.join("downloads").join(name))
            .with_context(|| format!("{}: run `cargo xtask plugins`", from.display()))?;
    }
    Ok(())
}
