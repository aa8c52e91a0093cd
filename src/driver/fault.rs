// SPDX-License-Identifier: GPL-2.0

//! Page faults.
//!
//! C: `dev_dax_huge_fault()` and the functions that it calls.

use kernel::prelude::*;

use crate::{
    driver::{
        device::Binding,
        params, //
    },
    ranges::{
        neighbours::{
            Neighbours,
            Window, //
        },
        range::usize_as_u64, //
    },
    sys::{
        dax_core::ReadGuard,
        liveness::Page,
        log,
        vma::{
            page_table_bytes,
            reject,
            reject_unaligned,
            Fault,
            Func,
            VmFault,
            VmaArea, //
        }, //
    }, //
};

/// The window that a fault maps on a device with pages of the given order. `None` if a
/// fault maps only the page that was touched: fault-around is off, or the pages are larger
/// than `PAGE_SIZE`.
pub(crate) fn window(order: u32) -> Option<Window> {
    if order != 0 {
        return None;
    }
    let table = usize_as_u64(page_table_bytes());
    let window = Window::new(params::fault_around_bytes(), table);
    window.has_neighbours().then_some(window)
}

impl Binding {
    /// Whether the VMA `area` may map the device. C: `__check_vma()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the VMA is private.
    pub(super) fn check(&self, area: &impl VmaArea, func: Func) -> Result {
        if !area.is_shared() {
            reject(self.device(), func, c"attempted private mapping");
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Mask of the bits of an address that are an offset into a page of the device.
    pub(super) fn mask(&self) -> usize {
        self.page_bytes().wrapping_sub(1)
    }

    /// Maps the neighbours of `page`, which was mapped at address `start`. Stops at the
    /// first one that cannot be mapped; that is not an error, since a later access can
    /// fault it in.
    #[cold]
    fn map_around(&self, window: Window, fault: &Fault, start: usize, page: Page<'_>) {
        let at = usize_as_u64(start);
        let (first, end) = (usize_as_u64(fault.start()), usize_as_u64(fault.end()));
        let around = window
            .around(at)
            .min(Neighbours::within(at, first, end.saturating_sub(1)))
            .min(page.around());
        if around == Neighbours::NONE || fault.is_random() || fault.is_watched() {
            return;
        }
        let mut faults = fault.around(start);
        for offset in around.offsets() {
            let mapped = page
                .neighbour(offset)
                .is_some_and(|page| faults.insert(&page, offset));
            if !mapped {
                break;
            }
        }
    }

    /// Handles a fault of 2^`order` pages of `PAGE_SIZE`. May sleep; the mmap lock or the
    /// lock of the VMA is held. C: `dev_dax_huge_fault()`.
    #[inline]
    pub(super) fn handle_fault(&self, fault: &mut Fault, order: u32) -> VmFault {
        let guard = ReadGuard::new();
        let Some(alive) = self.liveness().alive(&guard) else {
            return VmFault::SIGBUS;
        };
        if self.check(fault, Func::Fault(order)).is_err() {
            return VmFault::SIGBUS;
        }
        if order != self.order() {
            if order > self.order() {
                return VmFault::FALLBACK;
            }
            log::refused_fault(self.device(), order, self.order(), 0);
            return VmFault::SIGBUS;
        }
        let mut start = fault.address();
        if order != 0 {
            // mremap() may have moved the VMA, so that it begins or ends inside a page of
            // the device.
            start &= !self.mask();
            if !fault.has_room(order) {
                reject_unaligned(self.device(), Func::Fault(order), fault, self.mask());
                return VmFault::SIGBUS;
            }
        }
        let pgoff = fault.pgoff(start);
        let Some(page) = alive.page_at(pgoff) else {
            log::refused_fault(self.device(), order, order, pgoff);
            return VmFault::SIGBUS;
        };
        let answer = fault.insert(&page);
        if let Some(window) = self.window() {
            // A VMA of a single page has no neighbours; checking that is cheap, so it comes
            // first.
            let size = fault.end().wrapping_sub(fault.start());
            if answer.is_mapped() && size > self.page_bytes() {
                self.map_around(window, fault, start, page);
            }
        }
        answer
    }
}
