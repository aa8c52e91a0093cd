// SPDX-License-Identifier: GPL-2.0

//! C's types, as the kernel has them.

#![allow(non_camel_case_types, reason = "the names are C's")]

pub use core::ffi::c_void;

/// Unsigned in the kernel.
pub type c_char = u8;
/// `int`
pub type c_int = i32;
/// `unsigned int`
pub type c_uint = u32;
/// `long`
pub type c_long = isize;
/// `unsigned long`
pub type c_ulong = usize;
