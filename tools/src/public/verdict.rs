// SPDX-License-Identifier: GPL-2.0
//! The outcome of a public test, and whether it is acceptable.

use crate::report::TestResult;

/// Outcomes in rising order: that of a Rust kernel must not be below that of the C kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Failed,
    Skipped,
    NotRun,
    Passed,
}

#[derive(Clone, Debug)]
pub struct Outcome {
    pub end: End,
    /// Number of tests that passed, or why it was skipped.
    pub detail: String,
    /// The end of what the test printed.
    pub output: String,
}

impl Outcome {
    fn new(end: End, detail: impl Into<String>) -> Self {
        Self {
            end,
            detail: detail.into(),
            output: String::new(),
        }
    }

    pub fn passed(detail: impl Into<String>) -> Self {
        Self::new(End::Passed, detail)
    }

    pub fn failed(detail: impl Into<String>) -> Self {
        Self::new(End::Failed, detail)
    }

    pub fn skipped(detail: impl Into<String>) -> Self {
        Self::new(End::Skipped, detail)
    }

    pub fn not_run(detail: impl Into<String>) -> Self {
        Self::new(End::NotRun, detail)
    }

    pub fn cell(&self) -> String {
        match self.end {
            End::Passed if self.detail.is_empty() => "pass".to_owned(),
            End::Passed => format!("pass ({})", self.detail),
            End::Skipped => "skip".to_owned(),
            End::NotRun => "not run".to_owned(),
            End::Failed => "FAIL".to_owned(),
        }
    }
}

/// The test's result in the report. It is skipped only if the list says why the test is not tried.
pub fn judge(name: &str, outcome: &Outcome) -> TestResult {
    match outcome.end {
        End::Passed => TestResult::passed(name),
        End::NotRun => TestResult::skipped(name, &outcome.detail),
        End::Skipped | End::Failed => {
            let text = format!("{}\n{}", outcome.detail, outcome.output);
            TestResult::failed(name, text.trim_end())
        }
    }
}

/// A failure if the test fares worse on Rust than on C.
pub fn judge_pair(name: &str, c: &Outcome, rust: &Outcome) -> Option<TestResult> {
    (rust.end < c.end).then(|| {
        let text = format!(
            "on C: {:?} {}\non Rust: {:?} {}",
            c.end, c.detail, rust.end, rust.detail
        );
        TestResult::failed(format!("{name}: worse than on C"), &text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    #[test]
    fn a_test_that_skips_itself_has_failed() {
        let verdict = |o: &Outcome| judge("t", o).verdict;
        assert_eq!(verdict(&Outcome::passed("")), Verdict::Passed);
        assert_eq!(verdict(&Outcome::failed("x")), Verdict::Failed);
        assert_eq!(verdict(&Outcome::skipped("no jq")), Verdict::Failed);
        let why = "no such machine".to_owned();
        assert_eq!(verdict(&Outcome::not_run(&*why)), Verdict::Skipped(why));
    }

    #[test]
    fn rust_may_not_be_worse() {
        let (good, skip, bad) = (
            Outcome::passed(""),
            Outcome::skipped(""),
            Outcome::failed(""),
        );
        assert!(judge_pair("t", &good, &skip).is_some());
        assert!(judge_pair("t", &skip, &bad).is_some());
        assert!(judge_pair("t", &bad, &bad).is_none());
        assert!(judge_pair("t", &bad, &good).is_none());
    }
}
