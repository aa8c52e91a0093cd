// SPDX-License-Identifier: GPL-2.0
//! One process, which touches poisoned memory.

use super::{alone, device, is_mapped, map_from, poison, renew, required, Kill};
use crate::device::{Device, Driver};
use crate::ktap::{check, deviates, Failure, Outcome, Rows, Test};
use crate::region::Region;
use crate::test;
use crate::units::{PAGE, UNIT};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(poison_is_told_by_page_and_size).slow(),
    test!(poison_is_told_by_the_mapping_that_has_the_page),
    test!(poison_ends_every_mapping_of_the_page),
    test!(poison_goes_with_the_binding),
];

/// The place of a poisoned page, and the mapping of it.
struct Place {
    /// The page of the device.
    page: u64,
    /// The first page that is mapped.
    first: u64,
    /// Whether the first page that is mapped is touched too, before the other.
    touch_first: bool,
    /// The offset in the page at which the process touches it first.
    touched: u64,
    /// The offset in the page at which the memory fails.
    failed: u64,
}

/// The number of small pages in each of the two ranges of a device of these.
const SMALL: u64 = UNIT / PAGE;

/// The pages that the tests use of a device of two ranges.
fn pages(align: u64) -> &'static [u64] {
    match align {
        PAGE => &const { [0, 1, SMALL - 1, SMALL, SMALL + 188, 2 * SMALL - 1] },
        // 3 each.
        UNIT => &[0, 1, 2, 3, 5],
        _ => &[0, 1],
    }
}

/// All pages and offsets that the tests try.
fn places(align: u64) -> Vec<Place> {
    let last = (align - PAGE) / PAGE * PAGE;
    let mut places = Vec::new();
    for &page in pages(align) {
        for first in [0, page.saturating_sub(1), page] {
            for touch_first in [false, true] {
                for (touched, failed) in [(0, 0), (align / 2, last), (align - 8, align / 2)] {
                    let place = Place {
                        page,
                        first,
                        touch_first: touch_first && first != page,
                        touched: touched / 8 * 8,
                        failed: failed / PAGE * PAGE,
                    };
                    places.push(place);
                }
            }
        }
    }
    // A few of them are the same.
    places.sort_by_key(Place::key);
    places.dedup_by_key(|place| place.key());
    places
}

impl Place {
    /// All fields, so that places can be sorted and compared.
    fn key(&self) -> (u64, u64, bool, u64, u64) {
        let Place {
            page,
            first,
            touch_first,
            touched,
            failed,
        } = *self;
        (page, first, touch_first, touched, failed)
    }

    /// Touches and poisons it, and looks at what it is told.
    fn check(&self, device: &Device, align: u64) -> Outcome {
        alone(Kill::Late, |notes| {
            let map = map_from(device, align, self.first)?;
            let offset = (self.page - self.first) * align;
            if self.touch_first {
                check("store", map.store(0, 1), Ok(()))?;
            }
            let word = offset + self.touched;
            check("store", map.store(word, self.page + 7), Ok(()))?;
            poison(&map, offset + self.failed)?;
            check("told", notes.told()?, vec![required(&map, offset, align)])?;
            check("it is mapped", is_mapped(&map, word)?, false)?;
            if self.touch_first {
                check("the first is mapped", is_mapped(&map, 0)?, true)?;
            }
            // The memory only pretends to have failed.
            check("load", map.load(word), Ok(self.page + 7))
        })
    }
}

/// One process after the other, each with a page of its own kind.
pub fn check_each_page(region: &Region, align: u64) -> Outcome {
    let device = device(region, align)?;
    let mut rows = Rows::default();
    for place in places(align) {
        renew(&device)?;
        rows.add(format!("{:?}", place.key()), place.check(&device, align));
    }
    region.destroy(&device)?;
    rows.finish()
}

fn poison_is_told_by_page_and_size(region: &Region) -> Outcome {
    check_each_page(region, PAGE)?;
    check_each_page(region, UNIT)
}

fn poison_is_told_by_the_mapping_that_has_the_page(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        for touched in [0, 1] {
            renew(&device)?;
            alone(Kill::Late, |notes| {
                // The process touches the page through one of its two mappings only.
                let maps = [map_from(&device, align, 0)?, map_from(&device, align, 1)?];
                let offset = (2 - touched as u64) * align;
                check("store", maps[touched].store(offset, 1), Ok(()))?;
                poison(&maps[touched], offset)?;
                let expected = required(&maps[touched], offset, align);
                check("told", notes.told()?, vec![expected])
            })?;
        }
        region.destroy(&device)?;
    }
    Ok(())
}

fn poison_ends_every_mapping_of_the_page(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        alone(Kill::Late, |notes| {
            let one = map_from(&device, align, 0)?;
            let two = map_from(&device, align, 2)?;
            for (map, page) in [(&one, 2), (&two, 0), (&one, 1), (&two, 1)] {
                check("store", map.store(page * align, page), Ok(()))?;
            }
            poison(&one, 2 * align)?;
            // One signal is enough; of which mapping is the kernel's choice.
            let told = notes.told()?;
            let either = [required(&one, 2 * align, align), required(&two, 0, align)];
            check("signals", told.len(), 1)?;
            check(format!("{told:?}"), either.contains(&told[0]), true)?;
            check("mapped", is_mapped(&one, 2 * align)?, false)?;
            check("mapped there too", is_mapped(&two, 0)?, false)?;
            // The pages beside it are mapped.
            check("the one before", is_mapped(&one, align)?, true)?;
            check("the one behind", is_mapped(&two, align)?, true)
        })?;
        region.destroy(&device)?;
    }
    Ok(())
}

fn poison_goes_with_the_binding(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        for round in 0..3 {
            alone(Kill::Late, |notes| {
                let map = map_from(&device, align, 0)?;
                if round > 0 {
                    check("load", map.load(align), Ok(round - 1))?;
                }
                check("store", map.store(align, round), Ok(()))?;
                poison(&map, align)?;
                let expected = vec![required(&map, align, align)];
                check("told", notes.told()?, expected)?;
                // The page is mapped again when the device is unbound.
                check("load", map.load(align), Ok(round))?;
                // With an old file open the C driver does not let it be opened again (A10).
                let _old = deviates(Some(map), None);
                renew(&device).map_err(Failure::from)
            })?;
        }
        device.unbind()?;
        // Nothing is left of it for another size of pages.
        let other = PAGE + UNIT - align;
        device.set_align(other)?;
        device.bind(Driver::DeviceDax)?;
        let map = map_from(&device, other, 0)?;
        check("load", map.load(align), Ok(2))?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}
