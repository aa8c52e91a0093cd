// SPDX-License-Identifier: GPL-2.0
//! kmem had the memory of a device. The driver zeroes it before another driver gets it.

use super::progress::{is_zeroing, until_in_time, zeroing_by, LIMIT};
use super::{dirty_blocks, lend_to_kmem, mark, marked, not_zero, pages, set, NOT_IN_C};
use crate::child::{Child, End};
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::family;
use crate::ktap::{check, part, Failure, Outcome, Test};
use crate::memory;
use crate::pin;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{Span, PAGE, UNIT};
use std::thread;
use std::time::{Duration, Instant};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(zero_after_kmem).not_on_c(NOT_IN_C),
    test!(zero_after_kmem_is_for_other_drivers).not_on_c(NOT_IN_C),
    test!(zero_after_kmem_is_not_for_what_kmem_refused).not_on_c(NOT_IN_C),
    test!(zero_after_kmem_leaves_other_devices_alone).not_on_c(NOT_IN_C),
    test!(zero_after_kmem_ends_when_the_region_goes).not_on_c(NOT_IN_C),
];

/// A device over these spans that kmem had.
fn used_by_kmem(region: &Region, span: Span) -> Result<Device, Failure> {
    let device = region.create_over(&[span])?;
    device.set_align(PAGE)?;
    lend_to_kmem(&device, || Ok(()))?;
    Ok(device)
}

fn zero_after_kmem(region: &Region) -> Outcome {
    let span = dirty_blocks(region, 1)?;
    // A test before this one may have loaded the module with the parameter.
    set(region, false)?;
    let device = used_by_kmem(region, span)?;
    device.bind(Driver::DeviceDax)?;
    // What kmem left is what was there before, for the most part.
    let left = not_zero(&device)?.len() as u64;
    check("something is left", left > pages(&[span]) / 2, true)?;
    // What the owner stored since kmem had the memory stays.
    mark(&device)?;
    device.unbind()?;
    set(region, true)?;
    device.bind(Driver::DeviceDax)?;
    check("kept pages", marked(&device)?.len() as u64, pages(&[span]))?;
    device.unbind()?;
    lend_to_kmem(&device, || Ok(()))?;
    device.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&device)?, vec![])?;
    // From here on the memory is the device's own.
    mark(&device)?;
    device.unbind()?;
    device.bind(Driver::DeviceDax)?;
    check("own pages", marked(&device)?.len() as u64, pages(&[span]))
}

fn zero_after_kmem_is_for_other_drivers(region: &Region) -> Outcome {
    let span = dirty_blocks(region, 1)?;
    let device = used_by_kmem(region, span)?;
    set(region, true)?;
    // kmem itself gets the memory as it is.
    lend_to_kmem(&device, || Ok(()))?;
    part("fsdev_dax", || {
        family::require_fsdev()?;
        device.bind_by_id(Driver::FsdevDax)?;
        device.unbind()?;
        device.forget()?;
        // fsdev_dax has seen zeroes, so nothing is left to be zeroed.
        set(region, false)
    })?;
    device.bind(Driver::DeviceDax)?;
    check("marked pages", marked(&device)?, vec![])
}

/// kmem takes whole blocks of memory only, so it does not take this device.
fn zero_after_kmem_is_not_for_what_kmem_refused(region: &Region) -> Outcome {
    set(region, true)?;
    let device = region.create_sized(UNIT)?;
    device.set_align(PAGE)?;
    device.bind(Driver::DeviceDax)?;
    mark(&device)?;
    device.unbind()?;
    Driver::Kmem.try_write("new_id", device.name()).ok();
    let refused = Driver::Kmem.try_write("bind", device.name());
    check("bind to kmem", refused, Err(Errno::EINVAL))?;
    device.forget()?;
    device.bind(Driver::DeviceDax)?;
    check("own pages", marked(&device)?.len() as u64, UNIT / PAGE)
}

/// A device that kmem had and that is being zeroed, as large as the region allows; a process binds
/// that device. `None` if zeroing was over too early.
fn while_zeroing(region: &Region) -> Result<Option<(Device, Child)>, Failure> {
    set(region, false)?;
    let block = memory::block_size()?;
    let size = (region.available()? / block - 1) * block;
    let start = region.span().start.next_multiple_of(block);
    let device = region.create_over(&[Span::at(start, size)])?;
    lend_to_kmem(&device, || Ok(()))?;
    set(region, true)?;
    let bound = device.clone();
    let child = zeroing_by(&device, move || {
        Driver::DeviceDax.try_write("bind", bound.name())
    })?;
    Ok(child.map(|child| (device, child)))
}

fn zero_after_kmem_leaves_other_devices_alone(_: &Region) -> Outcome {
    let (region, device, child) = until_in_time(|| {
        let region = Region::fresh()?;
        let Some((device, child)) = while_zeroing(&region)? else {
            return Ok(None);
        };
        let align = PAGE.to_string();
        let written = [("size", "0"), ("align", &align)].map(|(a, text)| device.try_write(a, text));
        let deleted = region.try_write("delete", device.name());
        if !is_zeroing(&device)? {
            return Ok(None);
        }
        check("size and align", written, [Err(Errno::EBUSY); 2])?;
        check("delete", deleted, Err(Errno::EBUSY))?;
        Ok(Some((region, device, child)))
    })?;
    // The bind does not hold the lock of the device for longer than a second.
    let other = region.create_sized(UNIT)?;
    other.bind_by_id(Driver::DeviceDax)?;
    other.unbind()?;
    other.forget()?;
    // A fast machine zeroes all of the device within that second.
    let ended = child.wait(LIMIT);
    if ended != End::Exit(0) {
        check("bind", ended, End::Exit(Errno::EBUSY.0))?;
        let deadline = Instant::now() + LIMIT;
        while is_zeroing(&device)? {
            check("zeroing takes too long", Instant::now() > deadline, false)?;
            thread::sleep(Duration::from_millis(10));
        }
        // The memory is given back a moment before the device is.
        pin::bound_again(&device)?;
    }
    check("pages with something", not_zero(&device)?, vec![])
}

fn zero_after_kmem_ends_when_the_region_goes(_: &Region) -> Outcome {
    until_in_time(|| {
        let region = Region::fresh()?;
        let Some((device, child)) = while_zeroing(&region)? else {
            return Ok(None);
        };
        sysfs::write(&Region::driver_attr("unbind"), region.hmem())?;
        check("zeroing", is_zeroing(&device)?, false)?;
        // The bind that waits for the zeroing ends with it, or gave up after a second.
        match child.wait(LIMIT) {
            End::Exit(0) => Ok(None),
            End::Exit(errno) if [Errno::ENXIO.0, Errno::EBUSY.0].contains(&errno) => Ok(Some(())),
            other => check("the bind", other, End::Exit(Errno::ENXIO.0)).map(Some),
        }
    })?;
    let region = Region::fresh()?;
    check("available_size", region.available()?, region.span().len())
}
