// SPDX-License-Identifier: GPL-2.0
//! What became of a public test, and whether that is all right.

use crate::report::{Point, Verdict};

use super::list::{Except, Known};

/// In rising order: a Rust kernel must not be below the C kernel.
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
    /// How many, or why not.
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

/// The test's point in the report. A known exception is shown as skipped, with
/// the reason; one that did not come true is a failure, for it must go.
pub fn judge(name: &str, outcome: &Outcome, exception: Option<&Except>) -> Point {
    let expected = match exception.map(|e| e.known) {
        None => End::Passed,
        Some(Known::NotRun) => End::NotRun,
        Some(Known::Fails) => End::Failed,
    };
    let text = format!("{}\n{}", outcome.detail, outcome.output);
    match (exception, outcome.end == expected) {
        (None, true) => Point::passed(name),
        (Some(e), true) => Point {
            name: name.to_owned(),
            verdict: Verdict::Skipped(format!("{:?}, as known: {}", e.known, e.why)),
            output: Vec::new(),
        },
        (Some(e), false) if outcome.end == End::Passed => Point::failed(
            name,
            &format!(
                "it passes: remove the exception \"{}\" of this test from tools/src/public/list.rs",
                e.why
            ),
        ),
        (_, false) => Point::failed(name, text.trim_end()),
    }
}

/// A failure if the test fares worse on Rust than on C.
pub fn judge_pair(name: &str, c: &Outcome, rust: &Outcome) -> Option<Point> {
    (rust.end < c.end).then(|| {
        let text = format!(
            "on C: {:?} {}\non Rust: {:?} {}",
            c.end, c.detail, rust.end, rust.detail
        );
        Point::failed(format!("{name}: worse than on C"), &text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_must_come_true() {
        let fails = Except {
            series: None,
            imp: None,
            known: Known::Fails,
            why: "no such machine",
        };
        let verdict = |o: &Outcome, e| judge("t", o, e).verdict;
        let (good, bad) = (Outcome::passed(""), Outcome::failed("x"));
        assert_eq!(verdict(&good, None), Verdict::Passed);
        assert_eq!(verdict(&bad, None), Verdict::Failed);
        assert_eq!(verdict(&Outcome::skipped("no jq"), None), Verdict::Failed);
        assert_eq!(verdict(&good, Some(&fails)), Verdict::Failed);
        assert!(matches!(verdict(&bad, Some(&fails)), Verdict::Skipped(_)));
        assert_eq!(
            verdict(&Outcome::skipped(""), Some(&fails)),
            Verdict::Failed
        );
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
