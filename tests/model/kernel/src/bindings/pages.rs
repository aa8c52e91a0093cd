// SPDX-License-Identifier: GPL-2.0

//! mm/memremap.c, mm/memory.c and what user space does with mappings: struct pages,
//! page tables, and pins of pages.

use super::*;
use crate::alloc::Memory;
use crate::error::code::{EFAULT, ENODEV, ENOMEM};
use crate::error::{Error, Result};
use crate::ffi::{c_int, c_uint, c_ulong, c_void};
use crate::memory;
use crate::sched;

/// The parameter `fault_around_bytes` of the module.
struct FaultAround(u64);

impl Default for FaultAround {
    fn default() -> Self {
        Self(1 << PAGE_SHIFT)
    }
}

/// Sets the parameter `fault_around_bytes`, before the module is loaded.
pub fn set_fault_around_bytes(bytes: u64) {
    sched::part(|around: &mut FaultAround| around.0 = bytes);
}

/// The parameter `fault_around_bytes`.
pub fn fault_around_bytes() -> u64 {
    sched::part(|around: &mut FaultAround| around.0)
}

/// Whether a fault maps more than one page.
pub fn is_fault_around() -> bool {
    fault_around_bytes() > 1 << PAGE_SHIFT
}

/// Memory that has struct pages.
struct Map {
    pgmap: *const dev_pagemap,
    ranges: Vec<(u64, u64)>,
    /// Pages whose `folio->mapping` is set: they were mapped once.
    seen: Vec<c_ulong>,
}

/// An entry of a page table.
#[derive(Clone, Copy)]
struct Entry {
    area: usize,
    pgoff: usize,
    mapping: *mut address_space,
    pfn: c_ulong,
    order: c_uint,
}

#[derive(Default)]
struct Mm {
    maps: Vec<Map>,
    entries: Vec<Entry>,
    pins: Vec<(usize, c_ulong, c_uint)>,
    areas: usize,
    last_pin: usize,
    /// Number of times that something changed that a look at pages would see.
    changes: u64,
    /// For each task, how often that was when it looked last.
    looks: Vec<(sched::TaskId, u64)>,
}

fn mm<R>(f: impl FnOnce(&mut Mm) -> R) -> R {
    sched::part(f)
}

fn overlaps(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

/// The bytes of a page.
fn bytes(pfn: c_ulong, order: c_uint) -> (u64, u64) {
    let start = (pfn as u64) << PAGE_SHIFT;
    (start, start + ((1u64 << order) << PAGE_SHIFT) - 1)
}

impl Mm {
    /// Says "pinned" or "mapped" if a page of the range is.
    fn user(&self, range: (u64, u64)) -> Option<&'static str> {
        if self
            .pins
            .iter()
            .any(|(_, pfn, order)| overlaps(bytes(*pfn, *order), range))
        {
            return Some("pinned");
        }
        let mapped = |entry: &Entry| overlaps(bytes(entry.pfn, entry.order), range);
        self.entries.iter().any(mapped).then_some("mapped")
    }
}

impl Mm {
    fn unmap(&mut self, gone: impl Fn(&Entry) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|entry| !gone(entry));
        self.changes += u64::from(self.entries.len() != before);
    }
}

/// Nobody may have a page of that memory: it is about to get or lose its struct pages,
/// or another owner.
pub(crate) fn require_unused(start: u64, last: u64, what: &str) {
    if sched::inert() {
        return;
    }
    if let Some(how) = mm(|mm| mm.user((start, last))) {
        sched::violation(format!(
            "{what}: a page of {start:#x}-{last:#x} is still {how}"
        ));
    }
}

/// `devm_memremap_pages()`: the struct pages go with the managed resources of `dev`.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn dax_glue_memremap_pages(
    dev: *mut device,
    pgmap: *mut dev_pagemap,
) -> *mut c_void {
    let core = core(dev, "devm_memremap_pages()");
    memory::check(pgmap, "devm_memremap_pages()");
    // SAFETY: By the contract the ranges follow.
    let ranges: Vec<(u64, u64)> = unsafe {
        let count = (*pgmap).nr_range as usize;
        let first = (&raw const (*pgmap).__bindgen_anon_1).cast::<range>();
        (0..count)
            .map(|i| ((*first.add(i)).start, (*first.add(i)).end))
            .collect()
    };
    sched::require(!ranges.is_empty(), "devm_memremap_pages(): no ranges");
    let Ok(memory) = Memory::new() else {
        return ENOMEM.to_ptr();
    };
    if sched::fails("devm_memremap_pages()") {
        return ENOMEM.to_ptr();
    }
    for (start, last) in &ranges {
        sched::require(
            is_claimed(*start, *last),
            format!("devm_memremap_pages(): {start:#x}-{last:#x} is not claimed"),
        );
        require_unused(*start, *last, "devm_memremap_pages()");
        let twice = mm(|mm| {
            let mut all = mm.maps.iter().flat_map(|map| &map.ranges);
            all.any(|range| overlaps(*range, (*start, *last)))
        });
        sched::require(!twice, "devm_memremap_pages(): there are struct pages");
    }
    mm(|mm| {
        mm.maps.push(Map {
            pgmap,
            ranges,
            seen: Vec::new(),
        })
    });
    core.devres
        .add(Some(memory), move || take_pages_away(pgmap));
    core::ptr::NonNull::dangling().as_ptr()
}

/// `memunmap_pages()`.
fn take_pages_away(pgmap: *const dev_pagemap) {
    if sched::inert() {
        return;
    }
    memory::check(pgmap, "memunmap_pages()");
    sched::point(|| "memunmap_pages()".to_owned());
    let map = mm(|mm| {
        let at = mm.maps.iter().position(|map| map.pgmap == pgmap)?;
        Some(mm.maps.remove(at))
    });
    for (start, last) in map.expect("it was made").ranges {
        require_unused(start, last, "memunmap_pages()");
    }
}

/// Whether there are any struct pages.
pub fn page_maps() -> usize {
    mm(|mm| mm.maps.len())
}

/// Whether the page is one of that page map.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_pfn_is_of(pfn: c_ulong, pgmap: *const dev_pagemap) -> bool {
    let range = bytes(pfn, 0);
    mm(|mm| {
        let map = mm.maps.iter().find(|map| map.pgmap == pgmap);
        map.is_some_and(|map| map.ranges.iter().any(|other| overlaps(*other, range)))
    })
}

/// The first page between `pfn` and `end` that somebody refers to, or `end`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_first_held(pfn: c_ulong, end: c_ulong, order: c_uint) -> c_ulong {
    sched::point(|| "look at pages".to_owned());
    let me = sched::current();
    let mut at = pfn;
    while at < end {
        let there = mm(|mm| {
            let mut all = mm.maps.iter().flat_map(|map| &map.ranges);
            all.any(|range| overlaps(*range, bytes(at, order)))
        });
        sched::require(there, "a page is looked at that has no struct page");
        if mm(|mm| mm.user(bytes(at, order))).is_some() {
            break;
        }
        at += 1 << order;
    }
    mm(|mm| {
        mm.looks.retain(|(task, _)| *task != me);
        mm.looks.push((me, mm.changes));
    });
    at.min(end)
}

/// Something happened that those who look at pages now and then should see.
pub(crate) fn changed() {
    mm(|mm| mm.changes += 1);
}

/// Number of such changes until now.
pub(crate) fn changes() -> u64 {
    mm(|mm| mm.changes)
}

/// The same number when this task looked last.
pub(crate) fn changes_seen() -> u64 {
    let me = sched::current();
    mm(|mm| {
        let looked = mm.looks.iter().find(|(task, _)| *task == me);
        looked.map_or(mm.changes, |(_, changes)| *changes)
    })
}

/// `vmf_insert_page_mkwrite()` and its like for huge pages.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_insert_pfn(
    vmf: *mut vm_fault,
    pfn: c_ulong,
    pgoff: c_ulong,
    order: c_uint,
    touched: *mut c_ulong,
) -> vm_fault_t {
    sched::point(|| format!("insert page {pgoff}"));
    // SAFETY: By the contract.
    let (area, mapping) = unsafe {
        let area = (*vmf).__bindgen_anon_1.vma;
        (area, (*(*area).vm_file).f_mapping)
    };
    memory::check(mapping, "the address space of a mapping");
    // SAFETY: By the contract.
    unsafe { require_consistent(&*vmf, pgoff, order) };
    let range = bytes(pfn, order);
    let first = mm(|mm| {
        let map = mm.maps.iter_mut().find(|map| {
            map.ranges
                .iter()
                .any(|(s, l)| *s <= range.0 && range.1 <= *l)
        })?;
        let first = !map.seen.contains(&pfn);
        if first {
            map.seen.push(pfn);
        }
        Some(first)
    });
    let Some(first) = first else {
        sched::violation("a page is mapped that has no struct page");
    };
    if first && !touched.is_null() {
        let chunk = pgoff >> (order + DAX_GLUE_CHUNK_SHIFT);
        memory::check(touched, "the bits of touched pages");
        // SAFETY: By the contract there is a bit for each chunk.
        unsafe { *touched.add(chunk / 64) |= 1 << (chunk % 64) };
    }
    let entry = Entry {
        area: area as usize,
        pgoff,
        mapping,
        pfn,
        order,
    };
    mm(|mm| {
        if !mm
            .entries
            .iter()
            .any(|other| (other.area, other.pgoff) == (entry.area, pgoff))
        {
            mm.entries.push(entry);
        }
    });
    vm_fault_reason_VM_FAULT_NOPAGE
}

/// Checks that the address, the page table, the old entry and the write flag of a fault are those of
/// the page that is mapped.
///
/// # Safety
///
/// The area of the fault is locked.
unsafe fn require_consistent(vmf: &vm_fault, pgoff: c_ulong, order: c_uint) {
    let at = &vmf.__bindgen_anon_1;
    // SAFETY: By the contract.
    let area = unsafe { &*at.vma };
    let start = at.address & !(((1 << order) << PAGE_SHIFT) - 1);
    let inside = (area.vm_start..area.vm_end).contains(&at.address);
    sched::require(
        inside && area.vm_pgoff + ((start - area.vm_start) >> PAGE_SHIFT) == pgoff,
        format!("page {pgoff} is mapped at {start:#x}"),
    );
    if order != 0 {
        return;
    }
    sched::require(
        vmf.pmd.addr() == at.address >> PMD_SHIFT,
        format!("page {pgoff} is mapped in another page table"),
    );
    let touched = vmf.orig_pte == pgoff;
    sched::require(
        touched || vmf.flags & fault_flag_FAULT_FLAG_ORIG_PTE_VALID == 0,
        format!(
            "page {pgoff} is mapped with the entry of page {}",
            vmf.orig_pte
        ),
    );
    sched::require(
        touched || vmf.flags & fault_flag_FAULT_FLAG_WRITE == 0,
        format!("page {pgoff} is mapped as if somebody wrote to it"),
    );
}

/// `unmap_mapping_range()` of all.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn unmap_mapping_range(
    mapping: *mut address_space,
    _start: i64,
    _len: i64,
    _even_cows: c_int,
) {
    if sched::inert() {
        return;
    }
    memory::check(mapping, "unmap_mapping_range()");
    if is_anything_mapped(mapping) {
        sched::point(|| "unmap_mapping_range()".to_owned());
    }
    mm(|mm| mm.unmap(|entry| entry.mapping == mapping));
}

/// Whether a page table has a page of that address space.
pub(crate) fn is_anything_mapped(mapping: *mut address_space) -> bool {
    mm(|mm| mm.entries.iter().any(|entry| entry.mapping == mapping))
}

/// A mapping of a device in a process. Dropping it unmaps it.
pub struct Area {
    raw: *mut vm_area_struct,
    /// A mapping keeps its file open.
    _file: OpenFile,
}

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl Send for Area {}

impl OpenFile {
    /// `mmap(2)` of `len` bytes from page `pgoff` on.
    ///
    /// # Errors
    ///
    /// The errno that the caller gets.
    pub fn mmap(&self, pgoff: usize, len: usize) -> Result<Area> {
        sched::point(|| "mmap".to_owned());
        // SAFETY: The file is open; operations are static.
        let prepare = unsafe { (*(*self.raw()).f_op).mmap_prepare }.ok_or(ENODEV)?;
        // A small area begins two pages before the end of a page table.
        let start = match len < 1 << PMD_SHIFT {
            true => (1 << PUD_SHIFT) - (2 << PAGE_SHIFT),
            false => 1 << PUD_SHIFT,
        };
        let mut desc = vm_area_desc {
            start,
            end: start + len,
            pgoff,
            file: self.raw(),
            vm_ops: core::ptr::null(),
        };
        // SAFETY: The file is open.
        let result = unsafe { prepare(&raw mut desc) };
        sched::trace(|| format!("mmap: {result}"));
        if result != 0 {
            return Err(Error::from_errno(result));
        }
        let raw = Box::into_raw(Box::new(vm_area_struct {
            vm_start: desc.start,
            vm_end: desc.end,
            vm_flags: DAX_VM_MAYSHARE,
            vm_pgoff: pgoff,
            vm_file: self.raw(),
            vm_ops: desc.vm_ops,
        }));
        mm(|mm| mm.areas += 1);
        Ok(Area {
            raw,
            _file: self.clone(),
        })
    }
}

impl Area {
    /// Touches the page of 2^`order` pages with that number.
    ///
    /// # Errors
    ///
    /// `EFAULT` instead of SIGBUS.
    pub fn touch(&self, index: usize, order: c_uint) -> Result {
        // SAFETY: The area is ours.
        let area = unsafe { &*self.raw };
        let behind = (index << order) << PAGE_SHIFT;
        let address = area.vm_start + behind;
        let pgoff = area.vm_pgoff + (behind >> PAGE_SHIFT);
        sched::point(|| format!("touch page {pgoff}"));
        let mut fault = vm_fault {
            __bindgen_anon_1: vm_fault_constant {
                vma: self.raw,
                pgoff,
                address,
                real_address: address,
            },
            flags: match order {
                0 => fault_flag_FAULT_FLAG_WRITE | fault_flag_FAULT_FLAG_ORIG_PTE_VALID,
                _ => fault_flag_FAULT_FLAG_WRITE,
            },
            pmd: core::ptr::without_provenance_mut(address >> PMD_SHIFT),
            orig_pte: pgoff,
        };
        // SAFETY: Operations are static, the area and its file are there.
        let answer = unsafe {
            let handler = (*area.vm_ops).huge_fault.expect("the driver has one");
            handler(&raw mut fault, order)
        };
        sched::trace(|| format!("touch page {pgoff}: {answer:#x}"));
        if answer != vm_fault_reason_VM_FAULT_NOPAGE {
            return Err(EFAULT);
        }
        // By now somebody may have unmapped the page again.
        let here = self.raw as usize;
        let found = mm(|mm| {
            let mut all = mm.entries.iter();
            let entry = all.find(|entry| (entry.area, entry.pgoff) == (here, pgoff))?;
            Some((entry.pfn, entry.mapping))
        });
        if let Some((pfn, mapping)) = found {
            accessed((pfn as u64) << PAGE_SHIFT, mapping as usize);
        }
        Ok(())
    }

    /// Pins a page that is mapped (`pin_user_pages()`), without touching it.
    ///
    /// # Errors
    ///
    /// `EFAULT` if it is not there.
    pub fn pin(&self, index: usize, order: c_uint) -> Result<Pin> {
        sched::point(|| "pin a page".to_owned());
        // SAFETY: The area is ours.
        let pgoff = unsafe { (*self.raw).vm_pgoff } + (index << order);
        let area = self.raw as usize;
        let pin = mm(|mm| {
            let mut all = mm.entries.iter();
            let entry = *all.find(|entry| (entry.area, entry.pgoff) == (area, pgoff))?;
            mm.last_pin += 1;
            mm.pins.push((mm.last_pin, entry.pfn, entry.order));
            Some(Pin(mm.last_pin))
        });
        sched::trace(|| format!("pinned: {}", pin.is_some()));
        pin.ok_or(EFAULT)
    }
}

impl Drop for Area {
    /// `munmap(2)`.
    fn drop(&mut self) {
        if sched::inert() {
            return;
        }
        sched::point(|| "munmap".to_owned());
        let area = self.raw as usize;
        mm(|mm| {
            mm.unmap(|entry| entry.area == area);
            mm.areas -= 1;
        });
        // SAFETY: It came from `Box::into_raw`, and is no longer used.
        unsafe { memory::free(self.raw.cast(), std::alloc::Layout::new::<vm_area_struct>()) };
    }
}

/// A page that somebody uses without mapping it. Dropping it lets go of the page.
pub struct Pin(usize);

impl Drop for Pin {
    fn drop(&mut self) {
        if sched::inert() {
            return;
        }
        sched::point(|| "unpin a page".to_owned());
        mm(|mm| {
            mm.pins.retain(|(id, ..)| *id != self.0);
            mm.changes += 1;
        });
    }
}

/// The `struct dev_dax` around a device of the bus. C: `to_dev_dax()`.
pub(super) fn dev_dax_of(dev: *mut device) -> *mut dev_dax {
    dev.wrapping_byte_sub(core::mem::offset_of!(dev_dax, dev))
        .cast()
}

/// The ranges of a device, as C sees them.
///
/// # Safety
///
/// The device is inside of a `struct dev_dax` and lives.
pub unsafe fn ranges_of(dev: *mut device) -> Vec<(u64, u64)> {
    let dev_dax = dev_dax_of(dev);
    // SAFETY: By the contract.
    unsafe {
        let (count, first) = ((*dev_dax).nr_range, (*dev_dax).ranges);
        memory::check(first, "the ranges of a device");
        let range = |i| (&raw const (*first.add(i)).range).read();
        let ranges = (0..count as usize).map(range);
        ranges.map(|range| (range.start, range.end)).collect()
    }
}

/// A device has lost its driver: nobody may still have a page of it mapped.
///
/// # Safety
///
/// As [`ranges_of`].
pub(crate) unsafe fn require_unmapped(dev: *mut device) {
    if sched::inert() {
        return;
    }
    // SAFETY: By the contract.
    for range in unsafe { ranges_of(dev) } {
        let mapped = mm(|mm| {
            mm.entries
                .iter()
                .any(|entry| overlaps(bytes(entry.pfn, entry.order), range))
        });
        sched::require(
            !mapped,
            "a device was unbound, and a page of it is still mapped",
        );
    }
}

/// Whether a page of a device is pinned, or with the page allocator: its ranges cannot
/// change.
pub fn is_held(dev: *mut device) -> bool {
    // SAFETY: The caller holds a reference of a device of the bus.
    let ranges = unsafe { ranges_of(dev) };
    let ram = system_ram();
    mm(|mm| {
        let mapped = |range: &(u64, u64)| {
            mm.maps
                .iter()
                .any(|map| map.ranges.iter().any(|other| overlaps(*other, *range)))
        };
        let online = |range: &(u64, u64)| ram.iter().any(|other| overlaps(*other, *range));
        ranges.iter().any(|range| mapped(range) || online(range))
    })
}

/// Number of pins.
pub fn pins() -> usize {
    mm(|mm| mm.pins.len())
}

/// `mm_get_unmapped_area()`. Nobody asks.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn mm_get_unmapped_area(
    _file: *mut file,
    addr: c_ulong,
    _len: c_ulong,
    _pgoff: c_ulong,
    _flags: c_ulong,
) -> c_ulong {
    addr
}
