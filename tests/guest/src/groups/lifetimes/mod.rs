// SPDX-License-Identifier: GPL-2.0
//! Objects that outlive others, tasks that wait for others, and what the memory manager may do to a
//! mapping. There is a test for each fault that a review of the Rust driver found, L1 to L7 and M1
//! to M13, all but M10 and M12, and tests for the whole kind of each.
//!
//! Draining itself is the group `pins`. Machines that go down (L4) are the tool's group `poweroff`.
//! Allocations that fail (L3, L6) are the group `inject`. docs/reliability.md says which of these
//! tests failed on the driver that had the faults.

mod areas;
mod drivers;
mod giant;
mod giant_namespace;
mod guards;
mod identity;
mod ids;
mod kmem;
pub mod parents;
mod poison;
mod static_region;
mod waits;

use super::{Group, BOTH};

/// The reason for which tests that hold a page leave the C driver out.
const PINNED_C: &str = "frees the page under its holder";

/// 1 GiB of persistent memory. The kernel poisons freed objects, so that a use of one is found.
const PMEM: &str = "memmap=1G!4G slub_debug=FZP";
/// 2 GiB of soft-reserved memory, and the same poisoning of freed objects.
const SOFT_RESERVED: &str = "memmap=2G%4G+0xefffffff slub_debug=FZP";
/// 3 GiB that begin at a multiple of 1 GiB.
const GIANT: &str = "memmap=3G%4G+0xefffffff";

/// The groups.
pub const GROUPS: &[Group] = &[
    Group {
        name: "lifetimes",
        append: SOFT_RESERVED,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 600,
        files: &[
            identity::TESTS,
            waits::TESTS,
            parents::TESTS,
            ids::TESTS,
            drivers::TESTS,
        ],
    },
    Group {
        name: "lifetimes-mm",
        append: super::SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: &[areas::TESTS, guards::TESTS, poison::TESTS],
    },
    Group {
        name: "lifetimes-1g",
        append: GIANT,
        mem: "8G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: &[giant::TESTS],
    },
    Group {
        name: "lifetimes-pmem",
        append: PMEM,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: &[static_region::TESTS],
    },
    Group {
        name: "pmem-between",
        append: giant_namespace::BETWEEN,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: &[giant_namespace::BETWEEN_TESTS],
    },
    Group {
        name: "refused-pmem",
        append: giant_namespace::REFUSED,
        mem: "6G",
        qemu: "-cpu max,la57=off,-pdpe1gb",
        implementations: BOTH,
        timeout: 300,
        files: &[giant_namespace::REFUSED_TESTS],
    },
    Group {
        name: "lifetimes-kmem",
        append: super::consumers::NUMA,
        mem: "6G",
        qemu: super::consumers::NODES,
        implementations: BOTH,
        timeout: 180,
        files: &[kmem::TESTS],
    },
];
