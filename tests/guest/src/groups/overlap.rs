// SPDX-License-Identifier: GPL-2.0
//! Two regions claim one memory: an NVDIMM, and a part of it that the firmware also declares
//! soft-reserved. The first region gets the memory; the second can be bound when the first has
//! gone.

use super::consumers::labelled::label;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, Outcome, Test};
use crate::mmap::Map;
use crate::ndctl::{self, Namespace};
use crate::region::Region;
use crate::sysfs::{self, Error, Result};
use crate::test;
use crate::units::UNIT;
use std::path::{Path, PathBuf};

/// The tests.
pub const TESTS: &[Test] = &[test!(
    second_region_over_the_same_memory_is_refused,
    tear_down
)];

/// Also declares a part of the NVDIMM soft-reserved. The NVDIMM begins at 6 GiB.
pub const APPEND: &str = "memmap=1G%8G+0xefffffff";
/// The size of the persistent memory in use: from the beginning of the NVDIMM to the end of that
/// part.
const SIZE: &str = "3G";
/// The driver that makes a region of a namespace.
const PMEM: &str = "/sys/bus/nd/drivers/dax_pmem";

/// Takes the region of soft-reserved memory away, then all namespaces.
fn tear_down() -> Result<()> {
    for name in crate::region::hmem_names()? {
        let _ = sysfs::try_write(&Region::driver_attr("unbind"), name.as_bytes());
    }
    ndctl::tear_down()
}

/// The device that dax_pmem is bound to.
fn pmem_device() -> Result<String> {
    let found = sysfs::names(Path::new(PMEM))?;
    let found = found.into_iter().find(|name| name.starts_with("dax"));
    found.ok_or_else(|| Error::state("dax_pmem is bound to nothing"))
}

/// The answer of dax_pmem to `bind` or `unbind`.
fn pmem(what: &str, name: &str) -> std::result::Result<(), Errno> {
    let file = PathBuf::from(PMEM).join(what);
    sysfs::try_write(&file, name.as_bytes()).map(drop)
}

/// The answer of dax_hmem to `bind` or `unbind`.
fn hmem(region: &Region, what: &str) -> std::result::Result<(), Errno> {
    sysfs::try_write(&Region::driver_attr(what), region.hmem().as_bytes()).map(drop)
}

/// The region of soft-reserved memory works, and all of it is its own.
fn check_hmem(region: &Region, value: u64) -> Outcome {
    check("available", region.available()?, region.span().len())?;
    let device = region.create_bound(UNIT, &[region.units(0, 2)])?;
    let map = Map::whole(&device)?;
    check("store", map.store(UNIT, value), Ok(()))?;
    check("load", map.load(UNIT), Ok(value))?;
    drop(map);
    Ok(region.destroy(&device)?)
}

/// The namespace's device works; its last page is in what both claim.
fn check_pmem(device: &Device, value: u64) -> Outcome {
    check(
        "driver",
        device.driver(),
        Some(Driver::DeviceDax.name().into()),
    )?;
    let map = Map::whole(device)?;
    check("store", map.store(map.len() - 8, value), Ok(()))?;
    check("load", map.load(map.len() - 8), Ok(value))
}

/// The answer of either driver if it cannot have the memory.
const REFUSED: std::result::Result<(), Errno> = Err(Errno::ENOMEM);

fn second_region_over_the_same_memory_is_refused() -> Outcome {
    let region = Region::fresh()?;
    region.unbind()?;
    kernel::modprobe(&["-a", "nfit", "nd_pmem", "dax_pmem"])?;
    label()?;
    let namespace = Namespace::devdax(UNIT, &["-s", SIZE])?;
    let device = namespace.device()?;
    let name = pmem_device()?;
    for round in 0..2 {
        check_pmem(&device, round)?;
        for _ in 0..2 {
            check("second: soft-reserved", hmem(&region, "bind"), REFUSED)?;
        }
        check_pmem(&device, round + 10)?;
        check("first goes", pmem("unbind", &name), Ok(()))?;
        check("its device", device.exists(), false)?;

        check("second comes", hmem(&region, "bind"), Ok(()))?;
        check_hmem(&region, round)?;
        for _ in 0..2 {
            check("second: persistent", pmem("bind", &name), REFUSED)?;
        }
        check("its device", device.exists(), false)?;
        check_hmem(&region, round + 10)?;
        check("first goes", hmem(&region, "unbind"), Ok(()))?;
        check("second comes", pmem("bind", &name), Ok(()))?;
    }
    Ok(())
}
