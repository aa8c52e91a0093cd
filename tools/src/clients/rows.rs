// SPDX-License-Identifier: GPL-2.0
//! The table of `make clients`: a row for each test of a client at an alignment, C beside Rust.

use crate::report::{TestResult, Verdict, QUIET};
use crate::spec::Impl;
use crate::table::Table;

use super::list::{Align, Client};

/// The mark that a script puts before the name of a test that begins.
pub const BEGINS: &str = "# begins: ";

/// The mark that a script puts before words for the table.
const SEEN: &str = "# seen: ";

/// A test of a client, on both drivers.
pub struct Row {
    client: &'static Client,
    align: Align,
    test: String,
    results: [Option<TestResult>; 2],
}

impl Row {
    /// The guests' words; once, if both drivers say the same.
    fn remark(&self) -> String {
        let said = |imp: Impl| {
            let result = self.results[imp as usize].as_ref();
            result.map(|result| words(self.client, imp, result))
        };
        match (said(Impl::C), said(Impl::Rust)) {
            (Some(c), Some(rust)) if c == rust => c,
            (Some(c), Some(rust)) => {
                let both = [("C", c), ("Rust", rust)];
                let both = both.into_iter().filter(|(_, text)| !text.is_empty());
                let both: Vec<String> = both.map(|(imp, text)| format!("{imp}: {text}")).collect();
                both.join("; ")
            }
            (c, rust) => c.or(rust).unwrap_or_default(),
        }
    }
}

#[derive(Default)]
pub struct Rows(Vec<Row>);

impl Rows {
    /// Adds what one guest reported.
    pub fn add(
        &mut self,
        client: &'static Client,
        align: Align,
        imp: Impl,
        results: &[TestResult],
    ) {
        // A row that only this driver has comes behind the row of the test before.
        let mut next = self.0.len();
        for result in results {
            let same = |row: &Row| {
                row.client.name == client.name && row.align == align && row.test == result.name
            };
            if let Some(at) = self.0.iter().position(same) {
                self.0[at].results[imp as usize] = Some(result.clone());
                next = at + 1;
            } else {
                let mut row = Row {
                    client,
                    align,
                    test: result.name.clone(),
                    results: [None, None],
                };
                row.results[imp as usize] = Some(result.clone());
                self.0.insert(next, row);
                next += 1;
            }
        }
    }

    pub fn table(&self) -> Table {
        let cell = |result: &Option<TestResult>| match result {
            None => "not run".to_owned(),
            Some(result) => match &result.verdict {
                Verdict::Passed => "pass".to_owned(),
                Verdict::Failed => "**FAIL**".to_owned(),
                Verdict::Skipped(_) => "skip".to_owned(),
            },
        };
        let head = ["client", "what it does", "alignment", "C", "Rust", "remark"];
        Table {
            head: head.map(str::to_owned).to_vec(),
            rows: self
                .0
                .iter()
                .map(|row| {
                    vec![
                        row.client.name.to_owned(),
                        row.test.clone(),
                        row.align.text().to_owned(),
                        cell(&row.results[Impl::C as usize]),
                        cell(&row.results[Impl::Rust as usize]),
                        row.remark(),
                    ]
                })
                .collect(),
        }
    }
}

/// The result for the report: a test that is known to fail counts as skipped while it does, for the
/// known reason.
pub fn judged(client: &Client, imp: Impl, result: TestResult) -> TestResult {
    match client.known(&result.name, imp) {
        Some(known) if known.explains(&result) => TestResult::skipped(result.name, known.why),
        Some(_) if result.verdict == Verdict::Passed => {
            TestResult::failed(result.name, "it is listed as one that fails")
        }
        _ => result,
    }
}

/// The script's words, and why the test was skipped or failed: the known reason, or a line of the
/// output. That of a guest begins with the reason, that of a test ends with it.
fn words(client: &Client, imp: Impl, result: &TestResult) -> String {
    let mark = |line: &&String| line.starts_with(SEEN) || line.starts_with(BEGINS);
    let mut words: Vec<&str> = result
        .output
        .iter()
        .filter_map(|line| line.strip_prefix(SEEN))
        .collect();
    let known = client.known(&result.name, imp);
    match (&result.verdict, known.filter(|k| k.explains(result))) {
        (Verdict::Passed, _) => {}
        (Verdict::Skipped(why), _) => words.push(why),
        (Verdict::Failed, Some(known)) => words.push(known.why),
        (Verdict::Failed, None) => {
            let mut rest = result.output.iter().filter(|line| !mark(line));
            let line = match result.name == QUIET {
                true => rest.next(),
                false => rest.next_back(),
            };
            words.extend(line.map(|line| line.trim_start_matches("# ")));
        }
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::list::CLIENTS;
    use crate::ktap;

    fn row(c: &str, rust: &str) -> Vec<String> {
        let mut rows = Rows::default();
        rows.add(
            &CLIENTS[0],
            Align::TwoMib,
            Impl::C,
            &ktap::parse("", c).unwrap(),
        );
        rows.add(
            &CLIENTS[0],
            Align::TwoMib,
            Impl::Rust,
            &ktap::parse("", rust).unwrap(),
        );
        let mut table = rows.table().rows;
        assert_eq!(table.len(), 1);
        table.remove(0)
    }

    #[test]
    fn both_drivers_share_a_row_and_a_remark() {
        let same = "# seen: size: EBUSY\nok 1 - keeps its shape\n1..1\n";
        let expected = [
            "pmdk",
            "keeps its shape",
            "2 MiB",
            "pass",
            "pass",
            "size: EBUSY",
        ];
        assert_eq!(row(same, same), expected);
    }

    #[test]
    fn a_difference_and_a_failure_are_told() {
        let c = "# seen: unbound\n# noise\n# killed\nnot ok 1 - a\n1..1\n";
        let expected = [
            "pmdk",
            "a",
            "2 MiB",
            "**FAIL**",
            "pass",
            "C: unbound, killed",
        ];
        assert_eq!(row(c, "ok 1 - a\n1..1\n"), expected);
    }

    #[test]
    fn a_test_that_only_one_driver_reached_is_not_run_on_the_other() {
        let expected = ["pmdk", "a", "2 MiB", "not run", "pass", ""];
        assert_eq!(row("", "ok 1 - a\n1..1\n"), expected);
    }

    #[test]
    fn what_only_the_second_driver_reached_comes_before_the_end_of_the_guest() {
        let mut rows = Rows::default();
        let passed = |names: &[&str]| -> Vec<TestResult> {
            names.iter().map(|name| TestResult::passed(*name)).collect()
        };
        rows.add(&CLIENTS[0], Align::TwoMib, Impl::C, &passed(&["a", QUIET]));
        let results = passed(&["a", "b", "c", QUIET]);
        rows.add(&CLIENTS[0], Align::TwoMib, Impl::Rust, &results);
        let tests: Vec<String> = rows
            .table()
            .rows
            .into_iter()
            .map(|row| row[1].clone())
            .collect();
        assert_eq!(tests, ["a", "b", "c", QUIET]);
    }

    #[test]
    fn the_remark_of_a_guest_is_its_first_line_and_that_of_a_test_its_last() {
        let remark = |name, text| {
            let failed = TestResult::failed(name, text);
            words(&CLIENTS[0], Impl::Rust, &failed)
        };
        assert_eq!(
            remark(QUIET, "the kernel complained: x\na register"),
            "the kernel complained: x"
        );
        assert_eq!(remark("a", "# begins: a\n# status 1\n# why"), "why");
    }

    #[test]
    fn a_known_failure_is_skipped_and_must_still_fail() {
        let name = "pmempool makes, shows and checks a pool";
        let verdict = |result| judged(&CLIENTS[0], Impl::Rust, result).verdict;
        let failed = verdict(TestResult::failed(name, "# status 139"));
        assert!(matches!(failed, Verdict::Skipped(why) if why.contains("libpmem2")));
        assert_eq!(verdict(TestResult::passed(name)), Verdict::Failed);
        assert_eq!(verdict(TestResult::passed("other")), Verdict::Passed);
    }

    #[test]
    fn what_only_one_driver_cannot_do_the_other_must() {
        let rdma = CLIENTS.iter().find(|c| c.name == "rdma").unwrap();
        let verdict = |imp, text| judged(rdma, imp, TestResult::failed(QUIET, text)).verdict;
        let oops = "[   93.9]  rxe_mr_copy+0xae/0x2a0 [rdma_rxe]";
        assert!(matches!(verdict(Impl::C, oops), Verdict::Skipped(why) if why.contains("A29")));
        assert_eq!(verdict(Impl::Rust, oops), Verdict::Failed);
        assert_eq!(verdict(Impl::C, "another oops"), Verdict::Failed);
    }
}
