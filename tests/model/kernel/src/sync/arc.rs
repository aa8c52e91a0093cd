// SPDX-License-Identifier: GPL-2.0

//! Shared values with a count of references.

use std::alloc::Layout;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::alloc::{AllocError, Flags, Memory};
use crate::error::Error;
use crate::init::{self, PinInit};
use crate::memory;
use crate::sched;

#[repr(C)]
struct Inner<T> {
    count: Cell<usize>,
    memory: ManuallyDrop<Memory>,
    value: T,
}

/// `kernel::sync::Arc`.
pub struct Arc<T>(NonNull<Inner<T>>);

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}

impl<T> Arc<T> {
    /// Allocates.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        Self::pin_init(value, flags).map_err(|_| AllocError)
    }

    /// Allocates and initialises in place.
    pub fn pin_init<E>(init: impl PinInit<T, E>, _: Flags) -> Result<Self, Error>
    where
        Error: From<E>,
    {
        let memory = Memory::new()?;
        let make = move |slot: *mut Inner<T>| -> Result<(), E> {
            // SAFETY: The slot has room.
            unsafe { init.init_at(&raw mut (*slot).value) }?;
            // SAFETY: As above.
            unsafe { (&raw mut (*slot).count).write(Cell::new(1)) };
            // SAFETY: As above.
            unsafe { (&raw mut (*slot).memory).write(ManuallyDrop::new(memory)) };
            Ok(())
        };
        // SAFETY: Every field is made.
        let init = unsafe { init::from_closure(make) };
        Ok(Self(NonNull::from(Box::leak(init::boxed(init)?))))
    }

    fn inner(&self) -> &Inner<T> {
        memory::check(self.0.as_ptr(), "Arc");
        // SAFETY: We own a share.
        unsafe { self.0.as_ref() }
    }

    /// Whether both are shares of one value.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.0 == other.0
    }

    /// The address of the value.
    pub fn as_ptr(this: &Self) -> *const T {
        // SAFETY: In bounds.
        unsafe { &raw const (*this.0.as_ptr()).value }
    }

    /// The pointer, which owns the share.
    pub fn into_raw(self) -> *const T {
        Self::as_ptr(&ManuallyDrop::new(self))
    }

    /// Undoes [`Arc::into_raw`].
    ///
    /// # Safety
    ///
    /// Once for each call of that.
    pub unsafe fn from_raw(value: *const T) -> Self {
        Self(inner_of(value))
    }

    /// A borrowed share.
    pub fn as_arc_borrow(&self) -> ArcBorrow<'_, T> {
        ArcBorrow(self.inner())
    }
}

/// The allocation around a value.
fn inner_of<T>(value: *const T) -> NonNull<Inner<T>> {
    let inner = value
        .wrapping_byte_sub(std::mem::offset_of!(Inner<T>, value))
        .cast::<Inner<T>>();
    memory::check(inner, "Arc");
    NonNull::new(inner.cast_mut()).expect("a value has an address")
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        let count = &self.inner().count;
        count.set(count.get() + 1);
        Self(self.0)
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if sched::inert() {
            return;
        }
        let count = &self.inner().count;
        count.set(count.get() - 1);
        if count.get() > 0 {
            return;
        }
        let inner = self.0.as_ptr();
        // SAFETY: This was the last share.
        unsafe { (&raw mut (*inner).value).drop_in_place() };
        // SAFETY: As above.
        unsafe { ManuallyDrop::drop(&mut (*inner).memory) };
        // SAFETY: It came from `Box::leak`.
        unsafe { memory::free(inner.cast(), Layout::new::<Inner<T>>()) };
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

/// `kernel::sync::ArcBorrow`.
pub struct ArcBorrow<'a, T>(&'a Inner<T>);

impl<T> ArcBorrow<'_, T> {
    /// A borrowed share, of the pointer to a value.
    ///
    /// # Safety
    ///
    /// The value is in an [`Arc`], of which there is a share for that long.
    pub unsafe fn from_raw(value: *const T) -> Self {
        // SAFETY: By the contract.
        Self(unsafe { &*inner_of(value).as_ptr() })
    }
}

impl<T> From<ArcBorrow<'_, T>> for Arc<T> {
    fn from(borrow: ArcBorrow<'_, T>) -> Self {
        let count = &borrow.0.count;
        count.set(count.get() + 1);
        Self(NonNull::from(borrow.0))
    }
}

impl<T> Deref for ArcBorrow<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}
