// SPDX-License-Identifier: GPL-2.0
//! What the guest program and the host tool must agree on: the lines that the guest program prints,
//! one JSON object each, and the files of operations that it reads.
//!
//! Results of tests are not here: they are KTAP, as those of KUnit are.

pub mod bench;
pub mod colours;
pub mod compare;

use serde::{Deserialize, Serialize};
use std::fmt;

/// The factor by which a debug kernel is slower than usual: it checks every access. The guest
/// program multiplies its time limits by it, and the host tool those of whole groups.
pub const DEBUG_SLOWDOWN: u32 = 4;

/// How many times longer a test may take on another architecture than x86, which is emulated on
/// every host.
pub const FOREIGN_SLOWDOWN: u32 = 3;

/// The end of a word for the kernel's command line whose value is a number of pages. The kernel
/// gets bytes: the host tool knows how many bytes a page has, and the program that prints the word,
/// which is one for all kernels, does not.
pub const TIMES_PAGE: &str = "*PAGE";

/// Prints a type as one line of JSON.
macro_rules! print_as_json {
    ($type:ty) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let text = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
                f.write_str(&text)
            }
        }
    };
}
use print_as_json;

/// The device-dax driver that a kernel was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Impl {
    /// The driver under test, of this project.
    Rust,
    /// The kernel's own driver, for comparison.
    C,
}

impl Impl {
    /// The name in `IMPL=`, in `DAX_IMPL` and in what is printed.
    pub fn name(self) -> &'static str {
        match self {
            Impl::Rust => "rust",
            Impl::C => "c",
        }
    }
}

impl fmt::Display for Impl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A line of `dax-guest list`: a group of tests, and the guest that it needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    pub group: String,
    /// Words for the end of the kernel's command line. A value may be a number of pages, with
    /// [`TIMES_PAGE`] behind it.
    pub append: String,
    /// Memory of the guest, as QEMU reads it.
    pub mem: String,
    /// CPUs of the guest.
    pub cpus: u32,
    /// Further QEMU options, as a shell would split them.
    pub qemu: String,
    #[serde(rename = "impl")]
    pub implementations: Vec<Impl>,
    /// Seconds for the whole group, boot included.
    pub timeout: u64,
    /// The subject of the group, if the group is about a consumer of the driver.
    pub consumer: Option<String>,
}
print_as_json!(Group);

impl Group {
    /// Whether the group is for a driver.
    pub fn is_for(&self, driver: Impl) -> bool {
        self.implementations.contains(&driver)
    }
}
