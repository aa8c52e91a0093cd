// SPDX-License-Identifier: GPL-2.0
//! Messages: those of dynamic debug, which show a device's ranges as C does, and the reasons for
//! which writes are refused.

use crate::compare::log::Log;
use crate::device::{mapping_text, Device, Driver};
use crate::errno::Errno;
use crate::ktap::{check, deviates, skip, Failure, Outcome, Test};
use crate::mmap::{self, Map};
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::units::{Span, PAGE, UNIT};
use std::path::Path;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(dynamic_debug_shows_the_ranges, tear_down),
    test!(dynamic_debug_shows_the_life_of_a_device, tear_down),
    test!(dynamic_debug_shows_refused_faults, tear_down),
    test!(dynamic_debug_shows_writes_that_fail, tear_down),
    test!(refused_writes_say_why),
];

/// The file that turns messages on and off.
const CONTROL: &str = "/sys/kernel/debug/dynamic_debug/control";

/// Turns the messages of the bus and of the driver on or off. In C the bus is in the kernel itself,
/// under another name.
fn turn(flag: &str) -> sysfs::Result<()> {
    for module in deviates(&["device_dax"][..], &["dax", "device_dax"]) {
        sysfs::write(Path::new(CONTROL), &format!("module {module} {flag}"))?;
    }
    Ok(())
}

/// Turns the messages off, whatever the test left.
fn tear_down() -> sysfs::Result<()> {
    if Path::new(CONTROL).exists() {
        turn("-p")?;
    }
    region::tear_down()
}

/// The messages about a device, or its region's parent, since the last call.
fn said_of(log: &mut Log, name: &str) -> sysfs::Result<Vec<String>> {
    // A line begins with the driver that is bound, or with the bus if none is.
    let prefix = format!(" {name}: ");
    let lines = log.lines()?;
    let said = lines.iter().filter_map(|line| line.split_once(&prefix));
    Ok(said.map(|(_, said)| said.to_owned()).collect())
}

/// The messages about ranges of a device since the last call.
fn ranges(log: &mut Log, device: &Device) -> sysfs::Result<Vec<String>> {
    let mut said = said_of(log, device.name())?;
    said.retain(|said| said.contains(" range["));
    Ok(said)
}

/// A message. Both addresses of an allocated range are padded, as C prints resources.
fn message(what: &str, index: usize, span: Span) -> String {
    let Span { start, end } = span;
    match what {
        "alloc" => format!("{what} range[{index}]: {start:#018x}:{end:#018x}"),
        _ => format!("{what} range[{index}]: {start:#x}:{end:#x}"),
    }
}

fn dynamic_debug_shows_the_ranges() -> Outcome {
    if !Path::new(CONTROL).exists() {
        return skip("no dynamic debug in this kernel");
    }
    let region = Region::fresh()?;
    turn("+p")?;
    let mut log = Log::open()?;
    let device = region.create()?;
    let mut said = |what: &str, lines: &[String]| {
        let seen = ranges(&mut log, &device)?;
        check(what, seen, lines.to_vec())
    };
    let unit = |first, len| region.units(first, len);
    said("create", &[])?;
    device.add_mapping(unit(0, 1))?;
    said("first range", &[message("alloc", 0, unit(0, 1))])?;
    device.set_size(unit(0, 3).len())?;
    said("growth of it", &[message("extend", 0, unit(0, 3))])?;
    device.add_mapping(unit(10, 2))?;
    device.add_mapping(unit(7, 1))?;
    let added = [
        message("alloc", 1, unit(10, 2)),
        message("alloc", 2, unit(7, 1)),
    ];
    said("two more ranges", &added)?;
    device.bind(Driver::DeviceDax)?;
    device.unbind()?;
    said("bind and unbind", &[])?;
    device.set_size(unit(0, 4).len())?;
    let shrunk = [
        message("delete", 2, unit(7, 1)),
        message("shrink", 1, unit(10, 1)),
    ];
    said("shrink", &shrunk)?;
    device.set_size(0)?;
    let gone = [
        message("delete", 1, unit(10, 1)),
        message("delete", 0, unit(0, 3)),
    ];
    said("no size", &gone)?;
    // Growth over what others leave, and a region that takes its devices along.
    let separator = region.create_over(&[unit(2, 1)])?;
    device.set_size(unit(0, 4).len())?;
    let grown = [
        message("alloc", 0, unit(0, 2)),
        message("alloc", 1, unit(3, 2)),
    ];
    said("growth over a hole", &grown)?;
    region.unbind()?;
    let gone = [
        message("delete", 1, unit(3, 2)),
        message("delete", 0, unit(0, 2)),
    ];
    said("the region goes", &gone)?;
    region.bind()?;
    check("the other", separator.exists(), false)?;
    turn("-p")?;
    let device = region.create_over(&[unit(0, 1)])?;
    check("off again", ranges(&mut log, &device)?, vec![])
}

fn dynamic_debug_shows_the_life_of_a_device() -> Outcome {
    if !Path::new(CONTROL).exists() {
        return skip("no dynamic debug in this kernel");
    }
    let region = Region::fresh()?;
    let device = region.create_over(&[region.units(0, 2)])?;
    turn("+p")?;
    let mut log = Log::open()?;
    let mut said = |what: &str, line: &str| {
        let seen = said_of(&mut log, device.name())?;
        // C says "trace", and only of an open.
        let seen = seen.iter().any(|seen| seen == line);
        check(format!("{what}: {line:?}"), seen, deviates(true, false))
    };
    device.bind(Driver::DeviceDax)?;
    said("bind", "bound")?;
    device.unbind()?;
    said("unbind", "unbound")
}

/// A mapping may be longer than the device. A fault behind the device's end is refused.
fn dynamic_debug_shows_refused_faults() -> Outcome {
    if !Path::new(CONTROL).exists() {
        return skip("no dynamic debug in this kernel");
    }
    let region = Region::fresh()?;
    let device = region.create_bound(UNIT, &[region.units(0, 1)])?;
    let failed = |e: Errno| Failure::Fail(format!("{}: {e:?}", device.name()));
    let file = mmap::open(&device.node()).map_err(failed)?;
    let map = Map::shared(&file, 2 * UNIT, 0).map_err(failed)?;
    let touch = |at: u64| map.load(at).is_ok();
    check("within the device", touch(0), true)?;
    turn("+p")?;
    let mut log = Log::open()?;
    check("behind its end", touch(UNIT), false)?;
    let line = format!("pgoff_to_phys({:#x}) failed", UNIT / PAGE);
    let seen = said_of(&mut log, device.name())?;
    check(format!("{line:?} in {seen:?}"), seen.contains(&line), true)
}

fn dynamic_debug_shows_writes_that_fail() -> Outcome {
    if !Path::new(CONTROL).exists() {
        return skip("no dynamic debug in this kernel");
    }
    let region = Region::fresh()?;
    let device = region.create_over(&[region.units(0, 1)])?;
    turn("+p")?;
    let mut log = Log::open()?;
    let writes = [
        (
            region.attr("create"),
            "2",
            "create",
            Errno::EINVAL,
            22,
            region.hmem(),
        ),
        (
            region.attr("delete"),
            "x",
            "delete",
            Errno::ENXIO,
            6,
            region.hmem(),
        ),
        (
            device.attr("size"),
            "x",
            "size",
            Errno::EINVAL,
            22,
            device.name(),
        ),
        (
            device.attr("mapping"),
            "x",
            "mapping",
            Errno::EINVAL,
            22,
            device.name(),
        ),
        (
            device.attr("align"),
            "12345",
            "align",
            Errno::EINVAL,
            22,
            device.name(),
        ),
    ];
    for (file, text, attribute, errno, number, of) in writes {
        let written = sysfs::try_write(&file, text.as_bytes()).map(drop);
        check(format!("{attribute} {text}"), written, Err(errno))?;
        let line = format!("write of {attribute} fails with -{number}");
        let said = said_of(&mut log, of)?.contains(&line);
        check(line, said, deviates(true, false))?;
    }
    let id = Driver::DeviceDax.try_write("new_id", "x").map(drop);
    check("new_id", id, Err(Errno::EINVAL))?;
    let lines = log.lines()?;
    let line = "device_dax: write of an id fails with -22";
    let said = lines.iter().any(|said| said.ends_with(line));
    check(line, said, deviates(true, false))
}

/// Time after which the rate limit of messages forgets its count.
const INTERVAL: Duration = Duration::from_millis(5500);

/// The C driver says nothing.
fn refused_writes_say_why(region: &Region) -> Outcome {
    let device = region.create_over(&[region.units(0, 1)])?;
    let other = region.create_over(&[region.units(4, 1)])?;
    std::thread::sleep(INTERVAL);
    let mut log = Log::open()?;
    let mut says = |attribute: &str, text: &str, why: &str| {
        let refused = sysfs::try_write(&device.attr(attribute), text.as_bytes());
        check(text, refused.is_err(), true)?;
        let prefix = format!("{}: refused: ", device.name());
        let lines = log.lines()?;
        let said = lines.iter().filter_map(|line| line.split_once(&prefix));
        let said: Vec<&str> = said.map(|(_, why)| why).collect();
        check(text, said, deviates(vec![why], vec![]))
    };
    let taken = mapping_text(region.units(4, 1));
    let beyond = mapping_text(Span::at(region.span().end + 1, UNIT));
    says("size", &PAGE.to_string(), "no multiple of the alignment")?;
    says("mapping", &taken, &format!("{taken} is not free"))?;
    let outside = format!("{beyond} is not within the region");
    says("mapping", &beyond, &outside)?;
    let both = [mapping_text(region.units(8, 1)), taken.clone()].join(" ");
    says("mapping", &both, &format!("{taken} is not free"))?;
    let words = [mapping_text(region.units(8, 1)), "here".to_owned()].join(" ");
    says("mapping", &words, "here is no range")?;
    // C takes both for ranges (A13).
    if deviates(true, false) {
        let odd = mapping_text(Span::at(region.units(8, 1).start + PAGE, UNIT));
        let odd_too = [mapping_text(region.units(8, 1)), odd.clone()].join(" ");
        for text in [&odd, &odd_too] {
            says(
                "mapping",
                text,
                &format!("{odd} is no multiple of the alignment"),
            )?;
        }
        says("mapping", "2000-1000", "2000-1000 is no range")?;
    }
    let all = region.span().len().to_string();
    says("size", &all, "too little free memory that is aligned")?;
    device.bind(Driver::DeviceDax)?;
    says("size", "0", "it has a driver")?;
    device.unbind()?;
    Ok(region.destroy(&other)?)
}
