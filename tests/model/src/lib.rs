// SPDX-License-Identifier: GPL-2.0

//! The driver's own sources, compiled unchanged on a model of the kernel, and everything that users
//! can do with them, in all orders.
//!
//! See docs/model.md.

#![feature(arbitrary_self_types)]
#![recursion_limit = "2048"]
#![allow(unused_imports, reason = "the driver is a module of the kernel")]
#![cfg_attr(
    test,
    allow(dead_code, reason = "accessors for tests that another crate has")
)]

// The kernel has it as a crate of its own.
extern crate kernel as pin_init;

include!(concat!(env!("OUT_DIR"), "/driver.rs"));

/// The exports that no operation of the model calls. They are named here so that the compiler can
/// tell what of the driver nobody calls but its own tests.
const _: (
    unsafe extern "C" fn(*mut kernel::bindings::dev_dax) -> bool,
    unsafe extern "C" fn(
        *mut kernel::bindings::dev_dax,
        kernel::ffi::c_ulong,
        kernel::ffi::c_ulong,
    ) -> kernel::bindings::phys_addr_t,
    unsafe extern "C" fn() -> kernel::ffi::c_int,
) = (
    exports::static_dev_dax,
    exports::dax_rust_pgoff_to_phys,
    exports::dax_rust_bus_init,
);

/// Stands for what `module!` of `src/dax.rs` makes.
mod module_parameters {
    #![allow(
        non_upper_case_globals,
        reason = "the names are those of the parameters"
    )]

    pub(crate) struct Parameter<T>(fn() -> T);

    impl<T> Parameter<T> {
        pub(crate) fn value(&self) -> T {
            (self.0)()
        }
    }

    pub(crate) static fault_around_bytes: Parameter<u64> =
        Parameter(kernel::bindings::fault_around_bytes);
    pub(crate) static zero_on_alloc: Parameter<u8> =
        Parameter(|| kernel::bindings::is_kept_clean().into());
}

mod invariants;
mod laws;
pub mod machine;
#[cfg(misuse)]
#[deny(unused_imports)]
mod misuse;
pub mod operations;
pub mod scenario;
pub mod search;
