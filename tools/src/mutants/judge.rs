// SPDX-License-Identifier: GPL-2.0
//! The table of docs/mutants.md: survivors that no test can see, each with the reason. A mutant
//! survives if and only if it is in the table.

use anyhow::{bail, Result};

use super::files;
use super::found::{Fate, Mutant, Score};
use crate::report::TestResult;
use crate::table::Table;

/// The heading of the table.
const HEAD: &str = "| file | mutant | why no test sees it |";

/// A row of the table: a survivor and the reason that no test sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    file: String,
    what: String,
    why: String,
}

impl Row {
    fn is_of(&self, mutant: &Mutant) -> bool {
        self.file == mutant.file && self.what == mutant.what
    }
}

/// The rows in a document.
pub fn rows(text: &str) -> Result<Vec<Row>> {
    let mut lines = text.lines().skip_while(|line| *line != HEAD);
    if lines.next().is_none() {
        bail!("no line `{HEAD}`");
    }
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(row).collect()
}

fn row(line: &str) -> Result<Row> {
    let line = line.replace("\\|", "\0");
    let cells: Vec<String> = line
        .split('|')
        .map(|cell| cell.replace('\0', "|").trim().to_owned())
        .collect();
    match &cells[..] {
        [before, file, what, why, after]
            if before.is_empty() && after.is_empty() && !why.is_empty() =>
        {
            Ok(Row {
                file: file.trim_matches('`').to_owned(),
                what: what.trim_matches('`').to_owned(),
                why: why.clone(),
            })
        }
        _ => bail!("not a file, a mutant and a reason: {line}"),
    }
}

/// A result for each mutant of `file` that compiles, and for each row about the file that is wrong.
pub fn results(file: &str, mutants: &[Mutant], rows: &[Row]) -> Vec<TestResult> {
    let tried = |m: &&Mutant| m.file == file && m.fate != Fate::Unviable;
    let own = mutants.iter().filter(tried);
    let mut results: Vec<TestResult> = own.clone().map(|mutant| result(mutant, rows)).collect();
    let stale = rows.iter().filter(|row| row.file == file);
    let stale = stale.filter(|row| !own.clone().any(|mutant| row.is_of(mutant)));
    results.extend(stale.map(no_such_mutant));
    results
}

/// A failed result for each row about a file without mutants.
pub fn of_no_file(mutants: &[Mutant], rows: &[Row]) -> Vec<TestResult> {
    let files = files(mutants);
    let rows = rows.iter().filter(|row| !files.contains(&row.file));
    rows.map(no_such_mutant).collect()
}

fn no_such_mutant(row: &Row) -> TestResult {
    TestResult::failed(
        format!("{}: {}", row.file, row.what),
        "it is in the table, but there is no such mutant that compiles",
    )
}

fn result(mutant: &Mutant, rows: &[Row]) -> TestResult {
    let name = format!("{}: {}", mutant.file, mutant.what);
    let row = rows.iter().find(|row| row.is_of(mutant));
    match (mutant.fate, row) {
        (Fate::Survived, Some(row)) => TestResult::skipped(name, &row.why),
        (Fate::Survived, None) => TestResult::failed(name, "it survives, and is not in the table"),
        (_, Some(_)) => TestResult::failed(name, "it is in the table, but a test sees it"),
        (_, None) => TestResult::passed(name),
    }
}

/// Number of mutants of each file, and their fates.
pub fn scores(mutants: &[Mutant]) -> Table {
    let files = files(mutants);
    let names = files.iter().map(|file| Some(file.as_str())).chain([None]);
    let rows = names.map(|file| {
        let score = Score::of(mutants, file);
        vec![
            file.unwrap_or("all").to_owned(),
            score.all().to_string(),
            score.seen().to_string(),
            score.timed_out.to_string(),
            score.survived.to_string(),
            format!("{:.1} %", score.share()),
            score.unviable.to_string(),
        ]
    });
    let head = [
        "file",
        "mutants",
        "seen",
        "of these by a timeout",
        "survive",
        "score",
        "do not compile",
    ];
    Table {
        head: head.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    const TEXT: &str = "\
# x

| file | mutant | why no test sees it |
|---|---|---|
| `src/a.rs` | `replace \\|\\| with && in f` | both are never true |
| `src/b.rs` | `replace < with <= in g` | `g` does the same |

| other | table |
";

    fn mutant(what: &str, fate: Fate) -> Mutant {
        Mutant {
            file: "src/a.rs".to_owned(),
            what: what.to_owned(),
            fate,
        }
    }

    #[test]
    fn rows_are_read() {
        let rows = rows(TEXT).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].what, "replace || with && in f");
        assert_eq!(rows[1].why, "`g` does the same");
        assert!(super::rows("no table").is_err());
        assert!(row("| `a` | `b` | |").is_err());
    }

    #[test]
    fn survivors_and_rows_must_match() {
        let rows = rows(TEXT).unwrap();
        let explained = "replace || with && in f";
        let verdicts = |mutants: &[Mutant]| -> Vec<Verdict> {
            let results = results("src/a.rs", mutants, &rows);
            results.into_iter().map(|p| p.verdict).collect()
        };
        let skipped = Verdict::Skipped("both are never true".to_owned());
        assert_eq!(verdicts(&[mutant(explained, Fate::Survived)]), [skipped]);
        for fate in [Fate::Failed, Fate::TimedOut, Fate::Unviable] {
            assert_eq!(verdicts(&[mutant(explained, fate)]), [Verdict::Failed]);
        }
        let others = [mutant("x", Fate::Failed), mutant("y", Fate::Survived)];
        assert_eq!(
            verdicts(&others),
            [Verdict::Passed, Verdict::Failed, Verdict::Failed]
        );
        // The row about src/b.rs.
        assert_eq!(of_no_file(&others, &rows).len(), 1);
    }

    #[test]
    fn what_does_not_compile_is_no_part_of_the_score() {
        let mutants = [
            mutant("x", Fate::Failed),
            mutant("y", Fate::Survived),
            mutant("z", Fate::Unviable),
        ];
        let table = scores(&mutants);
        assert_eq!(table.rows.len(), 2);
        assert_eq!(table.rows[1][1..], ["2", "1", "0", "1", "50.0 %", "1"]);
    }
}
