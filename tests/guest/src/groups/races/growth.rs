// SPDX-License-Identifier: GPL-2.0
//! A bind in the middle of a device's growth gets all of the growth, or none of it.

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::iomem;
use crate::ktap::{check, needs_units, Failure, Outcome, Test};
use crate::mmap::Map;
use crate::region::Region;
use crate::test;
use crate::units::{Span, PAGE, UNIT};
use std::thread;

/// The tests of this file.
pub const TESTS: &[Test] = &[test!(bind_in_the_middle_of_a_growth_has_all_of_it_or_none)
    .not_on_c("lets ranges change under a driver")];

/// The holes that the device grows over; each becomes a range.
const HOLES: u64 = 200;
/// The mapping whose appearance says that it is time to bind; 0 is there from the beginning.
const MOMENTS: [u64; 10] = [0, 1, 2, 20, 50, 100, 150, 190, 198, 199];

/// Checks that the files say what was reserved, and that the device has it to its last byte.
fn check_whole(device: &Device) -> Outcome {
    let ranges = device.ranges()?;
    let mut spans: Vec<Span> = ranges.iter().map(|range| range.span).collect();
    let size: u64 = spans.iter().map(|span| span.len()).sum();
    check("size", device.size()?, size)?;
    spans.sort();
    check("reserved", iomem::named(device.name())?, spans)?;
    let map = Map::whole(device)?;
    for range in ranges {
        let word = range.page_offset * PAGE + range.span.len() - 8;
        check("store", map.store(word, word), Ok(()))?;
        check("load", map.load(word), Ok(word))?;
        let frame = map.frames(word / PAGE * PAGE, 1)?[0];
        check("frame", frame, Some(range.span.end / PAGE))?;
    }
    Ok(())
}

fn bind_in_the_middle_of_a_growth_has_all_of_it_or_none(region: &Region) -> Outcome {
    needs_units(region, 2 * HOLES)?;
    let separators: Vec<Span> = (0..HOLES).map(|n| region.units(2 * n + 1, 1)).collect();
    region.create_over(&separators)?;
    let device = region.create_over(&[region.units(0, 1)])?;
    let mut in_the_middle = 0;
    for moment in MOMENTS {
        let sign = device.attr(&format!("mapping{moment}"));
        let (bound, grown, under_way) = thread::scope(|scope| {
            let grow = || device.try_write("size", &(HOLES * UNIT).to_string());
            let growing = scope.spawn(grow);
            while !sign.exists() && !growing.is_finished() {
                thread::yield_now();
            }
            let under_way = !growing.is_finished();
            let bound = Driver::DeviceDax.try_write("bind", device.name());
            (bound, growing.join(), under_way)
        });
        // mapping0 is there before the growth begins.
        in_the_middle += usize::from(moment > 0 && under_way);
        let grown = grown.map_err(|_| Failure::Fail("a thread panicked".into()))?;
        check("bind", bound.map(drop), Ok(()))?;
        let ranges = match grown {
            Err(Errno::EBUSY) => 1,
            other => {
                check("size", other.map(drop), Ok(()))?;
                HOLES as usize
            }
        };
        check("ranges", device.ranges()?.len(), ranges)?;
        check_whole(&device)?;
        device.unbind()?;
        device.set_size(UNIT)?;
    }
    check("binds in the middle", in_the_middle > 0, true)
}
