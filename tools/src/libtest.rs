// SPDX-License-Identifier: GPL-2.0
//! Reads the output of `cargo test`.

use crate::cargo::Output;
use crate::report::TestResult;

/// A result for each test, and one more if the run failed although no test did.
pub fn parse(package: &str, output: &Output) -> Vec<TestResult> {
    let mut results = Vec::new();
    let mut failed = false;
    for line in output.text.lines() {
        let Some((name, result)) = line
            .strip_prefix("test ")
            .and_then(|l| l.split_once(" ... "))
        else {
            continue;
        };
        let full = format!("{package}: {name}");
        if let Some(why) = result.strip_prefix("ignored") {
            results.push(TestResult::skipped(
                full,
                why.trim_start_matches([',', ' ']),
            ));
        } else if result.starts_with("FAILED") {
            failed = true;
            results.push(TestResult::failed(full, &stdout_of(name, &output.text)));
        } else if result.starts_with("ok") {
            results.push(TestResult::passed(full));
        }
    }
    if !output.success && !failed {
        results.push(TestResult::failed(
            format!("{package}: cargo test"),
            &output.text,
        ));
    } else if results.is_empty() {
        results.push(TestResult::failed(
            format!("{package}: cargo test"),
            "no test ran",
        ));
    }
    results
}

/// The output of one failed test, as libtest captured it.
fn stdout_of(name: &str, text: &str) -> String {
    let head = format!("---- {name} stdout ----");
    let lines = text.lines().skip_while(|l| *l != head).skip(1);
    let own = lines.take_while(|l| !l.starts_with("---- ") && *l != "failures:");
    own.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    #[test]
    fn each_test_is_a_result() {
        let text = "\
running 3 tests
test a::one ... ok
test a::two ... FAILED
test a::three ... ignored, takes an hour

failures:

---- a::two stdout ----
thread 'a::two' panicked at x.rs:1:
left != right

failures:
    a::two
";
        let results = parse(
            "p",
            &Output {
                success: false,
                text: text.to_owned(),
            },
        );
        assert_eq!(results.len(), 3);
        assert_eq!(results[0].verdict, Verdict::Passed);
        assert_eq!(
            results[1].output,
            ["thread 'a::two' panicked at x.rs:1:", "left != right"]
        );
        assert_eq!(
            results[2].verdict,
            Verdict::Skipped("takes an hour".to_owned())
        );
    }

    #[test]
    fn not_compiling_is_a_failure() {
        let results = parse(
            "p",
            &Output {
                success: false,
                text: "error: no".to_owned(),
            },
        );
        assert_eq!(results[0].verdict, Verdict::Failed);
        let results = parse(
            "p",
            &Output {
                success: true,
                text: String::new(),
            },
        );
        assert_eq!(results[0].verdict, Verdict::Failed);
    }
}
