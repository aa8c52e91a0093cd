// SPDX-License-Identifier: GPL-2.0
//! The goals.

use crate::bench::figures::Driver;

/// The reference that a figure is compared with.
#[derive(Clone, Copy)]
pub enum Against {
    /// The C driver's figure of the same operation.
    C,
    /// The C driver's figure, and so many milliseconds more.
    CAnd(u32),
    /// The C driver's figure. Within the spread of its guests the two count as level.
    CGuests,
    /// The driver's own figure of this operation with so many ranges.
    Own(&'static str, u64),
    /// Nothing. The limit is in the figure's unit.
    Nothing,
}

/// The side of the limit that is good.
#[derive(Clone, Copy, PartialEq)]
pub enum Sense {
    AtMost,
    AtLeast,
}

pub struct Goal {
    pub what: &'static str,
    pub operation: &'static str,
    /// The number of ranges, or 0 if the operation is not measured by ranges.
    pub ranges: u64,
    pub sense: Sense,
    pub limit: f64,
    pub against: Against,
    pub drivers: &'static [Driver],
}

const RUST: &[Driver] = &[Driver::Rust];
const AROUND: &[Driver] = &[Driver::RustAround];
/// Both settings of the Rust driver: with fault-around and without.
const BOTH: &[Driver] = &[Driver::Rust, Driver::RustAround];
/// The number of ranges that goals mean by "many".
const MANY: u64 = 4096;

const fn at_most(
    what: &'static str,
    operation: &'static str,
    ranges: u64,
    limit: f64,
    against: Against,
) -> Goal {
    Goal {
        what,
        operation,
        ranges,
        sense: Sense::AtMost,
        limit,
        against,
        drivers: RUST,
    }
}

/// A goal, for other settings of the driver.
const fn of(drivers: &'static [Driver], goal: Goal) -> Goal {
    Goal { drivers, ..goal }
}

const fn at_least(
    what: &'static str,
    operation: &'static str,
    limit: f64,
    against: Against,
) -> Goal {
    Goal {
        sense: Sense::AtLeast,
        ..at_most(what, operation, 0, limit, against)
    }
}

pub const GOALS: [Goal; 34] = [
    at_most("fault, 2 MiB, 1 range", "fault-2m-last", 1, 1.0, Against::C),
    at_most(
        "fault, 2 MiB, 4096 ranges, average",
        "fault-2m",
        MANY,
        1.10,
        Against::Own("fault-2m-last", 1),
    ),
    at_most(
        "fault, 2 MiB, last of 4096 ranges",
        "fault-2m-last",
        MANY,
        1.10,
        Against::Own("fault-2m-last", 1),
    ),
    of(
        BOTH,
        at_most("fault, 4 KiB", "fault-4k", 0, 1.0, Against::C),
    ),
    at_most("fault, 1 GiB", "fault-1g", 0, 1.0, Against::C),
    at_most(
        "first touch, per page of 2 MiB",
        "touch-2m",
        0,
        1.0,
        Against::C,
    ),
    at_most(
        "first touch, per page of 4 KiB",
        "touch-4k",
        0,
        1.0,
        Against::C,
    ),
    of(
        AROUND,
        at_most(
            "first touch, per page of 4 KiB",
            "touch-4k",
            0,
            0.35,
            Against::C,
        ),
    ),
    at_most(
        "resize that fills 4095 holes, per range",
        "resize-fill",
        MANY,
        1.15,
        Against::Own("resize-fill", 16),
    ),
    at_most(
        "resize that fills 4095 holes, per range",
        "resize-fill",
        MANY,
        0.30,
        Against::C,
    ),
    at_most(
        "shrink of 4096 ranges to 0, per range",
        "shrink",
        MANY,
        1.15,
        Against::Own("shrink", 16),
    ),
    at_most(
        "shrink of 4096 ranges to 0, per range",
        "shrink",
        MANY,
        0.50,
        Against::C,
    ),
    at_most(
        "4096 `mapping` writes, per range",
        "mapping-write",
        MANY,
        1.15,
        Against::Own("mapping-write", 16),
    ),
    at_most(
        "4096 `mapping` writes, per range",
        "mapping-write",
        MANY,
        0.70,
        Against::C,
    ),
    at_most(
        "read of `size`, 4096 ranges",
        "size-read",
        MANY,
        1.01,
        Against::Own("size-read", 1),
    ),
    at_most(
        "read of `available_size`, 4096 ranges",
        "available-read",
        MANY,
        1.01,
        Against::Own("available-read", 1),
    ),
    at_most("bind of 4096 ranges", "bind", MANY, 0.95, Against::C),
    at_most(
        "unbind of 4096 ranges, the emulator's ns",
        "unbind-turns",
        MANY,
        0.025,
        Against::C,
    ),
    at_most(
        "unbind of 4096 ranges, real ns",
        "unbind",
        MANY,
        0.025,
        Against::C,
    ),
    at_most(
        "unbind of 1.875 GiB of 4 KiB, untouched, the emulator's ns",
        "unbind-4k-turns",
        0,
        1.0,
        Against::C,
    ),
    at_most(
        "unbind of 1.875 GiB of 4 KiB, half touched, the emulator's ns",
        "unbind-4k-half-turns",
        0,
        1.0,
        Against::C,
    ),
    at_most(
        "unbind with a page pinned, the emulator's ns",
        "unbind-pinned-turns",
        0,
        1.0,
        Against::CAnd(50),
    ),
    at_most(
        "unbind with a page pinned, real ns",
        "unbind-pinned",
        0,
        1.0,
        Against::CAnd(50),
    ),
    at_most(
        "bytes per range beyond its `mappingN`",
        "memory-own",
        0,
        128.0,
        Against::Nothing,
    ),
    at_most(
        "create and delete of an empty device",
        "create-delete",
        0,
        1.0,
        Against::C,
    ),
    at_most(
        "`mapping` write of 128 ranges at once, per range",
        "mapping-many",
        0,
        1.0,
        Against::Own("mapping-write", 1),
    ),
    at_most(
        "create of each of 1,000 devices",
        "devices-create",
        0,
        1.0,
        Against::C,
    ),
    at_most(
        "bind of each of 1,000 devices, the emulator's ns",
        "devices-bind-turns",
        0,
        1.0,
        Against::C,
    ),
    at_most(
        "list of 1,000 devices, each",
        "devices-list",
        0,
        1.0,
        Against::C,
    ),
    at_most(
        "unbind of each of 1,000 devices, the emulator's ns",
        "devices-unbind-turns",
        0,
        1.0,
        Against::C,
    ),
    at_most(
        "delete of each of 1,000 devices",
        "devices-delete",
        0,
        1.0,
        Against::C,
    ),
    at_least("zeroing, against `memset()`", "zero", 0.9, Against::Nothing),
    at_least(
        "resizes of two regions at once, against one",
        "two-regions",
        1.5,
        Against::Nothing,
    ),
    of(
        BOTH,
        at_least(
            "faults of two threads, against one",
            "two-threads",
            1.0,
            Against::CGuests,
        ),
    ),
];
