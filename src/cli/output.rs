//! Words and numbers for people, and JSON for scripts.

use super::failure::Failure;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use std::io::Write;

/// Writes a line to standard output. A reader that went away is no error.
pub(crate) fn line(text: &str) {
    _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes a line to standard error.
pub(crate) fn message(text: &str) {
    _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes one JSON document to standard output.
pub(crate) fn json(document: &impl Serialize) {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"));
    text.push('\n');
    _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Writes the JSON document of a command that did not work.
pub(crate) fn failure(failure: &Failure) {
    let Failure { status, message, hint } = failure;
    json(&serde_json::json!({ "error": message, "hint": hint, "status": status }));
}

/// Bytes as a person reads them: `1.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count with its noun: `1 pack`, `2 packs`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A table with a heading; columns named in `right` are aligned to the right.
pub(crate) fn table(heading: &[&str], right: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heading);
    for row in rows {
        table.add_row(row);
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        let shown = [0, 1023, 1024, 1536, 1_048_575, 1_048_576, 1 << 40, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "1.0 TiB", "16.0 EiB"]);
    }
}
