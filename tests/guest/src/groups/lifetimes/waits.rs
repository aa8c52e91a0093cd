// SPDX-License-Identifier: GPL-2.0
//! Nobody waits for a page under a lock that others want (L4b, L4c, M13). `make test ONLY=poweroff`
//! tests that a machine with held pages goes down (L4).

use super::PINNED_C;
use crate::child::{Child, End};
use crate::compare::log::Log;
use crate::daxctl;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::family;
use crate::json;
use crate::kernel::{modprobe, run};
use crate::ktap::{check, part, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::pin::{self, at_once, check_draining, drained, failed, hold, WHILE};
use crate::pipe::Pipe;
use crate::race::write;
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{MEDIUM, UNIT};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(l4b_new_id_goes_on_while_another_drains).not_on_c(PINNED_C),
    test!(l4b_daxctl_goes_on_while_another_drains)
        .not_on_c(PINNED_C)
        .slow(),
    test!(l4c_process_that_unbinds_what_it_holds_goes_on).not_on_c(PINNED_C),
    test!(l4c_process_that_waits_for_itself_can_be_killed).not_on_c(PINNED_C),
    test!(m13_process_that_unbinds_what_it_holds_can_be_killed).not_on_c(PINNED_C),
    test!(m13_drivers_come_and_go_while_a_device_drains).not_on_c(PINNED_C),
];

/// Time that an operation may take.
const SOON: Duration = Duration::from_secs(10);

/// A device that drains, and what holds its page.
fn draining(region: &Region) -> Result<(Device, Pipe), Failure> {
    let device = region.create_bound(UNIT, &[region.units(32, 16), region.units(0, 16)])?;
    let pipe = hold(&Map::whole(&device)?, 3 * UNIT)?;
    pin::unbind(&device)?;
    Ok((device, pipe))
}

fn l4b_new_id_goes_on_while_another_drains(region: &Region) -> Outcome {
    let (device, pipe) = draining(region)?;
    let other = region.create_sized(4 * UNIT)?;
    for driver in [Driver::DeviceDax, Driver::Kmem] {
        for name in [other.name(), "dax7.7"] {
            at_once("new_id", || sysfs::write(&driver.attr("new_id"), name))?;
            at_once("remove_id", || {
                sysfs::write(&driver.attr("remove_id"), name)
            })?;
        }
    }
    check("driver", other.driver(), Some("device_dax".into()))?;
    for _ in 0..2 {
        at_once("unbind of another", || other.unbind())?;
        at_once("bind of another", || other.bind(Driver::DeviceDax))?;
    }
    check_draining(region, &device)?;
    drop(pipe);
    drained(&device).map_err(Failure::from)
}

fn l4b_daxctl_goes_on_while_another_drains(region: &Region) -> Outcome {
    let (device, pipe) = draining(region)?;
    at_once("create-device", || {
        daxctl::create(&["-r", "0", "-s", &MEDIUM.to_string()])
    })?;
    let other = Device::named("dax0.2");
    let name = other.name();
    check("driver", other.driver(), Some("device_dax".into()))?;
    let larger = (2 * MEDIUM).to_string();
    for command in [
        &["list", "-DRM"][..],
        &["disable-device", name],
        &["enable-device", name],
        &["reconfigure-device", "-f", "-m", "devdax", name],
        &["disable-device", name],
        &["reconfigure-device", "-s", &larger, name],
        &["destroy-device", "-f", name],
    ] {
        let what = format!("daxctl {}", command.join(" "));
        at_once(&what, || daxctl::run(command))?;
    }
    check("devices", other.exists(), false)?;
    // For the device that drains, daxctl gets an error, and the user a prompt.
    for command in ["enable-device", "destroy-device"] {
        let end = pin::end_of(|| daxctl::run(&[command, device.name()]))?;
        check(command, end, Some(End::Exit(1)))?;
    }
    let listed = daxctl::json(&["list", "-D", "-i"])?;
    let found = listed.iter().find(|d| d["chardev"] == json!(device.name()));
    let null = serde_json::Value::Null;
    json::check_members(found.unwrap_or(&null), &[("size", json!(32 * UNIT))])?;
    check_draining(region, &device)?;
    drop(pipe);
    drained(&device)?;
    daxctl::run(&["enable-device", device.name()])?;
    check("driver", device.driver(), Some("device_dax".into()))
}

/// A process that holds a page of a device and then does something, and what it ends with if it
/// does not live on for ever.
fn holder(device: &Device, act: impl FnOnce() -> Result<(), Errno>) -> Result<Child, Failure> {
    let child = Child::spawn(|| {
        let held = Map::whole(device)
            .map_err(Failure::from)
            .and_then(|map| hold(&map, UNIT));
        let Ok(_pipe) = held else {
            return 1;
        };
        if act().is_err() {
            return 2;
        }
        loop {
            std::thread::sleep(WHILE);
        }
    });
    child.map_err(failed("fork"))
}

fn l4c_process_that_unbinds_what_it_holds_goes_on(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &[region.units(2, 2)])?;
    let end = Child::spawn(|| {
        let done = || -> Outcome {
            let map = Map::whole(&device)?;
            let pipe = hold(&map, UNIT)?;
            device.unbind()?;
            check_draining(region, &device)?;
            check("data", pipe.read_word(), Ok(UNIT))?;
            Ok(drained(&device)?)
        };
        match done() {
            Ok(()) => 0,
            Err(Failure::Fail(why) | Failure::Skip(why)) => {
                crate::ktap::note(why);
                1
            }
        }
    });
    let end = end.map_err(failed("fork"))?.wait(SOON);
    check("a process that waits for nobody", end, End::Exit(0))?;
    device.bind(Driver::DeviceDax).map_err(Failure::from)
}

/// The process unbinds the region, which has to wait because the memory may be taken away.
fn l4c_process_that_waits_for_itself_can_be_killed(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &[region.units(2, 2)])?;
    let unbind = Region::driver_attr("unbind");
    let mut log = Log::open()?;
    let mut waiting = holder(&device, || write(&unbind, region.hmem()))?;
    pin::check_region_waits(&mut log, region, &mut waiting)?;
    check("its state", waiting.state(), Some('D'))?;
    pin::check_killed(&mut waiting)?;
    // The process took along what it held.
    check("bound", region.is_bound(), false)?;
    pin::said_drained(&mut log)?;
    region.bind()?;
    pin::use_region(region)
}

fn m13_process_that_unbinds_what_it_holds_can_be_killed(region: &Region) -> Outcome {
    let device = region.create_bound(UNIT, &[region.units(2, 2)])?;
    let unbind = device.attr("driver/unbind");
    let mut holder = holder(&device, || write(&unbind, device.name()))?;
    let unbound = || Ok(device.driver().is_none().then_some(()));
    crate::kernel::eventually("an unbound device", unbound)?;
    check("holds its page", holder.wait_for(WHILE), None)?;
    check_draining(region, &device)?;
    pin::check_killed(&mut holder)?;
    drained(&device)?;
    device.bind(Driver::DeviceDax).map_err(Failure::from)
}

/// The bus's own file to bind a device by type.
const PROBE: &str = "/sys/bus/dax/drivers_probe";

fn m13_drivers_come_and_go_while_a_device_drains(region: &Region) -> Outcome {
    let (device, pipe) = draining(region)?;
    let again = Driver::DeviceDax.attr("unbind");
    let end = pin::end_of(|| sysfs::write(&again, device.name()))?;
    check("a second unbind", end, Some(End::Exit(1)))?;
    let refused = Driver::DeviceDax.try_write("unbind", device.name());
    check("a second unbind", refused, Err(Errno::ENODEV))?;
    let probed = pin::end_of(|| sysfs::write(Path::new(PROBE), device.name()))?;
    check("drivers_probe ends", probed.is_some(), true)?;
    check("driver", device.driver(), None)?;
    at_once("uevent", || sysfs::read(&device.attr("uevent")))?;
    at_once("an event", || {
        sysfs::write(&device.attr("uevent"), "change")
    })?;
    part("modules come and go", || {
        family::require_modules()?;
        for module in ["kmem", "fsdev_dax"] {
            at_once("modprobe", || modprobe(&[module]))?;
            at_once("rmmod", || run("rmmod", &[module]))?;
            at_once("modprobe", || modprobe(&[module]))?;
        }
        Ok(())
    })?;
    check_draining(region, &device)?;
    drop(pipe);
    drained(&device).map_err(Failure::from)
}
