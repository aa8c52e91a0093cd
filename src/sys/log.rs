// SPDX-License-Identifier: GPL-2.0

//! Messages for dynamic debug (`dev_dbg()`), worded as in the C driver, and why a write is
//! refused, which C does not say.
//!
//! The `dev_dbg!` of the kernel crate cannot be enabled at run time.

use kernel::{
    bindings,
    prelude::*, //
};

use super::object::{
    raw,
    Object, //
};

use crate::ranges::range::PhysRange;

/// A change of one range of a device.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// The range was allocated.
    Alloc,
    /// The end of the range moved up.
    Extend,
    /// The end of the range moved down.
    Shrink,
    /// The range is about to be freed.
    Delete,
}

/// Logs what happens to range `index` of the device `object`. `range` is the new range, or the
/// one that is freed.
pub(crate) fn range<T: Object>(object: &T, action: Action, index: usize, range: PhysRange) {
    let dev = raw(object);
    let index = i32::try_from(index).unwrap_or(i32::MAX);
    let what = match action {
        Action::Alloc => bindings::dax_glue_change_DAX_GLUE_ALLOC,
        Action::Extend => bindings::dax_glue_change_DAX_GLUE_EXTEND,
        Action::Shrink => bindings::dax_glue_change_DAX_GLUE_SHRINK,
        Action::Delete => bindings::dax_glue_change_DAX_GLUE_DELETE,
    };
    // SAFETY: The device is valid while `object` is borrowed.
    unsafe { bindings::dax_glue_dbg_range(dev, what, index, range.start(), range.last()) };
}

/// Logs `text` for the device `object`.
pub(crate) fn debug<T: Object>(object: &T, text: &CStr) {
    // SAFETY: The device is valid while `object` is borrowed, and the text is
    // NUL-terminated.
    unsafe { bindings::dax_glue_dbg(raw(object), text.as_char_ptr()) };
}

/// Logs, at level info and at a limited rate, that a write is refused, and `why`.
pub(crate) fn refused<T: Object>(object: &T, why: &CStr) {
    // SAFETY: The device is valid while `object` is borrowed, and the text is
    // NUL-terminated.
    unsafe { bindings::dax_glue_refused(raw(object), why.as_char_ptr()) };
}

/// The most bytes of a text that [`refused_text`] logs.
const TEXT: usize = 64;

/// Like [`refused`], because of the beginning of `text`, which is a part of what was written.
pub(crate) fn refused_text<T: Object>(object: &T, text: &[u8], why: &CStr) {
    let text = text.get(..TEXT).unwrap_or(text);
    // CAST: The length is at most `TEXT`.
    let len = text.len() as kernel::ffi::c_int;
    // SAFETY: As in `refused`. `text` has `len` bytes, and it needs no NUL.
    unsafe {
        bindings::dax_glue_refused_text(raw(object), text.as_ptr().cast(), len, why.as_char_ptr());
    };
}

/// Like [`refused`], because of `range`.
pub(crate) fn refused_range<T: Object>(object: &T, range: PhysRange, why: &CStr) {
    let (start, last) = (range.start(), range.last());
    // SAFETY: As in `refused`.
    unsafe { bindings::dax_glue_refused_range(raw(object), start, last, why.as_char_ptr()) };
}

/// Logs that a page fault of order `order`, at page offset `pgoff` of the device, was
/// refused. `own` is the order of the device's pages.
pub(crate) fn refused_fault<T: Object>(object: &T, order: u32, own: u32, pgoff: u64) {
    // CAST: `Fault::pgoff` made the page offset from an `unsigned long`.
    let pgoff = pgoff as kernel::ffi::c_ulong;
    // SAFETY: The device is valid while `object` is borrowed.
    unsafe { bindings::dax_glue_dbg_fault(raw(object), order, own, pgoff) };
}
