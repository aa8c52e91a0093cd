// SPDX-License-Identifier: GPL-2.0
//! A node belongs to the driver that is bound, even if somebody has old files of another driver
//! (M11).

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::region::Region;
use crate::test;
use crate::units::UNIT;
use std::fs::File;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(m11_node_is_of_the_driver_that_is_bound).not_on_c("a count underflows"),
    test!(m11_old_files_of_both_drivers_are_closed_in_any_order).not_on_c("a count underflows"),
];

/// The two drivers that have files.
const BOTH: [Driver; 2] = [Driver::DeviceDax, Driver::FsdevDax];

/// The result of `mmap` of a file of that driver.
fn mapped_as(driver: Driver) -> Result<(), Errno> {
    match driver {
        Driver::DeviceDax => Ok(()),
        // The driver has no such operation.
        _ => Err(Errno::ENODEV),
    }
}

/// Opens the node while `driver` is bound: as that driver's.
fn open_as(device: &Device, driver: Driver) -> Result<File, Errno> {
    let file = mmap::open(&device.node())?;
    let mapped = Map::shared(&file, UNIT, 0).map(drop);
    // A file of the other driver never gives this result.
    if mapped == mapped_as(driver) {
        Ok(file)
    } else {
        Err(Errno::EIO)
    }
}

/// Binds the device to one driver after the other.
fn change(device: &Device, driver: Driver) -> Result<(), Failure> {
    device.unbind()?;
    device.forget()?;
    Ok(device.bind_by_id(driver)?)
}

/// A device that is bound to a driver.
fn bound(region: &Region, driver: Driver) -> Result<Device, Failure> {
    crate::family::require_fsdev()?;
    let device = region.create_over(&[region.units(4, 4)])?;
    device.bind_by_id(driver)?;
    Ok(device)
}

fn m11_node_is_of_the_driver_that_is_bound(region: &Region) -> Outcome {
    for [former, latter] in [BOTH, [BOTH[1], BOTH[0]]] {
        let device = bound(region, former)?;
        let what = format!("{} after {}", latter.name(), former.name());
        let old = open_as(&device, former).map(Some);
        check("the first", old.as_ref().map(drop), Ok(()))?;
        change(&device, latter)?;
        // The inode is the former driver's for as long as its file is open: device_dax refuses to
        // open it then, and fsdev_dax, which is C, opens it as its own.
        let meanwhile = open_as(&device, latter);
        let answer = meanwhile.as_ref().map(drop).map_err(|errno| *errno);
        let refused = match former {
            Driver::FsdevDax => Errno::EIO,
            _ => Errno::ENXIO,
        };
        check(format!("{what}, meanwhile"), answer, Err(refused))?;
        drop((old, meanwhile));
        let then = open_as(&device, latter);
        check(
            format!("{what}, then"),
            then.as_ref().map(drop),
            Ok(()).as_ref().map(drop),
        )?;
        drop(then);
        region.destroy(&device)?;
        device.forget()?;
    }
    Ok(())
}

fn m11_old_files_of_both_drivers_are_closed_in_any_order(region: &Region) -> Outcome {
    for last_first in [false, true] {
        let device = bound(region, Driver::DeviceDax)?;
        let mut files = Vec::new();
        for driver in [BOTH, BOTH].concat() {
            change(&device, driver)?;
            // The inode is device_dax's for as long as the first file is open. The cdev of fsdev_dax
            // has no file then, so it may be initialised again.
            let opened = mmap::open(&device.node());
            let answer = match driver {
                Driver::DeviceDax => Ok(()),
                _ => Err(Errno::ENXIO),
            };
            let what = format!("open while {} is bound", driver.name());
            check(
                what,
                opened.as_ref().map(drop).map_err(|errno| *errno),
                answer,
            )?;
            files.extend(opened);
        }
        if last_first {
            files.reverse();
        }
        files.into_iter().for_each(drop);
        for driver in BOTH {
            change(&device, driver)?;
            let opened = open_as(&device, driver).map(drop);
            check(driver.name(), opened, Ok(()))?;
        }
        region.destroy(&device)?;
        device.forget()?;
    }
    Ok(())
}
