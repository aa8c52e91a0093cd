// SPDX-License-Identifier: GPL-2.0

//! Safe code that misuses the wrappers of `src/sys` (L8 of docs/reliability.md), as part of the
//! driver. The compiler must refuse each function here, with the error and the words that its comment
//! names.
//!
//! `tests/misuse.rs` compiles this file. Nobody else does.

use kernel::device::{Bound, Device};
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::Arc;

use crate::driver::bus::DaxBus;
use crate::driver::device::DevDax;
use crate::ranges::layout::DevDaxRange;
use crate::ranges::range::{Align, PhysRange};
use crate::sys::bus::BusRegistration;
use crate::sys::dax_core::ReadGuard;
use crate::sys::dev_dax::{Ranges, RawDevDax};
use crate::sys::device::{Registration, Typed, Unregistered};
use crate::sys::drvdata::DriverData;
use crate::sys::liveness::{Liveness, Page};
use crate::sys::memory::{Claim, RegionMemory};
use crate::sys::pagemap::PageMap;
use crate::sys::resource::RegionResource;
use crate::sys::vma::{Fault, VmFault};

// E0382
fn registers_a_device_twice<T: Typed>(device: Unregistered<T>, parent: &Device) {
    let first = device.register(parent);
    let second = device.register(parent);
}

// E0382
fn changes_a_device_that_is_registered<T: Typed>(mut device: Unregistered<T>, parent: &Device) {
    let registered = device.register(parent);
    device.set_pm_not_required();
}

// E0599
fn registers_two_handles_of_a_device<T: Typed>(device: Unregistered<T>) -> Unregistered<T> {
    device.clone()
}

// E0599
fn unregisters_a_device_twice(device: Registration<DevDax>) -> Registration<DevDax> {
    device.clone()
}

// E0423
fn says_that_a_device_is_registered<T: Typed>(device: ARef<T>) -> Registration<T> {
    Registration(device)
}

// E0624
fn shows_c_other_ranges(ranges: &Ranges<DevDax>) {
    ranges.hide();
}

// E0596
fn changes_ranges_that_c_may_read(ranges: &Ranges<DevDax>) {
    let last = ranges.layout().pop();
}

// E0599
fn copies_the_ranges(ranges: Ranges<DevDax>) -> Ranges<DevDax> {
    ranges.clone()
}

// E0308 expected `Snapshot<
fn makes_struct_pages_of_any_memory(bound: &Device<Bound>, ranges: KVVec<DevDaxRange>) {
    let map = PageMap::<DevDax>::new(bound, ranges);
}

// E0133
fn makes_any_memory_a_region(parent: &Device, range: PhysRange) {
    let resource = RegionResource::request(parent, range, 0);
}

// E0624
fn says_that_any_memory_is_of_a_region(range: PhysRange) -> RegionMemory {
    RegionMemory::new(range)
}

// E0505
fn uses_memory_after_its_claim(mut claim: Claim<DevDax>, range: PhysRange) {
    if let Ok(mut mapped) = claim.map(range) {
        drop(claim);
        mapped.zero(range);
    }
}

// E0499
fn maps_memory_of_a_claim_twice(mut claim: Claim<DevDax>, range: PhysRange) {
    let first = claim.map(range);
    let second = claim.map(range);
    drop(first);
}

// E0505
fn uses_a_page_after_the_lock(liveness: &Liveness, guard: ReadGuard, fault: &mut Fault) {
    if let Some(page) = liveness.alive(&guard).and_then(|alive| alive.page_at(0)) {
        drop(guard);
        let answer = fault.insert(&page);
    }
}

// E0624
fn says_that_a_device_is_alive(c: &RawDevDax, device: &Device, align: Align) {
    let liveness = Liveness::new(c, device, KVVec::new(), align);
}

// E0133
fn takes_the_page_map_from_c(c: &RawDevDax) {
    c.clear_pagemap();
}

// E0532
fn keeps_the_bus_without_its_registration(bus: BusRegistration<DaxBus>) {
    let BusRegistration(bus) = bus;
}

// E0133
fn leaves_its_data_with_any_device(dev: &Device, data: Arc<DevDax>) {
    let data = DriverData::set(dev, data);
}

// E0133
fn says_that_any_device_is_bound(device: &DevDax) {
    let bound = crate::sys::object::bound_device(device);
}

// E0624
fn makes_a_second_list_of_ranges(device: ARef<DevDax>, align: Align) {
    let ranges = Ranges::new(device, align);
}

// E0624
fn makes_a_page_of_any_address(liveness: &Liveness) {
    let page = Page::new(liveness, 0, None, 0, 0);
}

// E0423
fn answers_a_fault_without_a_page() -> VmFault {
    VmFault(0)
}
