// SPDX-License-Identifier: GPL-2.0

//! The decisions: which addresses a device gets, and where each of its pages is.
//!
//! Pure code: it uses the kernel only through `prelude.rs`, takes no lock, and sleeps only
//! to allocate. The host tests in tests/host run all of it.

#![forbid(unsafe_code)]

pub(crate) mod allocator;
pub(crate) mod hwpoison;
pub(crate) mod layout;
pub(crate) mod neighbours;
pub(crate) mod parse;
pub(crate) mod range;
