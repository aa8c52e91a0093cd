// SPDX-License-Identifier: GPL-2.0
//! dax_pmem on memory that the command line declares persistent: two regions without labels.

use super::static_region::{check_data, check_files, check_fsdev, check_values, metadata, span};
use crate::daxctl;
use crate::device::{Device, Driver};
use crate::family;
use crate::groups::lifetimes::parents::{closed_after, unload_and_close, Left};
use crate::iomem;
use crate::json;
use crate::kernel::{eventually, has_module, modprobe};
use crate::ktap::{check, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::ndctl::{self, Namespace};
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{Span, ALIGNS, GIB, LARGEST, MIB, PAGE, UNIT};
use serde_json::json;
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(namespace_of_every_align_has_its_values, ndctl::tear_down),
    test!(static_region_has_no_files_that_change_it, ndctl::tear_down),
    test!(daxctl_cannot_change_a_static_region, ndctl::tear_down),
    test!(data_is_where_the_block_device_has_it, ndctl::tear_down),
    test!(bind_and_unbind_10_times_keeps_the_data, ndctl::tear_down),
    test!(disabled_namespace_ends_its_mappings, ndctl::tear_down),
    test!(two_regions_are_apart, ndctl::tear_down),
    test!(system_ram_and_back_to_devdax_works, ndctl::tear_down),
    test!(fsdev_and_back_to_device_dax_works, ndctl::tear_down),
    test!(
        modules_come_by_modalias_and_find_the_namespace,
        ndctl::tear_down
    ),
    test!(unload_leaves_iomem_as_before, ndctl::tear_down),
    test!(l1_file_outlives_the_region_of_its_device, tear_down),
    test!(l1_file_outlives_the_modules_of_its_region, ndctl::tear_down).slow(),
];

/// 3 GiB, so that there is room for two devices' pages of 1 GiB after the metadata, and half of
/// one that does not begin at a multiple of that. The kernel poisons freed objects, so that
/// a use of one is found.
pub const APPEND: &str = "memmap=3G!4G memmap=512M!7680M slub_debug=FZP";
/// All memory is in one node: only then has such memory a node, which kmem asks for.
pub const QEMU: &str = "-object memory-backend-ram,id=ram0,size=6G \
                        -numa node,nodeid=0,memdev=ram0,cpus=0-1";

/// The namespaces, each of which is a region.
const LARGE: &str = "namespace0.0";
const SMALL: &str = "namespace1.0";
/// The first one's memory.
const LARGE_SPAN: Span = Span {
    start: 4 * GIB,
    end: 7 * GIB - 1,
};
/// The name of such memory in /proc/iomem.
const OWNER: &str = "Persistent Memory (legacy)";
/// The device that makes the regions.
const PLATFORM: &str = "/sys/bus/platform/devices/e820_pmem";
const PLATFORM_DRIVER: &str = "/sys/bus/platform/drivers/e820_pmem";

/// Loads the modules.
fn load() -> sysfs::Result<()> {
    modprobe(&[
        "-a",
        "nd_e820",
        "nd_pmem",
        "dax_pmem",
        "device_dax",
        "kmem",
        "fsdev_dax",
    ])
}

/// A device of that alignment in a namespace.
fn devdax(align: u64, name: &str) -> sysfs::Result<Namespace> {
    load()?;
    Namespace::devdax(align, &["-e", name])
}

fn namespace_of_every_align_has_its_values() -> Outcome {
    for &align in ALIGNS {
        let namespace = devdax(align, LARGE)?;
        check("start", namespace.start()?, LARGE_SPAN.start)?;
        check_values(&namespace, align, LARGE_SPAN.end, OWNER)?;
        let listed = daxctl::list(&namespace.device()?)?;
        json::check_members(
            &listed,
            &[("align", json!(align)), ("mode", json!("devdax"))],
        )?;
    }
    // With pages of 1 GiB, the metadata alone cost the first of them.
    let expected = LARGE_SPAN.len() - metadata(LARGE_SPAN.len(), LARGEST, true);
    check("size", Device::named("dax0.0").size()?, expected)
}

fn static_region_has_no_files_that_change_it() -> Outcome {
    check_files(&devdax(UNIT, LARGE)?.device()?)
}

fn daxctl_cannot_change_a_static_region() -> Outcome {
    let device = devdax(UNIT, SMALL)?.device()?;
    let before = device.ranges()?;
    daxctl::run(&["disable-device", device.name()])?;
    for args in [
        &["create-device", "-r", "1"][..],
        &["create-device", "-r", "1", "-s", "4M"],
        &["reconfigure-device", "-s", "4M", device.name()],
        &["destroy-device", device.name()],
    ] {
        let output = daxctl::try_run(args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        check(format!("{args:?}: {said}"), output.status.success(), false)?;
        check("devices", Device::all(), vec![device.clone()])?;
    }
    check("ranges", device.ranges()?, before)?;
    daxctl::run(&["enable-device", device.name()])?;
    check("driver", device.driver(), Some("device_dax".into()))
}

fn data_is_where_the_block_device_has_it() -> Outcome {
    load()?;
    for &align in ALIGNS {
        check_data(align, &["-e", LARGE])?;
    }
    Ok(())
}

fn bind_and_unbind_10_times_keeps_the_data() -> Outcome {
    let device = devdax(UNIT, LARGE)?.device()?;
    for round in 0..10 {
        check(
            "reserved",
            iomem::named(device.name())?,
            vec![span(&device)?],
        )?;
        let map = Map::whole(&device)?;
        if round > 0 {
            check("load", map.load(5 * UNIT), Ok(round - 1))?;
        }
        check("store", map.store(5 * UNIT, round), Ok(()))?;
        drop(map);
        device.unbind()?;
        check("reserved", iomem::named(device.name())?, vec![])?;
        device.bind(Driver::DeviceDax)?;
    }
    Ok(())
}

fn disabled_namespace_ends_its_mappings() -> Outcome {
    let namespace = devdax(UNIT, LARGE)?;
    let device = namespace.device()?;
    let map = Map::whole(&device)?;
    check("store", map.store(UNIT, 7), Ok(()))?;
    namespace.disable()?;
    check("load", map.load(UNIT), Err(Signal::BUS))?;
    check("device", device.exists() || device.node().exists(), false)?;
    let again = namespace.enable()?;
    check("device", again.device()?, device.clone())?;
    check("load of the old mapping", map.load(UNIT), Err(Signal::BUS))?;
    check("load", Map::whole(&device)?.load(UNIT), Ok(7))
}

fn two_regions_are_apart() -> Outcome {
    let large = devdax(UNIT, LARGE)?.device()?;
    let small = devdax(PAGE, SMALL)?;
    check_values(&small, PAGE, 8 * GIB - 1, OWNER)?;
    let small = small.device()?;
    check("names", (large.name(), small.name()), ("dax0.0", "dax1.0"))?;
    let maps = [Map::whole(&large)?, Map::whole(&small)?];
    for (value, map) in (1..).zip(&maps) {
        check("store", map.store(0, value), Ok(()))?;
    }
    for (value, map) in (1..).zip(&maps) {
        check("load", map.load(0), Ok(value))?;
    }
    drop(maps);
    let listed = daxctl::json(&["list", "-R"])?;
    check("regions", listed.len(), 2)?;
    ndctl::run(&["disable-namespace", LARGE])?;
    check("load", Map::whole(&small)?.load(0), Ok(2))
}

fn system_ram_and_back_to_devdax_works() -> Outcome {
    let device = devdax(PAGE, SMALL)?.device()?;
    let all = span(&device)?;
    let block = memory::block_size()?;
    // Blocks that are not all of the device's stay out.
    let start = all.start.next_multiple_of(block);
    let blocks = Span::at(start, (all.end + 1 - start) / block * block);
    check("blocks", blocks.len(), 3 * block)?;
    daxctl::reconfigure(&device, &["-m", "system-ram"])?;
    check("driver", device.driver(), Some("kmem".into()))?;
    let owners = [OWNER, device.name(), "System RAM (kmem)"].map(str::to_owned);
    check("owners", iomem::owners(blocks)?, owners.to_vec())?;
    let states = memory::states(blocks)?;
    check("states", states, vec!["online".to_owned(); 3])?;
    daxctl::reconfigure(&device, &["-f", "-m", "devdax"])?;
    check("blocks", memory::blocks(all)?.len(), 0)?;
    check("owners", iomem::named("System RAM (kmem)")?, vec![])?;
    check("store", Map::whole(&device)?.store(200 * MIB, 1), Ok(()))
}

fn fsdev_and_back_to_device_dax_works() -> Outcome {
    for &align in ALIGNS {
        check_fsdev(&devdax(align, LARGE)?, align)?;
    }
    Ok(())
}

/// Loads what the aliases of everything that ndctl knows ask for, until so many devices are bound.
/// The NVDIMM bus finds things in its own time.
pub fn load_by_modalias(first: &Path, devices: usize) -> Outcome {
    modprobe(&[&sysfs::read(&first.join("modalias"))?])?;
    let bound = eventually(&format!("{devices} bound devices"), || {
        for name in ndctl::names("")? {
            // Not all have an alias, and not every alias is claimed by a module; what matters is
            // what is there in the end.
            if let Ok(alias) = ndctl::modalias(&name) {
                let _ = modprobe(&["-a", "-q", &alias]);
            }
        }
        let all = Device::all();
        for device in &all {
            modprobe(&["-a", &sysfs::read(&device.attr("modalias"))?])?;
        }
        let bound = all.iter().filter(|device| device.driver().is_some());
        Ok(Some(bound.count()).filter(|count| *count >= devices))
    });
    check("bound devices", bound?, devices)
}

fn modules_come_by_modalias_and_find_the_namespace() -> Outcome {
    family::require_modules()?;
    let device = devdax(UNIT, LARGE)?.device()?;
    check("store", Map::whole(&device)?.store(3 * UNIT, 42), Ok(()))?;
    let ranges = device.ranges()?;
    family::unload()?;
    check("device", device.exists(), false)?;
    load_by_modalias(Path::new(PLATFORM), 1)?;
    for module in ["nd_e820", "dax_pmem", "device_dax"] {
        check(module, has_module(module), true)?;
    }
    check("ranges", device.ranges()?, ranges)?;
    check("driver", device.driver(), Some("device_dax".into()))?;
    check("load", Map::whole(&device)?.load(3 * UNIT), Ok(42))
}

fn unload_leaves_iomem_as_before() -> Outcome {
    family::require_modules()?;
    family::unload()?;
    let before = iomem::read()?;
    let device = devdax(UNIT, LARGE)?.device()?;
    let map = Map::whole(&device)?;
    check("store", map.store(0, 1), Ok(()))?;
    check("reserved", iomem::named(device.name())?.len(), 1)?;
    drop(map);
    family::unload()?;
    check("iomem", iomem::read()?, before)?;
    load().map_err(Failure::from)
}

/// Brings the regions back, and destroys their namespaces.
fn tear_down() -> sysfs::Result<()> {
    let driver = Path::new(PLATFORM_DRIVER);
    if driver.exists() && !driver.join("e820_pmem").exists() {
        sysfs::write(&driver.join("bind"), "e820_pmem")?;
    }
    ndctl::tear_down()
}

/// The regions go, and no module.
fn l1_file_outlives_the_region_of_its_device() -> Outcome {
    for mapping_first in Left::WAYS {
        let device = devdax(UNIT, LARGE)?.device()?;
        let left = Left::of(&device)?;
        let driver = Path::new(PLATFORM_DRIVER);
        sysfs::write(&driver.join("unbind"), "e820_pmem")?;
        check("devices", Device::all(), vec![])?;
        left.check_dead()?;
        closed_after("its region", left, mapping_first)?;
        sysfs::write(&driver.join("bind"), "e820_pmem")?;
    }
    Ok(())
}

fn l1_file_outlives_the_modules_of_its_region() -> Outcome {
    family::require_modules()?;
    for last in ["dax_pmem", "nd_pmem", "nd_e820", "libnvdimm"] {
        let device = devdax(UNIT, LARGE)?.device()?;
        unload_and_close(&device, last)?;
    }
    let device = devdax(UNIT, LARGE)?.device()?;
    check("store", Map::whole(&device)?.store(0, 1), Ok(()))
}
