// SPDX-License-Identifier: GPL-2.0
//! Operations, their results, and transcripts of both.

use crate::print_as_json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that a user does, in a form that can be stored and done again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Operation {
    /// Write to a file with one `write(2)`.
    Write {
        #[serde(rename = "write")]
        path: String,
        text: String,
    },
    /// Open a device's node, map `len` bytes from `offset` on, and write and read the first word.
    Touch {
        #[serde(rename = "touch")]
        device: String,
        offset: u64,
        len: u64,
    },
    /// Map a device, touch it, unbind its driver, touch again; all of it once more after binding.
    /// Every file and mapping is closed before the device is opened again.
    TouchAcrossUnbind {
        #[serde(rename = "touch_across_unbind")]
        device: String,
    },
    Run {
        #[serde(rename = "run")]
        words: Vec<String>,
    },
}
print_as_json!(Operation);

impl Operation {
    pub fn write(path: impl Into<String>, text: impl Into<String>) -> Operation {
        Operation::Write {
            path: path.into(),
            text: text.into(),
        }
    }

    pub fn run(words: &[&str]) -> Operation {
        Operation::Run {
            words: words.iter().map(|&word| word.to_owned()).collect(),
        }
    }
}

/// All that a user can see, as text. A key is a path, or the name of a list.
pub type State = BTreeMap<String, String>;
/// Keys of a state with their new values; `None` where there is none any more.
pub type Changes = BTreeMap<String, Option<String>>;
/// Loaded modules, each with those that use it.
pub type Modules = BTreeMap<String, Vec<String>>;

/// An operation and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub op: Operation,
    pub result: String,
    pub changed: Changes,
    /// Events, each with its whole environment.
    pub uevents: Vec<String>,
    /// Lines of the kernel log.
    pub log: Vec<String>,
    /// A hash of the whole state.
    pub hash: String,
}

/// A line of the transcript of sequences of operations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// The first line: the state and the modules before the first sequence.
    Base { state: State, modules: Modules },
    /// A sequence begins, in a state that differs from the base like that.
    Start {
        sequence: u64,
        changed: Changes,
        hash: String,
    },
    /// An operation begins. It may be the last thing that the kernel does.
    Begin { sequence: u64, op: Operation },
    /// An operation is over.
    Step { sequence: u64, step: Step },
    /// A sequence is over, for some reason, and what `daxctl list` says then.
    End {
        sequence: u64,
        reason: String,
        daxctl: String,
    },
    /// Something went wrong in a sequence.
    Trouble { sequence: u64, what: String },
    /// The last line: all sequences were run.
    Done {},
}
print_as_json!(Line);

/// The beginning of a line that tells what a test of a group does.
pub const OBSERVED: &str = "#observe ";

/// The content of such a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed {
    /// A process acts for the first time, in this state.
    Base(State),
    /// An operation of a process, and its result.
    Step(Step),
    /// The state could not be read.
    Error(String),
}
print_as_json!(Observed);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_stored_as_they_were() {
        for text in [
            r#"{"write":"p","text":"t"}"#,
            r#"{"touch":"dax0.0","offset":1,"len":2}"#,
            r#"{"touch_across_unbind":"dax0.0"}"#,
            r#"{"run":["daxctl","list"]}"#,
        ] {
            let operation: Operation = serde_json::from_str(text).unwrap();
            assert_eq!(operation.to_string(), text);
        }
        for text in [r#"{"touch":"dax0.0"}"#, r#"{"run":"daxctl"}"#, "{}"] {
            assert!(serde_json::from_str::<Operation>(text).is_err(), "{text}");
        }
    }
}
