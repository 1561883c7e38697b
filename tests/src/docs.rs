//! The code blocks of README and documentation, so that tests can do what a reader does.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// One fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The file, from the repository's root.
    pub file: String,
    /// The line of the opening fence, counted from 1.
    pub line: usize,
    /// What stands behind the fence, e.g. `sh`; empty when nothing.
    pub language: String,
    /// The name in a comment `<!-- block: name -->` right above; empty when there is none.
    pub name: String,
    /// What is in it, without the indentation of the fence.
    pub text: String,
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All blocks of README.md and host/docs, in order.
pub fn all() -> Result<Vec<Block>> {
    let mut files = vec!["README.md".to_owned()];
    let mut docs: Vec<String> = fs::read_dir(root().join("host/docs"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("host/docs/{name}"))
        .collect();
    docs.sort();
    files.extend(docs);
    let mut blocks = Vec::new();
    for file in files {
        let text = fs::read_to_string(root().join(&file)).with_context(|| file.clone())?;
        blocks.extend(blocks_of(&file, &text));
    }
    Ok(blocks)
}

/// The text of the block with this name.
pub fn named(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(root().join(file)).with_context(|| file.to_owned())?;
    let block = blocks_of(file, &text).into_iter().find(|block| block.name == name);
    Ok(block.with_context(|| format!("{file} has no block <!-- block: {name} -->"))?.text)
}

fn blocks_of(file: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut name = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let inside: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line.get(indent.min(line.len())..).unwrap_or_default())
                .take_while(|line| !line.starts_with("```"))
                .collect();
            blocks.push(Block {
                file: file.to_owned(),
                line: index + 1,
                language: language.trim().to_owned(),
                name: std::mem::take(&mut name),
                text: inside.join("\n"),
            });
        } else if let Some(comment) = line.trim().strip_prefix("<!-- block: ") {
            name = comment.trim_end_matches("-->").trim().to_owned();
        } else if !line.trim().is_empty() {
            name.clear();
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lose_their_indentation_and_keep_their_name() {
        let text = "<!-- block: one -->\n\n   ```ini\n   [a]\n     b\n   ```\ntext\n```\nx\n```\n";
        let blocks = blocks_of("f", text);
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].name.as_str(), blocks[0].language.as_str()), ("one", "ini"));
        assert_eq!((blocks[0].line, blocks[0].text.as_str()), (3, "[a]\n  b"));
        assert_eq!((blocks[1].name.as_str(), blocks[1].text.as_str()), ("", "x"));
    }
}
