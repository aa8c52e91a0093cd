// SPDX-License-Identifier: GPL-2.0

//! Zeroing of memory before the next owner sees it: `zero_on_alloc`.
//!
//! Zeroing takes seconds for each ten gigabytes or so. So it runs without the locks of this
//! driver, and ends early if the writer is killed, the machine goes down or the device
//! goes. Memory is zeroed through a mapping of its own, since memory without a driver has
//! no struct pages and is not in the direct map.

use kernel::{
    prelude::*,
    sync::aref::ARef,
    time::{
        Instant,
        Monotonic, //
    }, //
};

use crate::{
    driver::device::DevDax,
    ranges::range::PhysRange,
    sys::{
        hwpoison,
        log,
        memory::Mapped,
        object::device,
        task::{
            cond_resched,
            must_give_up, //
        }, //
    }, //
};

/// How much memory is mapped into the kernel at a time, in bytes. The page tables for it
/// need at most 512 KiB.
const MAPPED: u64 = 256 << 20;
/// How much is zeroed before a look at signals, in bytes.
const STEP: u64 = 2 << 20;
/// Interval between messages about the progress, in milliseconds.
const REPORT_MS: i64 = 10_000;

impl DevDax {
    /// Zeroes `ranges`, all but the pages that memory-failure handling marked. Sleeps; no
    /// lock of ours is held. Nobody else may use the ranges: they are reserved for the
    /// device, or its driver is about to be probed.
    ///
    /// # Errors
    ///
    /// `EINTR` if the task was killed, `ENXIO` if the device is gone, `EBUSY` if somebody
    /// has reserved a part in `/proc/iomem`, `EIO` if not all marked pages are known,
    /// `ENOMEM`.
    pub(super) fn zero(&self, ranges: impl Iterator<Item = PhysRange> + Clone) -> Result {
        let sizes = ranges.clone().map(|range| range.size());
        let mut progress = Progress::new(self, sizes.fold(0, u64::saturating_add));
        let memory = self.region().memory();
        let this = ARef::from(self);
        for range in ranges {
            let claim = memory.claim(&this, range).inspect_err(|_| {
                log::refused_range(self, range, c"could not be reserved, and is not zeroed");
            })?;
            for part in range.chunks(MAPPED) {
                let mut mapped = claim.map(part)?;
                for step in part.chunks(STEP) {
                    self.may_go_on()?;
                    zero_clean(&mut mapped, step)?;
                    progress.add(step.size());
                    cond_resched();
                }
            }
        }
        progress.end();
        Ok(())
    }

    /// Whether zeroing still makes sense. Takes the region lock.
    fn may_go_on(&self) -> Result {
        if must_give_up() {
            return Err(EINTR);
        }
        self.is_there()
    }
}

/// Zeroes `range`, all but its poisoned pages.
fn zero_clean(mapped: &mut Mapped<'_>, range: PhysRange) -> Result {
    let mut rest = Some(range);
    while let Some(part) = rest {
        let Some(clean) = hwpoison::first_clean(part)? else {
            break;
        };
        mapped.zero(clean);
        rest = part.part_above(&clean);
    }
    Ok(())
}

/// How far zeroing has come, and when the log said so. A zeroing that ends before the first
/// report logs nothing.
struct Progress<'a> {
    device: &'a DevDax,
    /// All of it, in bytes.
    total: u64,
    /// Bytes that are zeroed so far.
    done: u64,
    began: Instant<Monotonic>,
    said: Option<Instant<Monotonic>>,
}

impl<'a> Progress<'a> {
    fn new(device: &'a DevDax, total: u64) -> Self {
        Self {
            device,
            total,
            done: 0,
            began: Instant::now(),
            said: None,
        }
    }

    /// `bytes` more are done.
    fn add(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        let last = self.said.as_ref().unwrap_or(&self.began);
        if last.elapsed().as_millis() >= REPORT_MS {
            self.said = Some(Instant::now());
            dev_info!(
                device(self.device),
                "zeroed {} of {} MiB\n",
                self.done >> 20,
                self.total >> 20
            );
        }
    }

    /// All is done.
    fn end(self) {
        if self.said.is_some() {
            dev_info!(
                device(self.device),
                "zeroed {} MiB in {} ms\n",
                self.total >> 20,
                self.began.elapsed().as_millis()
            );
        }
    }
}
