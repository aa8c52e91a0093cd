// SPDX-License-Identifier: GPL-2.0
//! Everybody who uses device-dax, each loaded, used, unbound and unloaded, on a machine that has
//! such memory. The tests are about what users see, so they know of few differences between the
//! drivers, and they are the same for modules and for a kernel that has everything built in.

mod cxl;
mod fsdev;
mod hmem;
mod modules;
mod nvdimm;
mod pmem;
mod static_region;

use super::{daxctl, kmem, Group, BOTH, SMALL};

/// 2 GiB that are all of NUMA node 1. Only memory of a node can become System RAM.
const NUMA: &str = "memmap=2G%6G+0xefffffff memory_hotplug.memmap_on_memory=1";
/// The two nodes.
const NODES: &str = "-object memory-backend-ram,id=ram0,size=4G \
                     -object memory-backend-ram,id=ram1,size=2G \
                     -numa node,nodeid=0,memdev=ram0,cpus=0-1 -numa node,nodeid=1,memdev=ram1";

/// The groups.
pub const GROUPS: &[Group] = &[
    Group {
        name: "hmem",
        append: hmem::APPEND,
        mem: "6G",
        qemu: hmem::QEMU,
        implementations: BOTH,
        timeout: 300,
        files: &[hmem::TESTS],
    },
    Group {
        name: "fsdev",
        append: SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: &[fsdev::TESTS],
    },
    Group {
        name: "modules",
        append: NUMA,
        mem: "6G",
        qemu: NODES,
        implementations: BOTH,
        timeout: 300,
        files: &[modules::TESTS],
    },
    Group {
        name: "pmem",
        append: pmem::APPEND,
        mem: "6G",
        qemu: pmem::QEMU,
        implementations: BOTH,
        timeout: 300,
        files: &[pmem::TESTS],
    },
    Group {
        name: "nvdimm",
        append: "",
        mem: nvdimm::MEM,
        qemu: nvdimm::QEMU,
        implementations: BOTH,
        timeout: 300,
        files: &[nvdimm::TESTS],
    },
    Group {
        name: "cxl",
        append: cxl::APPEND,
        mem: cxl::MEM,
        qemu: cxl::QEMU,
        implementations: BOTH,
        timeout: 300,
        files: cxl::FILES,
    },
    Group {
        name: "kmem",
        append: NUMA,
        mem: "6G",
        qemu: NODES,
        implementations: BOTH,
        timeout: 300,
        files: &[kmem::TESTS],
    },
    Group {
        name: "daxctl",
        append: NUMA,
        mem: "6G",
        qemu: NODES,
        implementations: BOTH,
        timeout: 300,
        files: &[daxctl::TESTS],
    },
];
