// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers around the C objects of this driver, one C object a file.
//!
//! Beside `exports.rs` the only place with `unsafe`: no raw pointer to a C object
//! leaves these files. What is here would belong into `rust/kernel` if other
//! drivers wanted it; it is the staging area for that, and where differences
//! between kernel series are hidden.

pub(crate) mod bus;
pub(crate) mod cdev;
pub(crate) mod dax_core;
pub(crate) mod dev_dax;
pub(crate) mod device;
pub(crate) mod driver;
pub(crate) mod drvdata;
pub(crate) mod ida;
pub(crate) mod ids;
pub(crate) mod liveness;
pub(crate) mod log;
pub(crate) mod module;
pub(crate) mod number;
pub(crate) mod object;
pub(crate) mod pagemap;
pub(crate) mod resource;
pub(crate) mod sysfs;
pub(crate) mod task;
pub(crate) mod template;
pub(crate) mod vma;
