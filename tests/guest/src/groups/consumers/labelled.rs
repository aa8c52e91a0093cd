// SPDX-License-Identifier: GPL-2.0
//! Regions that labels divide into several namespaces.

use crate::ktap::{check, Failure, Outcome};
use crate::mmap::Map;
use crate::ndctl::{self, Namespace};
use crate::sysfs;
use crate::units::{GIB, LARGEST, MIB, PAGE, UNIT};

/// A namespace, after its alignment and its size.
pub type Share = (u64, u64, Namespace);

/// Gives every NVDIMM labels, blank ones.
pub fn label() -> sysfs::Result<()> {
    ndctl::run(&["disable-region", "all"])?;
    ndctl::run(&["init-labels", "all"])?;
    ndctl::run(&["enable-region", "all"]).map(drop)
}

/// Three namespaces, with one at least of each alignment. The last has one page of 1 GiB, if the
/// machine has such pages: the other is in part its metadata's. `devdax` makes one of an alignment and a size.
pub fn one_of_each(
    devdax: impl Fn(u64, u64) -> sysfs::Result<Namespace>,
) -> sysfs::Result<Vec<Share>> {
    [(PAGE, 256 * MIB), (UNIT, 768 * MIB), (LARGEST, 2 * GIB)]
        .into_iter()
        .map(|(align, size)| Ok((align, size, devdax(align, size)?)))
        .collect()
}

/// Stores another value through a mapping of each.
pub fn mark(namespaces: &[Share]) -> Result<Vec<Map>, Failure> {
    let mut maps = Vec::new();
    for (value, (_, _, namespace)) in (1..).zip(namespaces) {
        let map = Map::whole(&namespace.device()?)?;
        for offset in [0, map.len() - 8] {
            check("store", map.store(offset, offset + value), Ok(()))?;
        }
        maps.push(map);
    }
    Ok(maps)
}

/// Checks the words that [`mark`] stored into the namespace of that position.
pub fn check_mark(map: &Map, position: u64) -> Outcome {
    for offset in [0, map.len() - 8] {
        check("load", map.load(offset), Ok(offset + position + 1))?;
    }
    Ok(())
}

/// Namespaces that went and came back are what they were, [`mark`]s included. They are known by
/// their labels; their numbers are given anew.
pub fn check_restored(namespaces: &[Share]) -> Outcome {
    let now = Namespace::all()?;
    check("namespaces", now.len(), namespaces.len())?;
    for (position, (align, _, before)) in (0..).zip(namespaces) {
        let uuid = &before.listed["uuid"];
        let found = now.iter().find(|n| n.listed["uuid"] == *uuid);
        let Some(found) = found else {
            return Err(Failure::Fail(format!("no namespace {uuid} in {now:?}")));
        };
        for key in ["size", "align", "map"] {
            check(key, &found.listed[key], &before.listed[key])?;
        }
        let device = found.device()?;
        check("align", device.align()?, *align)?;
        check("driver", device.driver(), Some("device_dax".into()))?;
        check_mark(&Map::whole(&device)?, position)?;
    }
    Ok(())
}
