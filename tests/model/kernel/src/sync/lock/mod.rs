// SPDX-License-Identifier: GPL-2.0

//! Locks.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

pub mod mutex;

use mutex::Raw;

/// A lock that is held, until this is dropped.
pub struct Guard<'a, T: ?Sized, B> {
    pub(super) raw: &'a Raw,
    pub(super) data: *mut T,
    pub(super) of: PhantomData<(&'a mut T, B)>,
}

impl<T: ?Sized, B> Drop for Guard<'_, T, B> {
    fn drop(&mut self) {
        self.raw.unlock();
    }
}

impl<T: ?Sized, B> Deref for Guard<'_, T, B> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: The lock is held.
        unsafe { &*self.data }
    }
}

impl<T: ?Sized, B> DerefMut for Guard<'_, T, B> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The lock is held.
        unsafe { &mut *self.data }
    }
}
