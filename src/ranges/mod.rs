// SPDX-License-Identifier: GPL-2.0

//! What is decided: which addresses a device gets, and where a page of it is.
//!
//! Pure: nothing here touches the kernel but through `prelude.rs`, takes a lock or
//! sleeps, but to allocate. All of it is tested on the host too, see tests/host.

#![forbid(unsafe_code)]

pub(crate) mod allocator;
pub(crate) mod layout;
pub(crate) mod neighbours;
pub(crate) mod parse;
pub(crate) mod range;
