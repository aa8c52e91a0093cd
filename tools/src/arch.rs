// SPDX-License-Identifier: GPL-2.0
//! Architectures: their names for make, the kernel, Debian and Rust, and QEMU's machine for each.
//! All but x86 are cross-compiled and emulated.

use anyhow::{Context, Result};
use dax_protocol::TIMES_PAGE;

use crate::settings::{Machine, DEFAULT_APPEND};
use crate::virt::{self, FIRST_NODE};

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

    /// The processors' name for meson.
    pub fn cpu(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::Riscv => "riscv64",
        }
    }

    /// A line that the configuration of every kernel for it has.
    pub fn option(self) -> &'static str {
        match self {
            Self::X86 => "CONFIG_X86_64=y",
            Self::Arm64 => "CONFIG_ARM64=y",
            Self::Riscv => "CONFIG_RISCV=y",
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
        if self == Self::Of16k {
            for option in &mut machine.qemu {
                for (usual, large) in CXL_SIZES {
                    *option = option.replace(usual, large);
                }
            }
        }
        let Some(rest) = machine.append.strip_prefix(USUAL_REGION) else {
            return Ok(());
        };
        if self == Self::Of64k {
            let gib = times * 16;
            machine.append = format!("memmap={gib}G%4G+0xefffffff{rest}");
            machine.mem = virt::enlarged(&machine.mem, gib - 2)?;
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
        match self {
            Self::Of4k => true,
            Self::Of16k => !qemu.contains("hmat=on"),
            Self::Of64k => append.starts_with(USUAL_REGION) && !qemu.contains("-numa"),
        }
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

/// Sizes of CXL memories and their window in QEMU options, and those with pages of 16 KiB, where a
/// device's large page is 16 times larger.
const CXL_SIZES: [(&str, &str); 2] = [
    ("size=256M,share=on", "size=4G,share=on"),
    ("cxl-fmw.0.size=1G", "cxl-fmw.0.size=16G"),
];

/// The region of most groups of tests.
pub const USUAL_REGION: &str = DEFAULT_APPEND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_grows_with_the_pages() {
        let enlarged = |pages: Pages, append: &str| {
            let mut machine = Machine {
                append: append.to_owned(),
                mem: "6G".to_owned(),
                ..Machine::default()
            };
            pages.enlarge(&mut machine, 2).unwrap();
            virt::adapt(Arch::Arm64, &mut machine).unwrap();
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
        assert!(Pages::Of4k.has_room("", "hmat=on") && !Pages::Of16k.has_room("", "hmat=on"));
    }

    #[test]
    fn cxl_memory_grows_with_the_pages() {
        let enlarged = |pages: Pages| {
            let mut machine = Machine {
                qemu: CXL_SIZES.map(|(usual, _)| usual.to_owned()).to_vec(),
                ..Machine::default()
            };
            pages.enlarge(&mut machine, 1).unwrap();
            machine.qemu
        };
        assert_eq!(enlarged(Pages::Of4k), CXL_SIZES.map(|(usual, _)| usual));
        assert_eq!(enlarged(Pages::Of16k), CXL_SIZES.map(|(_, large)| large));
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
