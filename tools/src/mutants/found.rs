// SPDX-License-Identifier: GPL-2.0
//! Mutants and their fates.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

use super::PURE;
use crate::cache;

/// The fate of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A test failed.
    Failed,
    /// The tests did not end.
    TimedOut,
    /// All tests passed.
    Survived,
    /// It does not compile.
    Unviable,
}

/// The lists that cargo-mutants writes.
const LISTS: [(&str, Fate); 4] = [
    ("caught.txt", Fate::Failed),
    ("timeout.txt", Fate::TimedOut),
    ("missed.txt", Fate::Survived),
    ("unviable.txt", Fate::Unviable),
];

/// A mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// As `src/ranges/range.rs`.
    pub file: String,
    /// The mistake and its function. If a function has the same mistake in several places, ` #2`
    /// and so on follow. These numbers stay when other code changes, and line numbers do not.
    pub what: String,
    pub fate: Fate,
}

/// A mutant and where it is.
pub struct Placed {
    /// Line and column.
    pub at: (usize, usize),
    pub mutant: Mutant,
}

/// Reads the lists in `directory`.
pub fn read(directory: &Path) -> Result<Vec<Mutant>> {
    let mut placed = Vec::new();
    for (name, fate) in LISTS {
        let text = cache::read_text(&directory.join(name))?;
        for line in text.lines() {
            let found =
                parse(line, fate).with_context(|| format!("{name}: not a mutant: {line}"))?;
            placed.push(found);
        }
    }
    Ok(numbered(placed))
}

/// `FILE:LINE:COLUMN: WHAT`.
fn parse(line: &str, fate: Fate) -> Option<Placed> {
    let mut parts = line.splitn(4, ':');
    let file = parts.next()?.strip_prefix(PURE)?;
    let at = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Placed {
        at,
        mutant: Mutant {
            file: format!("src/ranges{file}"),
            what: parts.next()?.trim().replace("r#new", "new"),
            fate,
        },
    })
}

/// Sorts mutants by their place in the source, and makes their names unique.
pub fn numbered(mut placed: Vec<Placed>) -> Vec<Mutant> {
    placed.sort_by(|a, b| (&a.mutant.file, a.at).cmp(&(&b.mutant.file, b.at)));
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut mutants = Vec::new();
    for Placed { mut mutant, .. } in placed {
        let key = (mutant.file.clone(), mutant.what.clone());
        let number = seen.entry(key).or_insert(0);
        *number += 1;
        if *number > 1 {
            mutant.what += &format!(" #{number}");
        }
        mutants.push(mutant);
    }
    mutants
}

/// Number of mutants of each fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    pub failed: usize,
    pub timed_out: usize,
    pub survived: usize,
    pub unviable: usize,
}

impl Score {
    pub fn of(mutants: &[Mutant], file: Option<&str>) -> Self {
        let own = mutants
            .iter()
            .filter(|m| file.is_none_or(|file| m.file == file));
        let count = |fate| own.clone().filter(|m| m.fate == fate).count();
        Self {
            failed: count(Fate::Failed),
            timed_out: count(Fate::TimedOut),
            survived: count(Fate::Survived),
            unviable: count(Fate::Unviable),
        }
    }

    /// Number of mutants that the tests see.
    pub fn seen(self) -> usize {
        self.failed + self.timed_out
    }

    /// Number of mutants that compile.
    pub fn all(self) -> usize {
        self.seen() + self.survived
    }

    /// The percentage that the tests see, of those that compile.
    pub fn share(self) -> f64 {
        self.seen() as f64 * 100.0 / self.all().max(1) as f64
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seen, all, share) = (self.seen(), self.all(), self.share());
        write!(f, "{seen} of {all} mutants seen, {share:.1} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_mistake_twice_is_numbered_by_place() {
        let line = |at: &str, what: &str| format!("{PURE}/range.rs:{at}: {what}");
        let twice = "replace <= with > in PhysRange::contains";
        let placed = [
            parse(&line("68:49", twice), Fate::Survived),
            parse(&line("68:20", twice), Fate::Failed),
            parse(&line("9:1", "delete ! in Align::r#new"), Fate::Unviable),
        ];
        let mutants = numbered(placed.into_iter().flatten().collect());
        let names: Vec<&str> = mutants.iter().map(|m| m.what.as_str()).collect();
        assert_eq!(
            names,
            ["delete ! in Align::new", twice, &format!("{twice} #2")]
        );
        assert_eq!(mutants[1].fate, Fate::Failed);
        assert_eq!(mutants[2].file, "src/ranges/range.rs");
        assert!(parse("elsewhere.rs:1:1: x", Fate::Failed).is_none());

        let score = Score::of(&mutants, Some("src/ranges/range.rs")).to_string();
        assert_eq!(score, "1 of 2 mutants seen, 50.0 %");
        assert_eq!(Score::of(&mutants, Some("src/ranges/layout.rs")).all(), 0);
    }
}
