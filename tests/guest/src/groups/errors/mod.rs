// SPDX-License-Identifier: GPL-2.0
//! Bad input gives the right error number, and changes nothing.
//!
//! Every test is a table of writes. A row names the error of the Rust driver. Where the C driver
//! does something else, which is a deviation that is meant, the row names that too.

mod align;
mod driver;
mod mapping;
mod region;
mod size;

use crate::device::{Device, Driver};
use crate::errno::Errno;
use crate::kernel::{self, Impl};
use crate::ktap::{check, deviates, note, skip, Outcome, Rows, Test};
use crate::region::Region;
use crate::snapshot::Snapshot;
use crate::sysfs;
use crate::units::{Span, UNIT};
use std::path::{Path, PathBuf};

/// The tests, by file.
pub const FILES: &[&[Test]] = &[
    size::TESTS,
    mapping::TESTS,
    align::TESTS,
    region::TESTS,
    driver::TESTS,
];

/// A region in the middle of its life; `.` is free, a letter is a unit:
/// `bbbb....llll..ll....fff...fff....`, with an empty device besides.
struct Fixture {
    region: Region,
    /// A device without size.
    empty: Device,
    /// A device that is bound to device_dax.
    bound: Device,
    /// A device with two ranges and no driver.
    loose: Device,
}

impl Fixture {
    /// Units that are free.
    const FREE: u64 = 14;
    /// Units that `loose` has.
    const LOOSE: u64 = 6;

    /// Builds it in an empty region.
    fn new(region: &Region) -> sysfs::Result<Fixture> {
        let bound = region.create_over(&[region.units(0, 4)])?;
        let loose = region.create_over(&[region.units(8, 4), region.units(14, 2)])?;
        region.create_over(&[region.units(20, region.unit_count() - 24)])?;
        bound.bind(Driver::DeviceDax)?;
        Ok(Fixture {
            region: region.clone(),
            empty: region.first_device()?,
            bound,
            loose,
        })
    }

    /// A free span: `len` of the four units at 16.
    fn free(&self, first: u64, len: u64) -> Span {
        self.region.units(16 + first, len)
    }
}

/// The C driver's answer to a write that the Rust driver refuses.
#[derive(Clone, Copy)]
enum OnC {
    /// Refuses with the same error.
    Same,
    /// Refuses with another error.
    Refuses(Errno),
    /// Returns the full count, even if it did nothing.
    Accepts,
    /// Warns, hangs or worse, so it is not tried.
    Breaks(&'static str),
}

/// One write that must fail.
struct Row {
    path: PathBuf,
    text: String,
    errno: Errno,
    on_c: OnC,
}

impl Row {
    /// A write that both drivers refuse alike.
    fn new(path: PathBuf, text: impl Into<String>, errno: Errno) -> Row {
        Row {
            path,
            text: text.into(),
            errno,
            on_c: OnC::Same,
        }
    }

    /// Says what the C driver does instead.
    fn on_c(mut self, on_c: OnC) -> Row {
        self.on_c = on_c;
        self
    }
}

/// Writes of many texts, all of which give the same error.
fn each(path: &Path, texts: &[&str], errno: Errno) -> Vec<Row> {
    texts
        .iter()
        .map(|&text| Row::new(path.into(), text, errno))
        .collect()
}

/// Many rows on which the C driver differs in the same way.
fn all_on_c(rows: Vec<Row>, on_c: OnC) -> Vec<Row> {
    rows.into_iter().map(|row| row.on_c(on_c)).collect()
}

/// Texts that are no number in any attribute.
const NOT_NUMBERS: &[&str] = &[
    "\n",
    "\0",
    "x",
    "2097152x",
    "0x",
    "0xg",
    " 2097152",
    "2097152 ",
    "2097152\n\n",
    "-2097152",
    "--1",
    "2 MiB",
    "2097152.0",
    "1e6",
    "08",
    "0x200000,0x200000",
    "\u{663}",
    "nan",
];

/// Does the writes. Each must fail and leave everything as it was.
fn refused(region: &Region, rows: impl Fn(&Fixture) -> Vec<Row>) -> Outcome {
    let mut fixture = Fixture::new(region)?;
    let mut before = Snapshot::of(region)?;
    let mut results = Rows::default();
    let count = rows(&fixture).len();
    for index in 0..count {
        // The rows are made anew because a rebuilt fixture may have other names.
        let row = rows(&fixture).swap_remove(index);
        let label = format!("{:?} to {}", row.text, short(&row.path));
        let wanted = match (kernel::driver(), row.on_c) {
            (Impl::C, OnC::Breaks(how)) => {
                results.add(&label, skip(format!("breaks C: {how}")));
                continue;
            }
            _ => wanted(&row.text, row.errno, row.on_c),
        };
        let result = sysfs::try_write(&row.path, row.text.as_bytes());
        results.add(&label, check("write", result, wanted));
        if result.is_ok() {
            note(format!("{label}: accepted"));
            crate::region::tear_down()?;
            fixture = Fixture::new(region)?;
            before = Snapshot::of(region)?;
        } else {
            let after = Snapshot::of(region)?;
            results.add(&label, before.check_same(&after));
        }
    }
    results.finish()
}

/// The last two components of a path: device and attribute.
fn short(path: &Path) -> String {
    let names: Vec<_> = path.iter().rev().take(2).collect();
    names
        .iter()
        .rev()
        .map(|name| name.to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

/// The result of a write that is expected of the running driver.
fn wanted(text: &str, errno: Errno, on_c: OnC) -> Result<usize, Errno> {
    match on_c {
        OnC::Same | OnC::Breaks(_) => Err(errno),
        OnC::Refuses(other) => Err(deviates(errno, other)),
        OnC::Accepts => deviates(Err(errno), Ok(text.len())),
    }
}

/// One write that must fail with this error, outside a table.
fn refuses(region: &Region, path: &Path, text: &str, errno: Errno, on_c: OnC) -> Outcome {
    let before = Snapshot::of(region)?;
    let result = sysfs::try_write(path, text.as_bytes());
    check(
        format!("{text:?} to {}", short(path)),
        result,
        wanted(text, errno, on_c),
    )?;
    if result.is_ok() {
        return Ok(());
    }
    before.check_same(&Snapshot::of(region)?)
}

/// Decimal text of a number of units.
fn units(count: u64) -> String {
    (count * UNIT).to_string()
}
