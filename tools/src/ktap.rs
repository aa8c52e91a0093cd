// SPDX-License-Identifier: GPL-2.0
//! Reads KTAP, the kernel's test protocol, from a program's output or from a kernel log, and
//! returns the results of single tests. If fewer or more tests ran than planned, that is a failure.

use anyhow::{Context, Result};
use regex::Regex;

use crate::printk::without_stamp;
use crate::report::{TestResult, Verdict};

/// One nesting level that is open.
#[derive(Default)]
struct Level {
    name: String,
    planned: Option<usize>,
    seen: usize,
    failed: bool,
}

const RESULT: &str = r"^(not )?ok (\d+)(?: - | |$)(.*?)(?:\s*# (?i:(skip))\S*\s*(.*))?$";
const PLAN: &str = r"^1\.\.(\d+)";

/// All test results of `text`; names are `prefix: suite: test`.
pub fn parse(prefix: &str, text: &str) -> Result<Vec<TestResult>> {
    parse_with([RESULT, PLAN], prefix, text)
}

fn parse_with(patterns: [&str; 2], prefix: &str, text: &str) -> Result<Vec<TestResult>> {
    let [result, plan] = patterns.map(Regex::new);
    let result = result.context("cannot read results of tests")?;
    let plan = plan.context("cannot read plans of tests")?;
    let mut reader = Reader {
        prefix,
        levels: Vec::new(),
        results: Vec::new(),
        notes: Vec::new(),
    };
    for line in text.lines().map(without_stamp) {
        let body = line.trim_start_matches(' ');
        let depth = (line.len() - body.len()) / 4;
        let body = body.trim_end();
        if let Some(name) = body.strip_prefix("# Subtest: ") {
            reader.level(depth).name = name.to_owned();
        } else if let Some(found) = plan.captures(body) {
            reader.level(depth).planned = found[1].parse().ok();
        } else if let Some(found) = result.captures(body) {
            let verdict = match (found.get(1), found.get(4)) {
                (Some(_), _) => Verdict::Failed,
                (None, Some(_)) => {
                    Verdict::Skipped(found.get(5).map_or("", |m| m.as_str()).to_owned())
                }
                (None, None) => Verdict::Passed,
            };
            reader.result(depth, found[3].trim(), verdict);
        } else if body.starts_with("KTAP version") || body.starts_with("TAP version") {
            // A document or a suite begins, so what was open on this level has ended.
            reader.close(depth);
        } else if !body.is_empty() {
            reader.notes.push(body.to_owned());
        }
    }
    reader.close(0);
    Ok(reader.results)
}

/// The skipped result of a row of the test `test`, if `note` is the guest's line about a skipped row:
/// `# row 3 skipped: why`. Tables take what follows the last `: ` of a name for the test.
fn skipped_row(test: &str, note: &str) -> Option<TestResult> {
    let (row, why) = note.strip_prefix("# row ")?.split_once(" skipped: ")?;
    let row = row.replace(": ", " ");
    Some(TestResult::skipped(format!("{test}, row {row}"), why))
}

struct Reader<'a> {
    prefix: &'a str,
    levels: Vec<Level>,
    results: Vec<TestResult>,
    notes: Vec<String>,
}

impl Reader<'_> {
    /// Opens levels down to `depth`.
    fn level(&mut self, depth: usize) -> &mut Level {
        while self.levels.len() <= depth {
            self.levels.push(Level::default());
        }
        &mut self.levels[depth]
    }

    fn result(&mut self, depth: usize, name: &str, verdict: Verdict) {
        let had_subtests = self.levels.len() > depth + 1 && self.levels[depth + 1].seen > 0;
        // A suite's result line may name the suite if no "Subtest" line did.
        let child_failed = self.close(depth + 1);
        self.level(depth).seen += 1;
        let failed = matches!(verdict, Verdict::Failed) || child_failed;
        self.level(depth).failed |= failed;
        // A suite's result counts only if it failed and none of its tests did.
        let unexplained = matches!(verdict, Verdict::Failed) && !child_failed;
        if !had_subtests || unexplained {
            let name = self.name(depth, name);
            let output = std::mem::take(&mut self.notes);
            let rows = output.iter().filter_map(|note| skipped_row(&name, note));
            let rows: Vec<TestResult> = rows.collect();
            self.results.push(TestResult {
                name,
                verdict,
                output,
            });
            self.results.extend(rows);
        }
    }

    /// Closes all levels from `depth` down. Returns whether there was a failure in them.
    fn close(&mut self, depth: usize) -> bool {
        let mut failed = false;
        while self.levels.len() > depth {
            let at = self.levels.len() - 1;
            let level = &self.levels[at];
            failed |= level.failed;
            if let Some(planned) = level.planned.filter(|&p| p != level.seen) {
                failed = true;
                let seen = level.seen;
                let name = self.name(at, "plan");
                let mut output = std::mem::take(&mut self.notes);
                output.push(format!(
                    "{planned} tests were planned, {seen} reported a result"
                ));
                self.results.push(TestResult {
                    name,
                    verdict: Verdict::Failed,
                    output,
                });
            }
            self.levels.pop();
        }
        failed
    }

    fn name(&self, depth: usize, own: &str) -> String {
        let above = self.levels.iter().take(depth + 1).map(|l| l.name.as_str());
        let all = std::iter::once(self.prefix).chain(above).chain([own]);
        all.filter(|n| !n.is_empty()).collect::<Vec<_>>().join(": ")
    }
}

/// The names of the suites that a KUnit log reports on.
pub fn suites(text: &str) -> Vec<String> {
    let lines = text.lines().map(without_stamp);
    let names = lines.filter_map(|line| line.strip_prefix("    # Subtest: "));
    names.map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(prefix: &str, text: &str) -> Vec<TestResult> {
        super::parse(prefix, text).unwrap()
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_an_error() {
        assert!(parse_with([RESULT, "("], "g", "1..1\nok 1 a\n").is_err());
        assert!(parse_with(["(", PLAN], "g", "").is_err());
    }

    const KUNIT: &str = "\
[    2.100000] KTAP version 1
[    2.100100] 1..2
[    2.100200]     KTAP version 1
[    2.100300]     # Subtest: dax_range
[    2.100400]     # module: device_dax
[    2.100500]     1..2
[    2.100600]     ok 1 empty
[    2.100700]     # overlap: EXPECTATION FAILED at range.rs:9
[    2.100800]     not ok 2 overlap
[    2.100900] # dax_range: pass:1 fail:1 skip:0 total:2
[    2.101000] not ok 1 dax_range
[    2.101100]     KTAP version 1
[    2.101200]     # Subtest: dax_parse
[    2.101300]     1..1
[    2.101400]     ok 1 sizes # SKIP no time
[    2.101500] ok 2 dax_parse
";

    #[test]
    fn kunit_log() {
        let results = parse("kunit", KUNIT);
        let names: Vec<&str> = results.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "kunit: dax_range: empty",
                "kunit: dax_range: overlap",
                "kunit: dax_parse: sizes"
            ]
        );
        assert!(matches!(results[1].verdict, Verdict::Failed));
        assert!(results[1]
            .output
            .iter()
            .any(|l| l.contains("EXPECTATION FAILED")));
        assert!(matches!(&results[2].verdict, Verdict::Skipped(why) if why == "no time"));
        assert_eq!(suites(KUNIT), ["dax_range", "dax_parse"]);
    }

    #[test]
    fn a_log_that_names_the_caller() {
        let log = KUNIT.replace("] ", "][    T1] ");
        let names = |text: &str| -> Vec<String> {
            let results = parse("kunit", text).into_iter();
            results.map(|p| p.name).collect()
        };
        assert_eq!(names(&log), names(KUNIT));
        assert_eq!(suites(&log), suites(KUNIT));
    }

    #[test]
    fn one_document_after_the_other() {
        let early = "[    1.000000] KTAP version 1\n[    1.0] 1..1\n[    1.0] ok 1 early\n";
        let results = parse("kunit", &format!("{early}{KUNIT}"));
        assert_eq!(results.len(), 4);
        assert!(results.iter().all(|p| !p.name.ends_with("plan")));
    }

    #[test]
    fn flat() {
        let results = parse(
            "g",
            "KTAP version 1\n1..3\nok 1 a\nok 2 - b # SKIP why\n# oh\nnot ok 3 c\n",
        );
        let verdicts: Vec<_> = results.iter().map(|p| p.verdict.clone()).collect();
        let skipped = Verdict::Skipped("why".to_owned());
        assert_eq!(verdicts, [Verdict::Passed, skipped, Verdict::Failed]);
        assert_eq!(
            (results[1].name.as_str(), results[2].output.as_slice()),
            ("g: b", &["# oh".to_owned()][..])
        );
    }

    #[test]
    fn a_row_that_is_skipped_is_a_result() {
        let text = "1..2\n# row 2, on: C skipped: breaks\nok 1 a\n# row 1: bad\nnot ok 2 b\n";
        let results = parse("g", text);
        let names: Vec<&str> = results.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["g: a", "g: a, row 2, on C", "g: b"]);
        assert_eq!(results[1].verdict, Verdict::Skipped("breaks".to_owned()));
    }

    #[test]
    fn a_plan_not_kept_fails() {
        let results = parse("g", "1..3\nok 1 a\n");
        assert_eq!(results.len(), 2);
        assert!(matches!(results[1].verdict, Verdict::Failed));
        let cut = KUNIT.split_once("    # overlap").unwrap().0;
        assert!(
            parse("k", cut)
                .iter()
                .filter(|p| matches!(p.verdict, Verdict::Failed))
                .count()
                >= 1
        );
    }

    #[test]
    fn a_suite_that_fails_as_a_whole_counts() {
        let text = "    # Subtest: s\n    1..1\n    ok 1 a\nnot ok 1 s\n";
        let results = parse("k", text);
        assert_eq!(
            results
                .iter()
                .filter(|p| matches!(p.verdict, Verdict::Failed))
                .count(),
            1
        );
    }
}
