//! How things are shown: tables, lines, progress. Standard output for results, standard error for the rest.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Mutex,
};

use comfy_table::{ContentArrangement, Table, presets};

use crate::progress::Progress;

/// Prints a line on standard output. A closed pipe ends quietly.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", harmless(text.trim_end()));
}

/// Without what would steer the terminal: texts of tenants and names out of CloudStack are shown too.
fn harmless(text: &str) -> std::borrow::Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(steers) { text.replace(steers, "\u{fffd}").into() } else { text.into() }
}

/// Prints a text as it is on standard output.
pub fn text(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints an error on standard error.
pub fn error(text: &str) {
    let _ = writeln!(std::io::stderr(), "bursar: {}", harmless(text));
}

/// A table for people.
pub fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return "(none)".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(160);
    }
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}

/// Shows how far long work is: a line that moves on a terminal, one JSON line a step otherwise.
pub struct Shown {
    bar: Option<indicatif::ProgressBar>,
    last: Mutex<(String, u64)>,
}

impl Shown {
    /// Progress on standard error.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = indicatif::ProgressBar::new_spinner();
            bar.enable_steady_tick(std::time::Duration::from_millis(120));
            bar
        });
        Self { bar, last: Mutex::new((String::new(), 0)) }
    }
}

/// A JSON line is written at most every so many units of work.
const LINE_EVERY: u64 = 5_000;

impl Progress for Shown {
    fn step(&self, what: &str, done: u64, total: Option<u64>) {
        if let Some(bar) = &self.bar {
            let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
            bar.set_message(format!("{done}{of} {what}"));
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.0 == what && done.saturating_sub(last.1) < LINE_EVERY {
            return;
        }
        *last = (what.to_owned(), done);
        let _ = writeln!(std::io::stderr(), "{}", serde_json::json!({ "step": what, "done": done, "total": total }));
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
