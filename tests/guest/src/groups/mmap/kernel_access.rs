// SPDX-License-Identifier: GPL-2.0
//! The kernel itself reads and writes mapped dax memory, and holds on to its pages.

use super::{bound, open};
use crate::errno::Errno;
use crate::ktap::{check, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::pin::{self, check_dead, check_draining, drained, failed};
use crate::pipe::Pipe;
use crate::region::Region;
use crate::test;
use crate::units::{PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(write_call_copies_from_mapped_memory),
    test!(read_call_copies_into_mapped_memory),
    test!(write_call_from_unbound_memory_gives_efault),
    test!(vmsplice_hands_over_the_page),
    test!(pinned_page_outlives_the_binding)
        .not_on_c("frees the page under its user, which then oopses"),
];

fn write_call_copies_from_mapped_memory(region: &Region) -> Outcome {
    let map = Map::whole(&bound(region)?)?;
    let pipe = Pipe::new().map_err(failed("pipe"))?;
    // The first page is in the page table, the second is not: the kernel takes the fault.
    check("store", map.store(8, 77), Ok(()))?;
    check("write", pipe.write_from(&map, 8, 8), Ok(8))?;
    check("data", pipe.read_word(), Ok(77))?;
    check("write", pipe.write_from(&map, 2 * UNIT, 8), Ok(8))?;
    let word = pipe.read_word();
    check("data", word, map.load(2 * UNIT).map_err(|_| Errno::EFAULT))
}

fn read_call_copies_into_mapped_memory(region: &Region) -> Outcome {
    let map = Map::whole(&bound(region)?)?;
    let pipe = Pipe::new().map_err(failed("pipe"))?;
    check("write", pipe.write_word(123), Ok(8))?;
    check("read", pipe.read_into(&map, 3 * UNIT, 8), Ok(8))?;
    check("data", map.load(3 * UNIT), Ok(123))
}

fn write_call_from_unbound_memory_gives_efault(region: &Region) -> Outcome {
    let device = bound(region)?;
    let map = Map::whole(&device)?;
    let pipe = Pipe::new().map_err(failed("pipe"))?;
    check("store", map.store(0, 1), Ok(()))?;
    device.unbind()?;
    check("write", pipe.write_from(&map, 0, 8), Err(Errno::EFAULT))
}

fn vmsplice_hands_over_the_page(region: &Region) -> Outcome {
    let map = Map::whole(&bound(region)?)?;
    let pipe = Pipe::new().map_err(failed("pipe"))?;
    check("store", map.store(PAGE, 5), Ok(()))?;
    check("vmsplice", pipe.splice_from(&map, PAGE, 8), Ok(8))?;
    // The pipe refers to the page, so it sees later stores.
    check("store", map.store(PAGE, 6), Ok(()))?;
    check("data", pipe.read_word(), Ok(6))
}

fn pinned_page_outlives_the_binding(region: &Region) -> Outcome {
    let device = bound(region)?;
    let file = open(&device)?;
    let map = Map::whole(&device)?;
    check("store", map.store(UNIT, 4711), Ok(()))?;
    let pipe = Pipe::new().map_err(failed("pipe"))?;
    check("vmsplice", pipe.splice_from(&map, UNIT, 8), Ok(8))?;
    pin::unbind(&device)?;
    check_dead(&map)?;
    let again = Map::shared(&file, UNIT, 0).map(|m| m.addr());
    check("mmap of the old file", again, Err(Errno::ENXIO))?;
    check_draining(region, &device)?;
    check("data", pipe.read_word(), Ok(4711))?;
    drained(&device)?;
    region.destroy(&device).map_err(Failure::from)
}
