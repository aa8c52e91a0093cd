// SPDX-License-Identifier: GPL-2.0
//! The groups of tests. Each group runs in a guest of its own.

mod attributes;
mod colours;
mod consumers;
mod create;
mod daxctl;
mod endurance;
mod errors;
mod inject;
mod kmem;
mod layout;
mod lifecycle;
pub mod lifetimes;
mod mm;
mod mmap;
mod overlap;
mod pins;
mod plans;
mod poison;
mod races;
mod resize;
mod scenario;
mod stress;
mod suspend;
mod zero;

use crate::kernel::Impl;
use crate::ktap::Test;

/// Tests that share a guest.
pub struct Group {
    /// Its name on the command line.
    pub name: &'static str,
    /// Kernel command line: the soft-reserved memory.
    append: &'static str,
    /// Memory of the guest.
    mem: &'static str,
    /// Further QEMU options.
    qemu: &'static str,
    /// The drivers that the group is for.
    implementations: &'static [Impl],
    /// Seconds for the whole group, boot included.
    timeout: u64,
    /// The tests, by file.
    files: &'static [&'static [Test]],
}

/// 2 GiB at 4 GiB: what most groups need.
const SMALL: &str = "memmap=2G%4G+0xefffffff";
/// 3 GiB at 4 GiB: pages of 1 GiB.
const GIANT: &str = "memmap=3G%4G+0xefffffff";
/// Both drivers.
const BOTH: &[Impl] = &[Impl::Rust, Impl::C];

/// The groups that are about the driver itself.
const GROUPS: &[Group] = &[
    Group {
        name: "sysfs",
        append: SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: &[attributes::TESTS, resize::TESTS, create::TESTS],
    },
    Group {
        name: "errors",
        append: SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: errors::FILES,
    },
    Group {
        name: "mmap",
        append: SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: mmap::FILES,
    },
    Group {
        name: "fault-around",
        append: mmap::AROUND_APPEND,
        mem: "6G",
        qemu: "",
        implementations: &[Impl::Rust],
        timeout: 300,
        files: mmap::AROUND_FILES,
    },
    Group {
        name: "mmap-1g",
        append: GIANT,
        mem: "8G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: mmap::GIANT_FILES,
    },
    Group {
        name: "mm",
        append: consumers::hmem::APPEND,
        mem: "6G",
        qemu: consumers::hmem::QEMU,
        implementations: BOTH,
        timeout: 600,
        files: mm::FILES,
    },
    Group {
        name: "mm-1g",
        append: GIANT,
        mem: "8G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: &[mm::GIANT],
    },
    Group {
        name: "poison",
        append: SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: poison::FILES,
    },
    Group {
        name: "poison-1g",
        append: GIANT,
        mem: "8G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: &[poison::GIANT],
    },
    Group {
        name: "overlap",
        append: overlap::APPEND,
        mem: consumers::nvdimm::MEM,
        qemu: consumers::nvdimm::QEMU,
        implementations: BOTH,
        timeout: 300,
        files: &[overlap::TESTS],
    },
    Group {
        name: "suspend",
        append: suspend::APPEND,
        mem: "6G",
        qemu: suspend::QEMU,
        implementations: BOTH,
        timeout: 300,
        files: &[suspend::TESTS],
    },
    Group {
        name: "lifecycle",
        append: SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: lifecycle::FILES,
    },
    Group {
        name: "refused",
        append: "memmap=8G%32G+0xefffffff memmap=0x3ffff000%0xc00001000+0xefffffff",
        mem: "1G",
        qemu: "-cpu max,la57=off,-pdpe1gb",
        implementations: BOTH,
        timeout: 300,
        files: lifecycle::REFUSED_FILES,
    },
    Group {
        name: "scenario",
        append: SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 180,
        files: &[scenario::TESTS],
    },
    Group {
        name: "zero",
        append: consumers::NUMA,
        mem: "6G",
        qemu: consumers::NODES,
        implementations: BOTH,
        timeout: 300,
        files: zero::FILES,
    },
    Group {
        name: "layout",
        append: SMALL,
        mem: "4G",
        qemu: layout::QEMU,
        implementations: BOTH,
        timeout: 600,
        files: &[layout::TESTS, colours::TESTS, plans::TESTS],
    },
    Group {
        name: "pins",
        append: consumers::hmem::APPEND,
        mem: "6G",
        qemu: consumers::hmem::QEMU,
        implementations: BOTH,
        timeout: 300,
        files: pins::FILES,
    },
    Group {
        name: "races",
        append: SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 600,
        files: races::FILES,
    },
    Group {
        name: "inject",
        append: SMALL,
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 900,
        files: inject::FILES,
    },
    Group {
        name: "stress",
        append: "memmap=1G%4G+0xefffffff",
        mem: "5G",
        qemu: "",
        implementations: BOTH,
        timeout: 300,
        files: &[stress::TESTS],
    },
    Group {
        name: "stress-zero",
        append: "memmap=1G%4G+0xefffffff device_dax.zero_on_alloc=1",
        mem: "5G",
        qemu: "",
        implementations: &[Impl::Rust],
        timeout: 300,
        files: &[stress::ZERO],
    },
    Group {
        name: "endurance",
        // On a debug kernel, the group asks kmemleak.
        append: "memmap=2G%4G+0xefffffff kmemleak=on",
        mem: "6G",
        qemu: "",
        implementations: BOTH,
        timeout: 900,
        files: &[endurance::TESTS],
    },
];

impl Group {
    /// All groups.
    pub fn all() -> impl Iterator<Item = &'static Group> {
        let consumers = consumers::GROUPS.iter().map(|consumer| &consumer.group);
        GROUPS.iter().chain(lifetimes::GROUPS).chain(consumers)
    }

    /// The group of that name.
    pub fn named(name: &str) -> Option<&'static Group> {
        Group::all().find(|group| group.name == name)
    }

    /// The subject of the group, if the group is about a consumer of the driver.
    fn about(&self) -> Option<&'static str> {
        let mut consumers = consumers::GROUPS.iter();
        consumers
            .find(|consumer| consumer.group.name == self.name)
            .map(|consumer| consumer.about)
    }

    /// Its tests whose names contain `filter`.
    pub fn tests(&self, filter: &str) -> Vec<&'static Test> {
        self.files
            .iter()
            .flat_map(|file| file.iter())
            .filter(|test| test.name.contains(filter))
            .collect()
    }

    /// The guest that it needs, for the host tool.
    pub fn describe(&self) -> dax_protocol::Group {
        dax_protocol::Group {
            group: self.name.to_owned(),
            append: self.append.to_owned(),
            mem: self.mem.to_owned(),
            cpus: 2,
            qemu: self.qemu.to_owned(),
            implementations: self.implementations.to_vec(),
            timeout: self.timeout,
            consumer: self.about().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The group whose tests need the debug kernel, where no C driver runs.
    const CHECKED: &str = "inject";

    #[test]
    fn tests_that_leave_c_out_are_marked_in_the_list_of_deviations() {
        let text = include_str!("../../../../docs/deviations.md").replace('`', " ");
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut count = 0;
        for (at, word) in words.iter().enumerate() {
            let Some((group, name)) = word.trim_end_matches([',', ';']).split_once('/') else {
                continue;
            };
            let Some(group) = Group::named(group) else {
                continue;
            };
            let start = name.strip_suffix('*');
            let mut tests = group.tests(start.unwrap_or(name));
            tests.retain(|test| match start {
                Some(start) => test.name.starts_with(start),
                None => test.name == name,
            });
            assert!(!tests.is_empty(), "{word}: no such test");
            let on_c = group.implementations.contains(&Impl::C) && group.name != CHECKED;
            let left_out = !on_c || tests.iter().any(|test| !test.is_for_c());
            let next = words.get(at + 1).copied().unwrap_or_default();
            let marked = !word.ends_with([',', ';']) && next.starts_with('†');
            assert_eq!(marked, left_out, "{word}: is the mark there?");
            count += 1;
        }
        assert!(count > 50, "{count} tests");
    }
}
