//! Progress for people and scripts: bars on a terminal, a plain line now and then without one, JSON lines with `--json`.

use super::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sheaf::ops::monitor::{Advance, Monitor, Phase};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    None,
    Bar,
    Lines,
    Json,
}

/// Without a terminal, a line each time this long has passed.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// With `--json`, a line each time this long has passed.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// Shows what a verb is doing.
pub(crate) struct Progress {
    style: Style,
    state: Mutex<State>,
    new: AtomicU64,
    known: AtomicU64,
    warnings: AtomicU64,
}

struct State {
    phase: Phase,
    total: Option<u64>,
    done: u64,
    bar: ProgressBar,
    began: Instant,
    shown: Instant,
}

impl Progress {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let style = match (quiet, json) {
            (true, _) => Style::None,
            (_, true) => Style::Json,
            _ if std::io::stderr().is_terminal() => Style::Bar,
            _ => Style::Lines,
        };
        let now = Instant::now();
        let state = State {
            phase: Phase::Index,
            total: None,
            done: 0,
            bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
            began: now,
            shown: now,
        };
        let zero = || AtomicU64::new(0);
        Self { style, state: Mutex::new(state), new: zero(), known: zero(), warnings: zero() }
    }

    /// Removes what is drawn.
    pub(crate) fn end(&self) {
        if let Ok(state) = self.state.lock() {
            state.bar.finish_and_clear();
        }
    }

    fn split(&self) -> String {
        let (new, known) = (self.new.load(Ordering::Relaxed), self.known.load(Ordering::Relaxed));
        if new + known == 0 {
            return String::new();
        }
        format!("{} new, {} known", output::bytes(new), output::bytes(known))
    }

    fn show(&self, state: &mut State) {
        let every = match self.style {
            Style::None | Style::Bar => return,
            Style::Lines => LINE_EVERY,
            Style::Json => JSON_EVERY,
        };
        if state.shown.elapsed() < every {
            return;
        }
        state.shown = Instant::now();
        let seconds = state.began.elapsed().as_secs_f64().max(0.001);
        let rate = state.done as f64 / seconds;
        if self.style == Style::Json {
            let line = serde_json::json!({
                "progress": name(state.phase),
                "done": state.done,
                "total": state.total,
                "new": self.new.load(Ordering::Relaxed),
                "known": self.known.load(Ordering::Relaxed),
                "seconds": seconds,
            });
            output::message(&line.to_string());
        } else if counts_bytes(state.phase) {
            let total = state.total.map_or_else(String::new, |total| format!(" of {}", output::bytes(total)));
            let left = state.total.map_or_else(String::new, |total| {
                format!(", {:.0} s left", total.saturating_sub(state.done) as f64 / rate.max(1.0))
            });
            let done = output::bytes(state.done);
            let split = self.split();
            let split = if split.is_empty() { split } else { format!(", {split}") };
            output::message(&format!(
                "{}: {done}{total}, {}/s{left}{split}",
                title(state.phase),
                output::bytes(rate as u64)
            ));
        } else {
            output::message(&format!("{}: {}", title(state.phase), state.done));
        }
    }
}

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Index => "index",
        Phase::Backup => "backup",
        Phase::Commit => "commit",
        Phase::Restore => "restore",
        Phase::Verify => "verify",
        Phase::Prune => "prune",
        Phase::CheckStructure => "check-structure",
        Phase::CheckData => "check-data",
        Phase::CheckParity => "check-parity",
        Phase::Extract => "extract",
        Phase::Copy => "copy",
        Phase::Search => "search",
        Phase::Repair => "repair",
        _ => "work",
    }
}

const fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Index => "Reading the index",
        Phase::Backup => "Backing up",
        Phase::Commit => "Storing",
        Phase::Restore => "Restoring",
        Phase::Verify => "Reading back",
        Phase::Prune => "Pruning",
        Phase::CheckStructure => "Checking snapshots",
        Phase::CheckData => "Reading packs",
        Phase::CheckParity => "Reading parity",
        Phase::Extract => "Extracting",
        Phase::Copy => "Copying",
        Phase::Search => "Looking for missing chunks",
        Phase::Repair => "Repairing",
        _ => "Working",
    }
}

const fn counts_bytes(phase: Phase) -> bool {
    use Phase::{Backup, CheckData, CheckParity, Copy, Extract, Prune, Restore, Search, Verify};
    matches!(phase, Backup | Restore | Verify | CheckData | CheckParity | Extract | Copy | Search | Prune)
}

fn bar(phase: Phase, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
    let template = match (counts_bytes(phase), total) {
        (true, Some(_)) => "{prefix} {bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left  {msg}",
        (false, Some(_)) => "{prefix} {bar:30} {pos} of {len}",
        _ => "{prefix} {spinner}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(title(phase))
}

impl Monitor for Progress {
    fn begin(&self, phase: Phase, total: Option<u64>) {
        let Ok(mut state) = self.state.lock() else { return };
        state.bar.finish_and_clear();
        let now = Instant::now();
        (state.phase, state.total, state.done, state.began, state.shown) = (phase, total, 0, now, now);
        if self.style == Style::Bar {
            state.bar = bar(phase, total);
        }
    }

    fn advance(&self, advance: Advance) {
        self.new.fetch_add(advance.new, Ordering::Relaxed);
        self.known.fetch_add(advance.known, Ordering::Relaxed);
        let Ok(mut state) = self.state.lock() else { return };
        state.done += advance.bytes;
        if self.style == Style::Bar {
            state.bar.inc(advance.bytes);
            state.bar.set_message(self.split());
        }
        self.show(&mut state);
    }

    fn warn(&self, text: &str) {
        self.warnings.fetch_add(1, Ordering::Relaxed);
        if self.style == Style::Json {
            output::message(&serde_json::json!({ "warning": text }).to_string());
        } else if let Ok(state) = self.state.lock() {
            state.bar.suspend(|| output::message(&format!("warning: {text}")));
        }
    }
}
