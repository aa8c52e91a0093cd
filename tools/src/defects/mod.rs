// SPDX-License-Identifier: GPL-2.0
//! `make defects`: what the C driver does in the tests of its defects, and the Rust driver. Each
//! test has a guest of its own, for the C driver may take it down. A run of all of them writes
//! docs/results/defects.md; ONLY=A7 picks one.

mod list;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Context, Result};

use crate::cache;
use crate::cargo::Cargo;
use crate::groups::{self, Group};
use crate::guest::End;
use crate::printk::without_stamp;
use crate::progress::human;
use crate::report::{Report, TestResult, Verdict};
use crate::settings;
use crate::spec::Impl;
use crate::table::{self, Table};
use crate::testrun::{Ran, Tests};
use list::{Defect, DEFECTS};

pub const DOCUMENT: &str = "docs/results/defects.md";
/// The page that has the words for each defect, in a table.
const WORDS: &str = "docs/c-defects.md";

/// Number of characters of a test's notes that the table shows.
const LONGEST: usize = 200;

/// A test of a defect, as `group/test`.
#[derive(Clone, Copy)]
pub enum Show {
    /// The test knows what the C driver does, and passes if the C driver does exactly that.
    Knows(&'static str),
    /// The test expects the same of both drivers. Other commands do not run it on the C driver.
    Breaks(&'static str),
}

impl Show {
    fn path(self) -> &'static str {
        match self {
            Show::Knows(path) | Show::Breaks(path) => path,
        }
    }

    fn split(self) -> Result<(&'static str, &'static str)> {
        let path = self.path();
        path.split_once('/')
            .with_context(|| format!("{path}: not a group and a test"))
    }
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let only = settings::var("ONLY")?;
    let wanted = |defect: &&Defect| only.as_ref().is_none_or(|only| only == defect.id);
    let defects: Vec<&Defect> = DEFECTS.iter().filter(wanted).collect();
    if defects.is_empty() {
        let names: Vec<&str> = DEFECTS.iter().map(|d| d.id).collect();
        let only = only.unwrap_or_default();
        return Err(settings::unknown("ONLY", &only, "defect", &names));
    }
    let cargo = Cargo::find(repo)?;
    let program = cargo.build_static("dax-guest")?;
    let mut run = Run {
        repo,
        words: cache::read_text(&repo.join(WORDS))?,
        groups: groups::list(&program)?,
        cargo,
        program,
        total: 2 * defects.iter().map(|d| d.tests.len()).sum::<usize>(),
        start: Instant::now(),
        done: 0,
        report: Report::default(),
    };
    eprintln!(
        "{} guests; docs/testing.md says how long they take",
        run.total
    );
    let mut rows = Vec::new();
    for defect in &defects {
        for &show in defect.tests {
            rows.push(run.row(defect, show)?);
        }
    }
    let table = Table {
        head: ["", "what", "test", "C", "Rust"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    };
    println!("{}", table.markdown());
    if only.is_none() && settings::spec()?.is_usual() {
        table::replace(&repo.join(DOCUMENT), "defects", &table.markdown())?;
        eprintln!("{DOCUMENT}: table written");
    } else {
        eprintln!("{DOCUMENT} is not written: only a run of everything writes it");
    }
    Ok(run.report.finish())
}

struct Run<'a> {
    repo: &'a Path,
    /// The text of [`WORDS`].
    words: String,
    cargo: Cargo,
    program: PathBuf,
    groups: Vec<Group>,
    /// Number of guests of the whole run.
    total: usize,
    done: usize,
    start: Instant,
    report: Report,
}

impl Run<'_> {
    /// Runs a test on both drivers; returns a line of the table.
    fn row(&mut self, defect: &Defect, show: Show) -> Result<Vec<String>> {
        let c = self.guest(defect, show, Impl::C)?;
        let rust = self.guest(defect, show, Impl::Rust)?;
        Ok(vec![
            defect.id.to_owned(),
            what(&self.words, defect.id)?.to_owned(),
            show.path().to_owned(),
            of_c(show, &c),
            match trouble(&rust) {
                Some(why) => format!("**{why}**"),
                None => "passed".to_owned(),
            },
        ])
    }

    /// Runs a test in a guest. If the Rust driver does not pass, that is a failure. What the C
    /// driver does is only reported, unless the test knows it.
    fn guest(&mut self, defect: &Defect, show: Show, imp: Impl) -> Result<Ran> {
        let (group, test) = show.split()?;
        let mut spec = settings::spec()?;
        spec.imp = imp;
        spec.debug |= defect.debug;
        self.done += 1;
        let name = format!("{}: {} on {spec}", defect.id, show.path());
        let so_far = human(self.start.elapsed());
        eprintln!("{} of {}, after {so_far}: {name}", self.done, self.total);
        let Some(group) = self.groups.iter().find(|g| g.group == group) else {
            bail!("{}: no such group", show.path());
        };
        let tests = Tests {
            repo: self.repo,
            spec,
            cargo: &self.cargo,
            began: self.start,
        };
        let began = Instant::now();
        let ran = tests.one(group, test, &self.program)?;
        let judged = imp == Impl::Rust || matches!(show, Show::Knows(_));
        let result = match trouble(&ran) {
            _ if !judged => {
                TestResult::skipped(&*name, format!("only shown: {}", of_c(show, &ran)))
            }
            Some(why) => TestResult::failed(&*name, &format!("{why}\n{}", ran.output)),
            None => TestResult::passed(&*name),
        };
        self.report
            .add(&name, &human(began.elapsed()), vec![result]);
        Ok(ran)
    }
}

/// The words for a defect in the text of [`WORDS`].
fn what<'a>(words: &'a str, id: &str) -> Result<&'a str> {
    let start = format!("| [{id}](#{}) | ", id.to_lowercase());
    let mut rows = words.lines().filter_map(|row| row.strip_prefix(&start));
    let row = rows.next().and_then(|row| row.split_once(" | "));
    let (what, _) = row.with_context(|| format!("{WORDS}: no row of {id}"))?;
    Ok(what)
}

/// The C driver's cell of the table.
fn of_c(show: Show, ran: &Ran) -> String {
    match (show, trouble(ran)) {
        (Show::Knows(_), None) => "does as deviations.md says".to_owned(),
        (Show::Breaks(_), None) => "not seen in this run".to_owned(),
        (_, Some(why)) => why,
    }
}

/// The fault of a guest in one line, if there is one.
fn trouble(ran: &Ran) -> Option<String> {
    if let Some(splat) = &ran.outcome.splat {
        let failed = ran.results.first().filter(|p| p.verdict == Verdict::Failed);
        let more = failed.map_or(String::new(), |p| notes(&p.output));
        let and = if more.is_empty() { "" } else { ", and " };
        return Some(first_words(splat) + and + &more);
    }
    if ran.outcome.end == End::Timeout || ran.output.contains("hangs in the kernel") {
        return Some("hangs".to_owned());
    }
    if ran.outcome.end == End::Died {
        return Some("the guest dies".to_owned());
    }
    let Some(result) = ran.results.first() else {
        return Some("no test reported a result".to_owned());
    };
    match &result.verdict {
        Verdict::Passed if matches!(ran.outcome.end, End::StillUp(_)) => {
            Some("the guest does not power off".to_owned())
        }
        Verdict::Passed => None,
        Verdict::Skipped(why) => Some(format!("skipped: {why}")),
        Verdict::Failed => Some(notes(&result.output)),
    }
}

/// A test's notes about its failure, shortened. Its first line (group and driver) and its lines
/// about the kernel's health are left out.
fn notes(output: &[String]) -> String {
    let lines = output
        .iter()
        .map(|line| line.trim_start_matches("# ").trim());
    let text = lines
        .filter(|line| !line.starts_with("group ") && !line.starts_with("kernel health"))
        .collect::<Vec<_>>()
        .join("; ");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}

/// The subject of a kernel's complaint: the first line that names it, without time and addresses.
fn first_words(splat: &str) -> String {
    let mut lines = splat
        .lines()
        .map(|line| without_stamp(line.trim_start()).trim());
    let line = lines
        .find(|line| !line.is_empty() && !line.contains("[ cut here ]"))
        .unwrap_or_default();
    format!("`{}`", line.replace('`', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defect_has_words_and_tests_on_its_page() {
        let ids: Vec<String> = (1..=29).map(|n| format!("A{n}")).collect();
        let listed: Vec<&str> = DEFECTS.iter().map(|d| d.id).collect();
        assert_eq!(listed, ids);
        let page = include_str!("../../../docs/c-defects.md");
        for defect in DEFECTS {
            assert!(!defect.tests.is_empty());
            assert!(what(page, defect.id).is_ok(), "{}", defect.id);
            for show in defect.tests {
                assert!(page.contains(show.path()), "{}", show.path());
            }
        }
    }

    /// The sources of the guest's tests.
    fn guest_tests() -> String {
        let groups = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guest/src/groups");
        let mut text = String::new();
        for entry in walkdir::WalkDir::new(groups) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                text += &std::fs::read_to_string(entry.path()).unwrap();
            }
        }
        text
    }

    #[test]
    fn every_test_is_one_of_the_guest() {
        let text = guest_tests();
        for show in DEFECTS.iter().flat_map(|d| d.tests) {
            let (_, test) = show.split().unwrap();
            assert!(text.contains(&format!("test!({test}")), "{test}");
        }
    }

    #[test]
    fn every_test_of_the_errno_tables_is_one_of_the_guest() {
        let text = guest_tests();
        let rows = include_str!("../../../docs/errors.md").lines();
        let cells = rows.filter_map(|row| row.strip_suffix(" |")?.rsplit_once("| "));
        let tests = cells.flat_map(|(_, tests)| tests.split(", "));
        let tests: Vec<&str> = tests
            .filter_map(|test| Some(test.split_once('/')?.1))
            .collect();
        assert!(tests.len() > 50, "{} tests", tests.len());
        for test in tests {
            assert!(text.contains(&format!("fn {test}(")), "{test}");
        }
    }

    #[test]
    fn notes_are_short_and_about_the_test() {
        let output = [
            "# group races, c driver",
            "# open: x",
            "# kernel health: Health { warnings: 0 } before, Health { warnings: 1 } after",
            "#   actual   Ok(())",
        ];
        let output = output.map(str::to_owned);
        assert_eq!(notes(&output), "open: x; actual   Ok(())");
        let long = ["# ".to_owned() + &"é".repeat(300)];
        assert_eq!(notes(&long), "é".repeat(LONGEST) + " ...");
    }

    #[test]
    fn a_complaint_is_named_by_what_it_says() {
        let splat = "[    3.0] ------------[ cut here ]------------\n\
                     [    3.0] WARNING: drivers/dax/bus.c:1 at f+0x1, CPU#0: a/1\n[    3.0] x";
        assert_eq!(
            first_words(splat),
            "`WARNING: drivers/dax/bus.c:1 at f+0x1, CPU#0: a/1`"
        );
        assert_eq!(
            first_words("[    3.0][   T12] BUG: x [f] y\n[    3.0] z"),
            "`BUG: x [f] y`"
        );
    }
}
