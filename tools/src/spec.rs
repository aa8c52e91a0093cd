// SPDX-License-Identifier: GPL-2.0
//! A choice of kernel: its series, its implementation, and its differences from the usual one.

use std::fmt;

pub use dax_protocol::Impl;
use dax_protocol::{DEBUG_SLOWDOWN, FOREIGN_SLOWDOWN};

use crate::arch::{Arch, Pages};

/// The series this project knows; the first is the default.
pub const SERIES: [&str; 2] = ["7.3", "7.2"];

/// The compilers for a kernel, with rustc and bindgen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// Debian 13's clang and rustc.
    Llvm,
    /// Debian 13's gcc for the C side, and its rustc.
    Gcc,
    /// The newest clang and rustc in Debian's archive.
    Newest,
}

impl Toolchain {
    pub const ALL: [Self; 3] = [Self::Llvm, Self::Gcc, Self::Newest];

    /// The variables for the kernel's `make`.
    pub fn make_variables(self) -> &'static str {
        match self {
            Self::Llvm | Self::Newest => "LLVM=1",
            Self::Gcc => "",
        }
    }

    /// The name in TOOLCHAIN=.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llvm => "llvm",
            Self::Gcc => "gcc",
            Self::Newest => "newest",
        }
    }
}

/// A choice of kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub series: String,
    pub imp: Impl,
    pub debug: bool,
    /// A debug kernel without the options that libnvdimm and its disks do not survive.
    pub nvdimm: bool,
    /// The dax family in the image instead of in modules.
    pub builtin: bool,
    /// More options, which the guests of `make clients` need.
    pub clients: bool,
    pub toolchain: Toolchain,
    pub arch: Arch,
    pub pages: Pages,
}

impl Spec {
    /// The usual kernel of a series.
    pub fn new(series: &str, imp: Impl) -> Self {
        Self {
            series: series.to_owned(),
            imp,
            debug: false,
            nvdimm: false,
            builtin: false,
            clients: false,
            toolchain: Toolchain::Llvm,
            arch: Arch::X86,
            pages: Pages::Of4k,
        }
    }

    /// The same kernel for another architecture.
    pub fn on(self, arch: Arch) -> Self {
        Self { arch, ..self }
    }

    /// Whether it has the usual options, is for x86 and has the usual toolchain.
    pub fn is_usual_but_for_builtin(&self) -> bool {
        let usual = self.toolchain == Toolchain::Llvm && self.arch == Arch::X86;
        usual && !self.debug && !self.clients
    }

    /// The factor by which a guest with this kernel may take longer than with the usual one.
    pub fn slowness(&self) -> u32 {
        let emulated = match self.arch {
            Arch::X86 => 1,
            Arch::Arm64 | Arch::Riscv => FOREIGN_SLOWDOWN,
        };
        match self.debug {
            true => emulated * DEBUG_SLOWDOWN,
            false => emulated,
        }
    }

    /// Whether it is the kernel that is used if no variable asks for another.
    pub fn is_usual(&self) -> bool {
        self.is_usual_but_for_builtin() && !self.builtin
    }

    /// The reason to leave out a part of `make test` on this architecture, if there is one.
    pub fn left_out(&self, part: &str) -> Option<&'static str> {
        if self.arch == Arch::X86 {
            return None;
        }
        match part {
            "rules" | "host" | "vanilla" => Some("the same on every architecture"),
            "bench" | "poweroff" => Some("not tried here so far"),
            "nvdimm" | "overlap" | "layout" | "cxl" if self.arch == Arch::Riscv => {
                Some("needs ACPI, and the guest boots without")
            }
            "refused" | "refused-pmem" => Some("needs an x86 CPU without pages of 1 GiB"),
            "mmap-1g" | "mm-1g" | "poison-1g" | "lifetimes-1g" | "pmem-between"
                if self.arch == Arch::Arm64 =>
            {
                Some("arm64 has no such pages")
            }
            "inject" | "stress" => Some("needs a debug kernel"),
            _ => None,
        }
    }

    /// The differences from the usual kernel, in words.
    fn traits(&self) -> Vec<&'static str> {
        let usual = self.toolchain == Toolchain::Llvm;
        let all = [
            (self.arch != Arch::X86, self.arch.name()),
            (self.pages != Pages::Of4k, self.pages.name()),
            (self.debug, "debug"),
            (self.nvdimm, "nvdimm"),
            (self.builtin, "builtin"),
            (self.clients, "clients"),
            (!usual, self.toolchain.name()),
        ];
        all.into_iter()
            .filter_map(|(is, name)| is.then_some(name))
            .collect()
    }

    pub fn flavour(&self) -> String {
        [&[self.series.as_str()], &self.traits()[..]]
            .concat()
            .join("-")
    }

    /// The variables for the kernel's `make`.
    pub fn make_variables(&self) -> String {
        let own = self.arch.make_variable();
        let words = [own.as_deref(), Some(self.toolchain.make_variables())];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// A `make` command for a shell, with this kernel's variables.
    pub fn make(&self) -> String {
        format!("make {}", self.make_variables())
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let imp = match self.imp {
            Impl::C => "C",
            Impl::Rust => "Rust",
        };
        let words = [&[imp], &self.traits()[..]].concat();
        write!(f, "Linux {} ({})", self.series, words.join(", "))
    }
}
