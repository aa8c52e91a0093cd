// SPDX-License-Identifier: GPL-2.0

//! Errors that the kernel crate of a supported series has no name for.

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// Fails unless `is`.
///
/// # Errors
///
/// `EOPNOTSUPP`, for which Linux 7.2 has no constant in the kernel crate.
pub(super) fn supported(is: bool) -> Result {
    if is {
        return Ok(());
    }
    // CAST: An errno is less than 4096.
    to_result(-(bindings::EOPNOTSUPP as kernel::ffi::c_int))
}
