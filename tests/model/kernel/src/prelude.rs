// SPDX-License-Identifier: GPL-2.0

//! The items that every file of the driver imports.

pub use crate::alloc::flags::{Flags, GFP_ATOMIC, GFP_KERNEL};
pub use crate::alloc::{KBox, KVBox, KVVec, KVec};
pub use crate::error::code::*;
pub use crate::error::{Error, Result};
pub use crate::init::{Init, PinInit, PinnedDrop, Zeroable};
pub use crate::str::{CStr, CStrExt};
pub use crate::{
    dev_err, dev_info, dev_warn, fmt, pin_init, pr_err, pr_warn, try_pin_init, warn_on,
};
pub use core::pin::Pin;
pub use dax_model_macros::{pin_data, pinned_drop};
