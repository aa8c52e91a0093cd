// SPDX-License-Identifier: GPL-2.0

//! The actions: regions and devices, their attributes, and the `device_dax` driver.
//!
//! Safe code: `ranges/` decides, and `sys/` calls C.

#![forbid(unsafe_code)]

pub(crate) mod attrs;
pub(crate) mod bus;
pub(crate) mod device;
pub(crate) mod drain;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod mapping;
mod params;
pub(crate) mod probe;
pub(crate) mod region;
mod zero;
