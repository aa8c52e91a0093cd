// SPDX-License-Identifier: GPL-2.0
//! Shortens a sequence that differs. Each round tries all ways to leave out a part, in one guest of
//! each kind, and the next round takes the shortest that still differs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::guests::{machine, Pair, Ran};
use super::judge::{judge, Difference, Outcome};
use super::transcript::{Operation, Sequence, Transcript};
use super::BATCH_TIMEOUT;
use crate::progress::Step;

/// The most rounds; each takes a guest of each kind.
const ROUNDS: usize = 12;

/// A list of operations on C and on Rust, and the state before it.
type Replayed = (Sequence, Sequence, Transcript);

/// The shortest list of operations that was found to differ, and how.
pub fn shrink(pair: &Pair<'_>, label: &str, found: &Difference) -> Result<Difference> {
    let mut best = Difference {
        operations: found.operations.clone(),
        text: found.text.clone(),
    };
    for round in 0..ROUNDS {
        let candidates = candidates(&best.operations);
        if candidates.is_empty() {
            break;
        }
        let name = format!("{label}-shrink{round}");
        let Some(shorter) = differing(pair, &name, &candidates)? else {
            break;
        };
        eprintln!("{} operations still differ", shorter.operations.len());
        best = shorter;
    }
    Ok(best)
}

/// Runs lists of operations and gives the shortest that differs without an explanation.
fn differing(pair: &Pair<'_>, name: &str, lists: &[Vec<Operation>]) -> Result<Option<Difference>> {
    let mut shortest: Option<Difference> = None;
    for (c, rust, transcript) in replay(pair, name, lists)?.0 {
        if let Outcome::Unexplained(difference) = judge(&transcript.base, &c, &rust).outcome {
            let len = difference.operations.len();
            if shortest.as_ref().is_none_or(|s| len < s.operations.len()) {
                shortest = Some(*difference);
            }
        }
    }
    Ok(shortest)
}

/// Both transcripts of each list that both guests ran, and the guests' failures.
pub fn replay(
    pair: &Pair<'_>,
    name: &str,
    lists: &[Vec<Operation>],
) -> Result<(Vec<Replayed>, Vec<String>)> {
    let file: PathBuf = pair.dir.join(format!("{name}.json"));
    let text = serde_json::to_string(lists).context("cannot write JSON")?;
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let step = Step::start(format!("{name}: {} sequences", lists.len()), 0);
    let ran = pair.run(
        name,
        &machine(BATCH_TIMEOUT)?,
        &format!("/dax-guest replay /{name}.json"),
        &[file],
        &step,
    )?;
    step.done();
    let [c, rust] = [
        Transcript::parse(&ran[0].text)?,
        Transcript::parse(&ran[1].text)?,
    ];
    let base = Transcript {
        base: c.base,
        ..Transcript::default()
    };
    let both = c
        .sequences
        .into_iter()
        .filter_map(|(number, c)| Some((c, rust.sequences.get(&number)?.clone(), base.clone())))
        .collect();
    Ok((both, ran.iter().filter_map(Ran::trouble).collect()))
}

/// The list without each of its halves, quarters and so on, down to single operations. The last
/// operation stays, since it is the one that differed.
fn candidates<T: Clone + PartialEq>(operations: &[T]) -> Vec<Vec<T>> {
    let Some(kept) = operations.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut candidates = Vec::new();
    let mut len = kept;
    while len > 0 {
        for from in (0..kept).step_by(len) {
            let to = (from + len).min(kept);
            let without = [&operations[..from], &operations[to..]].concat();
            if !candidates.contains(&without) {
                candidates.push(without);
            }
        }
        len /= 2;
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_left_out_once() {
        let list: Vec<u64> = (0..5).collect();
        let tried = candidates(&list);
        assert_eq!(tried[0], [4], "all but the last at once");
        for left_out in 0..4 {
            let without: Vec<u64> = (0..5).filter(|&n| n != left_out).collect();
            assert!(tried.contains(&without), "{left_out}");
        }
        assert!(tried.iter().all(|t| t.last() == Some(&4) && t.len() < 5));
        assert!(candidates(&list[..1]).is_empty());
    }

    #[test]
    fn rounds_end_at_what_matters() {
        // Differs if 3 comes before 7.
        let differs = |list: &[u64]| {
            let at = |n: u64| list.iter().position(|&v| v == n);
            matches!((at(3), at(7)), (Some(a), Some(b)) if a < b)
        };
        let mut best: Vec<u64> = (0..8).collect();
        for _ in 0..ROUNDS {
            let shorter = candidates(&best).into_iter().filter(|c| differs(c));
            match shorter.min_by_key(Vec::len) {
                Some(shorter) => best = shorter,
                None => break,
            }
        }
        assert_eq!(best, [3, 7]);
    }
}
