// SPDX-License-Identifier: GPL-2.0
//! The operations that are measured, as `dax-guest bench` names them.

/// The kind of guest that an operation is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One CPU whose clock counts instructions.
    Count,
    /// `Count`, and once more with fault-around: for faults on pages of 4 KiB.
    Around,
    /// Two CPUs that the emulator runs in turns, and the emulator's time.
    Turns,
    /// Two CPUs and real time.
    Wall,
    /// `Wall`, for what two threads do at once. Runs are short, and there are many guests.
    Pair,
    /// `Pair`, and once more with fault-around.
    PairAround,
}

#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    /// The name in the tables.
    pub title: &'static str,
    pub kind: Kind,
    /// Whether it is measured for each number of ranges.
    pub by_ranges: bool,
    /// Whether the C driver has nothing like it.
    pub rust_only: bool,
}

const fn operation(name: &'static str, title: &'static str, kind: Kind) -> Operation {
    Operation {
        name,
        title,
        kind,
        by_ranges: true,
        rust_only: false,
    }
}

const fn single(name: &'static str, title: &'static str, kind: Kind) -> Operation {
    Operation {
        by_ranges: false,
        ..operation(name, title, kind)
    }
}

/// A single operation that the C driver does not have.
const fn new(name: &'static str, title: &'static str, kind: Kind) -> Operation {
    Operation {
        rust_only: true,
        ..single(name, title, kind)
    }
}

pub const OPERATIONS: [Operation; 37] = [
    operation(
        "fault-2m",
        "fault, 2 MiB, average of all ranges",
        Kind::Count,
    ),
    operation("fault-2m-last", "fault, 2 MiB, last range", Kind::Count),
    single("fault-4k", "fault, 4 KiB", Kind::Around),
    single("fault-1g", "fault, 1 GiB", Kind::Count),
    single(
        "touch-2m",
        "first touch of 1 GiB, per page of 2 MiB",
        Kind::Count,
    ),
    single(
        "touch-4k",
        "first touch of 64 MiB, per page of 4 KiB",
        Kind::Around,
    ),
    single(
        "lone-4k",
        "first touch of one page of 4 KiB amid 64 MiB",
        Kind::Around,
    ),
    operation(
        "resize-fill",
        "resize that fills holes, per range",
        Kind::Count,
    ),
    operation("shrink", "shrink to 0, per range", Kind::Count),
    operation("mapping-write", "`mapping` write, per range", Kind::Count),
    operation("size-read", "read of `size`", Kind::Count),
    operation("available-read", "read of `available_size`", Kind::Count),
    operation("bind", "bind, per range", Kind::Count),
    operation("unbind-turns", "unbind, the emulator's time", Kind::Turns),
    operation("unbind", "unbind, real time", Kind::Wall),
    single(
        "unbind-4k-turns",
        "unbind of 1.875 GiB of 4 KiB, untouched, the emulator's time",
        Kind::Turns,
    ),
    single(
        "unbind-4k",
        "unbind of 1.875 GiB of 4 KiB, untouched, own instructions",
        Kind::Count,
    ),
    single(
        "unbind-4k-half-turns",
        "unbind of 1.875 GiB of 4 KiB, half touched, the emulator's time",
        Kind::Turns,
    ),
    single(
        "unbind-4k-half",
        "unbind of 1.875 GiB of 4 KiB, half touched, own instructions",
        Kind::Count,
    ),
    single(
        "unbind-4k-sparse-turns",
        "unbind of 1.875 GiB of 4 KiB, one in 512 touched, the emulator's time",
        Kind::Turns,
    ),
    single(
        "unbind-4k-sparse",
        "unbind of 1.875 GiB of 4 KiB, one in 512 touched, own instructions",
        Kind::Count,
    ),
    single(
        "unbind-pinned-turns",
        "unbind with a page pinned, the emulator's time",
        Kind::Turns,
    ),
    single(
        "unbind-pinned",
        "unbind with a page pinned, real time",
        Kind::Wall,
    ),
    single(
        "create-delete",
        "create and delete of an empty device",
        Kind::Count,
    ),
    new(
        "mapping-many",
        "`mapping` write of 128 ranges at once, per range",
        Kind::Count,
    ),
    single(
        "devices-create",
        "create of each of 1,000 devices of one range",
        Kind::Count,
    ),
    single(
        "devices-bind-turns",
        "bind of each of 1,000 devices, the emulator's time",
        Kind::Turns,
    ),
    single(
        "devices-bind",
        "bind of each of 1,000 devices, own instructions",
        Kind::Count,
    ),
    single("devices-list", "list of 1,000 devices, each", Kind::Count),
    single(
        "devices-unbind-turns",
        "unbind of each of 1,000 devices, the emulator's time",
        Kind::Turns,
    ),
    single(
        "devices-unbind",
        "unbind of each of 1,000 devices, own instructions",
        Kind::Count,
    ),
    single(
        "devices-delete",
        "delete of each of 1,000 devices",
        Kind::Count,
    ),
    single("memory", "memory per range", Kind::Count),
    single(
        "memory-own",
        "memory per range beyond its `mappingN`",
        Kind::Count,
    ),
    single(
        "two-regions",
        "resizes, two regions by two CPUs against one by one",
        Kind::Pair,
    ),
    single(
        "two-threads",
        "faults, two threads against one",
        Kind::PairAround,
    ),
    new(
        "zero",
        "`zero_on_alloc`, how fast against `memset()`",
        Kind::Pair,
    ),
];

pub fn named(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}
