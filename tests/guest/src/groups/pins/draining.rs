// SPDX-License-Identifier: GPL-2.0
//! A device that is unbound while one of its pages is held.

use super::{device, elsewhere, C};
use crate::child::{Child, End};
use crate::daxctl;
use crate::device::Driver;
use crate::errno::Errno;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::{self, Map};
use crate::pin::{self, bound_again, check_dead, check_draining, drained, failed, hold, WHILE};
use crate::pipe::Pipe;
use crate::region;
use crate::test;
use crate::units::{PAGE, UNIT};
use crate::uring::Uring;
use std::thread;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(device_drains_for_a_buffer_of_io_uring, region::tear_down).not_on_c(C),
    test!(device_drains_for_each_page_of_each_range, region::tear_down).not_on_c(C),
    test!(device_drains_for_every_page_at_once, region::tear_down).not_on_c(C),
    test!(drained_device_is_as_any_other, region::tear_down).not_on_c(C),
    test!(devices_drain_each_for_itself, region::tear_down).not_on_c(C),
    test!(page_of_a_dead_process_is_no_hindrance, region::tear_down).not_on_c(C),
    test!(old_files_of_a_draining_device_are_dead, region::tear_down).not_on_c(C),
    test!(system_ram_never_gets_a_page_that_is_held, region::tear_down).not_on_c(C),
];

fn device_drains_for_a_buffer_of_io_uring() -> Outcome {
    // The last is in the second range.
    for place in [0, 3 * UNIT, memory::block_size()? + PAGE] {
        let (region, device) = device(UNIT)?;
        let map = Map::whole(&device)?;
        check("store", map.store(place, 1), Ok(()))?;
        let ring = Uring::holding(&map, place, 2 * PAGE as usize).map_err(failed("io_uring"))?;
        pin::unbind(&device)?;
        check_draining(&region, &device)?;
        check_dead(&map)?;
        drop(ring);
        drained(&device)?;
    }
    Ok(())
}

fn device_drains_for_each_page_of_each_range() -> Outcome {
    for align in [PAGE, UNIT] {
        let (region, device) = device(align)?;
        let map = Map::whole(&device)?;
        let size = device.size()?;
        let places = [0, size / 2 - PAGE, size / 2, size - PAGE];
        let mut held = Vec::new();
        for place in places {
            held.push((hold(&map, place)?, place));
        }
        pin::unbind(&device)?;
        for (pipe, place) in held {
            // Longer than it takes to look again.
            thread::sleep(WHILE + WHILE / 2);
            check_draining(&region, &device)?;
            // The holder sees the stored data to the end.
            check("data", pipe.read_word(), Ok(place))?;
        }
        drained(&device)?;
        region.destroy(&device)?;
    }
    Ok(())
}

fn device_drains_for_every_page_at_once() -> Outcome {
    let (region, device) = device(PAGE)?;
    let map = Map::whole(&device)?;
    for page in 0..UNIT / PAGE {
        check("store", map.store(page * PAGE, page), Ok(()))?;
    }
    let ring = Uring::holding(&map, 0, UNIT as usize).map_err(failed("io_uring"))?;
    drop(map);
    pin::unbind(&device)?;
    check_draining(&region, &device)?;
    drop(ring);
    bound_again(&device)?;
    let map = Map::whole(&device)?;
    for page in 0..UNIT / PAGE {
        check("load", map.load(page * PAGE), Ok(page))?;
    }
    Ok(())
}

fn drained_device_is_as_any_other() -> Outcome {
    let (region, device) = device(UNIT)?;
    let before = (device.ranges()?, device.dev()?);
    for round in 0..3 {
        let map = Map::whole(&device)?;
        let pipe = hold(&map, 5 * UNIT)?;
        check("store", map.store(7 * UNIT, round), Ok(()))?;
        drop(map);
        pin::unbind(&device)?;
        check_draining(&region, &device)?;
        drop(pipe);
        bound_again(&device)?;
        check(
            "what it is",
            (device.ranges()?, device.dev()?),
            before.clone(),
        )?;
        let map = Map::whole(&device)?;
        check("load", map.load(5 * UNIT), Ok(5 * UNIT))?;
        check("load", map.load(7 * UNIT), Ok(round))?;
    }
    device.unbind()?;
    device.set_size(UNIT)?;
    device.set_align(PAGE)?;
    device.add_mapping(elsewhere(&region)?)?;
    device.bind(Driver::DeviceDax)?;
    region.destroy(&device)?;
    check("available", region.available()?, region.span().len())
}

fn devices_drain_each_for_itself() -> Outcome {
    let (region, first) = device(UNIT)?;
    let second = region.create_bound(PAGE, &[elsewhere(&region)?])?;
    let one = hold(&Map::whole(&first)?, 0)?;
    let two = hold(&Map::whole(&second)?, UNIT)?;
    pin::unbind(&first)?;
    pin::unbind(&second)?;
    check_draining(&region, &first)?;
    check_draining(&region, &second)?;
    drop(two);
    drained(&second)?;
    check_draining(&region, &first)?;
    region.destroy(&second)?;
    drop(one);
    drained(&first)?;
    region.destroy(&first).map_err(Failure::from)
}

fn page_of_a_dead_process_is_no_hindrance() -> Outcome {
    let (region, device) = device(UNIT)?;
    let ready = Pipe::new().map_err(failed("pipe"))?;
    let mut holder = Child::spawn(|| {
        let held = Map::whole(&device)
            .map_err(Failure::from)
            .and_then(|map| Ok((hold(&map, UNIT)?, Uring::holding(&map, 0, 8), map)));
        match held {
            Ok((_pipe, Ok(_ring), _map)) if ready.write_word(1).is_ok() => loop {
                thread::sleep(WHILE);
            },
            _ => 1,
        }
    })
    .map_err(failed("fork"))?;
    pin::hear(&mut holder, &ready)?;
    pin::unbind(&device)?;
    check_draining(&region, &device)?;
    pin::check_killed(&mut holder)?;
    drained(&device).map_err(Failure::from)
}

fn old_files_of_a_draining_device_are_dead() -> Outcome {
    let (region, device) = device(UNIT)?;
    let file = mmap::open(&device.node()).map_err(failed("open"))?;
    let map = Map::whole(&device)?;
    let pipe = hold(&map, 0)?;
    pin::unbind(&device)?;
    let mapped = Map::shared(&file, UNIT, 0).map(drop);
    check("mmap", mapped, Err(Errno::ENXIO))?;
    check_dead(&map)?;
    // The old mapping and file hold no page: without them the device drains all the same.
    drop((map, file));
    check_draining(&region, &device)?;
    drop(pipe);
    drained(&device).map_err(Failure::from)
}

fn system_ram_never_gets_a_page_that_is_held() -> Outcome {
    let (region, device) = device(UNIT)?;
    let map = Map::whole(&device)?;
    let ring = Uring::holding(&map, UNIT, PAGE as usize).map_err(failed("io_uring"))?;
    let name = device.name();
    let command = ["reconfigure-device", "-N", "-m", "system-ram", name];
    // daxctl gets an error for the device, and reports it.
    let end = pin::end_of(|| daxctl::run(&command))?;
    check("daxctl while a page is held", end, Some(End::Exit(1)))?;
    check_draining(&region, &device)?;
    let blocks = || Ok::<_, Failure>(memory::blocks(region.span())?.len());
    check("memory blocks while a page is held", blocks()?, 0)?;
    drop(ring);
    drained(&device)?;
    daxctl::run(&command)?;
    check("driver", device.driver(), Some(Driver::Kmem.name().into()))?;
    check("memory blocks", blocks()?, 2)
}
