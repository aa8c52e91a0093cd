// SPDX-License-Identifier: GPL-2.0

//! The driver's own sources, compiled unchanged on a model of the kernel, and everything that users
//! can do with them, in all orders.
//!
//! See docs/model.md.

#![feature(arbitrary_self_types)]
#![recursion_limit = "2048"]
#![allow(
    dead_code,
    unused_imports,
    reason = "the driver is a module of the kernel"
)]

// The kernel has it as a crate of its own.
extern crate kernel as pin_init;

include!(concat!(env!("OUT_DIR"), "/driver.rs"));

/// Stands for the module parameter of that name, which `src/dax.rs` reads.
fn fault_around_bytes() -> u64 {
    4096
}

mod invariants;
mod laws;
pub mod machine;
pub mod operations;
pub mod scenario;
pub mod search;
