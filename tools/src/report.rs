// SPDX-License-Identifier: GPL-2.0
//! Test results and how they add up.

use std::process::ExitCode;

/// The end of the name of the result for a guest itself.
pub const QUIET: &str = "the guest ends well and its kernel is quiet";

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
pub struct TestResult {
    pub name: String,
    pub verdict: Verdict,
    /// Lines that are shown if the test failed.
    pub output: Vec<String>,
}

impl TestResult {
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
    results: Vec<TestResult>,
    /// The line before the last.
    note: Option<String>,
}

impl Report {
    /// Adds the results of a group and prints a line with their numbers.
    pub fn add(&mut self, group: &str, took: &str, results: Vec<TestResult>) {
        println!("{group}: {} ({took})", count(&results));
        for result in &results {
            match &result.verdict {
                Verdict::Skipped(why) if why.is_empty() => println!("  skipped: {}", result.name),
                Verdict::Skipped(why) => println!("  skipped: {}: {why}", result.name),
                Verdict::Failed => println!("  FAILED: {}", result.name),
                Verdict::Passed => {}
            }
        }
        self.results.extend(results);
    }

    /// Adds a group that cannot run on this kernel, and why.
    pub fn skip(&mut self, group: &str, why: impl Into<String>) {
        self.add(group, "not run", vec![TestResult::skipped(group, why)]);
    }

    /// Counts groups that were not asked for as skipped, and names them at the end.
    pub fn left_out(&mut self, why: &str, names: Vec<String>) {
        self.note = Some(format!("{why} leaves out: {}", names.join(", ")));
        let results = names.into_iter().map(|name| TestResult::skipped(name, why));
        self.results.extend(results);
    }

    /// Prints the failed tests with their output, and the last line. A run in which no test passed
    /// is a failure too.
    pub fn finish(self) -> ExitCode {
        let failed: Vec<&TestResult> = self
            .results
            .iter()
            .filter(|p| p.verdict == Verdict::Failed)
            .collect();
        for result in &failed {
            println!("\n--- {} FAILED", result.name);
            for line in result.output.iter().take(SHOWN) {
                println!("    {line}");
            }
            if let Some(more) = result.output.len().checked_sub(SHOWN).filter(|&n| n > 0) {
                println!("    ... and {more} more lines");
            }
        }
        if !failed.is_empty() {
            println!();
        }
        if let Some(note) = &self.note {
            println!("{note}");
        }
        let ran = self.results.iter().any(is_a_test_that_passed);
        if failed.is_empty() && !ran {
            println!("no test ran, which counts as a failure");
        }
        println!("{}", count(&self.results));
        if failed.is_empty() && ran {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Whether a test passed. That a guest ended well is no test.
fn is_a_test_that_passed(result: &TestResult) -> bool {
    result.verdict == Verdict::Passed && !result.name.ends_with(QUIET)
}

/// `3 passed, 0 failed`, and `, 1 skipped` if any was.
pub fn count(results: &[TestResult]) -> String {
    let of = |f: fn(&Verdict) -> bool| results.iter().filter(|p| f(&p.verdict)).count();
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
        let results = [
            TestResult::passed("a"),
            TestResult::failed("b", "x\ny"),
            TestResult::skipped("c", "no"),
        ];
        assert_eq!(count(&results), "1 passed, 1 failed, 1 skipped");
        assert_eq!(count(&results[..1]), "1 passed, 0 failed");
    }

    #[test]
    fn run_without_a_test_fails() {
        let of = |results| Report {
            results,
            note: None,
        };
        let quiet = || TestResult::passed(format!("cxl: {QUIET}"));
        let skipped = || TestResult::skipped("a", "no");
        let failure = format!("{:?}", ExitCode::FAILURE);
        let code = |results| format!("{:?}", of(results).finish());
        assert_eq!(code(vec![quiet(), skipped()]), failure);
        assert_eq!(code(vec![]), failure);
        assert_ne!(code(vec![quiet(), TestResult::passed("a")]), failure);
    }

    #[test]
    fn what_is_left_out_is_skipped_and_named() {
        let mut report = Report::default();
        report.left_out("QUICK=1", vec!["bench".to_owned(), "stress".to_owned()]);
        assert_eq!(count(&report.results), "0 passed, 0 failed, 2 skipped");
        assert_eq!(
            report.note.as_deref(),
            Some("QUICK=1 leaves out: bench, stress")
        );
    }
}
