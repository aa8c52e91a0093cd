// SPDX-License-Identifier: GPL-2.0
//! Devices of one region against each other, and against their readers.

use super::{errno, slow_down, GONE, SLOW};
use crate::cpu::Hog;
use crate::device::{mapping_text, Driver};
use crate::errno::Errno;
use crate::invariants::check_invariants;
use crate::ktap::{check, Outcome, Test};
use crate::mmap::{self, Map};
use crate::pin::bound_again;
use crate::race::{self, read, write, Racer};
use crate::region::Region;
use crate::test;
use crate::trap::Signal;
use crate::units::{GIB, PAGE, UNIT};
use fastrand::Rng;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(shrink_against_mapping_readers_makes_progress).not_on_c("deadlocks"),
    test!(resource_readers_against_resize_see_an_address).not_on_c("reads ranges that may be gone"),
    test!(size_writers_of_two_devices_share_the_region),
    test!(mapping_writers_of_two_devices_share_the_region).not_on_c("deadlocks"),
    test!(align_writer_against_size_writer_keeps_alignment).not_on_c("warns"),
    test!(size_writer_against_delete_makes_progress).not_on_c("deadlocks"),
    test!(create_against_create_and_delete_keeps_numbers_apart)
        .not_on_c("gives a number away before its device is gone"),
    test!(resize_against_bind_is_refused_or_done).not_on_c("lets ranges change under a driver"),
    test!(ids_against_bind_make_progress),
    test!(faults_against_unbind_give_data_or_sigbus).not_on_c("oopses"),
    test!(open_and_mmap_against_rebind_give_data_or_enxio).not_on_c("oopses"),
];

/// A number below `limit` that looks random, one for each round.
fn below(limit: u64, round: u64) -> u64 {
    Rng::with_seed(round).u64(..limit)
}

fn shrink_against_mapping_readers_makes_progress(region: &Region) -> Outcome {
    // Separators give the device many ranges to add and remove.
    for unit in 0..8 {
        region.create_over(&[region.units(2 * unit + 1, 1)])?;
    }
    let device = region.create()?;
    let (size, reader) = (device.attr("size"), device.clone());
    let sizes = [8 * UNIT, UNIT, 5 * UNIT, 0];
    race::run(vec![
        Racer::new("resize", &[], |round| {
            write(&size, &sizes[round as usize % sizes.len()].to_string())
        }),
        Racer::new("list", GONE, |_| reader.ranges().map(drop).map_err(errno)),
        Racer::new("list", GONE, |_| {
            (0..8).try_for_each(|n| read(&reader.attr(&format!("mapping{n}/page_offset"))))
        }),
    ])?;
    check_invariants(region)
}

fn resource_readers_against_resize_see_an_address(region: &Region) -> Outcome {
    let device = region.create()?;
    let (size, resource) = (device.attr("size"), device.attr("resource"));
    let all = region.span();
    // A reader that loses its CPU in the middle goes on when the range has gone.
    let hog = Hog::in_turns(SLOW)?;
    let look = |round| {
        slow_down(round)?;
        let start = crate::sysfs::read_number(&resource).map_err(errno)?;
        let inside = all.start <= start && start <= all.end && start % UNIT == 0;
        if inside {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    };
    race::run(vec![
        Racer::new("resize", &[], |round| {
            write(&size, &((round % 3) * UNIT).to_string())
        }),
        Racer::new("resource", &[], look),
        Racer::new("resource", &[], look),
    ])?;
    hog.end()?;
    check_invariants(region)
}

fn size_writers_of_two_devices_share_the_region(region: &Region) -> Outcome {
    let total = region.unit_count();
    let paths = [region.create()?, region.create()?].map(|d| d.attr("size"));
    let available = region.attr("available_size");
    let writer = |index: usize| {
        let path = &paths[index];
        Racer::new("resize", &[Errno::ENOSPC], move |round| {
            let units = below(total * 3 / 4, round * 2 + index as u64);
            write(path, &(units * UNIT).to_string())
        })
    };
    race::run(vec![
        writer(0),
        writer(1),
        Racer::new("available", &[], |_| read(&available)),
    ])?;
    check_invariants(region)
}

fn mapping_writers_of_two_devices_share_the_region(region: &Region) -> Outcome {
    let devices = [region.create()?, region.create()?];
    let writer = |index: usize| {
        let device = &devices[index];
        Racer::new("map", &[Errno::EBUSY], move |round| {
            if round % 17 == 16 {
                return write(&device.attr("size"), "0");
            }
            let mut random = Rng::with_seed(round * 2 + index as u64);
            let span = region.units(random.u64(..32), random.u64(1..=4));
            write(&device.attr("mapping"), &mapping_text(span))
        })
    };
    race::run(vec![
        writer(0),
        writer(1),
        Racer::new("list", GONE, |_| {
            devices
                .iter()
                .try_for_each(|d| d.ranges().map(drop))
                .map_err(errno)
        }),
    ])?;
    check_invariants(region)
}

fn align_writer_against_size_writer_keeps_alignment(region: &Region) -> Outcome {
    region.create_over(&[region.units(0, 1)])?;
    let device = region.create()?;
    let (align, size) = (device.attr("align"), device.attr("size"));
    race::run(vec![
        Racer::new("align", &[Errno::EINVAL], |round| {
            write(&align, &[PAGE, GIB, UNIT][round as usize % 3].to_string())
        }),
        Racer::new("resize", &[Errno::EINVAL, Errno::ENOSPC], |round| {
            write(
                &size,
                &[0, 3 * UNIT, GIB, UNIT][round as usize % 4].to_string(),
            )
        }),
    ])?;
    check_invariants(region)
}

fn size_writer_against_delete_makes_progress(region: &Region) -> Outcome {
    let device = region.create()?;
    let gone: Vec<Errno> = [GONE, &[Errno::EBUSY]].concat();
    race::run(vec![
        Racer::new("resize", &gone, |round| {
            write(&device.attr("size"), &((round % 2) * UNIT).to_string())
        }),
        Racer::new("align", &gone, |_| {
            write(&device.attr("align"), &PAGE.to_string())
        }),
        Racer::new("delete", &gone, |_| {
            write(&region.attr("delete"), device.name())
        }),
        Racer::new("create", &[], |_| {
            if device.exists() {
                Ok(())
            } else {
                write(&region.attr("create"), "1")
            }
        }),
    ])?;
    check_invariants(region)
}

fn create_against_create_and_delete_keeps_numbers_apart(region: &Region) -> Outcome {
    let create = |_| write(&region.attr("create"), "1");
    let delete = |round: u64| {
        // Deletes faster than the others create, so that numbers are reused.
        write(
            &region.attr("delete"),
            &format!("dax0.{}", 1 + below(64, round)),
        )
    };
    let gone: Vec<Errno> = [GONE, &[Errno::EBUSY]].concat();
    race::run(vec![
        Racer::new("create", &[], move |round| {
            // Not more devices than the clean-up can remove in time.
            if round % 32 < 31 || region.devices().map_err(errno)?.len() < 64 {
                create(round)
            } else {
                (1..200).try_for_each(|n| match delete(n) {
                    Err(Errno::ENXIO) | Ok(()) => Ok(()),
                    other => other,
                })
            }
        }),
        Racer::new("create", &[], create),
        Racer::new("delete", &gone, delete),
        Racer::new("delete", &gone, |round| delete(round + 1_000_000)),
        Racer::new("seed", &[], |_| read(&region.attr("seed"))),
        Racer::new("youngest", &[], |_| read(&region.attr("create"))),
    ])?;
    check_invariants(region)
}

fn resize_against_bind_is_refused_or_done(region: &Region) -> Outcome {
    let device = region.create_sized(2 * UNIT)?;
    let name = device.name();
    let driver = Driver::DeviceDax;
    let no = [Errno::ENXIO, Errno::EBUSY, Errno::ENODEV];
    race::run(vec![
        Racer::new("bind", &no, |_| driver.try_write("bind", name).map(drop)),
        Racer::new("unbind", &no, |_| {
            driver.try_write("unbind", name).map(drop)
        }),
        Racer::new("resize", &no, |round| {
            write(&device.attr("size"), &((round % 4) * UNIT).to_string())
        }),
        Racer::new("map", &no, |round| {
            let span = region.units(10 + below(8, round), 1);
            write(&device.attr("mapping"), &mapping_text(span))
        }),
        Racer::new("align", &no, |round| {
            write(
                &device.attr("align"),
                &[PAGE, UNIT][round as usize % 2].to_string(),
            )
        }),
    ])?;
    check_invariants(region)
}

fn ids_against_bind_make_progress(region: &Region) -> Outcome {
    let device = region.create_sized(2 * UNIT)?;
    let name = device.name();
    let driver = Driver::DeviceDax;
    let no = [Errno::EBUSY, Errno::ENODEV];
    race::run(vec![
        Racer::new("new_id", &[], |_| {
            driver.try_write("new_id", name).map(drop)
        }),
        Racer::new("remove_id", &[], |_| {
            driver.try_write("remove_id", name).map(drop)
        }),
        Racer::new("unbind", &no, |_| {
            driver.try_write("unbind", name).map(drop)
        }),
        Racer::new("bind", &no, |_| driver.try_write("bind", name).map(drop)),
    ])?;
    check_invariants(region)
}

fn faults_against_unbind_give_data_or_sigbus(region: &Region) -> Outcome {
    let device = region.create_bound(PAGE, &[region.units(5, 1), region.units(2, 1)])?;
    // Stays mapped through all rebinds: dead after the first.
    let old = Map::whole(&device)?;
    check("store", old.store(0, 1), Ok(()))?;
    let fault = |round: u64| match old.load(below(2 * UNIT, round) / 8 * 8) {
        Ok(_) | Err(Signal::BUS) => Ok(()),
        Err(_) => Err(Errno::EFAULT),
    };
    race::run(vec![
        Racer::new("load", &[], fault),
        Racer::new("load", &[], |round| fault(round + 1)),
        Racer::new("load of a fresh mapping", &[Errno::ENXIO], |round| {
            let file = mmap::open(&device.node())?;
            let map = Map::shared(&file, 2 * UNIT, 0)?;
            match map.load(below(2 * UNIT, round) / 8 * 8) {
                Ok(_) | Err(Signal::BUS) => Ok(()),
                Err(_) => Err(Errno::EFAULT),
            }
        }),
        Racer::new("rebind", &[], |_| {
            device.unbind().map_err(errno)?;
            // A task that a slow machine does not run holds a page as long as it is unmapping it.
            bound_again(&device).map_err(errno)
        }),
    ])?;
    check("load of the old mapping", old.load(0), Err(Signal::BUS))?;
    check_invariants(region)
}

fn open_and_mmap_against_rebind_give_data_or_enxio(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &[region.units(5, 1)])?;
    let kept = std::sync::Mutex::new(Vec::new());
    race::run(vec![
        Racer::new("open", &[Errno::ENXIO], |_| {
            let file = mmap::open(&device.node())?;
            let mapped = Map::shared(&file, UNIT, 0);
            // Keeps the file for a while: it outlives bindings.
            let mut kept = kept.lock().map_err(|_| Errno::EIO)?;
            kept.push(file);
            if kept.len() > 16 {
                kept.remove(0);
            }
            mapped.map(drop)
        }),
        Racer::new("rebind", &[], |_| {
            device.unbind().map_err(errno)?;
            device.bind(Driver::DeviceDax).map_err(errno)
        }),
    ])?;
    drop(kept);
    check("open", mmap::open(&device.node()).map(drop), Ok(()))?;
    check_invariants(region)
}
