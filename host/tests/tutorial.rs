//! "Your first connector in 30 minutes", as it is written: its commands are run, its changes made, and what comes of them
//! is the example.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const TUTORIAL: &str = include_str!("../crates/kit/docs/tutorial.md");

#[test]
fn the_tutorial_does_what_it_says_and_ends_in_the_example() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = Reader { folder: folder.path().to_owned() };
    let mut commands = 0;
    for (language, block) in blocks(TUTORIAL) {
        match language {
            "console" => commands += reader.console(block),
            "diff" => reader.patch(block),
            other => panic!("what is a block of `{other}`?"),
        }
    }
    assert!(commands > 8, "only {commands} commands were found");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bellboard");
    for file in ["plugin.toml", "settings.schema.json", "src/lib.rs", "scenarios/calls.toml"] {
        let [here, there] = [reader.folder.join(file), example.join(file)];
        let [here, there] = [here, there].map(|file| fs::read_to_string(file).unwrap());
        assert_eq!(here, there, "{file}");
    }
}

/// Somebody who does what is written.
struct Reader {
    folder: PathBuf,
}

impl Reader {
    /// Runs each `$ command`; the lines below it must be in its output, in order, `…` standing for anything.
    fn console(&mut self, block: &str) -> usize {
        let commands: Vec<&str> =
            block.split("$ ").filter(|part| !part.trim().is_empty()).collect();
        for part in &commands {
            let (command, expected) = part.split_once('\n').unwrap_or((part, ""));
            if let Some(folder) = command.strip_prefix("cd ") {
                self.folder.push(folder);
                continue;
            }
            let said = self.run(command);
            let mut rest = said.as_str();
            for line in expected.lines().filter(|line| !line.is_empty()) {
                for piece in line.split('…') {
                    let Some(at) = rest.find(piece) else {
                        panic!("$ {command}: no `{piece}` in\n{said}");
                    };
                    rest = &rest[at + piece.len()..];
                }
            }
        }
        commands.len()
    }

    fn run(&self, command: &str) -> String {
        let binary = Path::new(env!("CARGO_BIN_EXE_jackfield"));
        let debug = binary.parent().expect("it is in a folder");
        let path = env::var_os("PATH").unwrap_or_default();
        let path =
            env::join_paths(std::iter::once(debug.to_owned()).chain(env::split_paths(&path)))
                .unwrap();
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(&self.folder)
            .env("PATH", path)
            .env("CARGO_TARGET_DIR", debug.parent().unwrap().join("test-cache"))
            .output()
            .unwrap();
        let [out, err] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(output.status.success(), "$ {command}\n{out}{err}");
        out.into_owned()
    }

    fn patch(&self, diff: &str) {
        let mut git = Command::new("git")
            .args(["apply", "--recount", "-"])
            .current_dir(&self.folder)
            // The folder lies in no repository, wherever temporary folders are.
            .env("GIT_CEILING_DIRECTORIES", env::temp_dir())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        git.stdin.take().unwrap().write_all(diff.as_bytes()).unwrap();
        assert!(git.wait().unwrap().success(), "this does not fit:\n{diff}");
    }
}

/// Language and text of each fenced block.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (language, body) = after.split_once('\n').expect("a block has lines");
        let (block, after) = body.split_once("\n```").expect("a block ends");
        // With its last line feed: a diff needs it.
        blocks.push((language, &body[..=block.len()]));
        rest = after;
    }
    blocks
}
