// SPDX-License-Identifier: GPL-2.0
//! Areas of huge pages cannot grow, like those of hugetlbfs. These tests show what else the kernel
//! refuses for such areas. Areas of small pages, and all areas of the C driver, are like those of
//! any file.

use super::{device, failed};
use crate::errno::Errno;
use crate::ktap::{check, deviates, Failure, Outcome, Test};
use crate::mmap::{Map, RW};
use crate::region::Region;
use crate::sysfs::Error;
use crate::test;
use crate::units::{PAGE, UNIT};
use std::fs;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(advice_against_copies_and_dumps_can_be_taken_back),
    test!(areas_that_are_alike_again_become_one),
];

/// Whether areas of pages of that size are like those of any file.
fn is_ordinary(align: u64) -> bool {
    deviates(align == PAGE, true)
}

fn advice_against_copies_and_dumps_can_be_taken_back(region: &Region) -> Outcome {
    let pairs = [
        (libc::MADV_DONTFORK, libc::MADV_DOFORK, "dc"),
        (libc::MADV_DONTDUMP, libc::MADV_DODUMP, "dd"),
    ];
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = Map::whole(&device)?;
        check("it cannot grow", map.has_flag("de")?, !is_ordinary(align))?;
        for (advice, back, flag) in pairs {
            check("advice", map.advise(advice), Ok(()))?;
            check(flag, map.has_flag(flag)?, true)?;
            let expected = if is_ordinary(align) {
                Ok(())
            } else {
                Err(Errno::EINVAL)
            };
            check(format!("{flag} at {align:#x}"), map.advise(back), expected)?;
            check(flag, map.has_flag(flag)?, expected.is_err())?;
        }
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}

/// The areas that a mapping is made of.
fn areas(map: &Map) -> Result<usize, Failure> {
    let path = "/proc/self/maps";
    let text = fs::read_to_string(path).map_err(|e| Error::new(path, Errno::from(e)))?;
    let all = map.addr() as u64..map.addr() as u64 + map.len();
    let starts = text.lines().filter_map(|line| line.split_once('-'));
    let starts = starts.filter_map(|(start, _)| u64::from_str_radix(start, 16).ok());
    Ok(starts.filter(|start| all.contains(start)).count())
}

fn areas_that_are_alike_again_become_one(region: &Region) -> Outcome {
    for align in [PAGE, UNIT] {
        let device = device(region, align)?;
        let map = Map::whole(&device)?;
        check("areas", areas(&map)?, 1)?;
        let protect = |prot| map.protect(UNIT, UNIT, prot).map_err(failed("mprotect"));
        protect(libc::PROT_READ)?;
        check("areas", areas(&map)?, 3)?;
        protect(RW)?;
        let expected = if is_ordinary(align) { 1 } else { 3 };
        check(format!("areas at {align:#x}"), areas(&map)?, expected)?;
        check("store", map.store(UNIT, 1), Ok(()))?;
        drop(map);
        region.destroy(&device)?;
    }
    Ok(())
}
