// SPDX-License-Identifier: GPL-2.0
//! Reads what `/proc/self/pagemap` says of pages of this process.
//!
//! Reading it takes pages of 1 GiB out of the page table. So a test can only learn in which area
//! such a page is.

use crate::errno::Errno;
use crate::sysfs::{self, Error};
use crate::units::PAGE;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The kernel's table of this process's pages, one word for each small page.
const PATH: &str = "/proc/self/pagemap";

/// What the file says of one small page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry(u64);

impl Entry {
    /// The page frame, if a page is mapped.
    pub fn frame(self) -> Option<u64> {
        let present = self.0 & (1 << 63) != 0;
        present.then_some(self.0 & ((1 << 55) - 1))
    }

    /// Whether the page was written, or its area mapped, since the last write to
    /// `/proc/self/clear_refs`.
    pub fn is_soft_dirty(self) -> bool {
        self.0 & (1 << 55) != 0
    }
}

/// The pages from an address on.
pub fn entries(addr: usize, pages: u64) -> sysfs::Result<Vec<Entry>> {
    let read = || -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; pages as usize * 8];
        File::open(PATH)?.read_exact_at(&mut bytes, addr as u64 / PAGE * 8)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| Error::new(format!("{PATH} at {addr:#x}"), e))?;
    let entry = |bytes: &[u8]| Entry(u64::from_ne_bytes(bytes.try_into().expect("eight bytes")));
    Ok(bytes.chunks_exact(8).map(entry).collect())
}
