// SPDX-License-Identifier: GPL-2.0
//! The reserved addresses and their owners, from `/proc/iomem`.

use crate::errno::Errno;
use crate::sysfs::{Error, Result};
use crate::units::Span;
use std::fs;

/// The kernel's list of reserved addresses.
const PATH: &str = "/proc/iomem";

/// One line: a name within those above it that are indented less.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The depth of its nesting: 0 for a line that is not indented.
    pub depth: usize,
    /// The addresses.
    pub span: Span,
    /// The name that the line shows.
    pub name: String,
}

/// All lines, in the order of the file.
pub fn read() -> Result<Vec<Entry>> {
    let text = fs::read_to_string(PATH).map_err(|e| Error::new(PATH, Errno::from(e)))?;
    text.lines()
        .map(|line| parse(line).ok_or_else(|| Error::state(format!("{PATH}: {line:?}"))))
        .collect()
}

/// A line such as `  100000000-1ffffffff : dax0.1`.
fn parse(line: &str) -> Option<Entry> {
    let (span, name) = line.trim_start().split_once(" : ")?;
    let (start, end) = span.split_once('-')?;
    Some(Entry {
        depth: (line.len() - line.trim_start().len()) / 2,
        span: Span {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
        },
        name: name.to_owned(),
    })
}

/// The memory that has this name.
pub fn named(name: &str) -> Result<Vec<Span>> {
    let mut entries = read()?;
    entries.retain(|entry| entry.name == name);
    Ok(entries.into_iter().map(|entry| entry.span).collect())
}

/// The names of all that covers a span completely, from the outside in.
pub fn owners(span: Span) -> Result<Vec<String>> {
    let mut entries = read()?;
    entries.retain(|e| e.span.start <= span.start && span.end <= e.span.end);
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}
