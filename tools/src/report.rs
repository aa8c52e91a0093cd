// SPDX-License-Identifier: GPL-2.0
//! Test points and how they add up.

use std::process::ExitCode;

/// Lines shown of a failed test's output.
const SHOWN: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// Not run, and why.
    Skipped(String),
}

#[derive(Clone, Debug)]
pub struct Point {
    pub name: String,
    pub verdict: Verdict,
    /// What is shown if it failed.
    pub output: Vec<String>,
}

impl Point {
    pub fn passed(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verdict: Verdict::Passed,
            output: Vec::new(),
        }
    }

    pub fn failed(name: impl Into<String>, output: &str) -> Self {
        let output = output.lines().map(str::to_owned).collect();
        Self {
            name: name.into(),
            verdict: Verdict::Failed,
            output,
        }
    }

    pub fn skipped(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verdict: Verdict::Skipped(why.into()),
            output: Vec::new(),
        }
    }
}

#[derive(Default)]
pub struct Report {
    points: Vec<Point>,
    /// What is said before the last line.
    note: Option<String>,
}

impl Report {
    /// Adds the points of a group and says in one line how it went.
    pub fn add(&mut self, group: &str, took: &str, points: Vec<Point>) {
        println!("{group}: {} ({took})", count(&points));
        for point in &points {
            match &point.verdict {
                Verdict::Skipped(why) if why.is_empty() => println!("  skipped: {}", point.name),
                Verdict::Skipped(why) => println!("  skipped: {}: {why}", point.name),
                Verdict::Failed => println!("  FAILED: {}", point.name),
                Verdict::Passed => {}
            }
        }
        self.points.extend(points);
    }

    /// Counts groups that nobody asked for as skipped, and names them at the end.
    pub fn left_out(&mut self, why: &str, names: Vec<String>) {
        self.note = Some(format!("{why} leaves out: {}", names.join(", ")));
        let points = names.into_iter().map(|name| Point::skipped(name, why));
        self.points.extend(points);
    }

    /// Shows what failed, with its output, and the last line. Nothing run is a
    /// failure too.
    pub fn finish(self) -> ExitCode {
        let failed: Vec<&Point> = self
            .points
            .iter()
            .filter(|p| p.verdict == Verdict::Failed)
            .collect();
        for point in &failed {
            println!("\n--- {} FAILED", point.name);
            for line in point.output.iter().take(SHOWN) {
                println!("    {line}");
            }
            if let Some(more) = point.output.len().checked_sub(SHOWN).filter(|&n| n > 0) {
                println!("    ... and {more} more lines");
            }
        }
        if !failed.is_empty() {
            println!();
        }
        if let Some(note) = &self.note {
            println!("{note}");
        }
        println!("{}", count(&self.points));
        let ran = self.points.iter().any(|p| p.verdict == Verdict::Passed);
        if failed.is_empty() && ran {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// `3 passed, 0 failed`, and `, 1 skipped` if any was.
pub fn count(points: &[Point]) -> String {
    let of = |f: fn(&Verdict) -> bool| points.iter().filter(|p| f(&p.verdict)).count();
    let passed = of(|v| *v == Verdict::Passed);
    let failed = of(|v| *v == Verdict::Failed);
    match of(|v| matches!(v, Verdict::Skipped(_))) {
        0 => format!("{passed} passed, {failed} failed"),
        skipped => format!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let points = [
            Point::passed("a"),
            Point::failed("b", "x\ny"),
            Point::skipped("c", "no"),
        ];
        assert_eq!(count(&points), "1 passed, 1 failed, 1 skipped");
        assert_eq!(count(&points[..1]), "1 passed, 0 failed");
    }

    #[test]
    fn what_is_left_out_is_skipped_and_named() {
        let mut report = Report::default();
        report.left_out("QUICK=1", vec!["bench".to_owned(), "stress".to_owned()]);
        assert_eq!(count(&report.points), "0 passed, 0 failed, 2 skipped");
        assert_eq!(
            report.note.as_deref(),
            Some("QUICK=1 leaves out: bench, stress")
        );
    }
}
