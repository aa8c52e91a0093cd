// SPDX-License-Identifier: GPL-2.0
//! Other work while the kernel zeroes memory for a device, and what ends the zeroing early.
//!
//! While the kernel zeroes memory for an unbound device, `/proc/iomem` shows the memory under the
//! name of the device. The tests look for that.

use super::{marked, set, NOT_IN_C};
use crate::child::{Child, End};
use crate::device::{mappings_text, Device, Driver};
use crate::errno::Errno;
use crate::iomem;
use crate::ktap::{check, Failure, Outcome, Rows, Test};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{MEDIUM, PAGE, UNIT};
use std::time::{Duration, Instant};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(zero_leaves_readers_and_others_alone)
        .not_on_c(NOT_IN_C)
        .slow(),
    test!(zero_in_progress_keeps_the_device_as_it_is).not_on_c(NOT_IN_C),
    test!(zero_ends_when_the_writer_is_killed).not_on_c(NOT_IN_C),
    test!(zero_ends_when_the_region_goes).not_on_c(NOT_IN_C),
];

/// Far more time than any change needs.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Whether the kernel zeroes memory for an unbound device.
pub(super) fn is_zeroing(device: &Device) -> Result<bool, Failure> {
    Ok(!iomem::named(device.name())?.is_empty())
}

/// Number of times that a test looks again if zeroing was over too early. On a busy host it may be.
const TRIES: usize = 5;

/// An empty device, and all memory of the region zeroed for it by another process. `None` if zeroing
/// was over too early.
fn while_zeroing(region: &Region) -> Result<Option<(Device, Child)>, Failure> {
    set(region, true)?;
    let device = region.create()?;
    let size = region.available()? - MEDIUM;
    let writer = device.clone();
    let child = zeroing_by(&device, move || writer.try_write("size", &size.to_string()))?;
    Ok(child.map(|child| (device, child)))
}

/// A process that writes to a file, and for which the kernel zeroes memory of the device by now. The
/// process ends with 0 or the errno of the write. `None` if the write was done before this looked.
pub(super) fn zeroing_by(
    device: &Device,
    write: impl FnOnce() -> Result<usize, Errno>,
) -> Result<Option<Child>, Failure> {
    let mut child = Child::spawn(move || match write() {
        Ok(_) => 0,
        Err(errno) => errno.0,
    })
    .map_err(|e| Failure::Fail(format!("fork: {e}")))?;
    let deadline = Instant::now() + LIMIT;
    while !is_zeroing(device)? {
        let end = child.poll();
        if end == Some(End::Exit(0)) {
            return Ok(None);
        }
        check("the writer, before it was seen", end, None)?;
        check("zeroing is not seen", Instant::now() > deadline, false)?;
    }
    Ok(Some(child))
}

/// Calls `look` until it says something, because zeroing was not over too early.
pub(super) fn until_in_time<T>(
    look: impl Fn() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    for _ in 0..TRIES {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
    }
    Err(Failure::Fail(format!(
        "zeroing was over too early {TRIES} times"
    )))
}

/// Calls `look` while all memory is zeroed for a device, which has it all when this returns. If
/// zeroing was over when `look` returned, that says nothing, and is tried again.
fn look_while_zeroing(look: impl Fn(&Region, &Device) -> Outcome) -> Result<Device, Failure> {
    until_in_time(|| {
        let region = Region::fresh()?;
        let Some((device, child)) = while_zeroing(&region)? else {
            return Ok(None);
        };
        let outcome = look(&region, &device);
        let in_time = is_zeroing(&device)?;
        check("writer", child.wait(LIMIT), End::Exit(0))?;
        if !in_time {
            return Ok(None);
        }
        outcome.map(|()| Some(device))
    })
}

fn zero_leaves_readers_and_others_alone(region: &Region) -> Outcome {
    let device = look_while_zeroing(|region, device| {
        check("size", device.size()?, 0)?;
        check("ranges", device.ranges()?, vec![])?;
        check("available_size", region.available()?, MEDIUM)?;
        let other = region.create()?;
        other.set_size(UNIT)?;
        other.set_align(PAGE)?;
        other.bind(Driver::DeviceDax)?;
        check("marked pages", marked(&other)?, vec![])?;
        Ok(region.destroy(&other)?)
    })?;
    check("size", device.size()?, region.span().len() - MEDIUM)?;
    check("still zeroing", is_zeroing(&device)?, false)
}

/// Checks that a device is refused for everything that needs it not to be changing.
fn check_refused(region: &Region, device: &Device) -> Outcome {
    let mut rows = Rows::default();
    let range = mappings_text(&[region.units(region.unit_count() - 1, 1)], "");
    let (size, align) = (UNIT.to_string(), PAGE.to_string());
    for (attr, text) in [
        ("size", size.as_str()),
        ("size", "0"),
        ("align", &align),
        ("mapping", &range),
    ] {
        let written = device.try_write(attr, text);
        rows.add(attr, check("write", written, Err(Errno::EBUSY)));
    }
    let deleted = region.try_write("delete", device.name());
    rows.add("delete", check("write", deleted, Err(Errno::EBUSY)));
    let bound = Driver::DeviceDax.try_write("bind", device.name());
    rows.add("bind", check("write", bound, Err(Errno::EBUSY)));
    rows.finish()
}

fn zero_in_progress_keeps_the_device_as_it_is(_: &Region) -> Outcome {
    let device = look_while_zeroing(check_refused)?;
    Ok(device.bind(Driver::DeviceDax)?)
}

fn zero_ends_when_the_writer_is_killed(_: &Region) -> Outcome {
    let (region, device) = until_in_time(|| {
        let region = Region::fresh()?;
        let Some((device, child)) = while_zeroing(&region)? else {
            return Ok(None);
        };
        child.kill();
        match child.wait(LIMIT) {
            End::Exit(0) => Ok(None),
            end => {
                check("writer", end, End::Signal(libc::SIGKILL)).map(|()| Some((region, device)))
            }
        }
    })?;
    check("zeroing", is_zeroing(&device)?, false)?;
    check("size", device.size()?, 0)?;
    check("ranges", device.ranges()?, vec![])?;
    check("available_size", region.available()?, region.span().len())?;
    // The device can be used.
    device.set_size(UNIT)?;
    device.bind(Driver::DeviceDax)?;
    Ok(())
}

fn zero_ends_when_the_region_goes(_: &Region) -> Outcome {
    until_in_time(|| {
        let region = Region::fresh()?;
        let Some((_, child)) = while_zeroing(&region)? else {
            return Ok(None);
        };
        sysfs::write(&Region::driver_attr("unbind"), region.hmem())?;
        match child.wait(LIMIT) {
            End::Exit(0) => Ok(None),
            end => check("writer", end, End::Exit(Errno::ENXIO.0)).map(Some),
        }
    })?;
    let region = Region::fresh()?;
    check("available_size", region.available()?, region.span().len())
}
