// SPDX-License-Identifier: GPL-2.0

//! kernel/resource.c: which memory is claimed for whom.

use std::ffi::CStr;

use super::*;
use crate::alloc::Memory;
use crate::error::code::EBUSY;
use crate::ffi::{c_char, c_int};
use crate::sched;

/// `iomem_resource`. Only its address matters.
///
/// # Safety
///
/// Nobody reads or writes it.
pub static mut iomem_resource: resource = resource {
    start: 0,
    end: u64::MAX,
    name: core::ptr::null(),
    flags: 0,
};

/// Memory that somebody has.
struct Claim {
    start: u64,
    last: u64,
    name: *const c_char,
    raw: *const resource,
}

/// Regions of dax, which must not overlap.
#[derive(Default)]
struct Regions(Vec<Claim>);

/// /proc/iomem: memory in use.
#[derive(Default)]
struct Iomem(Vec<Claim>);

/// Memory that kmem gave to the page allocator.
#[derive(Default)]
struct SystemRam(Vec<(u64, u64)>);

fn conflict(claims: &[Claim], start: u64, last: u64) -> bool {
    claims
        .iter()
        .any(|claim| claim.start <= last && start <= claim.last)
}

/// `request_resource()` in the tree of regions.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn request_resource(_root: *mut resource, new: *mut resource) -> c_int {
    // SAFETY: By the contract.
    let (start, last, name) = unsafe { ((*new).start, (*new).end, (*new).name) };
    sched::part(|regions: &mut Regions| {
        if conflict(&regions.0, start, last) {
            return EBUSY.to_errno();
        }
        regions.0.push(Claim {
            start,
            last,
            name,
            raw: new,
        });
        0
    })
}

/// `release_resource()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn release_resource(old: *mut resource) -> c_int {
    if sched::inert() {
        return 0;
    }
    let found = sched::part(|regions: &mut Regions| {
        let before = regions.0.len();
        regions.0.retain(|claim| claim.raw != old.cast_const());
        before != regions.0.len()
    });
    sched::require(found, "release_resource(): it was not requested");
    0
}

/// `request_mem_region()`: whether nobody else has a part of it.
pub(crate) fn claim(start: u64, last: u64, name: *const c_char) -> bool {
    sched::part(|iomem: &mut Iomem| {
        let free = !conflict(&iomem.0, start, last);
        if free {
            iomem.0.push(Claim {
                start,
                last,
                name,
                raw: core::ptr::null(),
            });
        }
        free
    })
}

/// `release_mem_region()`.
pub(crate) fn unclaim(start: u64, last: u64) {
    if sched::inert() {
        return;
    }
    let found = sched::part(|iomem: &mut Iomem| {
        let at = iomem
            .0
            .iter()
            .position(|claim| (claim.start, claim.last) == (start, last))?;
        Some(iomem.0.remove(at))
    });
    match found {
        Some(claim) => {
            let name = claim.name;
            crate::memory::check(name, "the name in /proc/iomem");
            // SAFETY: It was not freed.
            let _ = unsafe { CStr::from_ptr(name.cast()) };
        }
        None => sched::violation("release_mem_region(): it was not requested"),
    }
}

/// Whether all of that memory is claimed by one.
pub(crate) fn is_claimed(start: u64, last: u64) -> bool {
    sched::part(|iomem: &mut Iomem| {
        iomem
            .0
            .iter()
            .any(|claim| claim.start <= start && last <= claim.last)
    })
}

/// The claims in /proc/iomem.
pub fn iomem() -> Vec<(u64, u64)> {
    sched::part(|iomem: &mut Iomem| iomem.0.iter().map(|c| (c.start, c.last)).collect())
}

/// `__devm_request_region()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn __devm_request_region(
    dev: *mut device,
    _parent: *mut resource,
    start: resource_size_t,
    size: resource_size_t,
    name: *const c_char,
) -> *mut resource {
    let core = core(dev, "__devm_request_region()");
    let Ok(memory) = Memory::new() else {
        return core::ptr::null_mut();
    };
    let last = start + (size - 1);
    if !claim(start, last, name) {
        return core::ptr::null_mut();
    }
    core.devres.add(Some(memory), move || unclaim(start, last));
    // Nobody looks into it.
    core::ptr::NonNull::dangling().as_ptr()
}

/// The kernel says with whom a region conflicts.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_resource_conflict(dev: *const device, _res: *const resource) {
    core(dev, "dev_err()").used("dev_err()");
}

/// Gives memory to the page allocator, and takes it back.
pub(crate) fn set_system_ram(start: u64, last: u64, on: bool) {
    sched::part(|ram: &mut SystemRam| match on {
        true => ram.0.push((start, last)),
        false => ram.0.retain(|range| *range != (start, last)),
    });
}

/// Memory of the page allocator, from kmem.
pub fn system_ram() -> Vec<(u64, u64)> {
    sched::part(|ram: &mut SystemRam| ram.0.clone())
}

/// Whether a part of it is with the page allocator.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_has_system_ram(
    start: resource_size_t,
    size: resource_size_t,
) -> bool {
    let last = start + (size - 1);
    sched::part(|ram: &mut SystemRam| ram.0.iter().any(|(s, l)| *s <= last && start <= *l))
}

/// Whether kmem added a part of it, which is the only System RAM of the model.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_is_driver_managed(
    start: resource_size_t,
    size: resource_size_t,
) -> bool {
    // SAFETY: The contract is the same.
    unsafe { dax_glue_has_system_ram(start, size) }
}

/// `ida`s that were used, by address: the ids that are taken.
#[derive(Default)]
struct Idas(Vec<(usize, Vec<c_int>)>);

impl Idas {
    fn ids(&mut self, ida: *const ida) -> &mut Vec<c_int> {
        let key = ida as usize;
        let at = self.0.iter().position(|(other, _)| *other == key);
        let at = at.unwrap_or_else(|| {
            self.0.push((key, Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

/// `xa_init_flags()` of an ida.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn xa_init_flags(xa: *mut xarray, _flags: u32) {
    sched::part(|idas: &mut Idas| idas.ids(xa.cast()).clear());
}

/// `ida_alloc_range()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn ida_alloc_range(ida: *mut ida, _min: u32, _max: u32, _: u32) -> c_int {
    crate::memory::check(ida, "ida_alloc_range()");
    if sched::fails("ida_alloc_range()") {
        return crate::error::code::ENOMEM.to_errno();
    }
    sched::point(|| "ida_alloc_range()".to_owned());
    sched::part(|idas: &mut Idas| {
        let ids = idas.ids(ida);
        let id = (0..)
            .find(|id| !ids.contains(id))
            .expect("there are more numbers than ids");
        ids.push(id);
        id
    })
}

/// `ida_free()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn ida_free(ida: *mut ida, id: u32) {
    if sched::inert() {
        return;
    }
    crate::memory::check(ida, "ida_free()");
    sched::point(|| format!("ida_free({id})"));
    let found = sched::part(|idas: &mut Idas| {
        let ids = idas.ids(ida);
        let at = ids.iter().position(|other| *other == id as c_int)?;
        Some(ids.remove(at))
    });
    sched::require(
        found.is_some(),
        format!("ida_free(): {id} is not allocated"),
    );
}

/// `ida_destroy()`. The driver gave all ids back before.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn ida_destroy(ida: *mut ida) {
    if sched::inert() {
        return;
    }
    let left = sched::part(|idas: &mut Idas| {
        let left = idas.ids(ida).clone();
        idas.0.retain(|(key, _)| *key != ida as usize);
        left
    });
    sched::require(
        left.is_empty(),
        format!("ida_destroy(): ids {left:?} were not given back"),
    );
}
