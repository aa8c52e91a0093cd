// SPDX-License-Identifier: GPL-2.0
//! Devices that a driver matches by id.

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, Outcome, Test};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::UNIT;
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(new_id_binds_a_sized_device_at_once),
    test!(new_id_of_device_without_size_binds_nothing),
    test!(new_id_of_bound_device_changes_nothing),
    test!(new_id_twice_is_known_once),
    test!(new_id_and_remove_id_with_trailing_bytes_return_full_count),
    test!(id_is_known_before_its_device_exists),
    test!(id_outlives_its_device),
    test!(id_is_forgotten_with_its_driver),
    test!(remove_id_of_absent_id_succeeds),
    test!(remove_id_does_not_unbind),
    test!(drivers_probe_binds_by_type),
];

/// The driver under test: device_dax takes these devices by type, kmem only by id. kmem binds
/// whole memory blocks, so the devices are larger than elsewhere.
const BY_ID: Driver = Driver::FsdevDax;

/// A sized device without a driver.
fn sized(region: &Region) -> Result<Device, crate::ktap::Failure> {
    crate::family::require_fsdev()?;
    Ok(region.create_sized(2 * UNIT)?)
}

/// Writes an id and expects the full count.
fn write_id(driver: Driver, attr: &str, text: &str) -> Outcome {
    check(
        format!("{text:?} to {attr} of {}", driver.name()),
        driver.try_write(attr, text),
        Ok(text.len()),
    )
}

/// Whether a driver accepts a device.
fn try_bind(driver: Driver, device: &Device) -> Result<(), Errno> {
    driver.try_write("bind", device.name()).map(drop)
}

fn new_id_binds_a_sized_device_at_once(region: &Region) -> Outcome {
    let device = sized(region)?;
    write_id(BY_ID, "new_id", device.name())?;
    check("driver", device.driver(), Some(BY_ID.name().into()))
}

fn new_id_of_device_without_size_binds_nothing(region: &Region) -> Outcome {
    sized(region)?;
    let device = region.create()?;
    write_id(BY_ID, "new_id", device.name())?;
    check("driver", device.driver(), None)?;
    device.set_size(UNIT)?;
    check("bind", try_bind(BY_ID, &device), Ok(()))
}

fn new_id_of_bound_device_changes_nothing(region: &Region) -> Outcome {
    let device = sized(region)?;
    device.bind(Driver::DeviceDax)?;
    write_id(BY_ID, "new_id", device.name())?;
    check("driver", device.driver(), Some("device_dax".into()))
}

fn new_id_twice_is_known_once(region: &Region) -> Outcome {
    let device = sized(region)?;
    write_id(BY_ID, "new_id", device.name())?;
    write_id(BY_ID, "new_id", device.name())?;
    device.unbind()?;
    write_id(BY_ID, "remove_id", device.name())?;
    check("bind", try_bind(BY_ID, &device), Err(Errno::ENODEV))
}

fn new_id_and_remove_id_with_trailing_bytes_return_full_count(region: &Region) -> Outcome {
    let device = sized(region)?;
    for (new, remove) in [("\0", "\n"), ("\n", ""), ("", "\0"), ("\n\0", "\n\0")] {
        write_id(BY_ID, "new_id", &format!("{}{new}", device.name()))?;
        check("driver", device.driver(), Some(BY_ID.name().into()))?;
        device.unbind()?;
        write_id(BY_ID, "remove_id", &format!("{}{remove}", device.name()))?;
        check("bind", try_bind(BY_ID, &device), Err(Errno::ENODEV))?;
    }
    Ok(())
}

fn id_is_known_before_its_device_exists(region: &Region) -> Outcome {
    sized(region)?;
    write_id(BY_ID, "new_id", "dax0.2")?;
    let device = region.create_sized(UNIT)?;
    check("name", device.name(), "dax0.2")?;
    check("bind", try_bind(BY_ID, &device), Ok(()))
}

fn id_outlives_its_device(region: &Region) -> Outcome {
    let device = sized(region)?;
    write_id(BY_ID, "new_id", device.name())?;
    region.destroy(&device)?;
    let again = region.create_sized(UNIT)?;
    check("name", again.name(), device.name())?;
    check("bind", try_bind(BY_ID, &again), Ok(()))
}

fn id_is_forgotten_with_its_driver(region: &Region) -> Outcome {
    let device = sized(region)?;
    write_id(BY_ID, "new_id", device.name())?;
    device.unbind()?;
    kernel::modprobe_remove(BY_ID.name())?;
    check("driver", BY_ID.present(), false)?;
    kernel::modprobe(&[BY_ID.name()])?;
    check("bind", try_bind(BY_ID, &device), Err(Errno::ENODEV))
}

fn remove_id_of_absent_id_succeeds(_: &Region) -> Outcome {
    write_id(Driver::DeviceDax, "remove_id", "dax0.0")?;
    write_id(Driver::Kmem, "remove_id", "dax7.31")
}

fn remove_id_does_not_unbind(region: &Region) -> Outcome {
    let device = sized(region)?;
    write_id(BY_ID, "new_id", device.name())?;
    write_id(BY_ID, "remove_id", device.name())?;
    check("driver", device.driver(), Some(BY_ID.name().into()))
}

fn drivers_probe_binds_by_type(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    sysfs::write(Path::new("/sys/bus/dax/drivers_probe"), device.name())?;
    check("driver", device.driver(), Some("device_dax".into()))
}
