// SPDX-License-Identifier: GPL-2.0

//! The only items of the kernel crate that `ranges/` uses, see `dax.rs`.
//!
//! On the host, `tests/host/src/shim.rs` takes the place of this file.

#![forbid(unsafe_code)]

pub(crate) use kernel::{
    alloc::{
        flags::GFP_KERNEL,
        AllocError,
        KVVec, //
    },
    error::{
        code::{
            EBUSY,
            EINVAL,
            ENOMEM,
            ENOSPC,
            ERANGE, //
        },
        Error, //
    },
    page::PAGE_SHIFT,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    warn_on, //
};

#[cfg(CONFIG_DEV_DAX_RUST_KUNIT_TEST)]
pub(crate) use kernel::prelude::kunit_tests;
