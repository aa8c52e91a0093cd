// SPDX-License-Identifier: GPL-2.0
//! dax_pmem on an NVDIMM that the firmware describes (NFIT). The NVDIMM has labels, so its one
//! region holds several namespaces, and it is a NUMA node of its own.

use super::labelled::{self, check_mark, check_restored, label, mark, Share};
use super::pmem::load_by_modalias;
use super::static_region::{check_data, check_files, check_fsdev, check_values, metadata, span};
use crate::daxctl;
use crate::device::Device;
use crate::family;
use crate::groups::lifetimes::parents::{closed_after, unload_and_close, Left};
use crate::iomem;
use crate::kernel::{has_module, modprobe};
use crate::ktap::{check, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::ndctl::{self, Namespace};
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{Span, ALIGNS, GIB, HAS_GIANT, MIB, PAGE, UNIT};
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(region_is_that_of_the_machine, ndctl::tear_down),
    test!(namespaces_of_every_align_share_the_region, ndctl::tear_down),
    test!(page_structures_may_be_in_memory, ndctl::tear_down),
    test!(static_region_has_no_files_that_change_it, ndctl::tear_down),
    test!(data_is_where_the_block_device_has_it, ndctl::tear_down),
    test!(
        disabled_namespace_leaves_its_neighbours_alone,
        ndctl::tear_down
    ),
    test!(
        disabled_region_comes_back_with_its_namespaces,
        ndctl::tear_down
    ),
    test!(hole_between_namespaces_is_used_again, ndctl::tear_down),
    test!(system_ram_and_back_is_memory_of_the_node, ndctl::tear_down),
    test!(fsdev_and_back_to_device_dax_works, ndctl::tear_down),
    test!(
        modules_come_by_modalias_and_find_every_namespace,
        ndctl::tear_down
    ),
    test!(unload_leaves_iomem_as_before, ndctl::tear_down),
    test!(l1_file_outlives_its_namespace_and_region, ndctl::tear_down),
    test!(l1_file_outlives_the_modules_of_its_region, ndctl::tear_down).slow(),
];

/// The kernel poisons freed objects, so that a use of one is found.
pub const APPEND: &str = "slub_debug=FZP";

/// 4 GiB of ordinary memory in node 0; node 1 is the NVDIMM: 5 GiB, the last 2 MiB of which are
/// its labels.
pub const MEM: &str = "4G,slots=2,maxmem=16G";
/// The NVDIMM and the nodes.
pub const QEMU: &str = "-machine nvdimm=on -object memory-backend-ram,id=ram0,size=4G \
                        -numa node,nodeid=0,memdev=ram0,cpus=0-1 -numa node,nodeid=1 \
                        -object memory-backend-ram,id=nv0,size=5G,share=on \
                        -device nvdimm,id=dimm0,memdev=nv0,label-size=2M,node=1";

/// The region and its size.
const REGION: &str = "/sys/bus/nd/devices/region0";
const REGION_SIZE: u64 = 5 * GIB - 2 * MIB;
/// The type of a region that labels divide.
const LABELLED: u64 = 5;
/// The name of the memory in /proc/iomem.
const OWNER: &str = "Persistent Memory";
/// The NUMA node of the NVDIMM.
const NODE: u64 = 1;
/// The device that makes the region: the root of the firmware's description of NVDIMMs.
const NFIT: &str = "/sys/bus/acpi/devices/ACPI0012:00";

/// Loads the modules, and gives the NVDIMM labels if it is still blank.
fn load() -> sysfs::Result<()> {
    modprobe(&[
        "-a",
        "nfit",
        "nd_pmem",
        "dax_pmem",
        "device_dax",
        "kmem",
        "fsdev_dax",
    ])?;
    if sysfs::read_number(&Path::new(REGION).join("nstype"))? != LABELLED {
        label()?;
    }
    Ok(())
}

/// A device of that alignment in a new namespace of that size.
fn devdax(align: u64, size: u64) -> sysfs::Result<Namespace> {
    load()?;
    Namespace::devdax(align, &["-s", &size.to_string()])
}

fn one_of_each() -> sysfs::Result<Vec<Share>> {
    labelled::one_of_each(devdax)
}

fn region_is_that_of_the_machine() -> Outcome {
    load()?;
    check(
        "regions",
        ndctl::names("region")?,
        vec!["region0".to_owned()],
    )?;
    let region = Path::new(REGION);
    check(
        "size",
        sysfs::read_number(&region.join("size"))?,
        REGION_SIZE,
    )?;
    let start = sysfs::read_number(&region.join("resource"))?;
    let owners = iomem::owners(Span::at(start, REGION_SIZE))?;
    check("owners", owners, vec![OWNER.to_owned()])?;
    check("devices", Device::all(), vec![])?;
    let device = devdax(UNIT, 256 * MIB)?.device()?;
    let target = sysfs::read_number(&device.attr("target_node"))?;
    check("target_node", target, NODE)
}

fn namespaces_of_every_align_share_the_region() -> Outcome {
    let namespaces = one_of_each()?;
    let mut end = sysfs::read_number(&Path::new(REGION).join("resource"))?;
    for (number, (align, size, namespace)) in namespaces.iter().enumerate() {
        check("start", namespace.start()?, end)?;
        end += size;
        check_values(namespace, *align, end - 1, OWNER)?;
        let device = namespace.device()?;
        check("name", device.name(), &*format!("dax0.{number}"))?;
    }
    if HAS_GIANT {
        let giant = namespaces[2].2.device()?;
        check("size with pages of 1 GiB", giant.size()?, GIB)?;
    }
    let listed = daxctl::json(&["list", "-D", "-r", "0"])?;
    check("devices of the region", listed.len(), namespaces.len())?;
    for (position, map) in (0..).zip(mark(&namespaces)?) {
        check_mark(&map, position)?;
        let page = map.smaps_kib("KernelPageSize")? << 10;
        check("KernelPageSize", page, namespaces[position as usize].0)?;
    }
    Ok(())
}

fn page_structures_may_be_in_memory() -> Outcome {
    load()?;
    let size = 512 * MIB;
    let mut lengths = Vec::new();
    for place in ["dev", "mem"] {
        let args = ["-s", &size.to_string(), "-M", place];
        let namespace = Namespace::devdax(UNIT, &args)?;
        check_values(&namespace, UNIT, namespace.start()? + size - 1, OWNER)?;
        let device = namespace.device()?;
        check("store", Map::whole(&device)?.store(0, 1), Ok(()))?;
        lengths.push(device.size()?);
        namespace.destroy()?;
    }
    let expected = [true, false].map(|structures| size - metadata(size, UNIT, structures));
    check("sizes", lengths, expected.to_vec())
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
    let device = middle.enable()?.device()?;
    check("device", &device, &middle.device()?)?;
    check_mark(&Map::whole(&device)?, 1)
}

fn disabled_region_comes_back_with_its_namespaces() -> Outcome {
    let namespaces = one_of_each()?;
    let maps = mark(&namespaces)?;
    ndctl::run(&["disable-region", "region0"])?;
    check("devices", Device::all(), vec![])?;
    for map in &maps {
        check("load", map.load(0), Err(Signal::BUS))?;
    }
    ndctl::run(&["enable-region", "region0"])?;
    check_restored(&namespaces)
}

fn hole_between_namespaces_is_used_again() -> Outcome {
    let mut namespaces = one_of_each()?;
    let (_, size, middle) = namespaces.remove(1);
    let start = middle.start()?;
    let gone = middle.device()?;
    middle.destroy()?;
    check("device", gone.exists() || gone.node().exists(), false)?;
    for (_, _, namespace) in &namespaces {
        check(
            "store",
            Map::whole(&namespace.device()?)?.store(PAGE, 3),
            Ok(()),
        )?;
    }
    let again = devdax(PAGE, size)?;
    check("start", again.start()?, start)?;
    check_values(&again, PAGE, start + size - 1, OWNER)
}

fn system_ram_and_back_is_memory_of_the_node() -> Outcome {
    let namespace = devdax(UNIT, GIB)?;
    let device = namespace.device()?;
    let all = span(&device)?;
    let before = memory::of_node(NODE)?;
    daxctl::reconfigure(&device, &["-m", "system-ram"])?;
    check("driver", device.driver(), Some("kmem".into()))?;
    // Blocks that are not all of the device's stay out.
    let block = memory::block_size()?;
    let start = all.start.next_multiple_of(block);
    let blocks = Span::at(start, (all.end + 1 - start) / block * block);
    let owners = [OWNER, device.name(), "System RAM (kmem)"].map(str::to_owned);
    check("owners", iomem::owners(blocks)?, owners.to_vec())?;
    let count = blocks.len() / block;
    daxctl::check_online(&device, count)?;
    let grown = memory::of_node(NODE)?;
    check("memory of the node", grown, before + blocks.len())?;
    for block in memory::blocks(blocks)? {
        let link = block.join(format!("node{NODE}"));
        check(link.display(), link.exists(), true)?;
    }
    daxctl::reconfigure(&device, &["-f", "-m", "devdax"])?;
    check("memory of the node", memory::of_node(NODE)?, before)?;
    check("blocks", memory::blocks(all)?.len(), 0)?;
    check("store", Map::whole(&device)?.store(200 * MIB, 1), Ok(()))?;
    check_values(&Namespace::find(namespace.name())?, UNIT, all.end, OWNER)
}

fn fsdev_and_back_to_device_dax_works() -> Outcome {
    for (align, _, namespace) in one_of_each()? {
        check_fsdev(&namespace, align)?;
    }
    Ok(())
}

fn modules_come_by_modalias_and_find_every_namespace() -> Outcome {
    family::require_modules()?;
    let namespaces = one_of_each()?;
    drop(mark(&namespaces)?);
    family::unload()?;
    check("devices", Device::all(), vec![])?;
    load_by_modalias(Path::new(NFIT), namespaces.len())?;
    for module in ["nfit", "dax_pmem", "device_dax"] {
        check(module, has_module(module), true)?;
    }
    check_restored(&namespaces)
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

fn l1_file_outlives_its_namespace_and_region() -> Outcome {
    for mapping_first in Left::WAYS {
        let namespaces = one_of_each()?;
        let [(_, _, small), (_, _, middle), _] = &namespaces[..] else {
            return Err(Failure::Fail(format!("{} namespaces", namespaces.len())));
        };
        let destroyed = Left::of(&middle.device()?)?;
        let disabled = Left::of(&small.device()?)?;
        middle.clone().destroy()?;
        closed_after("its namespace", destroyed, mapping_first)?;
        ndctl::run(&["disable-region", "region0"])?;
        check("devices", Device::all(), vec![])?;
        disabled.check_dead()?;
        closed_after("its region", disabled, mapping_first)?;
        ndctl::run(&["enable-region", "region0"])?;
        ndctl::tear_down()?;
    }
    Ok(())
}

fn l1_file_outlives_the_modules_of_its_region() -> Outcome {
    family::require_modules()?;
    for last in ["dax_pmem", "nd_pmem", "nfit", "libnvdimm"] {
        let namespace = devdax(UNIT, 256 * MIB)?;
        unload_and_close(&namespace.device()?, last)?;
        load()?;
        ndctl::tear_down()?;
    }
    Ok(())
}
