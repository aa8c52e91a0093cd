// SPDX-License-Identifier: GPL-2.0
//! dax_cxl: regions of CXL memory. A region is dynamic and meant for kmem. At first one device
//! takes all of it, page structures included.
//!
//! The emulator serves each access to this memory by itself, slowly, so the tests touch little of
//! it.

mod lifecycle;
mod lifetimes;
mod region;

use crate::cxl::{self, CxlRegion};
use crate::device::{Device, Driver};
use crate::family;
use crate::kernel::{self, modprobe};
use crate::ktap::{skip, Failure, Outcome, Test};
use crate::region::Region;
use crate::sysfs;
use crate::units::{Span, UNIT};

/// The tests.
pub const FILES: &[&[Test]] = &[region::TESTS, lifecycle::TESTS, lifetimes::TESTS];

/// 4 GiB of ordinary memory.
pub const MEM: &str = "4G";
/// Page structures may be in hotplugged memory. The kernel poisons freed objects, so that a use of
/// one is found.
pub const APPEND: &str = "memory_hotplug.memmap_on_memory=1 slub_debug=FZP";
/// Two memories of 256 MiB below one host bridge, and a window of 1 GiB for regions of them, which
/// is a NUMA node of its own.
pub const QEMU: &str = "-machine cxl=on -object memory-backend-ram,id=ram0,size=4G \
                        -numa node,nodeid=0,memdev=ram0,cpus=0-1 \
                        -object memory-backend-ram,id=cxl0,size=256M,share=on \
                        -object memory-backend-ram,id=cxl1,size=256M,share=on \
                        -device pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl.1 \
                        -device cxl-rp,port=0,bus=cxl.1,id=root0,chassis=0,slot=2 \
                        -device cxl-rp,port=1,bus=cxl.1,id=root1,chassis=0,slot=3 \
                        -device cxl-type3,bus=root0,volatile-memdev=cxl0,sn=1 \
                        -device cxl-type3,bus=root1,volatile-memdev=cxl1,sn=2 \
                        -machine cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=1G";

/// The size of a memory: 256 MiB with pages of 4 KiB. The host tool makes [`QEMU`]'s larger for others.
const SIZE: u64 = 128 * UNIT;
/// Number of the memories.
const MEMORIES: usize = 2;
/// The node of the window.
const NODE: u64 = 1;
/// The name of the window in /proc/iomem.
const WINDOW: &str = "CXL Window 0";

/// Skips on a kernel that binds each driver twice and releases objects late: there `cxl_mem` finds
/// what its first probe left, fails, and no memory gets ready.
fn require_memories() -> Outcome {
    if kernel::unbinds_at_once() && kernel::releases_late() {
        return skip("cxl_mem finds what its first probe left, and no memory gets ready");
    }
    Ok(())
}

/// Loads the modules, and returns the memories that are ready.
fn load() -> Result<Vec<String>, Failure> {
    require_memories()?;
    modprobe(&["-a", "cxl_acpi", "cxl_pci", "cxl_mem", "cxl_port"])?;
    modprobe(&["-a", "device_dax", "kmem", "fsdev_dax", "dax_cxl"])?;
    Ok(cxl::memories(MEMORIES)?)
}

/// A region over the first memory, and its dax region.
fn first() -> Result<(CxlRegion, Region), Failure> {
    let region = CxlRegion::create(&load()?[..1])?;
    let dax = region.dax_region()?;
    Ok((region, dax))
}

/// A region over the first memory, and its dax region, emptied: its one device is bound to nothing
/// and has no size.
fn empty() -> Result<(CxlRegion, Region), Failure> {
    let (region, dax) = first()?;
    dax.first_device()?.release()?;
    Ok((region, dax))
}

/// A device of an alignment over exactly these spans, bound to device_dax. The driver must be
/// told, for by type all of the region is kmem's.
fn devdax(region: &Region, align: u64, spans: &[Span]) -> sysfs::Result<Device> {
    let device = region.create()?;
    device.set_align(align)?;
    for &span in spans {
        device.add_mapping(span)?;
    }
    device.bind_by_id(Driver::DeviceDax)?;
    Ok(device)
}

/// Removes every module; nothing is left of the family then.
fn nothing_loaded() -> Outcome {
    family::require_modules()?;
    Ok(family::unload()?)
}
