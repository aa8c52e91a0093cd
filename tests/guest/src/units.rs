// SPDX-License-Identifier: GPL-2.0
//! Sizes, and spans of physical memory.

use std::fmt;

/// The base page.
pub const PAGE: u64 = 4096;
/// One mebibyte.
pub const MIB: u64 = 1 << 20;
/// One gibibyte.
pub const GIB: u64 = 1 << 30;
/// Whether a device can have pages of 1 GiB: on arm64 no such page is for devices.
pub const HAS_GIANT: bool = !cfg!(target_arch = "aarch64");
/// The smallest piece of a device: a subsection, which is also what a PMD maps on x86-64.
pub const UNIT: u64 = 2 * MIB;

/// Bytes from `start` to `end`, both inside, as sysfs prints them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
}

impl Span {
    /// The span of `len` bytes at `start`; `len` is not 0.
    pub fn at(start: u64, len: u64) -> Span {
        Span {
            start,
            end: start + (len - 1),
        }
    }

    /// The number of bytes.
    pub fn len(self) -> u64 {
        self.end - self.start + 1
    }

    /// Whether both spans have a byte in common.
    pub fn overlaps(self, other: Span) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start, self.end)
    }
}

/// A mapping of a device: where it is in memory, and at which page of the device it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The physical bytes.
    pub span: Span,
    /// Page offset in the device.
    pub page_offset: u64,
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{:#x}", self.span, self.page_offset)
    }
}

/// The ranges of a device that owns `spans` in this order.
pub fn in_order(spans: &[Span]) -> Vec<Range> {
    let mut page_offset = 0;
    spans
        .iter()
        .map(|&span| {
            let range = Range { span, page_offset };
            page_offset += span.len() / PAGE;
            range
        })
        .collect()
}

/// The holes of `all` between the spans that are taken.
pub fn holes(all: Span, mut taken: Vec<Span>) -> Vec<Span> {
    taken.sort();
    let mut holes = Vec::new();
    let mut next = all.start;
    for span in taken {
        if span.start > next {
            holes.push(Span {
                start: next,
                end: span.start - 1,
            });
        }
        next = next.max(span.end + 1);
    }
    if next <= all.end {
        holes.push(Span {
            start: next,
            end: all.end,
        });
    }
    holes
}

/// A size for people: `6 MiB`, `2 GiB`, `4096 B`.
pub fn human(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        b if b % GIB == 0 => format!("{} GiB", b / GIB),
        b if b % MIB == 0 => format!("{} MiB", b / MIB),
        b if b >= GIB => format!("{:.2} GiB", b as f64 / GIB as f64),
        b => format!("{b} B"),
    }
}

/// `1 range`, `3 ranges`.
pub fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
