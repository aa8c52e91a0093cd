// SPDX-License-Identifier: GPL-2.0

//! What is done: regions and devices, their attributes, and the `device_dax` driver.
//!
//! Safe: it takes the decisions of `ranges/` and carries them out by `sys/`.

#![forbid(unsafe_code)]

pub(crate) mod attrs;
pub(crate) mod bus;
pub(crate) mod device;
pub(crate) mod drain;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod mapping;
pub(crate) mod probe;
pub(crate) mod region;
