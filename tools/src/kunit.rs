// SPDX-License-Identifier: GPL-2.0
//! The module's KUnit suites in a kernel log.

use anyhow::Result;

use crate::ktap;
use crate::report::TestResult;

/// The module's suites. A suite that did not run has failed.
const SUITES: [&str; 6] = [
    "dax_range",
    "dax_layout",
    "dax_allocator",
    "dax_parse",
    "dax_neighbours",
    "dax_hwpoison",
];

/// The results of the suites in a log. Their names begin with `name`.
pub fn results(name: &str, log: &str) -> Result<Vec<TestResult>> {
    let mut results = ktap::parse(name, log)?;
    let there = ktap::suites(log);
    for suite in SUITES {
        if !there.iter().any(|there| there == suite) {
            let why = "the suite did not report. It does if CONFIG_DEV_DAX_RUST_KUNIT_TEST is on and the module loads";
            results.push(TestResult::failed(format!("{name}: {suite}"), why));
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn failed(log: &str) -> Vec<String> {
        let results = results("kunit", log).unwrap().into_iter();
        results
            .filter(|p| p.verdict == Verdict::Failed)
            .map(|p| p.name)
            .collect()
    }

    #[test]
    fn a_missing_suite_has_failed() {
        let suite = |name: &str, at: usize| {
            format!(
                "    KTAP version 1\n    # Subtest: {name}\n    1..1\n    ok 1 t\nok {at} {name}\n"
            )
        };
        let log = |suites: &[&str]| -> String {
            let suites = suites.iter().zip(1..).map(|(name, at)| suite(name, at));
            format!("KTAP version 1\n{}", suites.collect::<String>())
        };
        assert_eq!(failed(&log(&SUITES)), [""; 0]);
        assert_eq!(failed(&log(&SUITES[1..])), ["kunit: dax_range"]);
        assert_eq!(failed("").len(), SUITES.len());
    }
}
