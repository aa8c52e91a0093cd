// SPDX-License-Identifier: GPL-2.0
//! Compares a sequence's two transcripts, step by step.

use std::fmt::Write as _;

use super::rules::{self, Rule};
use super::transcript::{apply, Operation, Sequence, State, Step};

/// The judgement of one sequence on two drivers.
#[derive(Debug)]
pub enum Outcome {
    /// It ran to its end on both, with the same state after each step.
    Agreed,
    /// A rule explains a difference that leaves the drivers in different states.
    Cut(&'static str),
    /// Nothing explains it.
    Unexplained(Box<Difference>),
}

#[derive(Debug)]
pub struct Judgement {
    pub outcome: Outcome,
    /// Operations that were compared.
    pub operations: usize,
    /// Rules that explained a difference, once for each.
    pub explained: Vec<&'static str>,
}

/// A difference that nothing explains.
#[derive(Debug)]
pub struct Difference {
    /// The operations up to there.
    pub operations: Vec<Operation>,
    /// The difference for people, line by line.
    pub text: String,
}

/// Compares. `base` is the state from which both guests say how they started.
pub fn judge(base: &State, c: &Sequence, rust: &Sequence) -> Judgement {
    let mut judgement = Judgement {
        outcome: Outcome::Agreed,
        operations: 0,
        explained: Vec::new(),
    };
    judgement.outcome = compare(base, c, rust, &mut judgement);
    judgement
}

fn compare(base: &State, c: &Sequence, rust: &Sequence, judgement: &mut Judgement) -> Outcome {
    let unexplained = |steps: usize, text: String| {
        let operations = c
            .steps
            .iter()
            .chain(&rust.steps[c.steps.len().min(rust.steps.len())..]);
        let operations = operations.take(steps).map(|step| step.op.clone()).collect();
        Outcome::Unexplained(Box::new(Difference { operations, text }))
    };
    if c.start_hash != rust.start_hash || c.start != rust.start {
        let show = |s: &Sequence| format!("{} {:?} {:?}", s.start_hash, s.start, s.trouble);
        let text = format!("at the start\nC    {}\nRust {}\n", show(c), show(rust));
        return unexplained(0, text);
    }
    let mut state = base.clone();
    apply(&mut state, &c.start);
    for (at, (step, other)) in c.steps.iter().zip(&rust.steps).enumerate() {
        judgement.operations += 1;
        if step != other {
            match rules::explain(&state, step, other) {
                Some(Rule { name, .. }) => judgement.explained.push(name),
                None => return unexplained(at + 1, describe(step, other)),
            }
            if step.op != other.op {
                return unexplained(at + 1, "the two did not do the same\n".to_owned());
            }
            if step.hash != other.hash {
                let rule = judgement.explained.last().copied().unwrap_or_default();
                return after_cut(rule, rust);
            }
        }
        apply(&mut state, &step.changed);
    }
    let length = c.steps.len().max(rust.steps.len());
    let mut text = String::new();
    if c.steps.len() != rust.steps.len() {
        let _ = writeln!(
            text,
            "steps: C {}, Rust {}",
            c.steps.len(),
            rust.steps.len()
        );
    }
    for (who, sequence) in [("C", c), ("Rust", rust)] {
        text += &trouble(who, sequence);
    }
    if text.is_empty() && c.end != rust.end {
        let _ = writeln!(text, "at the end\nC    {:?}\nRust {:?}", c.end, rust.end);
    }
    if text.is_empty() {
        Outcome::Agreed
    } else {
        // The operation that did not return is needed to see the difference again.
        let mut outcome = unexplained(length, text);
        let begun = c.begun.as_ref().or(rust.begun.as_ref());
        if let (Outcome::Unexplained(difference), Some(op)) = (&mut outcome, begun) {
            if c.steps.len() == rust.steps.len() {
                difference.operations.push(op.clone());
            }
        }
        outcome
    }
}

/// The outcome of a sequence that a rule cut. The C driver may end badly behind the cut, for a known
/// reason; the Rust driver has no such reason.
fn after_cut(rule: &'static str, rust: &Sequence) -> Outcome {
    let found = trouble("Rust", rust);
    if found.is_empty() {
        return Outcome::Cut(rule);
    }
    let done = rust.steps.iter().map(|step| &step.op);
    let operations = done.chain(&rust.begun).cloned().collect();
    let text = format!("after the cut by {rule}\n{found}");
    Outcome::Unexplained(Box::new(Difference { operations, text }))
}

/// Lines about a driver's guest that failed, or that did not come to the end of the sequence.
fn trouble(who: &str, sequence: &Sequence) -> String {
    let mut text = String::new();
    for trouble in &sequence.trouble {
        let _ = writeln!(text, "{who}: {trouble}");
    }
    if sequence.end.is_none() {
        let begun = sequence.begun.as_ref();
        let during = begun.map(Operation::to_string).unwrap_or_default();
        let _ = writeln!(text, "{who}: did not end; during {during}");
    }
    text
}

/// The difference between two outcomes of an operation, for people.
pub fn describe(c: &Step, rust: &Step) -> String {
    let mut text = format!("operation {}\n", c.op);
    let mut add = |what: &str, c: &str, rust: &str| {
        if c != rust {
            let _ = writeln!(text, "{what}\n  C    {c}\n  Rust {rust}");
        }
    };
    add("operation", &c.op.to_string(), &rust.op.to_string());
    add("result", &c.result, &rust.result);
    for key in c
        .changed
        .keys()
        .chain(rust.changed.keys().filter(|k| !c.changed.contains_key(*k)))
    {
        let show = |step: &Step| match step.changed.get(key) {
            None => "(as before)".to_owned(),
            Some(None) => "(gone)".to_owned(),
            Some(Some(value)) => value.clone(),
        };
        add(key, &show(c), &show(rust));
    }
    add(
        "uevents",
        &c.uevents.join("\n       "),
        &rust.uevents.join("\n       "),
    );
    add(
        "kernel log",
        &c.log.join("\n       "),
        &rust.log.join("\n       "),
    );
    if c.hash != rust.hash {
        add("hash of the state", &c.hash, &rust.hash);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::transcript::tests;
    use super::*;

    fn step(path: &str, text: &str, result: &str, hash: &str) -> Step {
        Step {
            hash: hash.to_owned(),
            ..tests::step(Operation::write(path, text), result)
        }
    }

    fn sequence(steps: &[Step]) -> Sequence {
        Sequence {
            steps: steps.to_vec(),
            end: Some(("complete".to_owned(), String::new())),
            ..Sequence::default()
        }
    }

    fn outcome(c: &Sequence, rust: &Sequence) -> Outcome {
        judge(&State::new(), c, rust).outcome
    }

    #[test]
    fn equal_sequences_agree() {
        let both = sequence(&[
            step("r/create", "1", "wrote 1", "a"),
            step("s", "0", "EIO", "a"),
        ]);
        let judgement = judge(&State::new(), &both, &both);
        assert!(matches!(judgement.outcome, Outcome::Agreed));
        assert_eq!(judgement.operations, 2);
    }

    #[test]
    fn every_kind_of_difference_is_seen() {
        let good = sequence(&[
            step("r/create", "1", "wrote 1", "a"),
            step("s", "0", "EIO", "a"),
        ]);
        type Spoil = fn(&mut Sequence);
        let spoil: [(&str, Spoil); 10] = [
            ("result", |s| s.steps[1].result = "EINVAL".into()),
            ("hash", |s| s.steps[1].hash = "b".into()),
            ("change", |s| {
                s.steps[1].changed.insert("k".into(), None);
            }),
            ("event", |s| s.steps[1].uevents.push("add@x".into())),
            ("log", |s| s.steps[1].log.push("hello".into())),
            ("operation", |s| s.steps[1].op = Operation::run(&["true"])),
            ("start", |s| s.start_hash = "z".into()),
            ("end", |s| s.end = Some(("complete".into(), "other".into()))),
            ("death", |s| s.end = None),
            ("trouble", |s| s.trouble.push("health: warnings".into())),
        ];
        for (what, spoil) in spoil {
            let mut bad = good.clone();
            spoil(&mut bad);
            for (c, rust) in [(&good, &bad), (&bad, &good)] {
                assert!(
                    matches!(outcome(c, rust), Outcome::Unexplained(_)),
                    "{what}"
                );
            }
        }
        let mut short = good.clone();
        short.steps.pop();
        assert!(matches!(outcome(&good, &short), Outcome::Unexplained(_)));
    }

    #[test]
    fn a_death_names_the_operation() {
        let c = sequence(&[step("a", "1", "wrote 1", "a")]);
        let mut rust = c.clone();
        rust.begun = Some(Operation::run(&["daxctl"]));
        rust.end = None;
        let Outcome::Unexplained(difference) = outcome(&c, &rust) else {
            panic!("not seen");
        };
        assert_eq!(difference.operations.len(), 2);
        assert!(difference.text.contains("daxctl"), "{}", difference.text);
    }

    #[test]
    fn behind_a_cut_only_the_rust_driver_has_to_end_well() {
        let mut base = State::new();
        base.insert("/x/dax0.0/driver".to_owned(), "device_dax".to_owned());
        let first = |result, hash| step("/x/dax0.0/mapping", "0-1", result, hash);
        let good = [
            sequence(&[first("wrote 3", "a"), step("s", "0", "EIO", "a")]),
            sequence(&[first("EBUSY", "b"), step("t", "0", "EIO", "c")]),
        ];
        let outcome = |[c, rust]: &[Sequence; 2]| judge(&base, c, rust).outcome;
        assert!(matches!(outcome(&good), Outcome::Cut(_)));
        type Spoil = fn(&mut Sequence);
        let spoil: [Spoil; 3] = [
            |s| s.trouble.push("died: Stuck".into()),
            |s| s.trouble.push("error: no region".into()),
            |s| {
                s.begun = Some(Operation::run(&["daxctl"]));
                s.end = None;
            },
        ];
        for spoil in spoil {
            let mut both = good.clone();
            spoil(&mut both[0]);
            assert!(matches!(outcome(&both), Outcome::Cut(_)), "C may");
            spoil(&mut both[1]);
            let Outcome::Unexplained(found) = outcome(&both) else {
                panic!("not seen");
            };
            assert!(found.text.contains("Rust: d") || found.text.contains("Rust: error"));
            assert!(!found.text.contains("C: "), "{}", found.text);
            let steps = both[1].steps.iter().map(|step| &step.op);
            let done: Vec<_> = steps.chain(&both[1].begun).collect();
            assert_eq!(found.operations.iter().collect::<Vec<_>>(), done);
        }
    }

    #[test]
    fn an_explained_difference_does_not_end_a_sequence_unless_the_states_differ() {
        let path = "/x/dax0.0/align";
        let c = sequence(&[step(path, "x", "ENXIO", "a"), step("s", "0", "EIO", "a")]);
        let rust = sequence(&[step(path, "x", "EINVAL", "a"), step("s", "0", "EIO", "a")]);
        let judgement = judge(&State::new(), &c, &rust);
        assert!(matches!(judgement.outcome, Outcome::Agreed));
        assert_eq!((judgement.operations, judgement.explained.len()), (2, 1));
        let mut other = rust.clone();
        other.steps[0].hash = "b".into();
        let judgement = judge(&State::new(), &c, &other);
        assert!(
            matches!(judgement.outcome, Outcome::Unexplained(_)),
            "the rule wants one state"
        );
    }
}
