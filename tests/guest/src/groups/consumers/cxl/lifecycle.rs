// SPDX-License-Identifier: GPL-2.0
//! CXL memory as ordinary memory. Its regions, memories and modules go and come back.

use super::{
    devdax, empty, first, load, nothing_loaded, require_memories, MEMORIES, NODE, SIZE, WINDOW,
};
use crate::cxl::{self, CxlRegion};
use crate::daxctl;
use crate::device::Device;
use crate::family;
use crate::groups::consumers::ranges::NEVER_ON_MEMORY;
use crate::iomem;
use crate::kernel::{eventually, has_module, modprobe, modprobe_remove};
use crate::ktap::{check, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::sysfs;
use crate::test;
use crate::trap::Signal;
use crate::units::{PAGE, UNIT};
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(system_ram_and_back_is_memory_of_the_node, cxl::tear_down),
    test!(page_structures_can_be_kept_elsewhere, cxl::tear_down),
    test!(disable_region_offlines_its_memory, cxl::tear_down),
    test!(disable_region_ends_mappings, cxl::tear_down),
    test!(disable_region_takes_devices_without_driver, cxl::tear_down),
    test!(destroyed_region_can_be_made_again, cxl::tear_down),
    test!(memory_that_goes_takes_its_devices_along, cxl::tear_down),
    test!(dax_cxl_comes_back_with_all_of_the_region, cxl::tear_down),
    test!(modules_come_by_modalias, cxl::tear_down),
    test!(unload_leaves_iomem_as_before, cxl::tear_down),
];

/// The device that makes the window: the root of the firmware's description of CXL.
const ROOT: &str = "/sys/bus/acpi/devices/ACPI0017:00";
/// The directory of PCI devices.
const PCI: &str = "/sys/bus/pci/devices";
/// The end of the modalias of a CXL memory: its class.
const MEMORY_CLASS: &str = "bc05sc02i10";

/// Bytes of page structures on so much memory. The guests of arm64 have none there: it would not let
/// such memory go offline.
fn page_structures(size: u64) -> u64 {
    if NEVER_ON_MEMORY.is_some() {
        return 0;
    }
    size / PAGE * 64
}

fn system_ram_and_back_is_memory_of_the_node() -> Outcome {
    let before = memory::of_node(NODE)?;
    let (_, dax) = first()?;
    let device = dax.first_device()?;
    for round in 0..2 {
        check("online", memory::of_node(NODE)?, before)?;
        daxctl::run(&["online-memory", device.name()])?;
        let count = SIZE / memory::block_size()?;
        daxctl::check_online(&device, count)?;
        let grown = memory::of_node(NODE)?;
        check(
            format!("memory of the node in round {round}"),
            grown,
            before + SIZE - page_structures(SIZE),
        )?;
        daxctl::reconfigure(&device, &["-f", "-m", "devdax"])?;
        check("driver", device.driver(), Some("device_dax".into()))?;
        check("memory of the node", memory::of_node(NODE)?, before)?;
        check("blocks", memory::blocks(dax.span())?.len(), 0)?;
        check("owner", iomem::named("System RAM (kmem)")?, vec![])?;
        let map = Map::whole(&device)?;
        check("store", map.store(SIZE - 8, round), Ok(()))?;
        check("load", map.load(SIZE - 8), Ok(round))?;
        drop(map);
        daxctl::reconfigure(&device, &["-N", "-m", "system-ram"])?;
    }
    Ok(())
}

fn page_structures_can_be_kept_elsewhere() -> Outcome {
    let (_, dax) = first()?;
    let device = dax.first_device()?;
    let before = memory::of_node(NODE)?;
    device.disable()?;
    sysfs::write(&device.attr("memmap_on_memory"), "0")?;
    daxctl::reconfigure(&device, &["-m", "system-ram"])?;
    let grown = memory::of_node(NODE)?;
    check("memory of the node", grown, before + SIZE)?;
    memory::offline(dax.span())?;
    check("memory of the node", memory::of_node(NODE)?, before)
}

fn disable_region_offlines_its_memory() -> Outcome {
    let (region, dax) = first()?;
    let before = memory::of_node(NODE)?;
    daxctl::run(&["online-memory", dax.first_device()?.name()])?;
    check("grown", memory::of_node(NODE)? > before, true)?;
    region.disable()?;
    check("memory of the node", memory::of_node(NODE)?, before)?;
    check("blocks", memory::blocks(dax.span())?.len(), 0)?;
    check("devices", Device::all(), vec![])?;
    let owners = [WINDOW, region.name()].map(str::to_owned).to_vec();
    check("owners", iomem::owners(dax.span())?, owners)?;
    region.enable()?;
    check("span", region.dax_region()?.span(), dax.span())
}

fn disable_region_ends_mappings() -> Outcome {
    let (region, dax) = empty()?;
    let device = devdax(&dax, UNIT, &[dax.units(7, 1), dax.units(2, 1)])?;
    let map = Map::whole(&device)?;
    for offset in [0, UNIT] {
        check("store", map.store(offset, offset + 1), Ok(()))?;
    }
    region.disable()?;
    for offset in [0, UNIT] {
        check("load", map.load(offset), Err(Signal::BUS))?;
    }
    check("devices", Device::all(), vec![])?;
    check("node", device.node().exists(), false)?;
    check("reserved", iomem::named(device.name())?, vec![])?;
    region.enable()?;
    // The region is one device again, as at first: its division is not kept. The data is kept.
    let dax = region.dax_region()?;
    check("devices", dax.devices()?, vec![dax.first_device()?])?;
    dax.first_device()?.release()?;
    let again = devdax(&dax, UNIT, &[dax.units(7, 1), dax.units(2, 1)])?;
    let again = Map::whole(&again)?;
    for offset in [0, UNIT] {
        check("load", again.load(offset), Ok(offset + 1))?;
        check(
            "load of the old mapping",
            map.load(offset),
            Err(Signal::BUS),
        )?;
    }
    Ok(())
}

fn disable_region_takes_devices_without_driver() -> Outcome {
    let (region, dax) = empty()?;
    let devices = [
        dax.create()?,
        dax.create_sized(4 * UNIT)?,
        dax.create_over(&[dax.units(9, 1), dax.units(7, 1)])?,
    ];
    check("devices", dax.devices()?.len(), 1 + devices.len())?;
    region.disable()?;
    check("devices", Device::all(), vec![])?;
    let owners = [WINDOW, region.name()].map(str::to_owned).to_vec();
    check("owners", iomem::owners(dax.span())?, owners)?;
    region.enable()?;
    check("span", region.dax_region()?.span(), dax.span())
}

fn destroyed_region_can_be_made_again() -> Outcome {
    let memories = load()?;
    let mut seen = Vec::new();
    for bound in [true, false, true] {
        let region = CxlRegion::create(&memories[..1])?;
        let dax = region.dax_region()?;
        if !bound {
            dax.first_device()?.disable()?;
        }
        seen.push((region.name().to_owned(), dax.span()));
        region.destroy()?;
        check("devices", Device::all(), vec![])?;
        check("CXL regions", cxl::names("region")?, vec![])?;
        check("blocks", memory::blocks(dax.span())?.len(), 0)?;
        check(
            "owners",
            iomem::owners(dax.span())?,
            vec![WINDOW.to_owned()],
        )?;
    }
    seen.dedup();
    check("the same each time", seen.len(), 1)
}

fn memory_that_goes_takes_its_devices_along() -> Outcome {
    let memories = load()?;
    let regions: Vec<CxlRegion> = memories
        .chunks(1)
        .map(CxlRegion::create)
        .collect::<Result<_, _>>()?;
    let mut maps = Vec::new();
    for region in &regions {
        let dax = region.dax_region()?;
        dax.first_device()?.release()?;
        let map = Map::whole(&devdax(&dax, UNIT, &[dax.units(1, 1)])?)?;
        check("store", map.store(0, 5), Ok(()))?;
        maps.push(map);
    }
    cxl::run(&["disable-memdev", "-f", &memories[0]])?;
    check("load from the one", maps[0].load(0), Err(Signal::BUS))?;
    check("load from the other", maps[1].load(0), Ok(5))?;
    let left = format!("dax{}.", regions[1].id());
    let mut devices = Device::all().into_iter();
    check(
        "devices of the other",
        devices.all(|d| d.name().starts_with(&left)),
        true,
    )
}

fn dax_cxl_comes_back_with_all_of_the_region() -> Outcome {
    family::require_modules()?;
    let (region, dax) = empty()?;
    let device = devdax(&dax, UNIT, &[dax.units(3, 1)])?;
    let map = Map::whole(&device)?;
    check("store", map.store(0, 9), Ok(()))?;
    modprobe_remove("dax_cxl")?;
    check("load", map.load(0), Err(Signal::BUS))?;
    check("devices", Device::all(), vec![])?;
    check("CXL region", cxl::dir(region.name()).exists(), true)?;
    load()?;
    let dax = region.dax_region()?;
    check("ranges", dax.first_device()?.spans()?, vec![region.span()?])
}

/// Loads the modules of all aliases on the CXL bus.
fn load_by_modalias() -> sysfs::Result<()> {
    for name in cxl::names("")? {
        // Not all have an alias, and not every alias is claimed by a module; what matters is
        // what is there in the end.
        if let Ok(alias) = sysfs::read(&cxl::dir(&name).join("modalias")) {
            let _ = modprobe(&["-a", "-q", &alias]);
        }
    }
    Ok(())
}

fn modules_come_by_modalias() -> Outcome {
    require_memories()?;
    nothing_loaded()?;
    modprobe(&[&sysfs::read(&Path::new(ROOT).join("modalias"))?])?;
    for name in sysfs::names(PCI.as_ref())? {
        let alias = sysfs::read(&Path::new(PCI).join(name).join("modalias"))?;
        if alias.ends_with(MEMORY_CLASS) {
            modprobe(&[&alias])?;
        }
    }
    for module in ["cxl_acpi", "cxl_pci"] {
        check(module, has_module(module), true)?;
    }
    for _ in 0..3 {
        load_by_modalias()?;
    }
    let region = CxlRegion::create(&cxl::memories(MEMORIES)?[..1])?;
    check("dax_cxl", has_module("dax_cxl"), false)?;
    modprobe(&[&sysfs::read(&region.dax_dir().join("modalias"))?])?;
    check("dax_cxl", has_module("dax_cxl"), true)?;
    let device = Device::named(format!("dax{}.0", region.id()));
    let alias = device.attr("modalias");
    eventually(device.name(), || Ok(alias.exists().then_some(())))?;
    modprobe(&["-a", &sysfs::read(&alias)?])?;
    for module in ["device_dax", "kmem", "fsdev_dax"] {
        check(module, has_module(module), true)?;
    }
    check("span", region.dax_region()?.span(), region.span()?)
}

fn unload_leaves_iomem_as_before() -> Outcome {
    nothing_loaded()?;
    let before = iomem::read()?;
    for divided in [false, true] {
        let (_, dax) = first()?;
        if divided {
            dax.first_device()?.release()?;
            devdax(&dax, UNIT, &[dax.units(3, 1), dax.units(1, 1)])?;
        }
        check("iomem is as before", iomem::read()? == before, false)?;
        family::unload()?;
        check("iomem", iomem::read()?, before.clone())?;
    }
    load().map(drop)
}
