// SPDX-License-Identifier: GPL-2.0
//! Spans of physical memory, and sizes as people write them.

use std::fmt;

use nix::unistd::{sysconf, SysconfVar};
use serde::{Deserialize, Serialize};

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// The page size of the running kernel, in bytes: page offsets count such pages.
pub fn page() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| size.try_into().ok()).unwrap_or(4096)
}

/// Bytes from `start` to `end`, both inside, as sysfs has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    pub start: u64,
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
    /// `len` bytes at `start`; none if `len` is 0 or the end overflows.
    pub fn at(start: u64, len: u64) -> Option<Self> {
        let end = start.checked_add(len.checked_sub(1)?)?;
        Some(Self { start, end })
    }

    /// The number of bytes. That of all 2^64 addresses does not fit, and counts one byte less.
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
        Self::at(start, (after - after % granule).checked_sub(start)?)
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
        if let Some(hole) = Span::at(next, span.start.saturating_sub(next)) {
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

/// A size as people and daxctl write it: `4096`, `0x1000`, `2M`, `1G`, `1GiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a size: write 2097152, 0x200000, 2M or 1G");
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).map_err(|_| bad());
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.strip_prefix(digits).unwrap_or_default() {
        "" | "B" => 0,
        "k" | "K" | "KiB" => 10,
        "m" | "M" | "MiB" => 20,
        "g" | "G" | "GiB" => 30,
        "t" | "T" | "TiB" => 40,
        _ => return Err(bad()),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

/// A range as people write it: `0x100000000-0x13fffffff`, the last byte inside as in sysfs and
/// `/proc/iomem`, or start and length: `4G+1G`.
pub fn parse_range(text: &str) -> Result<Span, String> {
    let bad = || format!("{text:?} is not a range: write START-LAST or START+LENGTH");
    let span = if let Some((start, length)) = text.split_once('+') {
        Span::at(parse_size(start)?, parse_size(length)?)
    } else {
        let (start, end) = text.split_once('-').ok_or_else(bad)?;
        let (start, end) = (parse_size(start)?, parse_size(end)?);
        (start <= end).then_some(Span { start, end })
    };
    span.ok_or_else(bad)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64) -> Span {
        Span { start, end }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("0x1000", 4096),
            ("4k", 4096),
            ("2M", 2 << 20),
            ("1GiB", 1 << 30),
            ("3T", 3 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1.5G", "-1", "2X", "0x", "99999999T", "1 G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(human(1216 << 20), "1216 MiB");
        assert_eq!(human(2 << 30), "2 GiB");
        assert_eq!(human(0), "0 B");
    }

    #[test]
    fn ranges() {
        let wanted = Ok(span(4 << 30, (5 << 30) - 1));
        assert_eq!(parse_range("4G+1G"), wanted);
        assert_eq!(parse_range("0x100000000-0x13fffffff"), wanted);
        for text in ["4G", "2-1", "4G+0", "0xffffffffffffffff+2"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn holes_are_what_is_left() {
        let all = span(10, 99);
        assert_eq!(holes(all, &[]), [all]);
        assert_eq!(holes(all, &[all]), []);
        assert_eq!(
            holes(all, &[span(50, 59), span(10, 19), span(60, 69)]),
            [span(20, 49), span(70, 99)]
        );
        assert_eq!(holes(all, &[span(0, 9), span(95, 120)]), [span(10, 94)]);
    }

    #[test]
    fn alignment_rounds_inwards() {
        assert_eq!(span(5, 34).aligned(10), Some(span(10, 29)));
        assert_eq!(span(11, 19).aligned(10), None);
        assert_eq!(span(11, 28).aligned(10), None);
        assert!(span(10, 19).is_aligned(10) && !span(10, 18).is_aligned(10));
        assert_eq!(span(0, u64::MAX).aligned(2), None);
    }
}
