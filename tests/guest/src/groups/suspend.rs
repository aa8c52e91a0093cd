// SPDX-License-Identifier: GPL-2.0
//! The machine is suspended to idle and wakes up, with devices in each state.

use crate::child::{Child, End};
use crate::compare::log::Log;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, deviates, skip, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::pattern;
use crate::pin;
use crate::pipe::Pipe;
use crate::power::{self, Depth};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{PAGE, UNIT};
use std::thread;
use std::time::Duration;

/// The kernel's log goes on while devices are suspended. The timer is periodic: while devices are
/// suspended no other interrupt comes, so an emulated one-shot timer whose interrupt got lost would
/// end the test.
pub const APPEND: &str = "memmap=2G%4G+0xefffffff no_console_suspend nohz=off highres=off";

/// A port of PCI Express. The device that carries the guest's output is behind this port, where it
/// can be suspended.
pub const QEMU: &str = "-device pcie-root-port,id=output.port,bus=pcie.0";

/// The tests.
pub const TESTS: &[Test] = &[
    test!(suspend_keeps_devices_and_mappings),
    test!(suspend_in_the_middle_of_rebinding_works),
    test!(suspend_of_a_device_that_drains_works).not_on_c("frees the page under its holder"),
    test!(suspend_is_refused_while_a_region_waits_for_a_page)
        .not_on_c("frees the page under its holder"),
];

/// Both depths of a suspend, the lesser first.
const DEPTHS: [Depth; 2] = [Depth::Devices, Depth::Interrupts];

/// Suspends the guest to that depth. Skips the test if the machine has no suspend to idle.
fn suspend(depth: Depth) -> Outcome {
    if !power::can_suspend()? {
        return skip("this machine cannot suspend to idle");
    }
    check(
        format!("suspend: {depth:?}"),
        power::suspend(depth)?,
        Ok(()),
    )
}

/// A bound device of two ranges.
fn device(region: &Region, align: u64, first: u64) -> sysfs::Result<Device> {
    let spans = [region.units(first + 9, 3), region.units(first, 2)];
    region.create_bound(align, &spans)
}

fn suspend_keeps_devices_and_mappings(region: &Region) -> Outcome {
    let devices = [device(region, PAGE, 0)?, device(region, UNIT, 30)?];
    let unbound = region.create_sized(4 * UNIT)?;
    let maps = [Map::whole(&devices[0])?, Map::whole(&devices[1])?];
    for (seed, (device, map)) in (0..).zip(devices.iter().zip(&maps)) {
        pattern::fill(map, &device.ranges()?, seed)?;
    }
    for depth in DEPTHS {
        suspend(depth)?;
        for (seed, (device, map)) in (0..).zip(devices.iter().zip(&maps)) {
            // Nothing was unmapped, and all is where it was.
            pattern::compare_frames(map, &device.ranges()?)?;
            pattern::compare(map, &device.ranges()?, seed)?;
            let busy = device.try_write("size", "0");
            check("size of a bound device", busy, Err(Errno::EBUSY))?;
        }
        unbound.set_size(UNIT)?;
        unbound.set_size(4 * UNIT)?;
    }
    for (device, map) in devices.iter().zip(maps) {
        device.unbind()?;
        check("load", map.load(0), Err(Signal::BUS))?;
        // With an old file open the C driver does not let it be opened again (A10).
        let _old = deviates(Some(map), None);
        device.bind(Driver::DeviceDax)?;
        check("load", Map::whole(device)?.load(0).is_ok(), true)?;
    }
    Ok(())
}

fn suspend_in_the_middle_of_rebinding_works(region: &Region) -> Outcome {
    let device = device(region, UNIT, 0)?;
    let stop = Pipe::new().map_err(|errno| Failure::Fail(format!("pipe: {errno}")))?;
    let child = Child::spawn(|| {
        let rebind = || {
            let map = Map::whole(&device)?;
            let stored = map.store(UNIT, 1);
            // With an old file open the C driver does not let it be opened again (A10).
            let _old = deviates(Some(map), None);
            device.unbind()?;
            device.bind(Driver::DeviceDax)?;
            Ok(stored.is_ok())
        };
        while stop.read_word().is_err() {
            if rebind().map_err(|error: sysfs::Error| error.errno) != Ok(true) {
                return 1;
            }
        }
        0
    });
    let child = child.map_err(|errno| Failure::Fail(format!("fork: {errno}")))?;
    for depth in DEPTHS {
        suspend(depth)?;
        thread::sleep(Duration::from_millis(100));
    }
    check("word", stop.write_word(1), Ok(8))?;
    let end = child.wait(Duration::from_secs(20));
    check("the one that rebinds", end, End::Exit(0))?;
    check("load", Map::whole(&device)?.load(UNIT), Ok(1))
}

fn suspend_of_a_device_that_drains_works(region: &Region) -> Outcome {
    for depth in DEPTHS {
        let device = device(region, UNIT, 0)?;
        let map = Map::whole(&device)?;
        let pipe = pin::hold(&map, 3 * UNIT)?;
        pin::unbind(&device)?;
        suspend(depth)?;
        let bound = Driver::DeviceDax.try_write("bind", device.name());
        check("bind", bound.map(drop), Err(Errno::EBUSY))?;
        check("data", pipe.read_word(), Ok(3 * UNIT))?;
        pin::bound_again(&device)?;
        device.unbind()?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

/// The waiting task holds the lock of a device that is to be suspended, so the kernel cannot just
/// stop the task.
fn suspend_is_refused_while_a_region_waits_for_a_page(region: &Region) -> Outcome {
    if !power::can_suspend()? {
        return skip("this machine cannot suspend to idle");
    }
    let device = device(region, UNIT, 0)?;
    let pipe = pin::hold(&Map::whole(&device)?, UNIT)?;
    let mut log = Log::open()?;
    let mut unbinding = pin::start(|| region.unbind())?;
    pin::check_region_waits(&mut log, region, &mut unbinding)?;
    let refused = power::with_freeze_timeout(2000, || power::suspend(Depth::Devices))??;
    check("suspend", refused, Err(Errno::EBUSY))?;
    check("still", unbinding.wait_for(Duration::from_secs(1)), None)?;
    check("data", pipe.read_word(), Ok(UNIT))?;
    let end = unbinding.wait(Duration::from_secs(20));
    check("unbind", end, End::Exit(0))?;
    region.bind()?;
    suspend(Depth::Devices)
}
