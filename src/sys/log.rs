// SPDX-License-Identifier: GPL-2.0

//! Messages for dynamic debug (`dev_dbg()`), with the words of the C driver.
//!
//! The kernel crate's `dev_dbg!` cannot be turned on when the kernel runs.

use kernel::{
    bindings,
    prelude::*, //
};

use super::object::{
    as_raw,
    device,
    Object, //
};

use crate::ranges::range::PhysRange;

/// What happens to a range of a device.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// It is new.
    Alloc,
    /// Its end moved up.
    Extend,
    /// Its end moved down.
    Shrink,
    /// It is gone.
    Delete,
}

/// Tells dynamic debug that the range `index` of `object` changed, and what it is
/// now, or was.
pub(crate) fn range<T: Object>(object: &T, change: Change, index: usize, range: PhysRange) {
    let dev = as_raw(device(object));
    let index = i32::try_from(index).unwrap_or(i32::MAX);
    let what = match change {
        Change::Alloc => bindings::dax_glue_change_DAX_GLUE_ALLOC,
        Change::Extend => bindings::dax_glue_change_DAX_GLUE_EXTEND,
        Change::Shrink => bindings::dax_glue_change_DAX_GLUE_SHRINK,
        Change::Delete => bindings::dax_glue_change_DAX_GLUE_DELETE,
    };
    // SAFETY: The device is alive.
    unsafe { bindings::dax_glue_dbg_range(dev, what, index, range.start(), range.last()) };
}

/// Tells dynamic debug `text` about `object`.
pub(crate) fn debug<T: Object>(object: &T, text: &CStr) {
    // SAFETY: The device is alive, the text is terminated.
    unsafe { bindings::dax_glue_dbg(as_raw(device(object)), text.as_char_ptr()) };
}

/// Tells dynamic debug that a page fault of 2^`order` pages was refused, at page
/// offset `pgoff` of a device with pages of 2^`own` pages.
pub(crate) fn refused_fault<T: Object>(object: &T, order: u32, own: u32, pgoff: u64) {
    // SAFETY: The device is alive.
    unsafe {
        bindings::dax_glue_dbg_fault(
            as_raw(device(object)),
            order,
            own,
            pgoff as kernel::ffi::c_ulong,
        )
    };
}
