// SPDX-License-Identifier: GPL-2.0

//! The state that users and C must see whenever no operation runs.

use kernel::bindings::{self, device};
use kernel::error::code::ENOENT;
use kernel::sched;

use crate::machine::{Machine, BASE, GRANULE, GRANULES};

/// A range of a device.
type Range = (u64, u64);

fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| sched::violation(format!("{text:?} is no number")))
}

/// A number in a file of a device.
fn read(dev: *mut device, name: &str) -> u64 {
    match bindings::read_attribute(dev, name) {
        Ok(text) => number(&text),
        Err(e) => sched::violation(format!("nobody does anything, and {name} gives {e:?}")),
    }
}

/// The ranges of a device, from its `mappingN`. They are what C sees, and follow each
/// other.
fn ranges(name: &str, dev: *mut device) -> Vec<Range> {
    // SAFETY: The caller holds a reference of a device of the bus.
    let seen = unsafe { bindings::ranges_of(dev) };
    let mappings = bindings::children(dev);
    let expected: Vec<String> = (0..seen.len()).map(|i| format!("mapping{i}")).collect();
    let names: Vec<String> = mappings.iter().map(|(name, _)| name.clone()).collect();
    sched::require(
        names == expected,
        format!("{name} has {} ranges and {names:?}", seen.len()),
    );
    let mut pages = 0;
    for ((mapping, child), (start, last)) in mappings.iter().zip(&seen) {
        let shown = ["start", "end", "page_offset"].map(|file| read(*child, file));
        sched::require(
            shown == [*start, *last, pages],
            format!("{name}: {mapping} shows {shown:x?}, and it is {start:x}, {last:x}, {pages:x}"),
        );
        pages += (last - start + 1) >> bindings::PAGE_SHIFT;
    }
    let size = read(dev, "size");
    sched::require(
        size == pages << bindings::PAGE_SHIFT,
        format!("{name} has {size} bytes and {pages} pages"),
    );
    seen
}

/// Checks all of it.
pub(crate) fn check(machine: &Machine) {
    if let Err(e) = machine.read_region("size") {
        // The region is gone, and so are its devices.
        sched::require(e == ENOENT, format!("size gives {e:?}"));
        let devices = bindings::devices_on_bus();
        sched::require(devices.is_empty(), format!("no region, but {devices:?}"));
        return;
    }
    let free = match machine.read_region("available_size") {
        Ok(text) => number(&text),
        // All of a static region is taken.
        Err(e) => {
            sched::require(machine.is_static(), format!("available_size gives {e:?}"));
            0
        }
    };
    if let Ok(seed) = machine.read_region("seed") {
        let driver = bindings::driver_of(&seed);
        sched::require(
            driver.is_none(),
            format!("the seed {seed} is bound to {driver:?}"),
        );
    }
    let mut all: Vec<Range> = Vec::new();
    for name in bindings::devices_on_bus() {
        let Some(dev) = bindings::find_device(&name) else {
            sched::violation(format!("{name} is on the bus, and cannot be found"));
        };
        let bound = bindings::driver_of(&name).as_deref() == Some("device_dax");
        // SAFETY: The reference keeps the device.
        let alive = unsafe { bindings::is_alive(dev.raw()) };
        sched::require(
            alive || !bound,
            format!("{name} is bound, and super.c says that it is dead"),
        );
        let ranges = ranges(&name, dev.raw());
        let align = read(dev.raw(), "align");
        for (start, last) in &ranges {
            let fits = start % align == 0 && (last + 1) % align == 0;
            sched::require(
                fits,
                format!("{name}: {start:x}-{last:x} is not aligned to {align:x}"),
            );
        }
        all.extend(ranges);
    }
    all.sort_unstable();
    let inside = |(start, last): &Range| BASE <= *start && *last < BASE + GRANULES * GRANULE;
    sched::require(
        all.iter().all(inside),
        format!("ranges outside of the region: {all:x?}"),
    );
    let twice = all.windows(2).any(|pair| pair[0].1 >= pair[1].0);
    sched::require(!twice, format!("memory was given out twice: {all:x?}"));
    let taken: u64 = all.iter().map(|(start, last)| last - start + 1).sum();
    sched::require(
        taken + free == GRANULES * GRANULE,
        format!("{taken} bytes are taken and {free} are free"),
    );
    for claim in bindings::iomem() {
        // A drain goes on without its device if nobody could wait for it.
        let drains = kernel::workqueue::pending() + kernel::workqueue::running() > 0;
        sched::require(
            all.contains(&claim) || drains,
            format!("{claim:x?} is in /proc/iomem, and of no device"),
        );
    }
}
