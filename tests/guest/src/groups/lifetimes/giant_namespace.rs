// SPDX-License-Identifier: GPL-2.0
//! Namespaces of persistent memory with pages of 1 GiB. The owner of a namespace chooses that
//! alignment; the driver does not.

use super::PINNED_C;
use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel::modprobe;
use crate::ktap::{check, deviates, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::ndctl::{self, Namespace};
use crate::pin::{self, bound_again, check_dead, check_unbindable, hold};
use crate::sysfs;
use crate::test;
use crate::units::{GIB, PAGE, UNIT};

/// The tests on memory that begins between two pages of 1 GiB.
pub const BETWEEN_TESTS: &[Test] = &[
    test!(
        giant_pages_behind_the_metadata_are_the_namespaces_own,
        ndctl::tear_down
    )
    .not_on_c("maps memory of others"),
    test!(giant_page_behind_the_metadata_drains, ndctl::tear_down).not_on_c(PINNED_C),
];

/// The tests on a CPU without such pages.
pub const REFUSED_TESTS: &[Test] = &[test!(
    giant_pages_that_the_cpu_does_not_have_are_refused,
    ndctl::tear_down
)];

/// 3 GiB from 4.5 GiB on. Two pages of 1 GiB begin in them.
pub const BETWEEN: &str = "memmap=3G!4608M";
/// As much from 4 GiB on.
pub const REFUSED: &str = "memmap=3G!4G";

/// The namespace. Its struct pages are in RAM.
const NAMESPACE: [&str; 4] = ["-e", "namespace0.0", "-M", "mem"];

/// Loads the modules.
fn load() -> sysfs::Result<()> {
    modprobe(&["-a", "nd_e820", "nd_pmem", "dax_pmem", "device_dax"])
}

/// A device with pages of 1 GiB, two of them, that do not begin where the namespace does.
fn device() -> Result<Device, Failure> {
    load()?;
    let namespace = Namespace::devdax(GIB, &NAMESPACE)?;
    let device = namespace.device()?;
    check("where it begins", namespace.start()?, 9 * GIB / 2)?;
    check("where its memory begins", device.resource()?, 5 * GIB)?;
    check("size", device.size()?, 2 * GIB)?;
    Ok(device)
}

fn giant_pages_behind_the_metadata_are_the_namespaces_own() -> Outcome {
    let giant = device()?;
    let (start, size) = (giant.resource()?, giant.size()?);
    let offsets = || (0..size).step_by(GIB as usize / 4);
    let map = Map::whole(&giant)?;
    for offset in offsets() {
        check("store", map.store(offset, !offset), Ok(()))?;
    }
    drop(map);
    ndctl::tear_down()?;
    // Pages of 2 MiB show the same memory.
    let small = Namespace::devdax(UNIT, &NAMESPACE)?.device()?;
    let map = Map::whole(&small)?;
    let before = start - small.resource()?;
    for offset in offsets() {
        check(
            format!("load at {offset:#x}"),
            map.load(before + offset),
            Ok(!offset),
        )?;
    }
    Ok(())
}

fn giant_page_behind_the_metadata_drains() -> Outcome {
    let device = device()?;
    let map = Map::whole(&device)?;
    let last = device.size()? - PAGE;
    let pipe = hold(&map, last)?;
    pin::unbind(&device)?;
    check_dead(&map)?;
    check_unbindable(&device)?;
    check("data", pipe.read_word(), Ok(last))?;
    drop(pipe);
    bound_again(&device)?;
    check("load", Map::whole(&device)?.load(last), Ok(last))
}

fn giant_pages_that_the_cpu_does_not_have_are_refused() -> Outcome {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    check("the CPU has such pages", flags.contains(" pdpe1gb"), false)?;
    load()?;
    let device = Namespace::devdax(GIB, &NAMESPACE)?.device()?;
    // A page fault would corrupt the page table of the C driver's user.
    let driver = deviates(None, Some("device_dax".to_owned()));
    check("driver", device.driver(), driver)?;
    let bound = sysfs::try_write(&Driver::DeviceDax.attr("bind"), device.name().as_bytes());
    let bound = bound.map(drop);
    check(
        "bind",
        bound,
        deviates(Err(Errno::EINVAL), Err(Errno::EBUSY)),
    )
}
