// SPDX-License-Identifier: GPL-2.0
//! Loading and removing of modules by hand, by modalias, by udev and by daxctl. If the drivers are
//! built in, the same devices exist from the start.

use crate::daxctl;
use crate::device::{Device, Driver};
use crate::family;
use crate::iomem;
use crate::json;
use crate::kernel::{has_module, modprobe, modprobe_remove, run};
use crate::ktap::{check, deviates, Outcome, Test};
use crate::memory;
use crate::mmap::{self, Map};
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::uevents::Listener;
use crate::units::{Span, UNIT};
use serde_json::json;
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(
        drivers_are_there_without_a_request_when_built_in,
        region::tear_down
    ),
    test!(modalias_of_the_platform_loads_dax_hmem, region::tear_down),
    test!(modalias_of_a_device_loads_every_driver, region::tear_down),
    test!(udev_finds_everything_by_events, region::tear_down),
    test!(device_sends_an_event_for_each_step),
    test!(daxctl_loads_the_driver_that_a_mode_needs, region::tear_down),
    test!(holders_pin_what_they_use),
    test!(drivers_unload_in_any_order, region::tear_down),
    test!(open_file_pins_the_driver, region::tear_down),
    test!(unload_leaves_iomem_as_before, region::tear_down),
];

/// The device that makes the regions.
const PLATFORM: &str = "/sys/bus/platform/devices/hmem_platform.0";
/// The modules of the drivers that bind devices, by the alias that all devices have.
const DRIVERS: [&str; 3] = ["device_dax", "kmem", "fsdev_dax"];

/// A modalias file's content.
fn modalias(dir: &Path) -> sysfs::Result<String> {
    sysfs::read(&dir.join("modalias"))
}

/// Starts from a kernel that has none of the modules.
fn nothing_loaded() -> Outcome {
    family::require_modules()?;
    family::unload()?;
    check("bus devices", Device::all(), vec![])
}

fn drivers_are_there_without_a_request_when_built_in() -> Outcome {
    if family::require_modules().is_ok() {
        return crate::ktap::skip("device_dax is a module");
    }
    for driver in Driver::ALL {
        check(driver.name(), driver.registered(), true)?;
    }
    let regions = Region::fresh_all()?;
    check("regions", regions.len(), 1)?;
    let device = regions[0].create_bound(UNIT, &[regions[0].units(3, 1)])?;
    check("store", Map::whole(&device)?.store(0, 1), Ok(()))
}

fn modalias_of_the_platform_loads_dax_hmem() -> Outcome {
    nothing_loaded()?;
    let alias = modalias(PLATFORM.as_ref())?;
    check("modalias", &*alias, "platform:hmem_platform")?;
    modprobe(&[&alias])?;
    check("dax_hmem", has_module("dax_hmem"), true)?;
    // The bus is a part of it, so the Rust one is there already.
    let bus = has_module("device_dax");
    check("device_dax", bus, deviates(true, false))?;
    check("first device", Device::named("dax0.0").exists(), true)
}

fn modalias_of_a_device_loads_every_driver() -> Outcome {
    nothing_loaded()?;
    modprobe(&["dax_hmem", "region_idle=1"])?;
    let device = Device::named("dax0.0");
    let alias = modalias(&device.dir())?;
    check("modalias", &*alias, "dax:t0")?;
    // Loads all modules that have the alias, as udev does.
    modprobe(&["-a", &alias])?;
    for module in DRIVERS {
        check(module, has_module(module), true)?;
    }
    for driver in Driver::ALL {
        check(driver.name(), driver.registered(), true)?;
    }
    device.set_size(2 * UNIT)?;
    device.bind(Driver::DeviceDax)?;
    check("store", Map::whole(&device)?.store(0, 1), Ok(()))
}

/// Does what udev does with an event: loads the modules that its modalias asks for.
fn serve(event: &[String]) -> sysfs::Result<()> {
    let alias = event.iter().find_map(|line| line.strip_prefix("MODALIAS="));
    match alias {
        // Some have an alias that no module claims.
        Some(alias) => modprobe(&["-a", "-q", alias]).or(Ok(())),
        None => Ok(()),
    }
}

fn udev_finds_everything_by_events() -> Outcome {
    nothing_loaded()?;
    let platform = Path::new("/devices/platform/hmem_platform.0");
    let mut events = Listener::open()?;
    // Writes what `udevadm trigger` writes at boot.
    sysfs::write(&Path::new(PLATFORM).join("uevent"), "add")?;
    serve(&events.find("add", &platform.to_string_lossy())?)?;
    let hmem = platform.join("hmem.0");
    events.find("add", &hmem.to_string_lossy())?;
    let device = hmem.join("dax0.0").to_string_lossy().into_owned();
    serve(&events.find("add", &device)?)?;
    let bound = events.find("bind", &device)?;
    // Without `region_idle` all of it is for kmem.
    let driver = "DRIVER=kmem".to_owned();
    check("driver in the event", bound.contains(&driver), true)?;
    check(
        "driver",
        Device::named("dax0.0").driver(),
        Some("kmem".into()),
    )?;
    for module in DRIVERS {
        check(module, has_module(module), true)?;
    }
    Ok(())
}

/// The value of a line of an event.
fn value<'a>(event: &'a [String], key: &str) -> Option<&'a str> {
    let mut lines = event.iter();
    lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

fn device_sends_an_event_for_each_step(region: &Region) -> Outcome {
    let mut events = Listener::open()?;
    let device = region.create_over(&[region.units(4, 1)])?;
    let number = device.dev()?;
    let path = region.dir().join(device.name());
    let path = path.to_string_lossy();
    let path = path.strip_prefix("/sys").unwrap_or_default().to_owned();
    device.bind(Driver::DeviceDax)?;
    device.unbind()?;
    region.destroy(&device)?;
    let (major, minor) = number.split_once(':').unwrap_or_default();
    // Mappings are on no bus and send none.
    for (action, driver) in [
        ("add", None),
        ("bind", Some("device_dax")),
        ("unbind", None),
        ("remove", None),
    ] {
        let event = events.find(action, &path)?;
        let what = format!("{action}: {event:?}");
        check(&what, value(&event, "DRIVER"), driver)?;
        check(&what, value(&event, "SUBSYSTEM"), Some("dax"))?;
        // The kernel takes it out of this one, lest udev load the driver again.
        let alias = (action != "unbind").then_some("dax:t0");
        check(&what, value(&event, "MODALIAS"), alias)?;
        check(&what, value(&event, "DEVNAME"), Some(device.name()))?;
        check(&what, value(&event, "MAJOR"), Some(major))?;
        check(&what, value(&event, "MINOR"), Some(minor))?;
    }
    Ok(())
}

fn daxctl_loads_the_driver_that_a_mode_needs() -> Outcome {
    nothing_loaded()?;
    modprobe(&["dax_hmem", "region_idle=1"])?;
    let size = 2 * memory::block_size()?;
    let device = daxctl::create(&["-s", &size.to_string()])?;
    check("device_dax", has_module("device_dax"), true)?;
    check("driver", device.driver(), Some("device_dax".into()))?;
    check("kmem", has_module("kmem"), false)?;
    daxctl::reconfigure(&device, &["-N", "-m", "system-ram"])?;
    check("kmem", has_module("kmem"), true)?;
    let mode = ("mode", json!("system-ram"));
    json::check_members(&daxctl::list(&device)?, &[mode])
}

/// The modules that use a module, by name.
fn holders(module: &str) -> sysfs::Result<Vec<String>> {
    sysfs::names(&Path::new("/sys/module").join(module).join("holders"))
}

fn holders_pin_what_they_use(_: &Region) -> Outcome {
    family::require_modules()?;
    modprobe(&["fsdev_dax"])?;
    modprobe(&["dax_pmem"])?;
    // The C bus is in the kernel itself.
    let expected = deviates(vec!["dax_hmem", "dax_pmem", "fsdev_dax", "kmem"], vec![]);
    check(
        "holders",
        holders("device_dax")?,
        expected.iter().map(|&s| s.into()).collect(),
    )?;
    let removed = run("rmmod", &["device_dax"]).is_ok();
    check("rmmod of device_dax", removed, deviates(false, true))
}

fn drivers_unload_in_any_order() -> Outcome {
    crate::family::require_rebinding_of_fsdev()?;
    nothing_loaded()?;
    for order in [
        ["dax_hmem", "kmem", "fsdev_dax"],
        ["fsdev_dax", "kmem", "dax_hmem"],
        ["kmem", "dax_hmem", "fsdev_dax"],
    ] {
        let region = Region::fresh()?;
        modprobe(&["fsdev_dax"])?;
        let block = memory::block_size()?;
        let base = region.span().start;
        region
            .create_over(&[Span::at(base, block)])?
            .bind_by_id(Driver::Kmem)?;
        region
            .create_over(&[Span::at(base + block, block)])?
            .bind_by_id(Driver::FsdevDax)?;
        region.create_bound(UNIT, &[Span::at(base + 2 * block, 4 * UNIT)])?;
        for module in order {
            check(module, has_module(module), true)?;
            modprobe_remove(module)?;
            check(format!("{module} of {order:?}"), has_module(module), false)?;
        }
        if has_module("device_dax") {
            modprobe_remove("device_dax")?;
        }
        check("devices", Device::all(), vec![])?;
        check("blocks", memory::blocks(region.span())?.len(), 0)?;
    }
    Ok(())
}

fn open_file_pins_the_driver() -> Outcome {
    nothing_loaded()?;
    let region = Region::fresh()?;
    let device = region.create_bound(UNIT, &[region.units(4, 1)])?;
    let file = mmap::open(&device.node());
    check("open", file.is_ok(), true)?;
    modprobe_remove("dax_hmem")?;
    check("rmmod", run("rmmod", &["device_dax"]).is_ok(), false)?;
    drop(file);
    modprobe_remove("kmem")?;
    if has_module("device_dax") {
        modprobe_remove("device_dax")?;
    }
    check("device_dax", has_module("device_dax"), false)
}

fn unload_leaves_iomem_as_before() -> Outcome {
    nothing_loaded()?;
    let before = iomem::read()?;
    for _ in 0..2 {
        let region = Region::fresh()?;
        let device = region.create_bound(UNIT, &[region.units(4, 2), region.units(1, 1)])?;
        check("reserved", iomem::named(device.name())?.len(), 2)?;
        family::unload()?;
        check("iomem", iomem::read()?, before.clone())?;
    }
    Ok(())
}
