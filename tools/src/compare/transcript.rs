// SPDX-License-Identifier: GPL-2.0
//! What a guest wrote down: sequences of operations with what came of each.

use std::collections::BTreeMap;

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is where.
pub type State = BTreeMap<String, String>;
/// Keys with their new values; `None` where there is none any more.
pub type Changes = BTreeMap<String, Option<String>>;

/// An operation and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    pub op: Value,
    pub result: String,
    pub changed: Changes,
    pub uevents: Vec<String>,
    pub log: Vec<String>,
    pub hash: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    pub start: Changes,
    pub start_hash: String,
    pub steps: Vec<Step>,
    /// An operation that was begun and did not return.
    pub begun: Option<Value>,
    /// How it ended, and daxctl's words at the end. None if it did not end.
    pub end: Option<(String, String)>,
    /// What went wrong in the guest.
    pub trouble: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Transcript {
    pub base: State,
    pub modules: BTreeMap<String, Vec<String>>,
    pub sequences: BTreeMap<u64, Sequence>,
    /// Whether the guest did all that it was told.
    pub whole: bool,
    /// Lines that are none of a transcript.
    pub other: Vec<String>,
}

/// Any line; which it is shows in what it has.
#[derive(Deserialize)]
struct Line {
    base: Option<State>,
    modules: Option<BTreeMap<String, Vec<String>>>,
    sequence: Option<u64>,
    start: Option<Changes>,
    op: Option<Value>,
    result: Option<String>,
    changed: Option<Changes>,
    uevents: Option<Vec<String>>,
    log: Option<Vec<String>>,
    hash: Option<String>,
    end: Option<String>,
    daxctl: Option<String>,
    health: Option<String>,
    died: Option<String>,
    error: Option<String>,
    all: Option<bool>,
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
                Ok(parsed) => transcript.add(parsed)?,
                Err(_) if text.ends_with(line) => transcript.other.push(line.to_owned()),
                Err(e) => return Err(e).context(format!("not a line of a transcript: {line}")),
            }
        }
        Ok(transcript)
    }

    fn add(&mut self, line: Line) -> Result<()> {
        if let Some(base) = line.base {
            self.base = base;
            self.modules = line.modules.unwrap_or_default();
            return Ok(());
        }
        if line.all == Some(true) {
            self.whole = true;
            return Ok(());
        }
        let Some(number) = line.sequence else {
            bail!("a line of a transcript belongs to no sequence");
        };
        let sequence = self.sequences.entry(number).or_default();
        let hash = line.hash.unwrap_or_default();
        if let Some(start) = line.start {
            sequence.start = start;
            sequence.start_hash = hash;
        } else if let (Some(op), Some(result)) = (&line.op, line.result) {
            sequence.begun = None;
            sequence.steps.push(Step {
                op: op.clone(),
                result,
                changed: line.changed.unwrap_or_default(),
                uevents: line.uevents.unwrap_or_default(),
                log: line.log.unwrap_or_default(),
                hash,
            });
        } else if let Some(op) = line.op {
            sequence.begun = Some(op);
        } else if let Some(end) = line.end {
            sequence.end = Some((end, line.daxctl.unwrap_or_default()));
        }
        let trouble = [
            ("health", line.health),
            ("died", line.died),
            ("error", line.error),
        ];
        for (what, text) in trouble {
            sequence
                .trouble
                .extend(text.map(|text| format!("{what}: {text}")));
        }
        Ok(())
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
mod tests {
    use super::*;

    #[test]
    fn lines_make_sequences() {
        let text = r#"{"base":{"a":"1"},"modules":{"kmem":[]}}
noise
{"sequence":4,"start":{"a":"2"},"hash":"h"}
{"sequence":4,"op":{"write":"p","text":"t"}}
{"sequence":4,"op":{"write":"p","text":"t"},"result":"EINVAL","changed":{"a":null},"hash":"i"}
{"sequence":4,"op":{"touch":"dax0.0"}}
{"sequence":4,"died":"Stuck"}
{"sequence":4,"op":{"tou"#;
        let transcript = Transcript::parse(text).unwrap();
        let sequence = &transcript.sequences[&4];
        assert_eq!(sequence.steps.len(), 1);
        assert_eq!(sequence.begun, Some(serde_json::json!({"touch": "dax0.0"})));
        assert_eq!(sequence.trouble, ["died: Stuck"]);
        assert!(!transcript.whole && sequence.end.is_none());
        let mut state = transcript.base;
        apply(&mut state, &sequence.start);
        assert_eq!(state["a"], "2");
        apply(&mut state, &sequence.steps[0].changed);
        assert!(state.is_empty());
        assert!(Transcript::parse("{\"sequence\":1,\"op\":\n{\"all\":true}\n").is_err());
    }
}
