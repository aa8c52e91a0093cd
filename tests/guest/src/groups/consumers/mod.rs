// SPDX-License-Identifier: GPL-2.0
//! Every user of device-dax is loaded, used, unbound and unloaded, on a machine that has such
//! memory. The tests look at what users see. So they know of few differences between the drivers,
//! and are the same for modules and for a kernel that has everything built in.

mod cxl;
mod fsdev;
pub mod hmem;
pub mod labelled;
mod modules;
pub mod nvdimm;
mod pmem;
mod ramdax;
mod ranges;
mod static_region;

pub use static_region::span;

use super::{daxctl, kmem, Group, BOTH, SMALL};

/// 2 GiB that are all of NUMA node 1. Only memory of a node can become System RAM.
pub const NUMA: &str = "memmap=2G%6G+0xefffffff memory_hotplug.memmap_on_memory=1";
/// QEMU's options for two NUMA nodes.
pub const NODES: &str = "-object memory-backend-ram,id=ram0,size=4G \
                     -object memory-backend-ram,id=ram1,size=2G \
                     -numa node,nodeid=0,memdev=ram0,cpus=0-1 -numa node,nodeid=1,memdev=ram1";

/// A group, and what it is about.
pub struct Consumer {
    /// The subject of the group, for the table of docs/results/consumers.md.
    pub about: &'static str,
    /// The group itself.
    pub group: Group,
}

/// The groups.
pub const GROUPS: &[Consumer] = &[
    Consumer {
        about: "dax_hmem: four soft-reserved regions in three NUMA nodes, `region_idle` 0 and 1",
        group: Group {
            name: "hmem",
            append: hmem::APPEND,
            mem: "6G",
            qemu: hmem::QEMU,
            implementations: BOTH,
            timeout: 300,
            files: &[hmem::TESTS],
        },
    },
    Consumer {
        about: "fsdev_dax: bind, unbind, back to device_dax with the data kept",
        group: Group {
            name: "fsdev",
            append: SMALL,
            mem: "6G",
            qemu: "",
            implementations: BOTH,
            timeout: 300,
            files: &[fsdev::TESTS],
        },
    },
    Consumer {
        about: "modprobe, rmmod, autoload by modalias, by udev's events and by daxctl",
        group: Group {
            name: "modules",
            append: NUMA,
            mem: "6G",
            qemu: NODES,
            implementations: BOTH,
            timeout: 300,
            files: &[modules::TESTS],
        },
    },
    Consumer {
        about: "dax_pmem on `memmap=nn!ss`, without labels: pages of 4 KiB, 2 MiB and 1 GiB",
        group: Group {
            name: "pmem",
            append: pmem::APPEND,
            mem: "6G",
            qemu: pmem::QEMU,
            implementations: BOTH,
            timeout: 300,
            files: &[pmem::TESTS],
        },
    },
    Consumer {
        about:
            "dax_pmem on an NVDIMM with labels: several namespaces in a region, a node of its own",
        group: Group {
            name: "nvdimm",
            append: nvdimm::APPEND,
            mem: nvdimm::MEM,
            qemu: nvdimm::QEMU,
            implementations: BOTH,
            timeout: 300,
            files: &[nvdimm::TESTS],
        },
    },
    Consumer {
        about: "dax_pmem on `memmap=nn!ss` that ramdax has given labels",
        group: Group {
            name: "ramdax",
            append: ramdax::APPEND,
            mem: "8G",
            qemu: ramdax::QEMU,
            implementations: BOTH,
            timeout: 300,
            files: &[ramdax::TESTS],
        },
    },
    Consumer {
        about: "dax_cxl on CXL type-3 memory: regions divided, interleaved, disabled, destroyed",
        group: Group {
            name: "cxl",
            append: cxl::APPEND,
            mem: cxl::MEM,
            qemu: cxl::QEMU,
            implementations: BOTH,
            timeout: 300,
            files: cxl::FILES,
        },
    },
    Consumer {
        about:
            "kmem on one and several ranges: blocks, `state`, `memmap_on_memory`, back to devdax",
        group: Group {
            name: "kmem",
            append: NUMA,
            mem: "6G",
            qemu: NODES,
            implementations: BOTH,
            timeout: 300,
            files: &[kmem::TESTS, ranges::TESTS],
        },
    },
    Consumer {
        about: "daxctl: list, create, reconfigure, destroy, `--input`, system-ram and back",
        group: Group {
            name: "daxctl",
            append: NUMA,
            mem: "6G",
            qemu: NODES,
            implementations: BOTH,
            timeout: 300,
            files: &[daxctl::TESTS],
        },
    },
];
