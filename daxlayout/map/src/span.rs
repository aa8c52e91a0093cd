// SPDX-License-Identifier: GPL-2.0
//! Spans of physical memory, and sizes and numbers in words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes from `start` to `end`, both inside, as sysfs has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start, self.end)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Span {
    /// `len` bytes at `start`, where `len` is not 0 and the end does not overflow.
    pub fn at(start: u64, len: u64) -> Self {
        let end = start + (len - 1);
        Self { start, end }
    }

    /// `len` bytes at `start`; none if `len` is 0 or the end overflows.
    pub fn checked_at(start: u64, len: u64) -> Option<Self> {
        let end = start.checked_add(len.checked_sub(1)?)?;
        Some(Self { start, end })
    }

    /// The number of bytes. That of all 2^64 addresses does not fit, and counts one byte less.
    #[allow(clippy::len_without_is_empty, reason = "no span is empty")]
    pub fn len(self) -> u64 {
        (self.end - self.start).saturating_add(1)
    }

    /// Whether both have a byte in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.common(other).is_some()
    }

    /// The bytes that both have.
    pub fn common(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start <= end).then_some(Self { start, end })
    }

    /// Whether all of `other` is inside.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The largest part that starts and ends at multiples of `granule`.
    pub fn aligned(self, granule: u64) -> Option<Self> {
        let start = self.start.checked_next_multiple_of(granule)?;
        let after = self.end.checked_add(1)?;
        Self::checked_at(start, (after - after % granule).checked_sub(start)?)
    }

    /// Whether it starts and ends at multiples of `granule`.
    pub fn is_aligned(self, granule: u64) -> bool {
        self.aligned(granule) == Some(self)
    }
}

/// The number of bytes of all spans.
pub fn total(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.len()).sum()
}

/// The bytes of all spans in address order, in as few spans as possible.
pub fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end.saturating_add(1) => {
                last.end = last.end.max(span.end);
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// The parts of `all` that are not taken, in address order.
pub fn holes(all: Span, taken: &[Span]) -> Vec<Span> {
    let mut holes = Vec::new();
    let mut next = all.start;
    for span in merged(taken.to_vec()) {
        if let Some(hole) = Span::checked_at(next, span.start.saturating_sub(next)) {
            holes.extend(hole.common(all));
        }
        let Some(after) = span.end.checked_add(1) else {
            return holes;
        };
        next = next.max(after);
    }
    if next <= all.end {
        holes.push(Span {
            start: next,
            end: all.end,
        });
    }
    holes
}

/// A size for people, exact: `1216 MiB`.
pub fn human(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    units
        .iter()
        .find(|(shift, _)| bytes != 0 && bytes % (1 << shift) == 0)
        .map_or_else(
            || format!("{bytes} B"),
            |(shift, unit)| format!("{} {unit}", bytes >> shift),
        )
}

/// `1 range`, `2 ranges`.
pub fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
