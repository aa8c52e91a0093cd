// SPDX-License-Identifier: GPL-2.0

//! A model of the kernel, for the driver's own sources.
//!
//! The driver is compiled unchanged against this crate. It has the names of `rust/kernel` and, in
//! [`bindings`], of the C functions that the driver calls. These work on tables instead of memory
//! and hardware, in steps that `shuttle` puts into any order. If the kernel would complain of
//! something, that is a [`sched::violation`].
//!
//! docs/model-kernel.md says what is assumed.

// `kernel::` in what the macros write means this crate here too.
extern crate self as kernel;

pub mod alloc;
#[allow(
    non_snake_case,
    non_upper_case_globals,
    clippy::missing_safety_doc,
    clippy::not_unsafe_ptr_arg_deref,
    reason = "the names are C's, and so are the contracts"
)]
pub mod bindings;
pub mod bug;
pub mod device;
pub mod devres;
pub mod error;
pub mod explore;
pub mod fault;
pub mod ffi;
pub mod fmt;
pub mod init;
pub mod lockdep;
pub mod memory;
pub mod mm;
pub mod page;
pub mod prelude;
pub mod print;
pub mod rbtree;
pub mod sched;
pub mod str;
pub mod sync;
pub mod task;
pub mod time;
pub mod types;
pub mod workqueue;

pub mod macros {
    //! Attributes.
    pub use dax_model_macros::export;
}

pub use init::init_zeroed;
