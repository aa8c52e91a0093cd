// SPDX-License-Identifier: GPL-2.0

//! Locks, shared values, and waiting.

mod arc;
pub mod aref;
pub mod atomic;
mod condvar;
mod global;
pub mod lock;

pub use arc::{Arc, ArcBorrow};
pub use condvar::CondVar;
pub use global::Global;
pub use lock::mutex::Mutex;

pub use crate::{global_lock, new_condvar, new_mutex};
