// SPDX-License-Identifier: GPL-2.0

//! Types.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use crate::init::{self, PinInit};

/// Memory that C changes.
#[repr(transparent)]
pub struct Opaque<T>(UnsafeCell<MaybeUninit<T>>);

impl<T> Opaque<T> {
    /// With that value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(MaybeUninit::new(value)))
    }

    /// The pointer.
    pub const fn get(&self) -> *mut T {
        UnsafeCell::get(&self.0).cast::<T>()
    }

    /// C initialises it.
    pub fn ffi_init(init: impl FnOnce(*mut T)) -> impl PinInit<Self> {
        let make = move |slot: *mut Self| {
            init(slot.cast());
            Ok(())
        };
        // SAFETY: Any bits will do.
        unsafe { init::from_closure(make) }
    }
}

// SAFETY: Any bits will do.
unsafe impl<T> init::Zeroable for Opaque<T> {}

/// Makes a type stay on its task.
pub type NotThreadSafe = PhantomData<*mut ()>;
/// A value of it.
#[allow(non_upper_case_globals, reason = "it looks like the type")]
pub const NotThreadSafe: NotThreadSafe = PhantomData;
