// SPDX-License-Identifier: GPL-2.0
//! Persistent memory: the one device of a static region drains as any other does.

use super::PINNED_C;
use crate::child::{Child, End};
use crate::compare::log::Log;
use crate::daxctl;
use crate::device::{Device, Driver};
use crate::groups::consumers;
use crate::kernel::{self, modprobe};
use crate::ktap::{check, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::ndctl::{self, Namespace};
use crate::pin::{self, bound_again, check_dead, check_ends, check_unbindable};
use crate::pin::{failed, hold, start, WHILE};
use crate::sysfs;
use crate::test;
use crate::units::{MEDIUM, PAGE, UNIT};
use crate::uring::Uring;
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(static_device_drains, ndctl::tear_down).not_on_c(PINNED_C),
    test!(
        static_device_becomes_no_system_ram_while_it_drains,
        ndctl::tear_down
    )
    .not_on_c(PINNED_C),
    test!(namespace_waits_for_its_pages, ndctl::tear_down).not_on_c(PINNED_C),
    test!(
        namespace_waits_for_no_process_that_is_killed,
        ndctl::tear_down
    )
    .not_on_c(PINNED_C),
    test!(
        namespace_that_holds_the_struct_pages_waits_although_killed,
        ndctl::tear_down
    )
    .not_on_c(PINNED_C),
];

/// The namespace.
const NAME: &str = "namespace0.0";
/// The driver on the bus of namespaces that owns a region's device.
const OWNER: &str = "/sys/bus/nd/drivers/dax_pmem";

/// A device of pages of that size, whose struct pages are in RAM.
fn device(align: u64) -> Result<Device, Failure> {
    device_with(align, "mem")
}

/// A device of pages of that size. `map` says where its struct pages are, as for `ndctl`.
fn device_with(align: u64, map: &str) -> Result<Device, Failure> {
    modprobe(&["-a", "nd_e820", "nd_pmem", "dax_pmem", "device_dax", "kmem"])?;
    // Not in every kernel.
    let _ = modprobe(&["fsdev_dax"]);
    Ok(Namespace::devdax(align, &["-e", NAME, "-M", map])?.device()?)
}

fn static_device_drains() -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(align)?;
        let map = Map::whole(&device)?;
        let last = device.size()? - PAGE;
        let ring = Uring::holding(&map, 4 * UNIT, PAGE as usize).map_err(failed("io_uring"))?;
        let pipe = hold(&map, last)?;
        pin::unbind(&device)?;
        check_dead(&map)?;
        check_unbindable(&device)?;
        check("size", device.size()?, last + PAGE)?;
        check("data", pipe.read_word(), Ok(last))?;
        check_unbindable(&device)?;
        drop(ring);
        bound_again(&device)?;
        check("load", Map::whole(&device)?.load(last), Ok(last))?;
        ndctl::tear_down()?;
    }
    Ok(())
}

fn static_device_becomes_no_system_ram_while_it_drains() -> Outcome {
    let device = device(UNIT)?;
    let pipe = hold(&Map::whole(&device)?, 2 * MEDIUM)?;
    let command = [
        "reconfigure-device",
        "-N",
        "-m",
        "system-ram",
        device.name(),
    ];
    let end = pin::end_of(|| daxctl::run(&command))?;
    check("daxctl while a page is held", end, Some(End::Exit(1)))?;
    check_unbindable(&device)?;
    let all = consumers::span(&device)?;
    check("memory blocks", memory::blocks(all)?.len(), 0)?;
    check("data", pipe.read_word(), Ok(2 * MEDIUM))?;
    drop(pipe);
    bound_again(&device).map_err(Failure::from)
}

/// The namespace's device that a device hangs off, which may have another name.
fn owner(device: &Device) -> sysfs::Result<String> {
    let path = device.attr("");
    let real = path
        .canonicalize()
        .map_err(|e| sysfs::Error::new(format!("resolve {}", path.display()), e.into()))?;
    let name = real.parent().and_then(Path::file_name);
    Ok(name.unwrap_or_default().to_string_lossy().into_owned())
}

/// Takes a namespace's device away.
fn disable(owner: &str) -> sysfs::Result<()> {
    sysfs::write(&Path::new(OWNER).join("unbind"), owner)
}

/// Gives a namespace's device back.
fn enable(owner: &str) -> sysfs::Result<()> {
    sysfs::write(&Path::new(OWNER).join("bind"), owner)
}

/// Waits until the log says that a namespace's device waits for pages, and checks that the child goes
/// on waiting.
fn check_owner_waits(log: &mut Log, owner: &str, disabling: &mut Child) -> Outcome {
    pin::check_owner_waits(log, &format!("dax_pmem {owner}"), disabling).map(drop)
}

fn namespace_waits_for_its_pages() -> Outcome {
    for drains in [false, true] {
        let device = device(UNIT)?;
        let owner = owner(&device)?;
        let map = Map::whole(&device)?;
        let pipe = hold(&map, UNIT)?;
        if drains {
            pin::unbind(&device)?;
        }
        let mut log = Log::open()?;
        let mut disabling = start(|| disable(&owner))?;
        check_owner_waits(&mut log, &owner, &mut disabling)?;
        check("its state", disabling.state(), Some('D'))?;
        check_dead(&map)?;
        check("data", pipe.read_word(), Ok(UNIT))?;
        drop(pipe);
        check_ends(&mut disabling)?;
        check("the device", device.exists(), false)?;
        enable(&owner)?;
        check("driver", device.driver(), Some("device_dax".into()))?;
        check("load", Map::whole(&device)?.load(UNIT), Ok(UNIT))?;
        ndctl::tear_down()?;
    }
    Ok(())
}

fn namespace_waits_for_no_process_that_is_killed() -> Outcome {
    let device = device(PAGE)?;
    let owner = owner(&device)?;
    let pipe = hold(&Map::whole(&device)?, UNIT)?;
    let mut log = Log::open()?;
    let mut disabling = start(|| disable(&owner))?;
    check_owner_waits(&mut log, &owner, &mut disabling)?;
    pin::check_killed(&mut disabling)?;
    check("the device", device.exists(), false)?;
    check("data", pipe.read_word(), Ok(UNIT))?;
    drop(pipe);
    kernel::eventually("a namespace to enable", || {
        if device.driver().is_none() {
            // The device, or its owner, was refused because there is no memory for it yet.
            let _ = enable(&owner);
            let _ = device.bind(Driver::DeviceDax);
        }
        Ok(device.driver())
    })?;
    check("driver", device.driver(), Some("device_dax".into()))?;
    check("load", Map::whole(&device)?.load(UNIT), Ok(UNIT))
}

fn namespace_that_holds_the_struct_pages_waits_although_killed() -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device_with(align, "dev")?;
        let owner = owner(&device)?;
        let pipe = hold(&Map::whole(&device)?, UNIT)?;
        let mut log = Log::open()?;
        let mut disabling = start(|| disable(&owner))?;
        check_owner_waits(&mut log, &owner, &mut disabling)?;
        disabling.kill();
        // The struct page of the held page is in the namespace's memory. Once the namespace is
        // disabled, anybody may write there.
        let end = disabling.wait_for(5 * WHILE);
        check("killed while a page is held", end, None)?;
        check("its state", disabling.state(), Some('D'))?;
        check("the device", device.exists(), false)?;
        check("data", pipe.read_word(), Ok(UNIT))?;
        drop(pipe);
        let end = disabling.wait_for(10 * WHILE * kernel::slowness());
        let killed = Some(End::Signal(libc::SIGKILL));
        check("once no page is held", end, killed)?;
        enable(&owner)?;
        check("driver", device.driver(), Some("device_dax".into()))?;
        check("load", Map::whole(&device)?.load(UNIT), Ok(UNIT))?;
        ndctl::tear_down()?;
    }
    Ok(())
}
