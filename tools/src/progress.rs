// SPDX-License-Identifier: GPL-2.0
//! Shows what is being done, how much of it is done, and how long it has taken: as a bar on a
//! terminal, else as plain lines. All goes to stderr.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The least time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// A long piece of work. If the value is dropped without `done`, the work has failed.
pub struct Step {
    label: String,
    start: Instant,
    total: u64,
    at: Cell<u64>,
    last_line: Cell<Instant>,
    bar: Option<ProgressBar>,
    ended: Cell<bool>,
}

impl Step {
    /// Begins. `total` is in the unit that `advance` counts; 0 means unknown.
    pub fn start(label: impl Into<String>, total: u64) -> Self {
        let label = label.into();
        let bar = if std::io::stderr().is_terminal() {
            Some(bar(&label, total))
        } else {
            eprintln!("{label} ...");
            None
        };
        let now = Instant::now();
        Self {
            label,
            start: now,
            total,
            at: Cell::new(0),
            last_line: Cell::new(now),
            bar,
            ended: Cell::new(false),
        }
    }

    pub fn advance(&self, by: u64) {
        let at = self.at.get() + by;
        self.at.set(at);
        match &self.bar {
            // The total may be an estimate that is too small: never show more than 100%.
            Some(bar) if self.total > 0 => bar.set_position(at.min(self.total)),
            Some(bar) => bar.tick(),
            None => self.line(),
        }
    }

    /// Names what is being done now. Only a terminal shows it.
    pub fn message(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.chars().take(40).collect::<String>());
        }
    }

    fn line(&self) {
        if self.last_line.get().elapsed() < LINE_EVERY {
            return;
        }
        self.last_line.set(Instant::now());
        let took = human(self.start.elapsed());
        match percent(self.at.get(), self.total) {
            Some(p) => eprintln!("{} ... {p}% after {took}", self.label),
            None => eprintln!("{} ... still going after {took}", self.label),
        }
    }

    pub fn count(&self) -> u64 {
        self.at.get()
    }

    pub fn done(self) {
        self.end(&format!("done in {}", human(self.start.elapsed())));
    }

    fn end(&self, how: &str) {
        self.ended.set(true);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{}: {how}", self.label);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended.get() {
            self.end(&format!("FAILED after {}", human(self.start.elapsed())));
        }
    }
}

fn bar(label: &str, total: u64) -> ProgressBar {
    let (bar, template) = if total > 0 {
        (
            ProgressBar::new(total),
            "{prefix} [{bar:30}] {percent}% {elapsed_precise} {msg}",
        )
    } else {
        (
            ProgressBar::new_spinner(),
            "{prefix} {spinner} {elapsed_precise} {msg}",
        )
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn percent(at: u64, total: u64) -> Option<u64> {
    (total > 0).then(|| (at.min(total) * 100 / total).min(99))
}

/// `0.4 s`, `12 s`, `3:07`.
pub fn human(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=99 => format!("{seconds} s"),
        _ => format!("{}:{:02} min", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(human(Duration::from_millis(420)), "0.4 s");
        assert_eq!(human(Duration::from_secs(42)), "42 s");
        assert_eq!(human(Duration::from_secs(187)), "3:07 min");
    }

    #[test]
    fn an_estimate_that_is_short_stays_below_all() {
        assert_eq!(percent(5, 10), Some(50));
        assert_eq!(percent(20, 10), Some(99));
        assert_eq!(percent(1, 0), None);
    }
}
