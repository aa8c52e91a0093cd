// SPDX-License-Identifier: GPL-2.0
//! Architectures: their names for make, the kernel, Debian and Rust, and QEMU's machine for each.
//! All but x86 are cross-compiled and emulated.

use anyhow::{bail, Context, Result};
use dax_protocol::TIMES_PAGE;

use crate::settings::{Machine, DEFAULT_APPEND};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    X86,
    Arm64,
    Riscv,
}

/// The size of a page. Only arm64 has a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    Of4k,
    Of16k,
    Of64k,
}

/// QEMU's machine.
pub struct Board {
    /// The emulator's name.
    pub qemu: &'static str,
    /// `-machine`.
    pub machine: &'static str,
    /// `-cpu` without hardware virtualisation.
    pub cpu: &'static str,
    /// `-cpu` for a clock that counts instructions.
    pub counting_cpu: &'static str,
    /// The kernel's first serial port.
    pub console: &'static str,
    /// Words of the kernel's command line for this architecture alone.
    pub append: &'static str,
}

impl Arch {
    pub const ALL: [Self; 3] = [Self::X86, Self::Arm64, Self::Riscv];

    /// The name in ARCH=.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::Arm64 => "arm64",
            Self::Riscv => "riscv",
        }
    }

    /// The variable for the kernel's `make`, if it is not this machine's own architecture.
    pub fn make_variable(self) -> Option<String> {
        (self != Self::X86).then(|| format!("ARCH={}", self.name()))
    }

    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86 => "amd64",
            Self::Arm64 => "arm64",
            Self::Riscv => "riscv64",
        }
    }

    /// The name in the paths of Debian's libraries. The compiler takes it as a target.
    pub fn gnu(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
            Self::Riscv => "riscv64-linux-gnu",
        }
    }

    /// Rust's target.
    pub fn target(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::Riscv => "riscv64gc-unknown-linux-gnu",
        }
    }

    /// The kernel's file that QEMU boots: make's name for it, which is its file's name too.
    pub fn image(self) -> &'static str {
        match self {
            Self::X86 => "bzImage",
            Self::Arm64 | Self::Riscv => "Image",
        }
    }

    /// The machine on which guests run.
    pub fn board(self) -> Board {
        match self {
            Self::X86 => Board {
                qemu: "qemu-system-x86_64",
                machine: "q35",
                // Turn off five page table levels: while identify_cpu() has the CPU's features
                // cleared, KASAN looks for its shadow in the wrong place, and reports an interrupt
                // that comes then.
                cpu: "max,la57=off",
                counting_cpu: "max,la57=off",
                console: "ttyS0",
                // On a busy machine an emulated timer is late. The kernel would take it for broken
                // and panic. Under KVM the kernel does not check the timer either.
                append: "no_timer_check ",
            },
            Self::Arm64 => Board {
                qemu: "qemu-system-aarch64",
                machine: "virt,gic-version=3",
                // A server's CPU that takes pages of each size. "max" has more that costs time.
                cpu: "neoverse-n1",
                // The counter of this one has 1 GHz, a tick for each instruction.
                counting_cpu: "max,pauth=off,sve=off,sme=off",
                console: "ttyAMA0",
                append: "",
            },
            Self::Riscv => Board {
                qemu: "qemu-system-riscv64",
                machine: "virt",
                cpu: "rv64",
                counting_cpu: "rv64",
                console: "ttyS0",
                append: "",
            },
        }
    }

    /// Adapts a test's guest, whose settings are for q35, to this architecture. On q35,
    /// memory ends 2 GiB above its size, because addresses from 2 to 4 GiB are no memory. On the
    /// machines "virt" of arm64 and RISC-V memory is whole, and begins at 1 and 2 GiB.
    ///
    /// The kernel of arm64 looks for ACPI's tables only where UEFI says that they are. Guests boot
    /// without UEFI unless something that only ACPI describes is in them, since booting takes longer.
    pub fn adapt(self, machine: &mut Machine) -> Result<()> {
        let more = match self {
            Self::Arm64 => 1,
            Self::X86 => return Ok(()),
            Self::Riscv => {
                give_each_node_a_cpu(machine);
                return give_the_device_tree_room(machine);
            }
        };
        let options = &mut machine.qemu;
        let needs_acpi = |option: &String| OF_ACPI.iter().any(|of| option.contains(of));
        if options.iter().any(needs_acpi) && !options.iter().any(|option| option == FIRMWARE[0]) {
            options.extend(FIRMWARE.map(str::to_owned));
        }
        machine.mem = enlarged(&machine.mem, more)?;
        for option in &mut machine.qemu {
            if let Some(size) = option.strip_prefix(FIRST_NODE) {
                *option = format!("{FIRST_NODE}{}", enlarged(size, more)?);
            }
        }
        Ok(())
    }
}

impl Pages {
    pub const ALL: [Self; 3] = [Self::Of4k, Self::Of16k, Self::Of64k];

    /// The name in PAGES=.
    pub fn name(self) -> &'static str {
        match self {
            Self::Of4k => "4k",
            Self::Of16k => "16k",
            Self::Of64k => "64k",
        }
    }

    /// The feature of dax-guest for pages of this size, which has 4 KiB without one.
    pub fn feature(self) -> Option<String> {
        (self != Self::Of4k).then(|| format!("pages-{}", self.name()))
    }

    /// Enlarges the region of a test's guest, if the pages are so large that few of its devices'
    /// pages fit: those are of 512 MiB with pages of 64 KiB, and the region gets a multiple of 16
    /// GiB. This machine may have less memory. It gives the guest the pages that the guest uses.
    pub fn enlarge(self, machine: &mut Machine, times: u64) -> Result<()> {
        let Some(rest) = machine.append.strip_prefix(USUAL_REGION) else {
            return Ok(());
        };
        if self == Self::Of64k {
            let gib = times * 16;
            machine.append = format!("memmap={gib}G%4G+0xefffffff{rest}");
            machine.mem = enlarged(&machine.mem, gib - 2)?;
            let memory = format!("{FIRST_NODE}{},reserve=off", machine.mem);
            for option in ["-object", &memory, "-machine", "memory-backend=ram0"] {
                machine.qemu.push(option.to_owned());
            }
        }
        Ok(())
    }

    /// Whether a guest with that command line and those QEMU options can be given room for devices
    /// of these pages.
    pub fn has_room(self, append: &str, qemu: &str) -> bool {
        self != Self::Of64k || (append.starts_with(USUAL_REGION) && !qemu.contains("-numa"))
    }

    fn bytes(self) -> u64 {
        match self {
            Self::Of4k => 4 << 10,
            Self::Of16k => 16 << 10,
            Self::Of64k => 64 << 10,
        }
    }

    /// Adapts a test's guest to pages of this size: its settings may have a number of pages where
    /// the kernel reads bytes.
    pub fn adapt(self, machine: &mut Machine) -> Result<()> {
        let words = machine.append.split(' ').map(|word| {
            let Some((name, pages)) = word
                .strip_suffix(TIMES_PAGE)
                .and_then(|word| word.rsplit_once('='))
            else {
                return Ok(word.to_owned());
            };
            let pages: u64 = pages
                .parse()
                .with_context(|| format!("APPEND: {word}: write a number before {TIMES_PAGE}"))?;
            Ok(format!("{name}={}", pages * self.bytes()))
        });
        machine.append = words.collect::<Result<Vec<_>>>()?.join(" ");
        Ok(())
    }
}

/// QEMU options whose effect a kernel finds in ACPI's tables alone.
const OF_ACPI: [&str; 3] = ["nvdimm=on", "cxl=on", "hmat=on"];

/// QEMU options for UEFI. The file is in Debian's package qemu-efi-aarch64.
const FIRMWARE: [&str; 2] = ["-bios", "QEMU_EFI.fd"];

/// The region of most groups of tests.
const USUAL_REGION: &str = DEFAULT_APPEND;

/// The memory of the first node in the settings of a guest.
const FIRST_NODE: &str = "memory-backend-ram,id=ram0,size=";

/// Gives each NUMA node one CPU, if there are several: QEMU's RISC-V machine has no other nodes.
fn give_each_node_a_cpu(machine: &mut Machine) {
    let is_node = |option: &&mut String| option.starts_with("node,nodeid=");
    let nodes: Vec<&mut String> = machine.qemu.iter_mut().filter(is_node).collect();
    if nodes.len() < 2 {
        return;
    }
    machine.cpus = machine
        .cpus
        .max(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    for (cpu, node) in (0..machine.cpus).zip(nodes) {
        let parts = node.split(',').filter(|part| !part.starts_with("cpus="));
        *node = format!("{},cpus={cpu}", parts.collect::<Vec<_>>().join(","));
    }
}

/// Adds a GiB to the last node: QEMU puts RISC-V's device tree at the end of memory, where tests have
/// a region.
fn give_the_device_tree_room(machine: &mut Machine) -> Result<()> {
    machine.mem = enlarged(&machine.mem, 1)?;
    let is_node = |option: &&mut String| option.starts_with("memory-backend-ram,id=ram");
    if let Some(option) = machine.qemu.iter_mut().rfind(is_node) {
        if let Some((before, size)) = option.split_once("size=") {
            *option = format!("{before}size={}", enlarged(size, 1)?);
        }
    }
    Ok(())
}

/// The size in GiB at the begin of `size`, made larger by `more`. The rest of the text stays.
fn enlarged(size: &str, more: u64) -> Result<String> {
    let (number, rest) = size
        .split_once('G')
        .with_context(|| format!("MEM={size}: write it in GiB, as 6G"))?;
    match number.parse::<u64>() {
        Ok(number) => Ok(format!("{}G{rest}", number + more)),
        Err(_) => bail!("MEM={size}: write it in GiB, as 6G"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_ends_where_it_does_on_q35() {
        let mut machine = Machine {
            mem: "6G,slots=2".to_owned(),
            qemu: vec![
                "-object".to_owned(),
                "memory-backend-ram,id=ram0,size=4G".to_owned(),
                "memory-backend-ram,id=ram1,size=2G".to_owned(),
            ],
            ..Machine::default()
        };
        Arch::X86.adapt(&mut machine).unwrap();
        assert_eq!(machine.mem, "6G,slots=2");
        Arch::Arm64.adapt(&mut machine).unwrap();
        assert_eq!(machine.mem, "7G,slots=2");
        assert_eq!(machine.qemu[1], "memory-backend-ram,id=ram0,size=5G");
        assert_eq!(machine.qemu[2], "memory-backend-ram,id=ram1,size=2G");
        machine.mem = "6144M".to_owned();
        assert!(Arch::Arm64.adapt(&mut machine).is_err());
    }

    #[test]
    fn each_node_of_risc_v_has_a_cpu() {
        let adapted = |nodes: &[&str]| {
            let mut machine = Machine {
                mem: "6G".to_owned(),
                cpus: 2,
                qemu: nodes.iter().map(|&node| node.to_owned()).collect(),
                ..Machine::default()
            };
            Arch::Riscv.adapt(&mut machine).unwrap();
            (machine.cpus, machine.qemu.join(" "))
        };
        let nodes = [
            "node,nodeid=0,memdev=ram0,cpus=0-1",
            "node,nodeid=1,memdev=ram1",
            "node,nodeid=2,memdev=ram2",
        ];
        assert_eq!(adapted(&nodes[..1]), (2, nodes[0].to_owned()));
        let three = "node,nodeid=0,memdev=ram0,cpus=0 node,nodeid=1,memdev=ram1,cpus=1 \
                     node,nodeid=2,memdev=ram2,cpus=2";
        assert_eq!(adapted(&nodes), (3, three.to_owned()));
    }

    #[test]
    fn device_tree_of_risc_v_has_room_after_the_region() {
        let mut machine = Machine {
            mem: "6G".to_owned(),
            qemu: vec![
                "memory-backend-ram,id=ram0,size=4G".to_owned(),
                "memory-backend-ram,id=ram1,size=2G".to_owned(),
            ],
            ..Machine::default()
        };
        Arch::Riscv.adapt(&mut machine).unwrap();
        assert_eq!(machine.mem, "7G");
        assert_eq!(machine.qemu[0], "memory-backend-ram,id=ram0,size=4G");
        assert_eq!(machine.qemu[1], "memory-backend-ram,id=ram1,size=3G");
    }

    #[test]
    fn firmware_is_there_for_what_acpi_describes() {
        let adapted = |arch: Arch, option: &str| {
            let mut machine = Machine {
                qemu: vec!["-machine".to_owned(), option.to_owned()],
                ..Machine::default()
            };
            arch.adapt(&mut machine).unwrap();
            machine.qemu[2..].join(" ")
        };
        assert_eq!(adapted(Arch::Arm64, "cxl=on"), "-bios QEMU_EFI.fd");
        assert_eq!(adapted(Arch::Arm64, "dumpdtb=a"), "");
        assert_eq!(adapted(Arch::X86, "cxl=on"), "");
    }

    #[test]
    fn region_grows_with_the_pages() {
        let enlarged = |pages: Pages, append: &str| {
            let mut machine = Machine {
                append: append.to_owned(),
                mem: "6G".to_owned(),
                ..Machine::default()
            };
            pages.enlarge(&mut machine, 2).unwrap();
            Arch::Arm64.adapt(&mut machine).unwrap();
            [machine.append, machine.mem, machine.qemu.join(" ")]
        };
        let usual = "memmap=2G%4G+0xefffffff a=b";
        assert_eq!(enlarged(Pages::Of16k, usual), [usual, "7G", ""]);
        let memory = "-object memory-backend-ram,id=ram0,size=37G,reserve=off -machine \
                      memory-backend=ram0";
        let large = "memmap=32G%4G+0xefffffff a=b";
        assert_eq!(enlarged(Pages::Of64k, usual), [large, "37G", memory]);
        assert!(Pages::Of64k.has_room(usual, ""));
        assert!(!Pages::Of64k.has_room(usual, "-numa node"));
        assert!(!Pages::Of64k.has_room("memmap=1G%4G", ""));
    }

    #[test]
    fn numbers_of_pages_become_bytes() {
        let adapted = |pages: Pages, append: &str| {
            let mut machine = Machine {
                append: append.to_owned(),
                ..Machine::default()
            };
            pages.adapt(&mut machine).map(|()| machine.append)
        };
        let append = "memmap=2G%4G+0xefffffff  a.bytes=16*PAGE";
        let expected = "memmap=2G%4G+0xefffffff  a.bytes=65536";
        assert_eq!(adapted(Pages::Of4k, append).unwrap(), expected);
        let expected = "memmap=2G%4G+0xefffffff  a.bytes=262144";
        assert_eq!(adapted(Pages::Of16k, append).unwrap(), expected);
        assert_eq!(adapted(Pages::Of64k, "").unwrap(), "");
        assert!(adapted(Pages::Of4k, "a.bytes=x*PAGE").is_err());
    }
}
