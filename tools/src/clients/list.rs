// SPDX-License-Identifier: GPL-2.0
//! The clients: each is a script of tests/clients, which runs on a machine of its own.

use std::time::Duration;

use crate::report::{TestResult, Verdict, QUIET};
use crate::settings::{self, Machine};
use crate::spec::Impl;

/// An alignment of the device, as the scripts know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Page,
    TwoMib,
    OneGib,
}

impl Align {
    /// The word that the scripts take.
    pub fn word(self) -> &'static str {
        match self {
            Self::Page => "4K",
            Self::TwoMib => "2M",
            Self::OneGib => "1G",
        }
    }

    /// The alignment in words, for the table.
    pub fn text(self) -> &'static str {
        match self {
            Self::Page => "4 KiB",
            Self::TwoMib => "2 MiB",
            Self::OneGib => "1 GiB",
        }
    }
}

pub struct Client {
    /// The name of the script, and the value of ONLY.
    pub name: &'static str,
    /// The programs.
    pub programs: &'static str,
    pub aligns: &'static [Align],
    minutes: u64,
    /// More options for QEMU, with a space between two.
    qemu: &'static str,
}

const ALL: &[Align] = &[Align::TwoMib, Align::Page, Align::OneGib];

/// A PCI device that copies memory, behind an IOMMU, with more bits of an address than it has
/// unless told.
const EDU: &str = "-device intel-iommu,intremap=off -device edu,dma_mask=0xfffffffff";

pub const CLIENTS: &[Client] = &[
    Client {
        name: "pmdk",
        programs: "daxio, pmempool, libpmem2, libpmemobj",
        aligns: &[Align::TwoMib, Align::Page],
        minutes: 30,
        qemu: "",
    },
    Client {
        name: "fio",
        programs: "fio, ioengine=dev-dax",
        aligns: &[Align::TwoMib, Align::Page],
        minutes: 30,
        qemu: "",
    },
    Client {
        name: "uring",
        programs: "fio, ioengine=io_uring, buffers on the device",
        // fio maps some KiB more than its buffers, which no larger alignment allows.
        aligns: &[Align::Page],
        minutes: 30,
        qemu: "",
    },
    Client {
        name: "debuggers",
        programs: "gdb, process_vm_readv()",
        aligns: ALL,
        minutes: 30,
        qemu: "",
    },
    Client {
        name: "qemu",
        programs: "QEMU with KVM, memory-backend-file",
        aligns: ALL,
        minutes: 60,
        qemu: "",
    },
    Client {
        name: "rdma",
        programs: "soft RoCE, by libibverbs and perftest",
        aligns: &[Align::TwoMib, Align::Page],
        minutes: 30,
        qemu: "",
    },
    Client {
        name: "vfio",
        programs: "VFIO, by a container",
        aligns: ALL,
        minutes: 30,
        qemu: EDU,
    },
    Client {
        name: "iommufd",
        programs: "VFIO, by iommufd",
        aligns: ALL,
        minutes: 30,
        qemu: EDU,
    },
    Client {
        name: "stress",
        programs: "stress-ng, numastat",
        aligns: &[Align::TwoMib, Align::Page],
        minutes: 30,
        // The second node has the soft-reserved memory and nothing else.
        qemu: "-object memory-backend-ram,id=ram0,size=2G \
               -object memory-backend-ram,id=ram1,size=2G \
               -object memory-backend-ram,id=ram2,size=2G \
               -numa node,nodeid=0,memdev=ram0,cpus=0-1 \
               -numa node,nodeid=1,memdev=ram1 -numa node,nodeid=2,memdev=ram2",
    },
];

/// A test that cannot pass, with one driver or with both.
pub struct Known {
    client: &'static str,
    test: &'static str,
    imps: &'static [Impl],
    /// A part of the output of a test that failed for that reason.
    says: &'static str,
    pub why: &'static str,
}

impl Known {
    /// Whether the test failed, and for that reason.
    pub fn explains(&self, result: &TestResult) -> bool {
        let says = |line: &String| line.contains(self.says);
        result.verdict == Verdict::Failed && result.output.iter().any(says)
    }
}

const BOTH: &[Impl] = &[Impl::C, Impl::Rust];

const KNOWN: &[Known] = &[
    Known {
        client: "pmdk",
        test: "libpmem2 maps, copies, persists, maps again",
        imps: BOTH,
        says: "status 139",
        why: NO_NVDIMM,
    },
    Known {
        client: "pmdk",
        test: "pmempool makes, shows and checks a pool",
        imps: BOTH,
        says: "status 139",
        why: NO_NVDIMM,
    },
    Known {
        client: "pmdk",
        test: "libpmemobj uses that pool: objects in each range",
        imps: BOTH,
        says: "status 139",
        why: NO_NVDIMM,
    },
    Known {
        client: "rdma",
        test: "RDMA still reaches its pages",
        imps: &[Impl::C],
        says: ENDED,
        why: UNMAPPED,
    },
    Known {
        client: "rdma",
        test: QUIET,
        imps: &[Impl::C],
        says: "rxe_mr_copy",
        why: UNMAPPED,
    },
    Known {
        client: "iommufd",
        test: NO_NEW_OWNER,
        imps: &[Impl::C],
        says: "size took 0",
        why: PINNED,
    },
    Known {
        client: "iommufd",
        test: "the mapping is taken away from the PCI device, and its owner ends well",
        imps: &[Impl::C],
        says: ENDED,
        why: OOPS,
    },
    Known {
        client: "iommufd",
        test: QUIET,
        imps: &[Impl::C],
        says: "unpin_user_page",
        why: OOPS,
    },
    Known {
        client: "vfio",
        test: NO_NEW_OWNER,
        imps: &[Impl::C],
        says: "size took 0",
        why: PINNED,
    },
    Known {
        client: "vfio",
        test: "the device works again",
        imps: &[Impl::Rust],
        says: "bind: EBUSY",
        why: RESERVED,
    },
];

/// The output of a test in which the guest ended.
pub const ENDED: &str = "the guest ended in it";

const NO_NEW_OWNER: &str = "nobody else gets its memory meanwhile";

const PINNED: &str = "A29: unbind frees pages that are pinned";

const UNMAPPED: &str = "A29: the kernel oopses when RDMA reaches pages that unbind freed";

const OOPS: &str = "A29: the kernel oopses when their holder lets go of the pages";

const RESERVED: &str = "VFIO's containers never let go of a dax device's pages, so the device \
                        drains until the next boot";

const NO_NVDIMM: &str =
    "libpmem2 takes every device for a namespace of an NVDIMM, finds none, and \
                         goes on with a null pointer";

impl Client {
    /// The known reason why a test fails with a driver, if there is one.
    pub fn known(&self, test: &str, imp: Impl) -> Option<&'static Known> {
        let same = |k: &&Known| k.client == self.name && k.test == test && k.imps.contains(&imp);
        KNOWN.iter().find(same)
    }

    /// The machine for an alignment. Devices of several GiB need a region of more.
    pub fn machine(&self, align: Align) -> Machine {
        let (mem, append) = match align {
            Align::Page | Align::TwoMib => (settings::DEFAULT_MEM, settings::DEFAULT_APPEND),
            Align::OneGib => ("12G", "memmap=8G%4G+0xefffffff"),
        };
        Machine {
            mem: mem.to_owned(),
            append: append.to_owned(),
            qemu: self.qemu.split_whitespace().map(str::to_owned).collect(),
            timeout: Duration::from_secs(self.minutes * 60),
            ..Machine::default()
        }
    }
}
