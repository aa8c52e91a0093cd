// SPDX-License-Identifier: GPL-2.0

//! kernel/iomem.c, and what is in memory: who wrote to each page last.

use std::alloc::Layout;
use std::collections::BTreeMap;

use super::*;
use crate::alloc::Memory;
use crate::ffi::{c_char, c_int, c_ulong, c_void};
use crate::sched;

/// Size of the pages of which the model knows who wrote to them.
const PAGE: u64 = 1 << PMD_SHIFT;
/// The byte that some places of a page of a [`memremap()`] have; all others are zero.
const MARK: u8 = 0xa5;
/// Where in a page the marks are.
const MARKS: [usize; 3] = [0, PAGE as usize / 2 + 1, PAGE as usize - 1];
/// The writer of memory that somebody else had, kmem for example.
const OTHERS: usize = 1;

/// Who wrote to a page last, by its address; a page that is not here has zeroes.
#[derive(Default)]
struct Contents(BTreeMap<u64, usize>);

/// Whether no device may read what another wrote.
#[derive(Default)]
struct KeptClean(bool);

/// Memory that is mapped into the kernel.
struct Mapped {
    addr: *mut u8,
    start: u64,
    layout: Layout,
    _memory: Memory,
}

#[derive(Default)]
struct Mappings(Vec<Mapped>);

/// From here on regions zero memory, and no device may read what another wrote.
pub fn keep_clean() {
    sched::part(|clean: &mut KeptClean| clean.0 = true);
}

/// Whether that is so.
pub fn is_kept_clean() -> bool {
    sched::part(|clean: &mut KeptClean| clean.0)
}

fn pages(start: u64, last: u64) -> impl Iterator<Item = u64> {
    (start..last).step_by(PAGE as usize)
}

/// Others write to the memory.
pub fn written_by_others(start: u64, last: u64) {
    sched::part(|contents: &mut Contents| {
        contents
            .0
            .extend(pages(start, last).map(|page| (page, OTHERS)));
    });
}

/// `who` reads and then writes the page at `start`.
pub(crate) fn accessed(start: u64, who: usize) {
    let before = sched::part(|contents: &mut Contents| contents.0.insert(start & !(PAGE - 1), who));
    let strange = before.is_some_and(|before| before != who);
    sched::require(
        !(strange && is_kept_clean()),
        format!("the page at {start:#x} has bytes of its last owner in it"),
    );
}

/// `__request_region()`.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn __request_region(
    _parent: *mut resource,
    start: resource_size_t,
    size: resource_size_t,
    name: *const c_char,
    _flags: c_int,
) -> *mut resource {
    sched::point(|| format!("request {start:#x}"));
    if Memory::new().is_err() || !claim(start, start + (size - 1), name) {
        return core::ptr::null_mut();
    }
    // Nobody looks into it.
    core::ptr::NonNull::dangling().as_ptr()
}

/// `__release_region()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn __release_region(
    _parent: *mut resource,
    start: resource_size_t,
    size: resource_size_t,
) {
    unclaim(start, start + (size - 1));
}

/// `memremap()`: the result is other memory, with a mark in each page.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn memremap(
    start: resource_size_t,
    size: usize,
    _flags: c_ulong,
) -> *mut c_void {
    sched::point(|| format!("map {start:#x}"));
    let last = start + (size as u64 - 1);
    sched::require(is_claimed(start, last), "memremap(): it is not claimed");
    require_unused(start, last, "memremap()");
    sched::require(
        crate::lockdep::holds(DAX_LOCK).is_none(),
        "memory is zeroed under the lock of a dax device",
    );
    let Ok(memory) = Memory::new() else {
        return core::ptr::null_mut();
    };
    let layout = Layout::from_size_align(size, 1 << PAGE_SHIFT).expect("it is small");
    // SAFETY: It has a size.
    let addr = unsafe { std::alloc::alloc_zeroed(layout) };
    for at in marks(size) {
        // SAFETY: It is within the memory.
        unsafe { addr.add(at).write(MARK) };
    }
    let mapped = Mapped {
        addr,
        start,
        layout,
        _memory: memory,
    };
    sched::part(|mappings: &mut Mappings| mappings.0.push(mapped));
    addr.cast()
}

/// Where the marks are in so many bytes.
fn marks(size: usize) -> impl Iterator<Item = usize> {
    let pages = (0..size).step_by(PAGE as usize);
    pages.flat_map(|page| MARKS.map(|mark| page + mark))
}

/// `memunmap()`: pages without a mark were zeroed.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn memunmap(addr: *mut c_void) {
    if sched::inert() {
        return;
    }
    let mapped = sched::part(|mappings: &mut Mappings| {
        let is = |mapped: &Mapped| mapped.addr.cast() == addr;
        let at = mappings.0.iter().position(is)?;
        Some(mappings.0.remove(at))
    });
    let Some(mapped) = mapped else {
        sched::violation("memunmap(): it is not mapped");
    };
    let Mapped {
        addr,
        start,
        layout,
        ..
    } = mapped;
    let is_claimed = is_claimed(start, start + (layout.size() as u64 - 1));
    sched::require(is_claimed, "memunmap(): it is not claimed any more");
    for page in (0..layout.size()).step_by(PAGE as usize) {
        // SAFETY: It is within the memory.
        let left = MARKS
            .iter()
            .any(|mark| unsafe { *addr.add(page + mark) } != 0);
        if !left {
            sched::part(|contents: &mut Contents| contents.0.remove(&(start + page as u64)));
        }
    }
    // SAFETY: It came from there, and nobody uses it.
    unsafe { std::alloc::dealloc(addr, layout) };
}

/// Number of notifiers of memory hotplug that are registered.
#[derive(Default)]
struct Notifiers(usize);

/// Number of registered ones.
pub fn memory_notifiers() -> usize {
    sched::part(|notifiers: &mut Notifiers| notifiers.0)
}

/// `register_memory_notifier()`. Nobody is told: no page fails in the model.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_register_memory_notifier(_: *mut notifier_block) -> c_int {
    sched::part(|notifiers: &mut Notifiers| notifiers.0 += 1);
    0
}

/// `unregister_memory_notifier()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_unregister_memory_notifier(_: *mut notifier_block) {
    if sched::inert() {
        return;
    }
    sched::part(|notifiers: &mut Notifiers| notifiers.0 -= 1);
}

/// The first poisoned page: there is none.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_next_poisoned(_pfn: c_ulong, end: c_ulong) -> c_ulong {
    end
}
