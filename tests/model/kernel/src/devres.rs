// SPDX-License-Identifier: GPL-2.0

//! The kernel crate's view of resources that unbinding a driver releases.

use crate::alloc::{flags::Flags, Memory};
use crate::bindings;
use crate::device::{Bound, Device};
use crate::error::{Error, Result};
use crate::init::{self, PinInit};

/// `kernel::devres::register()`: drops a value when `dev` is unbound; at once if that
/// cannot be arranged.
///
/// # Errors
///
/// `ENOMEM`, or what `data` fails with.
pub fn register<T: 'static, E>(
    dev: &Device<Bound>,
    data: impl PinInit<T, E>,
    _flags: Flags,
) -> Result
where
    Error: From<E>,
{
    let data = init::boxed(data)?;
    let memory = Memory::new()?;
    let core = bindings::core(dev.raw(), "devres::register()");
    core.devres.add(Some(memory), move || drop(data));
    Ok(())
}
