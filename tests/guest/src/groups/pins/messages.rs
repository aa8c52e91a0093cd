// SPDX-License-Identifier: GPL-2.0
//! The kernel log of a device that drains: it names the held page, at once and every minute, and
//! says when draining is over.

use super::{device, C};
use crate::compare::log::Log;
use crate::device::Device;
use crate::kernel;
use crate::ktap::{check, Outcome, Test};
use crate::mmap::Map;
use crate::pin::{self, drained, hold};
use crate::region;
use crate::sysfs;
use crate::test;
use crate::units::PAGE;
use std::thread;
use std::time::Duration;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    test!(
        draining_is_said_at_once_each_minute_and_at_its_end,
        region::tear_down
    )
    .not_on_c(C)
    .slow(),
    test!(unbind_of_an_idle_device_says_nothing, region::tear_down),
];

/// Time after which the log names the page again.
const OFTEN: Duration = Duration::from_secs(60);

/// The lines about a device since the last call, without those of refused writes and binds: these
/// tests try both while the device drains.
fn lines(log: &mut Log, device: &Device) -> sysfs::Result<Vec<String>> {
    let prefix = format!("dax {}: ", device.name());
    let lines = log.lines()?;
    let ours = lines
        .iter()
        .filter_map(|line| line.split_once(&prefix))
        // A message of several lines names its device in the first one.
        .filter_map(|(_, text)| text.lines().next().map(str::to_owned))
        .filter(|text| !text.starts_with("refused: ") && !text.starts_with("probe with driver "));
    Ok(ours.collect())
}

fn draining_is_said_at_once_each_minute_and_at_its_end() -> Outcome {
    let (region, device) = device(PAGE)?;
    let map = Map::whole(&device)?;
    let (first, second) = (5 * PAGE, device.size()? / 2 + PAGE);
    let spans = device.spans()?;
    let pages = [spans[0].start + first, spans[1].start + PAGE];
    let pipes = [hold(&map, first)?, hold(&map, second)?];
    let mut log = Log::open()?;
    pin::unbind(&device)?;
    let said = vec![format!(
        "unbound, but the page at {:#x} is pinned: draining",
        pages[0]
    )];
    check("at once", lines(&mut log, &device)?, said)?;
    // The page that is named is one that is held.
    let [pipe, other] = pipes;
    drop(pipe);
    thread::sleep(OFTEN - OFTEN / 10);
    check("before a minute", lines(&mut log, &device)?, vec![])?;
    let said = kernel::eventually("a line after a minute", || {
        Ok(Some(lines(&mut log, &device)?).filter(|lines| !lines.is_empty()))
    })?;
    let expected = format!("still draining: the page at {:#x} is pinned", pages[1]);
    check("after a minute", said, vec![expected])?;
    drop(other);
    drained(&device)?;
    let said = kernel::eventually("a line that it is over", || {
        Ok(Some(lines(&mut log, &device)?).filter(|lines| !lines.is_empty()))
    })?;
    let ms = match &said[..] {
        [line] => line
            .strip_prefix("drained after ")
            .and_then(|rest| rest.strip_suffix(" ms")),
        _ => None,
    };
    let ms: Option<u64> = ms.and_then(|ms| ms.parse().ok());
    let right = ms.is_some_and(|ms| u128::from(ms) >= OFTEN.as_millis());
    check(format!("in the end: {said:?}"), right, true)?;
    region.destroy(&device)?;
    check("afterwards", lines(&mut log, &device)?, vec![])
}

fn unbind_of_an_idle_device_says_nothing() -> Outcome {
    let (_, device) = device(PAGE)?;
    let map = Map::whole(&device)?;
    check("store", map.store(0, 1), Ok(()))?;
    let mut log = Log::open()?;
    device.unbind()?;
    check("said", lines(&mut log, &device)?, vec![])
}
