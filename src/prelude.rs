// SPDX-License-Identifier: GPL-2.0

//! The only items of the kernel crate that `ranges/` uses, see `dax.rs`.
//!
//! On the host, `tests/host/src/shim.rs` takes the place of this file.

#![forbid(unsafe_code)]

pub(crate) use kernel::alloc::flags::GFP_KERNEL;
pub(crate) use kernel::alloc::{AllocError, KVVec};
pub(crate) use kernel::error::code::{EBUSY, EINVAL, ENOMEM, ENOSPC, ERANGE};
pub(crate) use kernel::error::Error;
pub(crate) use kernel::page::PAGE_SHIFT;
pub(crate) use kernel::rbtree::{RBTree, RBTreeNodeReservation};
pub(crate) use kernel::warn_on;

#[cfg(CONFIG_DEV_DAX_RUST_KUNIT_TEST)]
pub(crate) use kernel::prelude::kunit_tests;
