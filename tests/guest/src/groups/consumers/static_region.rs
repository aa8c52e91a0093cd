// SPDX-License-Identifier: GPL-2.0
//! Tests for every dax device of persistent memory. Its region is static: it has one device, whose
//! size and alignment the namespace has chosen.

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::iomem;
use crate::json;
use crate::ktap::{check, Failure, Outcome};
use crate::mmap::Map;
use crate::ndctl::Namespace;
use crate::sysfs;
use crate::units::{in_order, Span, GIB, PAGE};
use serde_json::json;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The memory of a device.
pub fn span(device: &Device) -> sysfs::Result<Span> {
    Ok(Span::at(device.resource()?, device.size()?))
}

/// Bytes before the data of a namespace of `size` bytes: 8 KiB of its own, and 64 bytes for each page
/// if the page structures are there too.
pub fn metadata(size: u64, align: u64, with_page_structures: bool) -> u64 {
    let structures = if with_page_structures {
        size / PAGE * 64
    } else {
        0
    };
    ((8 << 10) + structures).next_multiple_of(align)
}

/// Checks what sysfs, ndctl and /proc/iomem say about a namespace of that alignment. Its memory has
/// the name `owner` and ends at `end`.
pub fn check_values(namespace: &Namespace, align: u64, end: u64, owner: &str) -> Outcome {
    let device = namespace.device()?;
    let (resource, size) = (device.resource()?, device.size()?);
    check("align", device.align()?, align)?;
    check("resource is aligned", resource % align, 0)?;
    check("size is aligned", size % align, 0)?;
    check("end", resource + size - 1, end)?;
    check("ranges", device.ranges()?, in_order(&[span(&device)?]))?;
    check("driver", device.driver(), Some("device_dax".into()))?;
    let number = device.name().trim_start_matches("dax");
    check("names", namespace.name(), &*format!("namespace{number}"))?;
    let region = device.attr("../dax_region");
    for (attr, value) in [("size", size), ("align", align)] {
        check(attr, sysfs::read_number(&region.join(attr))?, value)?;
    }
    let id = sysfs::read_number(&region.join("id"))?;
    check(
        "region",
        format!("{id}"),
        number.split('.').next().unwrap_or("").into(),
    )?;
    let dax = &namespace.listed["daxregion"];
    json::check_members(
        dax,
        &[
            ("id", json!(id)),
            ("size", json!(size)),
            ("align", json!(align)),
        ],
    )?;
    let node = sysfs::read_number(&device.attr("target_node"))?;
    json::check_members(
        &dax["devices"][0],
        &[
            ("size", json!(size)),
            ("align", json!(align)),
            ("mode", json!("devdax")),
            ("target_node", json!(node)),
        ],
    )?;
    let data = vec![owner.to_owned(), device.name().to_owned()];
    check("owners of the data", iomem::owners(span(&device)?)?, data)?;
    let start = namespace.start()?;
    let own = Span::at(start, resource - start);
    let owners = vec![owner.to_owned(), namespace.name().to_owned()];
    check("owners of what precedes it", iomem::owners(own)?, owners)
}

/// The files of a static region and of its device: what would change them is not there.
pub fn check_files(device: &Device) -> Outcome {
    let region = device.attr("../dax_region");
    let files = ["align", "id", "size"].map(str::to_owned).to_vec();
    check("files of the region", sysfs::names(&region)?, files)?;
    check("mapping", device.attr("mapping").exists(), false)?;
    for (attr, mode) in [
        ("size", 0o444),
        ("align", 0o444),
        ("memmap_on_memory", 0o644),
    ] {
        check(
            format!("mode of {attr}"),
            sysfs::mode(&device.attr(attr))?,
            mode,
        )?;
    }
    device.unbind()?;
    let before = device.ranges()?;
    for (attr, text) in [("size", "0"), ("align", &PAGE.to_string())] {
        let written = device.try_write(attr, text);
        check(format!("write to {attr}"), written, Err(Errno::EACCES))?;
    }
    check("ranges", device.ranges()?, before)?;
    Ok(device.bind(Driver::DeviceDax)?)
}

/// Offsets worth a look in a device: both ends, around its middle, and odd pages.
fn offsets(size: u64, align: u64) -> Vec<u64> {
    let middle = size / 2 / align * align;
    vec![0, 3 * PAGE, middle - 8, middle, size - 7 * PAGE, size - 8]
}

/// Compares bytes that are stored through mmap with those of the block device, both ways.
/// `args` say which namespace.
pub fn check_data(align: u64, args: &[&str]) -> Outcome {
    let dax = Namespace::devdax(align, args)?;
    let device = dax.device()?;
    let (resource, size) = (device.resource()?, device.size()?);
    let into = resource - dax.start()?;
    let map = Map::whole(&device)?;
    for offset in offsets(size, align) {
        check("store", map.store(offset, offset ^ align), Ok(()))?;
        // The kernel does not show the frames of pages of 1 GiB.
        if align < GIB {
            let frame = map.frames(offset / PAGE * PAGE, 1)?[0];
            let expected = Some((resource + offset) / PAGE);
            check(format!("frame at {offset:#x}"), frame, expected)?;
        }
    }
    let page = map.smaps_kib("KernelPageSize")?;
    check("KernelPageSize", page << 10, align)?;
    drop(map);
    dax.destroy()?;

    let raw = Namespace::raw(args)?;
    let path = raw.block_device()?;
    let failed = |e: std::io::Error| Failure::Fail(format!("{}: {e}", path.display()));
    let file = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    for offset in offsets(size, align) {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, into + offset)
            .map_err(failed)?;
        let what = format!("{} at {:#x}", path.display(), into + offset);
        check(what, u64::from_le_bytes(word), offset ^ align)?;
        let answer = (!offset).to_le_bytes();
        file.write_all_at(&answer, into + offset).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    drop(file);
    raw.destroy()?;

    let dax = Namespace::devdax(align, args)?;
    let map = Map::whole(&dax.device()?)?;
    for offset in offsets(size, align) {
        check(
            format!("load at {offset:#x}"),
            map.load(offset),
            Ok(!offset),
        )?;
    }
    drop(map);
    Ok(dax.destroy()?)
}

/// fsdev_dax uses the page map that a static device brings, and gives it back as it was.
pub fn check_fsdev(namespace: &Namespace, align: u64) -> Outcome {
    crate::family::require_rebinding_of_fsdev()?;
    let device = namespace.device()?;
    let last = device.size()? - 8;
    let before = Map::whole(&device)?;
    check("store", before.store(last, 11), Ok(()))?;
    drop(before);
    for round in 0..2 {
        device.unbind()?;
        device.bind_by_id(Driver::FsdevDax)?;
        check(
            "reserved",
            iomem::named(device.name())?,
            vec![span(&device)?],
        )?;
        device.unbind()?;
        device.bind(Driver::DeviceDax)?;
        let map = Map::whole(&device)?;
        check(format!("load in round {round}"), map.load(last), Ok(11))?;
        check(
            "KernelPageSize",
            map.smaps_kib("KernelPageSize")? << 10,
            align,
        )?;
    }
    Ok(())
}
