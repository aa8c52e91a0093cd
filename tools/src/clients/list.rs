// SPDX-License-Identifier: GPL-2.0
//! The clients: each is a script of tests/clients, which runs on a machine of its own.

use std::time::Duration;

use crate::settings::{self, Machine};

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
}

pub const CLIENTS: &[Client] = &[
    Client {
        name: "pmdk",
        programs: "daxio, pmempool, libpmem2, libpmemobj",
        aligns: &[Align::TwoMib, Align::Page],
        minutes: 30,
    },
    Client {
        name: "fio",
        programs: "fio, ioengine=dev-dax",
        aligns: &[Align::TwoMib, Align::Page],
        minutes: 30,
    },
    Client {
        name: "uring",
        programs: "fio, ioengine=io_uring, buffers on the device",
        // fio maps some KiB more than its buffers, which no larger alignment allows.
        aligns: &[Align::Page],
        minutes: 30,
    },
    Client {
        name: "debuggers",
        programs: "gdb, process_vm_readv()",
        aligns: &[Align::TwoMib, Align::Page, Align::OneGib],
        minutes: 30,
    },
    Client {
        name: "qemu",
        programs: "QEMU, memory-backend-file",
        aligns: &[Align::TwoMib],
        minutes: 60,
    },
];

/// Tests that a program cannot pass with either driver, and why.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "pmdk",
        "libpmem2 maps, copies, persists, maps again",
        NO_NVDIMM,
    ),
    ("pmdk", "pmempool makes, shows and checks a pool", NO_NVDIMM),
    (
        "pmdk",
        "libpmemobj uses that pool: objects in each range",
        NO_NVDIMM,
    ),
];

const NO_NVDIMM: &str =
    "libpmem2 takes every device for a namespace of an NVDIMM, finds none, and \
                         goes on with a null pointer";

impl Client {
    /// Why a test is known to fail, if it is.
    pub fn known(&self, test: &str) -> Option<&'static str> {
        let found = KNOWN.iter().find(|k| k.0 == self.name && k.1 == test);
        found.map(|(_, _, why)| *why)
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
            timeout: Duration::from_secs(self.minutes * 60),
            ..Machine::default()
        }
    }
}
