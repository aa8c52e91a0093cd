// SPDX-License-Identifier: GPL-2.0
//! A guest's transcript: sequences of operations, each operation with its outcome.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
pub use dax_protocol::compare::{Changes, Operation, State, Step};
use dax_protocol::compare::{Line, Modules};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    pub start: Changes,
    pub start_hash: String,
    pub steps: Vec<Step>,
    /// An operation that was begun and did not return.
    pub begun: Option<Operation>,
    /// The state at the end, and daxctl's words about it. None if the sequence did not end.
    pub end: Option<(String, String)>,
    /// Failures of the guest.
    pub trouble: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Transcript {
    pub base: State,
    pub modules: Modules,
    pub sequences: BTreeMap<u64, Sequence>,
    /// Whether the guest did all that it was told.
    pub whole: bool,
    /// Lines that do not belong to the transcript.
    pub other: Vec<String>,
}

impl Transcript {
    pub fn parse(text: &str) -> Result<Self> {
        let mut transcript = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if !line.starts_with('{') {
                transcript.other.push(line.to_owned());
                continue;
            }
            // A guest that died may leave half a line, but only as its last.
            match serde_json::from_str(line) {
                Ok(parsed) => transcript.add(parsed),
                Err(_) if text.ends_with(line) => transcript.other.push(line.to_owned()),
                Err(e) => return Err(e).context(format!("not a line of a transcript: {line}")),
            }
        }
        Ok(transcript)
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Base { state, modules } => (self.base, self.modules) = (state, modules),
            Line::Start {
                sequence,
                changed,
                hash,
            } => {
                let sequence = self.of(sequence);
                (sequence.start, sequence.start_hash) = (changed, hash);
            }
            Line::Begin { sequence, op } => self.of(sequence).begun = Some(op),
            Line::Step { sequence, step } => {
                let sequence = self.of(sequence);
                sequence.begun = None;
                sequence.steps.push(step);
            }
            Line::End {
                sequence,
                reason,
                daxctl,
            } => self.of(sequence).end = Some((reason, daxctl)),
            Line::Trouble { sequence, what } => self.of(sequence).trouble.push(what),
            Line::Done {} => self.whole = true,
        }
    }

    /// The sequence of that number.
    fn of(&mut self, number: u64) -> &mut Sequence {
        self.sequences.entry(number).or_default()
    }
}

/// The state after some changes.
pub fn apply(state: &mut State, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A step that changed nothing.
    pub fn step(op: Operation, result: &str) -> Step {
        Step {
            op,
            result: result.to_owned(),
            changed: Changes::new(),
            uevents: Vec::new(),
            log: Vec::new(),
            hash: String::new(),
        }
    }

    #[test]
    fn lines_make_sequences() {
        let text = r#"{"base":{"state":{"a":"1"},"modules":{"kmem":[]}}}
noise
{"start":{"sequence":4,"changed":{"a":"2"},"hash":"h"}}
{"begin":{"sequence":4,"op":{"write":"p","text":"t"}}}
{"step":{"sequence":4,"step":{"op":{"write":"p","text":"t"},"result":"EINVAL","changed":{"a":null},"uevents":[],"log":[],"hash":"i"}}}
{"begin":{"sequence":4,"op":{"run":["daxctl"]}}}
{"trouble":{"sequence":4,"what":"died: Stuck"}}
{"begin":{"sequence":4,"op":{"tou"#;
        let transcript = Transcript::parse(text).unwrap();
        let sequence = &transcript.sequences[&4];
        assert_eq!(sequence.steps.len(), 1);
        assert_eq!(sequence.begun, Some(Operation::run(&["daxctl"])));
        assert_eq!(sequence.trouble, ["died: Stuck"]);
        assert_eq!(
            transcript.other,
            ["noise", r#"{"begin":{"sequence":4,"op":{"tou"#]
        );
        assert!(!transcript.whole && sequence.end.is_none());
        let mut state = transcript.base;
        apply(&mut state, &sequence.start);
        assert_eq!(state["a"], "2");
        apply(&mut state, &sequence.steps[0].changed);
        assert!(state.is_empty());
        assert!(Transcript::parse("{\"begin\":{\n{\"done\":{}}\n").is_err());
        assert!(Transcript::parse("{\"done\":{}}\n").unwrap().whole);
    }
}
