//! Transcripts in the documentation: what a reader types into a shell and what it answers, done again and compared.
//!
//! A line with `$ ` is typed, and those with `> ` after it; the others are the answer. Hashes, durations and the
//! widths of columns differ between machines and are not compared.

use std::{ffi::OsStr, fmt::Write, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// For one command: an install compiles.
const PATIENCE: Duration = Duration::from_secs(200);
/// For what happens by itself.
const SOON: Duration = Duration::from_secs(60);

/// A command and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// As typed, perhaps of several lines.
    pub command: String,
    /// As printed.
    pub answer: String,
}

/// Takes a transcript apart.
pub fn steps(text: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), answer: String::new() });
            continue;
        }
        let step = steps.last_mut().context("a transcript begins with `$ `")?;
        match line.strip_prefix('>') {
            Some(more) if step.answer.is_empty() => {
                let _ = write!(step.command, "\n{}", more.strip_prefix(' ').unwrap_or(more));
            }
            _ => {
                let _ = writeln!(step.answer, "{line}");
            }
        }
    }
    Ok(steps)
}

/// A shell that things are typed into.
#[derive(Debug)]
pub struct Shell {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// What the transcript calls something, and what it is here.
    names: Vec<(String, String)>,
}

impl Shell {
    /// Starts one in this folder. Texts of `names` are replaced when typed, and back when printed.
    pub fn start<V: AsRef<OsStr>>(
        folder: &Path,
        environment: &[(&str, V)],
        names: &[(&str, String)],
    ) -> Result<Shell> {
        let mut command = Command::new("sh");
        for (name, value) in environment {
            command.env(name, value);
        }
        let mut process = command
            .current_dir(folder)
            // What stands in the transcript is all that counts.
            .env_remove("JACKFIELD_PLUGINS_DIR")
            .env_remove("JACKFIELD_CONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a shell")?;
        let stdin = process.stdin.take().context("piped")?;
        let stdout = BufReader::new(process.stdout.take().context("piped")?);
        let names = names.iter().map(|(name, here)| ((*name).to_owned(), here.clone())).collect();
        Ok(Shell { process, stdin, stdout, names })
    }

    /// What a command prints, errors included.
    pub async fn type_in(&mut self, command: &str) -> Result<String> {
        const END: &str = "---- the end of the answer ----";
        let command = self
            .names
            .iter()
            .fold(command.to_owned(), |text, (name, here)| text.replace(name, here));
        let lines = format!("{{ {command}\n}} 2>&1 </dev/null\necho; echo '{END}'\n");
        self.stdin.write_all(lines.as_bytes()).await?;
        let mut answer = String::new();
        let read = async {
            loop {
                let mut line = String::new();
                if self.stdout.read_line(&mut line).await? == 0 {
                    bail!("the shell ended");
                }
                if line.trim_end() == END {
                    return Ok(());
                }
                answer += &line;
            }
        };
        let ended = timeout(PATIENCE, read).await;
        ended.with_context(|| format!("{command}: does not end"))??;
        let named = |text: String, (name, here): &(String, String)| text.replace(here, name);
        Ok(self.names.iter().fold(answer, named).trim_end().to_owned())
    }

    /// Types a whole transcript in. What `looks` says that it only looks is typed again until it sees what it
    /// shall see; everything else once. With `TRANSCRIPT=show` in the environment nothing is compared, and
    /// what was said is printed: for whoever writes a transcript.
    pub async fn replay(&mut self, steps: &[Step], looks: impl Fn(&str) -> bool) -> Result<()> {
        let shows = std::env::var("TRANSCRIPT").is_ok_and(|word| word == "show");
        let soon = if shows { Duration::from_secs(6) } else { SOON };
        let mut so_far = String::new();
        for step in steps {
            let expected = comparable(&step.answer);
            let answer = if looks(&step.command) {
                let look = async || {
                    let answer =
                        self.type_in(&step.command).await.map_err(|error| format!("{error:#}"))?;
                    if comparable(&answer) == expected { Ok(answer) } else { Err(answer) }
                };
                lab::until(soon, &step.command, look).await.map_err(|late| late.last)
            } else {
                let answer = self.type_in(&step.command).await?;
                if comparable(&answer) == expected { Ok(answer) } else { Err(answer) }
            };
            let answer = answer.unwrap_or_else(|answer| answer);
            let typed = step.command.replace('\n', "\n> ");
            let _ = match answer.as_str() {
                "" => writeln!(so_far, "$ {typed}"),
                answer => writeln!(so_far, "$ {typed}\n{answer}"),
            };
            if shows {
                continue;
            }
            ensure!(
                comparable(&answer) == expected,
                "the last answer should read\n{}\nwhat was typed, and what it said:\n{so_far}",
                step.answer
            );
        }
        if shows {
            println!("{so_far}");
        }
        Ok(())
    }

    /// Ends it with everything it has started.
    pub fn end(self) {
        if let Some(group) = self.process.id() {
            let _ = std::process::Command::new("kill")
                .args(["-KILL", "--", &format!("-{group}")])
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// A text without what is different each time.
fn comparable(text: &str) -> String {
    const DIFFERENT: [(&str, &str); 4] = [
        (r"20\d\d-\d\d-\d\dT[0-9:.]+Z?", "TIME"),
        (r"\b[0-9a-f]{8,64}\b", "HASH"),
        (r"\d+ µs", "DURATION"),
        (r"[ \t]+", " "),
    ];
    let text = DIFFERENT.iter().fold(text.to_owned(), |text, (pattern, standing)| {
        let pattern = regex_lite::Regex::new(pattern).expect("written a few lines up");
        pattern.replace_all(&text, *standing).into_owned()
    });
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_commands_with_their_answers() {
        let text = "$ cat > a <<'END'\n> [x]\n>\n> y = 1\n> END\n$ cat a\n[x]\n\n> y\n$ true\n";
        let steps = steps(text).expect("a transcript");
        let typed: Vec<&str> = steps.iter().map(|step| step.command.as_str()).collect();
        assert_eq!(typed, ["cat > a <<'END'\n[x]\n\ny = 1\nEND", "cat a", "true"]);
        assert_eq!(steps[1].answer, "[x]\n\n> y\n");
        assert!(super::steps("no command").is_err());
    }

    #[test]
    fn what_differs_each_time_is_not_compared() {
        let same = [
            ("swapped, in 85 µs", "swapped,  in 1234 µs"),
            ("version 0.1.0, 0123456789ab", "version 0.1.0, abcdef012345"),
            ("at 2026-11-22T01:00:00Z", "at 2027-01-01T00:00:00Z"),
        ];
        for (one, other) in same {
            assert_eq!(comparable(one), comparable(other));
        }
        assert_ne!(comparable("0.1.0"), comparable("0.2.0"));
        assert_ne!(comparable("hq connected"), comparable("hq down"));
    }

    #[tokio::test]
    async fn a_shell_keeps_what_was_set_in_it() {
        let folder = std::env::temp_dir();
        let names = [("127.0.0.1:8080", "127.9.9.9:1".to_owned())];
        let mut shell = Shell::start(&folder, &[("A", "b")], &names).expect("a shell");
        assert_eq!(shell.type_in("X=$A; echo 1 >&2").await.expect("typed"), "1");
        assert_eq!(
            shell.type_in("echo $X at 127.0.0.1:8080").await.expect("typed"),
            "b at 127.0.0.1:8080"
        );
        assert_eq!(shell.type_in("cat <<'END'\na\nEND").await.expect("typed"), "a");
        shell.end();
    }
}
