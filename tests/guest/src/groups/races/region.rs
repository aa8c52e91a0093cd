// SPDX-License-Identifier: GPL-2.0
//! The region comes and goes while it is used.

use super::{check_alive, errno, GONE};
use crate::device::{mapping_text, Device, Driver, DEVICES};
use crate::errno::Errno;
use crate::ktap::{Outcome, Test};
use crate::mmap::{self, Map};
use crate::race::{self, read, write, Racer};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::UNIT;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(delete_against_region_unbind_makes_progress).not_on_c("deadlocks"),
    test!(create_against_region_unbind_leaves_no_orphans).not_on_c("leaves orphans"),
    test!(seed_and_youngest_readers_against_region_unbind_see_names).not_on_c("leaves orphans"),
    test!(writers_against_region_unbind_make_progress).not_on_c("deadlocks"),
    test!(device_bind_against_region_unbind_makes_progress).not_on_c("deadlocks"),
    test!(faults_against_region_unbind_give_data_or_sigbus).not_on_c("oopses"),
];

/// Errors of a bind meanwhile. `EAGAIN` is the driver core's answer for a device that it has not
/// finished adding.
const NOT_BOUND: &[Errno] = &[Errno::ENODEV, Errno::ENXIO, Errno::EBUSY, Errno::EAGAIN];

/// Time for which a region stays at most.
const STAYS: Duration = Duration::from_millis(200);

/// Takes the region away and brings it back, again and again. Nothing of it may be left in between.
fn cycle(region: &Region) -> Racer<'_> {
    Racer::new("region", &[], |_| come_and_go(region))
}

/// The same, but each time the region stays until `count` has grown, or [`STAYS`] is over. A region
/// that goes at once may never be there for long enough for others to get through several steps.
fn cycle_after<'a>(region: &'a Region, count: &'a AtomicU64) -> Racer<'a> {
    Racer::new("region", &[], |_| {
        let (before, start) = (count.load(Ordering::Relaxed), Instant::now());
        while count.load(Ordering::Relaxed) == before && start.elapsed() < STAYS {
            thread::yield_now();
        }
        come_and_go(region)
    })
}

/// Takes the region away and brings it back.
fn come_and_go(region: &Region) -> Result<(), Errno> {
    region.unbind().map_err(errno)?;
    let own = format!("dax{}.", region.id());
    let left = sysfs::names(DEVICES.as_ref()).map_err(errno)?;
    if left.iter().any(|name| name.starts_with(&own)) {
        return Err(Errno::EEXIST);
    }
    region.bind().map_err(errno)
}

fn delete_against_region_unbind_makes_progress(region: &Region) -> Outcome {
    let delete = region.attr("delete");
    let no: Vec<Errno> = [GONE, &[Errno::EBUSY]].concat();
    race::run(vec![
        cycle(region),
        Racer::new("delete", &no, |round| {
            write(&delete, &format!("dax{}.{}", region.id(), round % 4))
        }),
        Racer::new("create", &no, |_| write(&region.attr("create"), "1")),
    ])?;
    check_alive(region)
}

fn create_against_region_unbind_leaves_no_orphans(region: &Region) -> Outcome {
    let create = region.attr("create");
    race::run(vec![
        cycle(region),
        Racer::new("create", GONE, |_| write(&create, "1")),
        Racer::new("create", GONE, |_| write(&create, "1")),
    ])?;
    check_alive(region)
}

fn seed_and_youngest_readers_against_region_unbind_see_names(region: &Region) -> Outcome {
    let look = |attr: &'static str| {
        move |_| {
            let text = sysfs::try_read(&region.attr(attr))?;
            let name = text.trim_end();
            if name.is_empty() || name.starts_with("dax0.") {
                Ok(())
            } else {
                Err(Errno::EIO)
            }
        }
    };
    race::run(vec![
        cycle(region),
        Racer::new("create", GONE, |_| write(&region.attr("create"), "1")),
        Racer::new("seed", GONE, look("seed")),
        Racer::new("youngest", GONE, look("create")),
        Racer::new("available", GONE, |_| read(&region.attr("available_size"))),
    ])?;
    check_alive(region)
}

fn writers_against_region_unbind_make_progress(region: &Region) -> Outcome {
    let device = region.first_device()?;
    let no: Vec<Errno> = [GONE, &[Errno::EBUSY]].concat();
    race::run(vec![
        cycle(region),
        Racer::new("resize", &no, |round| {
            write(&device.attr("size"), &((round % 4) * UNIT).to_string())
        }),
        Racer::new("map", &no, |round| {
            let span = region.units(10 + 2 * (round % 16), 1);
            write(&device.attr("mapping"), &mapping_text(span))
        }),
        Racer::new("align", &no, |_| {
            write(&device.attr("align"), &UNIT.to_string())
        }),
        Racer::new("list", GONE, |_| device.ranges().map(drop).map_err(errno)),
    ])?;
    check_alive(region)
}

fn device_bind_against_region_unbind_makes_progress(region: &Region) -> Outcome {
    let device = region.first_device()?;
    let driver = Driver::DeviceDax;
    let no: Vec<Errno> = [GONE, &[Errno::EBUSY]].concat();
    let unbinds = AtomicU64::new(0);
    race::run(vec![
        cycle_after(region, &unbinds),
        Racer::new("resize", &no, |_| {
            write(&device.attr("size"), &(2 * UNIT).to_string())
        }),
        Racer::new("bind", NOT_BOUND, |_| {
            driver.try_write("bind", device.name()).map(drop)
        }),
        Racer::new("unbind", &no, |_| {
            driver.try_write("unbind", device.name())?;
            unbinds.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }),
    ])?;
    check_alive(region)
}

fn faults_against_region_unbind_give_data_or_sigbus(region: &Region) -> Outcome {
    let device: Device = region.first_device()?;
    let no: Vec<Errno> = [GONE, &[Errno::EBUSY]].concat();
    let accesses = AtomicU64::new(0);
    race::run(vec![
        cycle_after(region, &accesses),
        Racer::new("resize", &no, |_| {
            write(&device.attr("size"), &(2 * UNIT).to_string())
        }),
        Racer::new("bind", NOT_BOUND, |_| {
            Driver::DeviceDax.try_write("bind", device.name()).map(drop)
        }),
        Racer::new("access", &no, |round| {
            let file = mmap::open(&device.node())?;
            let map = Map::shared(&file, UNIT, 0)?;
            for _ in 0..1 + round % 50 {
                match map.load(8 * (round % 1000)) {
                    Ok(_) => {
                        accesses.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(Signal::BUS) => {}
                    Err(_) => return Err(Errno::EFAULT),
                }
            }
            Ok(())
        }),
    ])?;
    check_alive(region)
}
