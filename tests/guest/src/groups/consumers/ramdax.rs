// SPDX-License-Identifier: GPL-2.0
//! dax_pmem on memory that the command line declares persistent and ramdax divides: the end of the
//! memory holds labels, so the one region holds several namespaces.

use super::labelled::{self, check_mark, check_restored, label, mark, Share};
use super::static_region::{check_data, check_files, check_fsdev, check_values, span};
use crate::daxctl;
use crate::device::Device;
use crate::family;
use crate::groups::lifetimes::parents::{closed_after, unload_and_close, Left};
use crate::iomem;
use crate::kernel::{eventually, modprobe};
use crate::ktap::{check, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::ndctl::{self, Namespace};
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{Span, ALIGNS, GIB, MIB, UNIT};
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(namespaces_of_every_align_share_the_region, ndctl::tear_down),
    test!(static_region_has_no_files_that_change_it, ndctl::tear_down),
    test!(data_is_where_the_block_device_has_it, ndctl::tear_down),
    test!(
        disabled_namespace_leaves_its_neighbours_alone,
        ndctl::tear_down
    ),
    test!(labels_bring_the_namespaces_back, ndctl::tear_down),
    test!(system_ram_and_back_to_devdax_works, ndctl::tear_down),
    test!(fsdev_and_back_to_device_dax_works, ndctl::tear_down),
    test!(unload_leaves_iomem_as_before, ndctl::tear_down),
    test!(l1_file_outlives_the_region_of_its_device, ndctl::tear_down),
    test!(l1_file_outlives_the_modules_of_its_region, ndctl::tear_down).slow(),
];

/// 4 GiB, the last 128 KiB of which are the labels. The kernel poisons freed objects, so that a use
/// of one is found.
pub const APPEND: &str = "memmap=4G!4G slub_debug=FZP";
/// All memory is in one node: only then has such memory a node, which kmem asks for.
pub const QEMU: &str = "-object memory-backend-ram,id=ram0,size=8G \
                        -numa node,nodeid=0,memdev=ram0,cpus=0-1";
/// The memory.
const SPAN: Span = Span {
    start: 4 * GIB,
    end: 8 * GIB - 1,
};
/// Its name in /proc/iomem.
const OWNER: &str = "Persistent Memory (legacy)";
/// The device that such memory is, for the drivers of the kernel.
const DEVICE: &str = "e820_pmem";
const PLATFORM: &str = "/sys/bus/platform/devices/e820_pmem";
const DRIVER: &str = "/sys/bus/platform/drivers/ramdax";

/// Loads the modules, and gives the memory to ramdax.
fn load() -> sysfs::Result<()> {
    modprobe(&[
        "-a",
        "ramdax",
        "nd_pmem",
        "dax_pmem",
        "device_dax",
        "kmem",
        "fsdev_dax",
    ])?;
    if Path::new(DRIVER).join(DEVICE).exists() {
        return Ok(());
    }
    let platform = Path::new(PLATFORM);
    sysfs::write(&platform.join("driver_override"), "ramdax")?;
    // A kernel with everything built in has given the memory away.
    let other = platform.join("driver/unbind");
    if other.exists() {
        sysfs::write(&other, DEVICE)?;
    }
    bind()?;
    // Memory that was never used has no labels.
    if Namespace::all()?.is_empty() {
        label()?;
    }
    Ok(())
}

fn bind() -> sysfs::Result<()> {
    sysfs::write(&Path::new(DRIVER).join("bind"), DEVICE)
}

fn unbind() -> sysfs::Result<()> {
    sysfs::write(&Path::new(DRIVER).join("unbind"), DEVICE)
}

/// A device of that alignment in a new namespace of that size.
fn devdax(align: u64, size: u64) -> sysfs::Result<Namespace> {
    load()?;
    Namespace::devdax(align, &["-s", &size.to_string()])
}

fn one_of_each() -> sysfs::Result<Vec<Share>> {
    labelled::one_of_each(devdax)
}

fn namespaces_of_every_align_share_the_region() -> Outcome {
    let namespaces = one_of_each()?;
    let mut end = SPAN.start;
    for (align, size, namespace) in &namespaces {
        check("start", namespace.start()?, end)?;
        end += size;
        check_values(namespace, *align, end - 1, OWNER)?;
    }
    for (position, map) in (0..).zip(mark(&namespaces)?) {
        check_mark(&map, position)?;
        let page = map.smaps_kib("KernelPageSize")? << 10;
        check("KernelPageSize", page, namespaces[position as usize].0)?;
    }
    Ok(())
}

fn static_region_has_no_files_that_change_it() -> Outcome {
    check_files(&devdax(UNIT, 256 * MIB)?.device()?)
}

fn data_is_where_the_block_device_has_it() -> Outcome {
    load()?;
    for &align in ALIGNS {
        check_data(align, &["-s", &(3 * GIB).to_string()])?;
    }
    Ok(())
}

fn disabled_namespace_leaves_its_neighbours_alone() -> Outcome {
    let namespaces = one_of_each()?;
    let maps = mark(&namespaces)?;
    let (_, _, middle) = &namespaces[1];
    middle.disable()?;
    check("load", maps[1].load(0), Err(Signal::BUS))?;
    check_mark(&maps[0], 0)?;
    check_mark(&maps[2], 2)?;
    check_mark(&Map::whole(&middle.enable()?.device()?)?, 1)
}

/// The labels are in the memory, and the namespaces of a new binding are known by them.
fn labels_bring_the_namespaces_back() -> Outcome {
    let namespaces = one_of_each()?;
    drop(mark(&namespaces)?);
    unbind()?;
    check("devices", Device::all(), vec![])?;
    bind()?;
    eventually("namespaces", || {
        let found = Namespace::all()?.len() == namespaces.len();
        Ok(found.then_some(()))
    })?;
    check_restored(&namespaces)
}

fn system_ram_and_back_to_devdax_works() -> Outcome {
    let device = devdax(UNIT, GIB)?.device()?;
    let all = span(&device)?;
    let block = memory::block_size()?;
    // Blocks that are not all of the device's stay out.
    let start = all.start.next_multiple_of(block);
    let blocks = Span::at(start, (all.end + 1 - start) / block * block);
    daxctl::reconfigure(&device, &["-m", "system-ram"])?;
    check("driver", device.driver(), Some("kmem".into()))?;
    let owners = [OWNER, device.name(), "System RAM (kmem)"].map(str::to_owned);
    check("owners", iomem::owners(blocks)?, owners.to_vec())?;
    daxctl::reconfigure(&device, &["-f", "-m", "devdax"])?;
    check("blocks", memory::blocks(all)?.len(), 0)?;
    check("owners", iomem::named("System RAM (kmem)")?, vec![])?;
    check("store", Map::whole(&device)?.store(200 * MIB, 1), Ok(()))
}

fn fsdev_and_back_to_device_dax_works() -> Outcome {
    for (align, _, namespace) in one_of_each()? {
        check_fsdev(&namespace, align)?;
    }
    Ok(())
}

fn unload_leaves_iomem_as_before() -> Outcome {
    family::require_modules()?;
    family::unload()?;
    let before = iomem::read()?;
    let namespaces = one_of_each()?;
    for (_, _, namespace) in &namespaces {
        let device = namespace.device()?;
        check("reserved", iomem::named(device.name())?.len(), 1)?;
    }
    drop(mark(&namespaces)?);
    family::unload()?;
    check("iomem", iomem::read()?, before)?;
    load().map_err(Failure::from)
}

/// The regions go, and no module.
fn l1_file_outlives_the_region_of_its_device() -> Outcome {
    for mapping_first in Left::WAYS {
        let left = Left::of(&devdax(UNIT, 256 * MIB)?.device()?)?;
        unbind()?;
        check("devices", Device::all(), vec![])?;
        left.check_dead()?;
        closed_after("its region", left, mapping_first)?;
        bind()?;
        ndctl::tear_down()?;
    }
    Ok(())
}

fn l1_file_outlives_the_modules_of_its_region() -> Outcome {
    family::require_modules()?;
    for last in ["dax_pmem", "nd_pmem", "ramdax", "libnvdimm"] {
        let namespace = devdax(UNIT, 256 * MIB)?;
        unload_and_close(&namespace.device()?, last)?;
        load()?;
        ndctl::tear_down()?;
    }
    Ok(())
}
