// SPDX-License-Identifier: GPL-2.0
//! Sizes, and spans of physical memory.

pub use dax_map::{counted, holes, human, Span};

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
