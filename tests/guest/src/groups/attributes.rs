// SPDX-License-Identifier: GPL-2.0
//! The name, mode and exact text of every attribute; uevents and nodes.

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, deviates, Failure, Outcome, Test};
use crate::region::Region;
use crate::sysfs;
use crate::test;
use crate::units::{Span, PAGE, UNIT};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(region_folder_has_documented_names_and_modes),
    test!(region_values_of_empty_region_have_exact_format),
    test!(region_available_size_follows_devices),
    test!(region_alignment_is_that_of_a_pmd),
    test!(device_folder_has_documented_names_and_modes),
    test!(device_values_of_empty_device_have_exact_format),
    test!(device_values_of_sized_device_have_exact_format),
    test!(device_parent_is_the_region_device),
    test!(device_uevent_file_has_modalias_and_devname),
    test!(device_add_event_carries_modalias),
    test!(device_number_leads_to_bus_dax),
    test!(device_node_of_unbound_device_exists_with_mode_0600),
    test!(device_driver_link_names_the_driver),
    test!(mapping_folder_has_documented_names_and_modes),
    test!(mapping_takes_no_part_in_power_management),
    test!(mapping_values_have_exact_format),
    test!(driver_folder_has_id_attributes),
    test!(iomem_lists_each_range_of_a_bound_device),
    test!(memmap_on_memory_same_value_is_accepted),
];

/// Compares the files of a directory, and their modes, with the documented ones. `optional` files
/// may be missing; if they exist, their modes are checked.
fn check_files(dir: &Path, required: &[(&str, u32)], optional: &[(&str, u32)]) -> Outcome {
    let mut found = Vec::new();
    for name in sysfs::names(dir)? {
        let path = dir.join(&name);
        if path.symlink_metadata().is_ok_and(|m| m.is_file()) {
            let mode = sysfs::mode(&path)?;
            let known = optional.iter().any(|&(n, m)| n == name && m == mode);
            if !known {
                found.push(format!("{name} {mode:04o}"));
            }
        }
    }
    let mut wanted: Vec<String> = required
        .iter()
        .map(|(name, mode)| format!("{name} {mode:04o}"))
        .collect();
    wanted.sort();
    check(format!("files in {}", dir.display()), found, wanted)
}

fn region_folder_has_documented_names_and_modes(region: &Region) -> Outcome {
    let files = [
        ("id", 0o444),
        ("size", 0o444),
        ("align", 0o400),
        ("available_size", 0o444),
        ("create", 0o644),
        ("seed", 0o444),
        ("delete", 0o200),
    ];
    let new = [("zero_on_alloc", 0o644)];
    let files = [&files[..], deviates(&new, &[])].concat();
    check_files(&region.attr("."), &files, &[])
}

fn region_values_of_empty_region_have_exact_format(region: &Region) -> Outcome {
    let size = region.span().len();
    let values = [
        (
            "id",
            format!("{}\n", region.hmem().trim_start_matches("hmem.")),
        ),
        ("size", format!("{size}\n")),
        ("align", format!("{UNIT}\n")),
        ("available_size", format!("{size}\n")),
        // A region starts without a seed: only devices made by `create` become one.
        ("seed", "\n".into()),
        ("create", "\n".into()),
    ];
    for (name, text) in values {
        check(name, sysfs::read_raw(&region.attr(name))?, text)?;
    }
    check(
        "reading delete",
        sysfs::try_read(&region.attr("delete")),
        Err(Errno::EACCES),
    )
}

fn region_available_size_follows_devices(region: &Region) -> Outcome {
    let size = region.span().len();
    let a = region.create_sized(4 * UNIT)?;
    check("after one device", region.available()?, size - 4 * UNIT)?;
    let b = region.create_over(&[region.units(10, 2), region.units(20, 2)])?;
    check("after two devices", region.available()?, size - 8 * UNIT)?;
    a.set_size(UNIT)?;
    check("after shrinking", region.available()?, size - 5 * UNIT)?;
    region.destroy(&a)?;
    region.destroy(&b)?;
    check("after deleting", region.available()?, size)
}

fn region_alignment_is_that_of_a_pmd(region: &Region) -> Outcome {
    let align = sysfs::read_number(&region.attr("align"))?;
    check("region align", align, UNIT)?;
    let device = region.create()?;
    check("a new device's align", device.align()?, align)
}

/// The attributes of a device, with the modes of a dynamic region.
const DEVICE_FILES: [(&str, u32); 8] = [
    ("modalias", 0o444),
    ("size", 0o644),
    ("mapping", 0o200),
    ("align", 0o644),
    ("resource", 0o400),
    ("numa_node", 0o444),
    ("memmap_on_memory", 0o644),
    ("dev", 0o444),
];
/// `target_node` is absent where the region has none; `uevent` belongs to the driver core.
const DEVICE_OPTIONAL: [(&str, u32); 2] = [("target_node", 0o444), ("uevent", 0o644)];

fn device_folder_has_documented_names_and_modes(region: &Region) -> Outcome {
    check_files(
        &region.first_device()?.dir(),
        &DEVICE_FILES,
        &DEVICE_OPTIONAL,
    )?;
    let sized = region.create_sized(UNIT)?;
    check_files(&sized.dir(), &DEVICE_FILES, &DEVICE_OPTIONAL)?;
    sized.bind(Driver::DeviceDax)?;
    check_files(&sized.dir(), &DEVICE_FILES, &DEVICE_OPTIONAL)
}

/// Compares the text of attributes.
fn check_values(device: &Device, values: &[(&str, String)]) -> Outcome {
    for (name, text) in values {
        let actual = sysfs::read_raw(&device.attr(name))?;
        check(format!("{} {name}", device.name()), &actual, text)?;
    }
    Ok(())
}

fn device_values_of_empty_device_have_exact_format(region: &Region) -> Outcome {
    let device = region.first_device()?;
    check_values(
        &device,
        &[
            ("modalias", "dax:t0\n".into()),
            ("size", "0\n".into()),
            ("align", format!("{UNIT}\n")),
            ("resource", format!("{:#x}\n", region.span().start)),
            ("memmap_on_memory", "0\n".into()),
            (
                "numa_node",
                sysfs::read_raw(&region.dir().join("numa_node"))?,
            ),
        ],
    )?;
    check("its mappings", device.ranges()?, vec![])?;
    if device.attr("target_node").exists() {
        let node = sysfs::read_number(&device.attr("target_node"))?;
        check_values(&device, &[("target_node", format!("{node}\n"))])?;
    }
    Ok(())
}

fn device_values_of_sized_device_have_exact_format(region: &Region) -> Outcome {
    let high = region.units(9, 2);
    let low = region.units(3, 1);
    let device = region.create_over(&[high, low])?;
    check_values(
        &device,
        &[
            ("size", format!("{}\n", 3 * UNIT)),
            // The range of the lowest page offset, not the lowest address.
            ("resource", format!("{:#x}\n", high.start)),
        ],
    )?;
    device.set_align(PAGE)?;
    check_values(&device, &[("align", format!("{PAGE}\n"))])
}

fn device_parent_is_the_region_device(region: &Region) -> Outcome {
    let device = region.create()?;
    let path = fs::canonicalize(device.dir()).map_err(io("canonicalize"))?;
    check("parent directory", path.parent(), Some(region.dir()))?;
    check(
        "subsystem",
        fs::canonicalize(device.attr("subsystem")).map_err(io("subsystem"))?,
        "/sys/bus/dax".into(),
    )
}

/// Names a failed file operation.
fn io(what: &str) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |e| Failure::Fail(format!("{what}: {}", Errno::from(e)))
}

fn device_uevent_file_has_modalias_and_devname(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    let dev = device.dev()?;
    let (major, minor) = dev.split_once(':').unwrap_or_default();
    let name = device.name();
    let expected = format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nMODALIAS=dax:t0\n");
    check("uevent", sysfs::read_raw(&device.attr("uevent"))?, expected)?;
    device.bind(Driver::DeviceDax)?;
    let expected = format!(
        "MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDRIVER=device_dax\nMODALIAS=dax:t0\n"
    );
    check(
        "uevent of the bound device",
        sysfs::read_raw(&device.attr("uevent"))?,
        expected,
    )
}

fn device_add_event_carries_modalias(region: &Region) -> Outcome {
    let mut events = crate::uevents::Listener::open()?;
    let device = region.create()?;
    let path = fs::canonicalize(device.dir()).map_err(io("canonicalize"))?;
    let devpath = path.to_string_lossy().replacen("/sys", "", 1);
    let added = events.find("add", &devpath)?;
    for line in [
        "SUBSYSTEM=dax".to_owned(),
        format!("DEVNAME={}", device.name()),
        "MODALIAS=dax:t0".to_owned(),
    ] {
        let found = added.iter().find(|l| **l == line).cloned();
        check(format!("{line} in {added:?}"), found, Some(line))?;
    }
    region.delete(&device)?;
    events.find("remove", &devpath)?;
    Ok(())
}

fn device_number_leads_to_bus_dax(region: &Region) -> Outcome {
    let device = region.create()?;
    let link = Path::new("/sys/dev/char").join(device.dev()?);
    check(
        "device behind its number",
        sysfs::link_name(&link),
        Some(device.name().to_owned()),
    )?;
    check(
        "subsystem behind its number",
        fs::canonicalize(link.join("subsystem")).map_err(io("subsystem"))?,
        "/sys/bus/dax".into(),
    )
}

fn device_node_of_unbound_device_exists_with_mode_0600(region: &Region) -> Outcome {
    let device = region.create()?;
    let meta = fs::metadata(device.node()).map_err(io("stat the node"))?;
    check(
        "a character device",
        meta.file_type().is_char_device(),
        true,
    )?;
    check("mode", meta.permissions().mode() & 0o7777, 0o600)?;
    let rdev = meta.rdev();
    let number = format!("{}:{}", libc::major(rdev), libc::minor(rdev));
    check("number of the node", number, device.dev()?)?;
    region.delete(&device)?;
    check("node after delete", device.node().exists(), false)
}

fn device_driver_link_names_the_driver(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    check("before bind", device.driver(), None)?;
    device.bind(Driver::DeviceDax)?;
    check("after bind", device.driver(), Some("device_dax".into()))?;
    let module = device.attr("driver/module");
    check(
        "module",
        sysfs::link_name(&module),
        Some("device_dax".into()),
    )?;
    device.unbind()?;
    check("after unbind", device.driver(), None)
}

fn mapping_folder_has_documented_names_and_modes(region: &Region) -> Outcome {
    let device = region.create_over(&[region.units(0, 1), region.units(2, 1)])?;
    let files = [("start", 0o400), ("end", 0o400), ("page_offset", 0o400)];
    for mapping in ["mapping0", "mapping1"] {
        check_files(&device.attr(mapping), &files, &[("uevent", 0o644)])?;
    }
    check("mapping2", device.attr("mapping2").exists(), false)
}

fn mapping_takes_no_part_in_power_management(region: &Region) -> Outcome {
    let device = region.create_over(&[region.units(0, 1)])?;
    // The device itself has the files, so this kernel has power management.
    check("power", device.attr("power/control").exists(), true)?;
    let files = device.attr("mapping0/power").exists();
    check("mapping0/power", files, deviates(false, true))
}

fn mapping_values_have_exact_format(region: &Region) -> Outcome {
    let spans = [region.units(8, 2), region.units(2, 1), region.units(4, 3)];
    let device = region.create_over(&spans)?;
    let page_offsets = [0, 2, 3].map(|units| units * UNIT / PAGE);
    for (index, page_offset) in page_offsets.into_iter().enumerate() {
        let Span { start, end } = spans[index];
        let values = [
            (format!("mapping{index}/start"), format!("{start:#x}\n")),
            (format!("mapping{index}/end"), format!("{end:#x}\n")),
            (
                format!("mapping{index}/page_offset"),
                format!("{page_offset:#x}\n"),
            ),
        ];
        for (name, text) in values {
            check(&name, sysfs::read_raw(&device.attr(&name))?, text)?;
        }
    }
    Ok(())
}

fn driver_folder_has_id_attributes(_: &Region) -> Outcome {
    for driver in [Driver::DeviceDax, Driver::Kmem] {
        for (name, mode) in [
            ("bind", 0o200),
            ("unbind", 0o200),
            ("new_id", 0o200),
            ("remove_id", 0o200),
        ] {
            let what = format!("mode of {}/{name}", driver.name());
            check(what, sysfs::mode(&driver.attr(name))?, mode)?;
        }
    }
    Ok(())
}

fn iomem_lists_each_range_of_a_bound_device(region: &Region) -> Outcome {
    let spans = [region.units(1, 1), region.units(5, 2), region.units(3, 1)];
    let device = region.create_bound(UNIT, &spans)?;
    let listed = || -> Result<Vec<String>, Failure> {
        let text = fs::read_to_string("/proc/iomem").map_err(io("/proc/iomem"))?;
        let ours = format!(" : {}", device.name());
        Ok(text
            .lines()
            .filter_map(|line| line.trim_start().strip_suffix(&ours))
            .map(str::to_owned)
            .collect())
    };
    let mut sorted = spans;
    sorted.sort();
    let expected = sorted
        .iter()
        .map(|s| format!("{:08x}-{:08x}", s.start, s.end))
        .collect();
    check("while bound", listed()?, expected)?;
    device.unbind()?;
    check("after unbind", listed()?, vec![])
}

fn memmap_on_memory_same_value_is_accepted(region: &Region) -> Outcome {
    let device = region.create_sized(UNIT)?;
    for text in ["0", "n", "off\n"] {
        check(
            text,
            device.try_write("memmap_on_memory", text),
            Ok(text.len()),
        )?;
        check_values(&device, &[("memmap_on_memory", "0\n".into())])?;
    }
    Ok(())
}
