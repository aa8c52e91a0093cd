// SPDX-License-Identifier: GPL-2.0

//! The parameters of the module. `module!` in `dax.rs` declares them.

use core::borrow::Borrow;

use crate::module_parameters;

/// The value of a parameter. In Linux 7.2 a parameter gives a reference, in 7.3 the value:
/// both can be borrowed as one.
fn copy<T: Copy>(value: impl Borrow<T>) -> T {
    *value.borrow()
}

/// Size of the window that a fault maps on a device with pages of `PAGE_SIZE`, in bytes.
pub(super) fn fault_around_bytes() -> u64 {
    copy(module_parameters::fault_around_bytes.value())
}

/// Whether a new dynamic region zeroes memory before a device gains it.
pub(super) fn zero_on_alloc() -> bool {
    copy::<u8>(module_parameters::zero_on_alloc.value()) != 0
}
