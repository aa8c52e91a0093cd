// SPDX-License-Identifier: GPL-2.0
//! A binding must not leave these behind in the kernel: lost numbers, grace periods that stay
//! expedited.

use crate::device::{Device, Driver};
use crate::grace;
use crate::kernel::{self, Impl};
use crate::ktap::{check, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pin;
use crate::region::Region;
use crate::sysfs::{Error, Result};
use crate::test;
use crate::units::{PAGE, UNIT};
use std::thread;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(device_that_was_bound_gives_its_numbers_back),
    test!(device_that_was_unbound_with_open_files_gives_its_numbers_back)
        .not_on_c("the file's end makes it oops"),
    test!(grace_periods_are_ordinary_whatever_was_unbound),
    test!(grace_periods_are_ordinary_while_pages_drain).not_on_c("frees the page under its holder"),
];

/// More devices than there are at once.
const ROUNDS: u64 = 24;

/// A bound device of two ranges.
fn bound(region: &Region, align: u64) -> Result<Device> {
    region.create_bound(align, &[region.units(9, 2), region.units(3, 1)])
}

/// The minor number of a new device.
fn next_minor(region: &Region) -> Result<u64> {
    let device = region.create()?;
    let dev = device.dev()?;
    let minor = dev
        .split_once(':')
        .and_then(|(_, minor)| minor.parse().ok());
    region.delete(&device)?;
    minor.ok_or_else(|| Error::state(format!("dev: {dev}")))
}

/// The lowest minor number that a new device can have: as many as there are devices are taken. The C
/// driver may have lost some before.
fn lowest_minor(region: &Region) -> Result<u64> {
    if kernel::driver() == Impl::C {
        // The numbers of deleted devices come back a moment later.
        thread::sleep(Duration::from_secs(1));
        return next_minor(region);
    }
    Ok(Device::all().len() as u64)
}

/// A new device soon has that number again: the lowest is given away first, and that of a device
/// that is gone comes back a moment later.
fn check_numbers(region: &Region, lowest: u64) -> Outcome {
    let others = Device::all().len();
    let device = region.create()?;
    check(
        "name",
        device.name(),
        &*format!("dax{}.{others}", region.id()),
    )?;
    region.delete(&device)?;
    let what = format!("a device with a minor number of at most {lowest}");
    Ok(kernel::eventually(&what, || {
        let minor = next_minor(region)?;
        Ok((minor <= lowest).then_some(()))
    })?)
}

fn device_that_was_bound_gives_its_numbers_back(region: &Region) -> Outcome {
    let lowest = lowest_minor(region)?;
    for round in 0..ROUNDS {
        let device = bound(region, [PAGE, UNIT][round as usize % 2])?;
        // Not opened, opened, mapped, touched.
        if round % 4 > 0 {
            drop(mmap::open(&device.node()));
        }
        if round % 4 > 1 {
            let map = Map::whole(&device)?;
            if round % 4 > 2 {
                check("store", map.store(UNIT, round), Ok(()))?;
            }
        }
        region.destroy(&device)?;
    }
    check_numbers(region, lowest)
}

fn device_that_was_unbound_with_open_files_gives_its_numbers_back(region: &Region) -> Outcome {
    let lowest = lowest_minor(region)?;
    for round in 0..ROUNDS {
        let device = bound(region, [PAGE, UNIT][round as usize % 2])?;
        let map = Map::whole(&device)?;
        check("store", map.store(UNIT, round), Ok(()))?;
        device.unbind()?;
        // Another binding, whose file outlives the device.
        device.bind(Driver::DeviceDax)?;
        let file = mmap::open(&device.node());
        region.destroy(&device)?;
        drop((map, file));
    }
    check_numbers(region, lowest)
}

fn grace_periods_are_ordinary_whatever_was_unbound(region: &Region) -> Outcome {
    grace::check_ordinary("before")?;
    for align in [PAGE, UNIT] {
        let device = bound(region, align)?;
        grace::check_ordinary("while a device is bound")?;
        let map = Map::whole(&device)?;
        check("store", map.store(UNIT, 1), Ok(()))?;
        device.unbind()?;
        grace::check_ordinary("after unbind of a mapped device")?;
        drop(map);
        device.bind(Driver::DeviceDax)?;
        device.unbind()?;
        grace::check_ordinary("after unbind of an untouched device")?;
        region.destroy(&device)?;
    }
    bound(region, UNIT)?;
    region.unbind()?;
    grace::check_ordinary("after unbind of the region")?;
    Ok(region.bind()?)
}

fn grace_periods_are_ordinary_while_pages_drain(region: &Region) -> Outcome {
    let device = bound(region, UNIT)?;
    let map = Map::whole(&device)?;
    let pipe = pin::hold(&map, UNIT)?;
    pin::unbind(&device)?;
    grace::check_ordinary("while a device drains")?;
    drop(pipe);
    pin::bound_again(&device)?;
    device.unbind()?;
    grace::check_ordinary("when it has drained")
}
