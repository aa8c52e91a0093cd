// SPDX-License-Identifier: GPL-2.0
//! Sizes, and spans of physical memory.

pub use dax_map::{counted, holes, human, Span};

use std::fmt;

/// The base page. Kernels of arm64 have a choice; the program for each has a feature of the package.
pub const PAGE: u64 = if cfg!(feature = "pages-64k") {
    64 << 10
} else if cfg!(feature = "pages-16k") {
    16 << 10
} else {
    4 << 10
};
/// One mebibyte.
pub const MIB: u64 = 1 << 20;
/// One gibibyte.
pub const GIB: u64 = 1 << 30;
/// Whether a device can have pages of 1 GiB: on arm64 no such page is for devices.
pub const HAS_GIANT: bool = !cfg!(target_arch = "aarch64");
/// A subsection: the smallest piece of memory that gets struct pages of its own, on every machine.
pub const SUBSECTION: u64 = 2 * MIB;
/// The memory whose struct pages, of 64 bytes each, fill a page, and at least a subsection. What a
/// device of small pages has is a multiple of it. The C driver takes any subsection.
pub const GRANULE: u64 = if PAGE / 64 * PAGE > SUBSECTION {
    PAGE / 64 * PAGE
} else {
    SUBSECTION
};
/// What an entry in a PMD maps, a page full of entries of eight bytes: 2 MiB with pages of 4 KiB. It
/// is the alignment of a new device, and the tests divide memory into pieces of that size.
pub const UNIT: u64 = PAGE / 8 * PAGE;
/// The sizes that a page of a device can have, the smallest first.
pub const ALIGNS: &[u64] = if HAS_GIANT {
    &[PAGE, UNIT, GIB]
} else {
    &[PAGE, UNIT]
};
/// The largest of them.
pub const LARGEST: u64 = if HAS_GIANT { GIB } else { UNIT };
/// The bytes of a device that has several units, but not many: 64 MiB, or one unit if that is more.
pub const MEDIUM: u64 = if UNIT > 64 * MIB { UNIT } else { 64 * MIB };

/// Fails unless the running kernel has pages of the size that this program was built for.
pub fn check_page_size() -> Result<(), String> {
    // SAFETY: Numbers only.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if u64::try_from(page) == Ok(PAGE) {
        return Ok(());
    }
    Err(format!(
        "built for pages of {PAGE} bytes, and this kernel has pages of {page} bytes"
    ))
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
