// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of C objects, one C object a file.
//!
//! Only these files and `exports.rs` contain `unsafe`, and only they see raw pointers to C
//! objects. The wrappers would belong in `rust/kernel` if other drivers needed them. They
//! also hide the differences between kernel versions.

pub(crate) mod bus;
pub(crate) mod cdev;
pub(crate) mod dax_core;
pub(crate) mod dev_dax;
pub(crate) mod device;
pub(crate) mod driver;
pub(crate) mod drvdata;
mod error;
pub(crate) mod hwpoison;
pub(crate) mod ida;
pub(crate) mod ids;
pub(crate) mod liveness;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod module;
pub(crate) mod number;
pub(crate) mod object;
pub(crate) mod pagemap;
pub(crate) mod resource;
pub(crate) mod sysfs;
pub(crate) mod task;
pub(crate) mod template;
pub(crate) mod vma;
