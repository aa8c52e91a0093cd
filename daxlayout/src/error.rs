// SPDX-License-Identifier: GPL-2.0
//! Errors, and the exit status for each.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::plan::Refusal;
use crate::span::Span;

/// A result of this program.
pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, Error)]
pub enum Error {
    /// The options do not go together.
    #[error("{0}")]
    Usage(String),
    /// There is no such region, device or cache.
    #[error("{0}")]
    NotFound(String),
    /// There is no memory as it was asked for.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The region cannot have the saved layout, or cannot be divided.
    #[error("{0}")]
    DoesNotFit(String),
    /// The kernel refused a write.
    #[error("cannot write {text:?} to {}: {source}", path.display())]
    Write {
        path: PathBuf,
        text: String,
        source: io::Error,
    },
    /// The kernel refused a range.
    #[error("{device}: range {number} of {count}, {span}: {source}")]
    Range {
        device: String,
        number: usize,
        count: usize,
        span: Span,
        source: io::Error,
    },
    /// A write succeeded, but the kernel did not do what was written.
    #[error("{0}")]
    Unexpected(String),
    /// A step failed, and the steps before it were undone, except for those in `left`.
    #[error("{cause}\n{}", undone(.left))]
    HalfWay { cause: Box<Error>, left: Vec<Error> },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: unexpected content {text:?}", path.display())]
    Parse { path: PathBuf, text: String },
    #[error("{what}: {source}")]
    Json {
        what: String,
        source: serde_json::Error,
    },
    #[error("cannot write {what}: {source}")]
    Output { what: String, source: io::Error },
}

/// Says which steps could not be undone.
fn undone(left: &[Error]) -> String {
    if left.is_empty() {
        return "everything was undone".to_owned();
    }
    let left: Vec<String> = left.iter().map(|e| format!("\n  {e}")).collect();
    format!("not everything could be undone:{}", left.concat())
}

impl Error {
    /// The exit status; `cli.rs` has the list for users.
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 1,
            Self::NotFound(_) => 2,
            Self::Refused(_) | Self::DoesNotFit(_) => 3,
            Self::Write { .. } | Self::Range { .. } | Self::Unexpected(_) => 4,
            Self::HalfWay { cause, left } if left.is_empty() => cause.status(),
            Self::HalfWay { .. } => 6,
            Self::Read { .. } | Self::Parse { .. } | Self::Json { .. } | Self::Output { .. } => 5,
        }
    }
}
