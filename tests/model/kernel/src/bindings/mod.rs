// SPDX-License-Identifier: GPL-2.0

//! The C functions that the driver calls, by their C names: a model of the driver core, sysfs,
//! character devices, super.c, the memory manager and a few small things.
//!
//! docs/model-kernel.md has a table of what is assumed of each function.

mod base;
mod char_dev;
mod consumers;
mod contents;
mod devres;
mod driver_core;
mod glue;
mod iomem;
mod modules;
mod pages;
mod super_c;
mod sysfs;
mod types;

pub use base::*;
pub use char_dev::*;
pub use consumers::*;
pub use contents::*;
pub use devres::*;
pub use driver_core::*;
pub use glue::*;
pub use iomem::*;
pub use modules::*;
pub use pages::*;
pub use super_c::*;
pub use sysfs::*;
pub use types::*;
