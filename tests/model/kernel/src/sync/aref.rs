// SPDX-License-Identifier: GPL-2.0

//! References to values that count them.

use std::ops::Deref;
use std::ptr::NonNull;

/// A type that counts its references.
///
/// # Safety
///
/// A value lives as long as its count is not zero.
pub unsafe trait AlwaysRefCounted {
    /// Adds one reference.
    fn inc_ref(&self);
    /// One less.
    ///
    /// # Safety
    ///
    /// It was counted, and is not used any more.
    unsafe fn dec_ref(this: NonNull<Self>);
}

/// `kernel::sync::aref::ARef`.
pub struct ARef<T: AlwaysRefCounted>(NonNull<T>);

// SAFETY: All tasks of the model are on one thread of the host.
unsafe impl<T: AlwaysRefCounted + Send + Sync> Send for ARef<T> {}
// SAFETY: As above.
unsafe impl<T: AlwaysRefCounted + Send + Sync> Sync for ARef<T> {}

impl<T: AlwaysRefCounted> ARef<T> {
    /// Takes over a reference.
    ///
    /// # Safety
    ///
    /// The value is valid, and the caller owns the reference, which it gives up.
    pub unsafe fn from_raw(value: NonNull<T>) -> Self {
        Self(value)
    }
}

impl<T: AlwaysRefCounted> From<&T> for ARef<T> {
    fn from(value: &T) -> Self {
        value.inc_ref();
        Self(NonNull::from(value))
    }
}

impl<T: AlwaysRefCounted> Clone for ARef<T> {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl<T: AlwaysRefCounted> Drop for ARef<T> {
    fn drop(&mut self) {
        // SAFETY: We own a reference.
        unsafe { T::dec_ref(self.0) };
    }
}

impl<T: AlwaysRefCounted> Deref for ARef<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: We own a reference.
        unsafe { self.0.as_ref() }
    }
}
