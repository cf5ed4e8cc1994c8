//! The README as a list of what happens: headings and prose, and sessions of commands with what they print.
//!
//! Always true here:
//! - A fence is a `console` block or an error: there is no command on the page that this does not see.
//! - Two lines are the same when they are so without ids, moments and durations, and with sizes and counts of chunks
//!   that are nearly equal: the tables of a snapshot have random bytes in them, and are not cut and packed alike twice.

/// Sizes that differ by this share are nearly equal.
const NEAR: f64 = 0.1;

/// A part of the page.
#[derive(Debug)]
pub(crate) enum Part {
    /// A line outside of a block.
    Prose(String),
    /// Commands, each with the lines that it prints.
    Session(Vec<Step>),
}

/// A command and what it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) output: Vec<String>,
}

/// Reads a page.
///
/// # Errors
/// A sentence that names the line.
pub(crate) fn parse(page: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut lines = page.lines().enumerate().map(|(index, line)| (index + 1, line));
    while let Some((number, line)) = lines.next() {
        if !line.trim_start().starts_with("```") {
            parts.push(Part::Prose(line.to_owned()));
            continue;
        }
        if line != "```console" {
            return Err(format!("line {number}: `{line}`: commands stand in ```console blocks"));
        }
        let mut steps: Vec<Step> = Vec::new();
        loop {
            let (at, line) = lines.next().ok_or_else(|| format!("line {number}: the block has no end"))?;
            if line == "```" {
                break;
            }
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { line: at, command: command.to_owned(), output: Vec::new() });
                }
                (None, Some(step)) => step.output.push(line.to_owned()),
                (None, None) => return Err(format!("line {at}: output without a command before it")),
            }
        }
        parts.push(Part::Session(steps));
    }
    Ok(parts)
}

/// Texts in single backquotes of a line of prose.
pub(crate) fn code(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// Targets of links in a line of prose.
pub(crate) fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// A line without what differs from run to run: ids, moments, durations, process ids, and the width of columns.
pub(crate) fn mask(line: &str) -> String {
    let plain: Vec<&str> = line.split_whitespace().collect();
    let before = |index: usize| index.checked_sub(1).map_or("", |before| plain[before]);
    let words: Vec<String> = plain.iter().enumerate().map(|(index, word)| mask_word(word, before(index))).collect();
    let mut masked = words.join(" ");
    // A duration is a number before ` s`, or the value of "seconds".
    for (index, word) in words.iter().enumerate() {
        let unit = word.trim_end_matches(['.', ';', ',']);
        if unit == "s" && index > 0 && words[index - 1].parse::<f64>().is_ok() {
            masked = masked.replacen(&format!(" {} {word}", words[index - 1]), &format!(" SECONDS {word}"), 1);
        }
        if word == "\"seconds\":" {
            masked = "\"seconds\": SECONDS".to_owned();
        }
    }
    masked
}

/// True when two outputs say the same.
pub(crate) fn same(shown: &[String], found: &[String]) -> bool {
    shown.len() == found.len() && shown.iter().zip(found).all(|(shown, found)| same_line(&mask(shown), &mask(found)))
}

fn same_line(shown: &str, found: &str) -> bool {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (shown, found) = (words(shown), words(found));
    let near = |index: usize| {
        let unit = shown.get(index + 1).map(|unit| unit.trim_end_matches(['.', ';', ',']));
        match (shown[index].parse::<f64>(), found[index].parse::<f64>()) {
            (Ok(one), Ok(other)) => {
                unit.is_some_and(|unit| ["B", "KiB", "MiB", "chunks"].contains(&unit))
                    && (one - other).abs() <= NEAR * one.max(other)
            }
            _ => false,
        }
    };
    shown.len() == found.len() && (0..shown.len()).all(|index| shown[index] == found[index] || near(index))
}

fn mask_word(word: &str, before: &str) -> String {
    // A key on paper is another one each time.
    if word.starts_with("SHEAF-KEY-") {
        return "KEY".to_owned();
    }
    let is = |word: &str, form: &str| {
        word.len() == form.len()
            && word.bytes().zip(form.bytes()).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    if is(word, "0000-00-00") || is(word, "00:00") {
        return "TIME".to_owned();
    }
    let mut masked = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|one: char| !one.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        let is_hex = run.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_id = [8, 32, 64].contains(&run.len()) && is_hex && !is_count(word, before, run);
        let is_process = masked.ends_with("sheaf-demo-");
        masked.push_str(match (is_id, is_process) {
            (true, _) => "ID",
            (_, true) => "PROCESS",
            _ => run,
        });
        let mark = behind.chars().next().map_or(0, char::len_utf8);
        masked.push_str(&behind[..mark]);
        rest = &behind[mark..];
    }
    masked
}

/// A number in JSON may have eight digits and be no id: it has no quotes, and stands behind the name of a field.
fn is_count(word: &str, before: &str, run: &str) -> bool {
    run.bytes().all(|byte| byte.is_ascii_digit()) && word.trim_end_matches(',') == run && before.ends_with("\":")
}
