//! Reads the chapters: their fenced blocks, and their tables.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the chapters lie.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-spec")
}

/// Every chapter by its name without `.md`.
pub(crate) fn chapters() -> BTreeMap<String, String> {
    let mut chapters = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).expect("format-spec is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let name = name.strip_suffix(".md").unwrap_or_else(|| panic!("{name} is no chapter")).to_owned();
        chapters.insert(name, std::fs::read_to_string(&path).expect("a chapter"));
    }
    chapters
}

/// A fenced block that has a name: ```` ```hex name=config-example ````.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) name: String,
    pub(crate) lines: Vec<String>,
}

impl Block {
    /// The bytes of a hex dump. Each line: the offset in hex, two spaces, bytes, and a comment behind `#`.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            let dump = line.split('#').next().unwrap_or_default();
            let mut words = dump.split_whitespace();
            let offset = words.next().and_then(|word| usize::from_str_radix(word, 16).ok());
            assert_eq!(offset, Some(bytes.len()), "{}: the offset of the line `{line}`", self.name);
            for word in words {
                assert_eq!(word.len(), 2, "{}: `{word}`", self.name);
                bytes.push(u8::from_str_radix(word, 16).unwrap_or_else(|_| panic!("{}: `{word}`", self.name)));
            }
        }
        bytes
    }
}

/// The named blocks of a chapter.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(opening) = line.strip_prefix("```") else { continue };
        let inner = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
        if let Some((language, name)) = opening.split_once(" name=") {
            blocks.push(Block { language: language.to_owned(), name: name.to_owned(), lines: inner });
        }
    }
    blocks
}

/// Every table whose heading cells begin with `heading`, as rows of cells.
pub(crate) fn tables(text: &str, heading: &[&str]) -> Vec<Vec<Vec<String>>> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
    };
    let mut tables = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(first) = cells(line) else { continue };
        if !first.iter().map(String::as_str).take(heading.len()).eq(heading.iter().copied()) {
            continue;
        }
        let rule = lines.next().unwrap_or_default();
        assert!(rule.starts_with("|-"), "a rule follows a heading: {rule}");
        tables.push(lines.by_ref().map_while(cells).collect());
    }
    tables
}
