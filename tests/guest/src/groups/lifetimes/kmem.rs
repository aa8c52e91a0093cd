// SPDX-License-Identifier: GPL-2.0
//! kmem is unbound while its memory is online (M6). The memory stays System RAM until the next
//! boot, and nobody may get it a second time. Nothing can undo that, so this is a group of its own.

use crate::device::{mapping_text, Device, Driver};
use crate::errno::Errno;
use crate::iomem;
use crate::ktap::{check, deviates, Failure, Outcome, Test};
use crate::memory;
use crate::mmap::Map;
use crate::region::{self, Region};
use crate::sysfs;
use crate::test;
use crate::units::{Span, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(
        m6_memory_that_is_still_system_ram_is_nobody_elses,
        leave_as_it_is
    ),
    test!(
        m6_region_that_is_bound_again_spares_system_ram,
        leave_as_it_is
    ),
    test!(
        memory_that_is_still_system_ram_is_not_zeroed,
        leave_as_it_is
    )
    .not_on_c("zeroes no memory"),
];

/// Does nothing, because the remaining memory cannot be taken away.
fn leave_as_it_is() -> sysfs::Result<()> {
    Ok(())
}

/// The name of such memory in /proc/iomem.
const OWNER: &str = "System RAM (kmem)";

/// A device of these blocks of memory, bound to kmem and online.
fn online(region: &Region, first: u64, count: u64) -> Result<Device, Failure> {
    let size = memory::block_size()?;
    let start = region.span().start.next_multiple_of(size) + first * size;
    let device = region.create_over(&[Span::at(start, count * size)])?;
    memory::with_online_movable(|| device.bind_by_id(Driver::Kmem))??;
    let states = memory::states(device.spans()?[0])?;
    check("states", states, vec!["online".to_owned(); count as usize])?;
    Ok(device)
}

fn m6_memory_that_is_still_system_ram_is_nobody_elses() -> Outcome {
    let region = Region::fresh()?;
    let block = memory::block_size()?;
    let kept = online(&region, 1, 2)?;
    let other = online(&region, 4, 1)?;
    let span = kept.spans()?[0];
    kept.unbind()?;
    check("driver", kept.driver(), None)?;
    check("owner", iomem::named(OWNER)?.contains(&span), true)?;
    let available = region.available()?;

    // The C driver gives the memory to anybody.
    let taken = kept.try_write("size", &block.to_string());
    check(
        "half its size",
        taken,
        deviates(Err(Errno::EBUSY), Ok(block.to_string().len())),
    )?;
    let taken = kept.try_write("size", "0");
    check("no size", taken, deviates(Err(Errno::EBUSY), Ok(1)))?;
    let freed = deviates(0, span.len());
    check("available", region.available()?, available + freed)?;
    if taken.is_ok() {
        return Ok(());
    }
    let deleted = region.try_write("delete", kept.name());
    check("delete", deleted, Err(Errno::EBUSY))?;
    check("ranges", kept.spans()?, vec![span])?;
    kept.forget()?;
    let bound = Driver::DeviceDax.try_write("bind", kept.name());
    check("bind to device_dax", bound, Err(Errno::EBUSY))?;

    // All that is left goes to others, which can use it.
    let rest = region.create_sized(available)?;
    check("available", region.available()?, 0)?;
    for spans in [rest.spans()?, other.spans()?] {
        for other in spans {
            check(
                format!("{other:?} over {span:?}"),
                other.overlaps(span),
                false,
            )?;
        }
    }
    rest.bind(Driver::DeviceDax)?;
    let map = Map::whole(&rest)?;
    check("store", map.store(map.len() - UNIT, 1), Ok(()))?;
    drop(map);
    region.destroy(&rest)?;
    // Memory that was offline when kmem was unbound is free again.
    memory::offline(other.spans()?[0])?;
    region.destroy(&other)?;
    let free = region.span().len() - span.len();
    check("available", region.available()?, free)?;
    let still = kept.try_write("size", "0");
    check("no size, still", still, Err(Errno::EBUSY))
}

fn m6_region_that_is_bound_again_spares_system_ram() -> Outcome {
    let hmem = region::hmem_names()?.remove(0);
    let region = Region::fresh_named(hmem.clone())?;
    let kept = online(&region, 10, 1)?;
    let span = kept.spans()?[0];
    kept.unbind()?;
    let region = Region::fresh_named(hmem)?;
    let next = region.create()?;
    let (ours, free) = (mapping_text(span), region.available()?);
    let taken = next.try_write("mapping", &ours);
    let expected = deviates(Err(Errno::EBUSY), Ok(ours.len()));
    check("mapping", taken, expected)?;
    if taken.is_ok() {
        return Ok(());
    }
    let taken = next.try_write("size", &free.to_string());
    check("size", taken, Err(Errno::EBUSY))?;
    check("available", region.available()?, free)?;
    check("ranges", next.ranges()?, vec![])?;
    // Other memory is free.
    next.add_mapping(Span::at(span.end + 1, span.len()))?;
    next.bind(Driver::DeviceDax)?;
    Ok(())
}

/// A region that is bound again forgets that kmem had the memory. The kernel's list of memory in use
/// does not.
fn memory_that_is_still_system_ram_is_not_zeroed() -> Outcome {
    let hmem = region::hmem_names()?.remove(0);
    let region = Region::fresh_named(hmem.clone())?;
    let kept = online(&region, 7, 1)?;
    let span = kept.spans()?[0];
    kept.unbind()?;
    let region = Region::fresh_named(hmem)?;
    sysfs::write(&region.attr("zero_on_alloc"), "1")?;
    let next = region.create()?;
    let (ours, free) = (mapping_text(span), region.available()?);
    let refused = next.try_write("mapping", &ours);
    check("mapping", refused, Err(Errno::EBUSY))?;
    check("available", region.available()?, free)?;
    check("ranges", next.ranges()?, vec![])?;
    // Other memory is zeroed.
    next.add_mapping(Span::at(span.end + 1, span.len()))?;
    Ok(())
}
