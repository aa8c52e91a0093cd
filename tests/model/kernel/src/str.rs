// SPDX-License-Identifier: GPL-2.0

//! Strings.

pub use core::ffi::CStr;

use crate::error::{code::EINVAL, Result};
use crate::ffi::c_char;
use crate::fmt;

/// The functions that the kernel crate adds to `CStr`.
pub trait CStrExt {
    /// The pointer.
    fn as_char_ptr(&self) -> *const c_char;
    /// The string behind a pointer.
    ///
    /// # Safety
    ///
    /// It is terminated, and valid for that long.
    unsafe fn from_char_ptr<'a>(pointer: *const c_char) -> &'a Self;
}

impl CStrExt for CStr {
    fn as_char_ptr(&self) -> *const c_char {
        self.as_ptr().cast()
    }

    unsafe fn from_char_ptr<'a>(pointer: *const c_char) -> &'a Self {
        // SAFETY: By the contract.
        unsafe { CStr::from_ptr(pointer.cast()) }
    }
}

/// The pointer, in a constant.
pub const fn as_char_ptr_in_const_context(text: &CStr) -> *const c_char {
    text.as_ptr().cast()
}

/// Writes into a buffer.
pub struct Formatter<'a> {
    page: &'a mut [u8],
    written: usize,
}

impl<'a> Formatter<'a> {
    /// With nothing written yet.
    pub fn new(page: &'a mut [u8]) -> Self {
        Self { page, written: 0 }
    }

    /// How much was written.
    pub fn bytes_written(&self) -> usize {
        self.written
    }
}

impl fmt::Write for Formatter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.written + text.len();
        let room = self.page.get_mut(self.written..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.written = end;
        Ok(())
    }
}

/// `kstrtobool()`
pub fn kstrtobool(text: &CStr) -> Result<bool> {
    let text = text.to_bytes();
    match text.first() {
        Some(b'y' | b'Y' | b't' | b'T' | b'1') => Ok(true),
        Some(b'n' | b'N' | b'f' | b'F' | b'0') => Ok(false),
        _ => Err(EINVAL),
    }
}
