// SPDX-License-Identifier: GPL-2.0
//! Binding and unbinding devices.

use super::THE_COPY;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::inject::{injector, Operation};
use crate::ktap::{skip, Failure, Outcome, Test};
use crate::memory;
use crate::region::Region;
use crate::sysfs::{self, Error};
use crate::test;
use crate::units::{Span, PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(bind_without_memory_changes_nothing).slow().may_warn(),
    test!(unbind_without_memory_does_all_or_nothing).slow(),
    test!(bind_to_kmem_without_memory_changes_nothing)
        .slow()
        .may_warn(),
    test!(new_id_without_memory_is_not_known).slow(),
    test!(remove_id_without_memory_does_all_or_nothing).slow(),
    test!(new_id_without_memory_binds_or_does_not)
        .slow()
        .may_warn(),
];

/// The driver that takes devices by id only.
const BY_ID: Driver = Driver::FsdevDax;

/// A device of two ranges that had a driver once, and therefore is no seed.
fn sized(region: &Region) -> sysfs::Result<Device> {
    let spans = [region.units(3, 2), region.units(0, 1)];
    let device = region.create_bound(PAGE, &spans)?;
    device.unbind()?;
    Ok(device)
}

fn bind_without_memory_changes_nothing(region: &Region) -> Outcome {
    let device = sized(region)?;
    Operation::write(Driver::DeviceDax.attr("bind"), device.name(), || {
        device.unbind()
    })
    // The driver's, and the C driver's, answer if it cannot reserve the memory.
    .or(Errno::EBUSY)
    .walk(region, &injector()?)
}

fn unbind_without_memory_does_all_or_nothing(region: &Region) -> Outcome {
    let device = sized(region)?;
    let driver = Driver::DeviceDax;
    device.bind(driver)?;
    Operation::write(driver.attr("unbind"), device.name(), || device.bind(driver))
        .failing_at_most(THE_COPY)
        .walk(region, &injector()?)
}

fn bind_to_kmem_without_memory_changes_nothing(region: &Region) -> Outcome {
    let block = memory::block_size()?;
    let span = region.span();
    let start = span.start.next_multiple_of(block);
    if start + block > span.end {
        return skip("the region has no whole block of memory");
    }
    let device = region.create_over(&[Span::at(start, block)])?;
    sysfs::write(&Driver::Kmem.attr("new_id"), device.name())?;
    device.disable()?;
    Operation::write(Driver::Kmem.attr("bind"), device.name(), || {
        device.disable()
    })
    // The errors of kmem and memory hotplug if they cannot reserve the memory, for whatever reason.
    .or(Errno::EBUSY)
    .or(Errno::EEXIST)
    .walk(region, &injector()?)
}

/// A device that is bound to `device_dax`, and a look at whether another driver knows it.
fn known_by(device: &Device, driver: Driver) -> sysfs::Result<String> {
    device.unbind()?;
    let known = match driver.try_write("bind", device.name()) {
        Ok(_) => {
            device.unbind()?;
            "known"
        }
        Err(Errno::ENODEV) => "unknown",
        Err(errno) => return Err(Error::new("bind by id", errno)),
    };
    device.bind(Driver::DeviceDax)?;
    Ok(known.into())
}

/// A device that is bound to `device_dax`, where there is the driver that takes devices by id.
fn bound(region: &Region) -> Result<Device, Failure> {
    crate::family::require_fsdev()?;
    Ok(region.create_bound(UNIT, &[region.units(0, 1)])?)
}

fn new_id_without_memory_is_not_known(region: &Region) -> Outcome {
    let device = bound(region)?;
    Operation::write(BY_ID.attr("new_id"), device.name(), || {
        sysfs::write(&BY_ID.attr("remove_id"), device.name())
    })
    .looking_at(|| known_by(&device, BY_ID))
    .walk(region, &injector()?)
}

fn remove_id_without_memory_does_all_or_nothing(region: &Region) -> Outcome {
    let device = bound(region)?;
    sysfs::write(&BY_ID.attr("new_id"), device.name())?;
    Operation::write(BY_ID.attr("remove_id"), device.name(), || {
        sysfs::write(&BY_ID.attr("new_id"), device.name())
    })
    .looking_at(|| known_by(&device, BY_ID))
    .failing_at_most(THE_COPY)
    .walk(region, &injector()?)
}

/// The driver core does not tell the writer of `new_id` that the probe failed.
fn new_id_without_memory_binds_or_does_not(region: &Region) -> Outcome {
    let device = sized(region)?;
    let driver = Driver::DeviceDax;
    Operation::write(driver.attr("new_id"), device.name(), || {
        device.unbind()?;
        sysfs::write(&driver.attr("remove_id"), device.name())
    })
    .or_nothing()
    .walk(region, &injector()?)
}
