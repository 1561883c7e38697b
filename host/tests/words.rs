//! Every `jackfield ...` that a page or a message tells people to type is a command there is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::error::ErrorKind;
use jackfield::cli;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files with this ending, below this folder of the repository, with their names.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    const MADE: [&str; 5] = ["target", "node_modules", ".git", "build", "vendor"];
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                if !MADE.iter().any(|made| name == *made) {
                    folders.push(path);
                }
            } else if path.to_string_lossy().ends_with(ending) {
                let inner = path.strip_prefix(root()).expect("it is below").display().to_string();
                found.push((inner, fs::read_to_string(&path).expect("text")));
            }
        }
    }
    found.sort();
    found
}

/// What the command line says against it; nothing when it is a command there is.
fn complaint(words: &[String], is_whole: bool) -> Option<String> {
    let error = cli::command().try_get_matches_from(words).err()?;
    let is_short = matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // In a sentence a command may be named without all that it needs.
    if is_help || (is_short && !is_whole) { None } else { Some(error.to_string()) }
}

/// The commands in a line of shell: each `jackfield` where a command stands, with its words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("jackfield ") {
        let before = line[..at].trim_end();
        let last = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        let begins = before.is_empty()
            || before.ends_with(['$', '(', '|', ';', '&'])
            || ["sudo", "exec", "then", "do", "!"].contains(&last)
            || (last.contains('=') && !before.ends_with('='));
        let touches = !line[..at].is_empty() && line[..at] == *before && !before.ends_with('(');
        if begins && !touches {
            found.push(words(&line[at..]));
        }
    }
    found
}

/// The words of one command, up to where the shell ends it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | '<' | ';' | '&' | ')') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What stands between backquotes in a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The blocks of a page, with their languages, and the page without them.
fn blocks(page: &str) -> (Vec<(String, String)>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        match line.trim_start().strip_prefix("```") {
            Some(language) => {
                let inside: Vec<&str> = lines
                    .by_ref()
                    .take_while(|line| !line.trim_start().starts_with("```"))
                    .collect();
                blocks.push((language.trim().to_owned(), inside.join("\n")));
            }
            None => prose = prose + line + "\n",
        }
    }
    (blocks, prose)
}

#[test]
fn every_command_on_every_page_is_one_there_is() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (file, page) in files(".", ".md") {
        let page = page.replace("\\\n", " ");
        let (blocks, prose) = blocks(&page);
        let shells =
            blocks.iter().filter(|(language, _)| ["", "sh", "console"].contains(&&**language));
        let whole = shells
            .flat_map(|(_, text)| text.lines())
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(commands)
            .map(|words| (words, true));
        let named = spans(&prose).flat_map(commands).map(|words| (words, false));
        for (words, is_whole) in whole.chain(named) {
            tried += 1;
            if let Some(complaint) = complaint(&words, is_whole) {
                wrong.push(format!("{file}: {}\n{complaint}", words.join(" ")));
            }
        }
    }
    assert!(tried > 150, "only {tried} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_in_a_message_is_one_there_is() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (file, source) in
        files("host/src", ".rs").into_iter().chain(files("host/crates/kit/src", ".rs"))
    {
        for line in source.replace("\\\n", " ").replace("\\\"", "\"").lines() {
            for words in spans(line).flat_map(commands) {
                tried += 1;
                if let Some(complaint) = complaint(&words, false) {
                    wrong.push(format!("{file}: {}\n{complaint}", words.join(" ")));
                }
            }
        }
    }
    assert!(tried > 20, "only {tried} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_toml_and_json_on_every_page_can_be_read() {
    let mut tried = 0;
    for (file, page) in files(".", ".md") {
        for (language, text) in blocks(&page).0 {
            let problem = match language.as_str() {
                "toml" => text.parse::<toml::Table>().err().map(|error| error.to_string()),
                "json" => serde_json::from_str::<serde_json::Value>(&text)
                    .err()
                    .map(|error| error.to_string()),
                _ => continue,
            };
            tried += 1;
            assert_eq!(problem, None, "{file}:\n{text}");
        }
    }
    assert!(tried > 20, "only {tried} blocks were found");
}

#[test]
fn commands_are_found_where_a_shell_would_run_them() {
    let found = |line: &str| -> Vec<String> {
        commands(line).into_iter().map(|words| words.join(" ")).collect()
    };
    for (line, expected) in [
        ("jackfield check  # what is wrong", &["jackfield check"][..]),
        ("$ jackfield plugin build", &["jackfield plugin build"]),
        (
            "TOKEN=$(jackfield token create a --scope read)",
            &["jackfield token create a --scope read"],
        ),
        (
            "cd a && jackfield check --config 'a b.toml' | less",
            &["jackfield check --config a b.toml"],
        ),
        (
            "JACKFIELD_TOKEN=x jackfield reload; jackfield check",
            &["jackfield reload", "jackfield check"],
        ),
        ("sudo useradd --system jackfield --shell x", &[]),
        ("install target/release/jackfield /usr/local/bin", &[]),
    ] {
        assert_eq!(found(line), expected, "{line}");
    }
    assert!(complaint(&words("jackfield plugin bild"), false).is_some());
    assert!(complaint(&words("jackfield plugin new x"), true).is_some());
    assert_eq!(complaint(&words("jackfield plugin new x"), false), None);
}
