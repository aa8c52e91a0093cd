// SPDX-License-Identifier: GPL-2.0

//! Allocations, which may fail and are counted.

use std::alloc::Layout;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::ptr::NonNull;

use crate::error::{code::ENOMEM, Error};
use crate::init::{self, PinInit};
use crate::memory;
use crate::sched;

/// How to allocate.
pub mod flags {
    /// Flags of an allocation; the model has but one kind of memory.
    #[derive(Clone, Copy, Debug)]
    pub struct Flags;
    /// May sleep.
    pub const GFP_KERNEL: Flags = Flags;
    /// Must not sleep.
    pub const GFP_ATOMIC: Flags = Flags;
}
pub use flags::Flags;

/// There is no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllocError;

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        ENOMEM
    }
}

/// Number of allocations.
#[derive(Default)]
struct Live(i64);

/// One allocation.
#[derive(Debug)]
pub struct Memory(());

impl Memory {
    /// Allocates, unless this is a step that is to fail.
    ///
    /// # Errors
    ///
    /// If it is.
    pub fn new() -> Result<Self, AllocError> {
        if sched::fails("an allocation") {
            return Err(AllocError);
        }
        sched::part(|live: &mut Live| live.0 += 1);
        Ok(Self(()))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !sched::inert() {
            sched::part(|live: &mut Live| live.0 -= 1);
        }
    }
}

/// Number of allocations.
pub fn live() -> i64 {
    sched::part(|live: &mut Live| live.0)
}

/// A growable array; C: kvmalloc().
#[derive(Debug)]
pub struct KVVec<T> {
    items: Vec<T>,
    memory: Option<Memory>,
}

impl<T> Drop for KVVec<T> {
    fn drop(&mut self) {
        self.items.clear();
        free_buffer(std::mem::take(&mut self.items));
    }
}

/// Frees the buffer of a vector without items.
fn free_buffer<T>(items: Vec<T>) {
    debug_assert!(items.is_empty());
    let mut items = std::mem::ManuallyDrop::new(items);
    if items.capacity() != 0 {
        let layout = Layout::array::<T>(items.capacity()).expect("it was allocated");
        // SAFETY: The vector is forgotten, so the buffer is ours; it came from there.
        unsafe { memory::free(items.as_mut_ptr().cast(), layout) };
    }
}

/// A growable array; C: kmalloc().
pub type KVec<T> = KVVec<T>;

/// The value that a full vector gives back.
#[derive(Debug)]
pub struct PushError<T>(pub T);

impl<T> From<PushError<T>> for Error {
    fn from(_: PushError<T>) -> Self {
        crate::error::code::EINVAL
    }
}

/// There is no item of that number.
#[derive(Debug)]
pub struct RemoveError;

impl<T> KVVec<T> {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            memory: None,
        }
    }

    /// Room for `capacity` items.
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut new = Self::new();
        new.reserve(capacity, flags)?;
        Ok(new)
    }

    /// `count` times the same.
    pub fn from_elem(value: T, count: usize, flags: Flags) -> Result<Self, AllocError>
    where
        T: Clone,
    {
        let mut new = Self::with_capacity(count, flags)?;
        new.items.resize(count, value);
        Ok(new)
    }

    /// Room for so many more.
    pub fn reserve(&mut self, additional: usize, _: Flags) -> Result<(), AllocError> {
        if self.items.capacity() - self.items.len() < additional {
            let memory = Memory::new()?;
            self.memory = Some(memory);
            let capacity = (self.items.len() + additional).max(2 * self.items.capacity());
            let mut items = Vec::with_capacity(capacity);
            items.append(&mut self.items);
            free_buffer(std::mem::replace(&mut self.items, items));
        }
        Ok(())
    }

    /// Number of elements that there is room for.
    pub fn capacity(&self) -> usize {
        self.items.capacity()
    }

    /// Appends.
    pub fn push(&mut self, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.items.push(value);
        Ok(())
    }

    /// Appends, if there is room.
    pub fn push_within_capacity(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.items.len() == self.items.capacity() {
            return Err(PushError(value));
        }
        self.items.push(value);
        Ok(())
    }

    /// Appends copies.
    pub fn extend_from_slice(&mut self, other: &[T], flags: Flags) -> Result<(), AllocError>
    where
        T: Clone,
    {
        self.reserve(other.len(), flags)?;
        self.items.extend_from_slice(other);
        Ok(())
    }

    /// Takes the last.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop()
    }

    /// Takes one out of the middle.
    pub fn remove(&mut self, index: usize) -> Result<T, RemoveError> {
        if index < self.items.len() {
            Ok(self.items.remove(index))
        } else {
            Err(RemoveError)
        }
    }

    /// Drops all; keeps the memory.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// Drops what is behind `len`.
    pub fn truncate(&mut self, len: usize) {
        self.items.truncate(len);
    }

    /// Keeps those that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.items.retain_mut(|item| keep(item));
    }
}

impl<T> Default for KVVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> DerefMut for KVVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<'a, T> IntoIterator for &'a KVVec<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<T> IntoIterator for KVVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(mut self) -> Self::IntoIter {
        std::mem::take(&mut self.items).into_iter()
    }
}

/// One value on the heap.
#[derive(Debug)]
pub struct KBox<T> {
    value: NonNull<T>,
    _memory: Memory,
}

/// The same; C: kvmalloc().
pub type KVBox<T> = KBox<T>;

// SAFETY: The value is the box's.
unsafe impl<T: Send> Send for KBox<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for KBox<T> {}

impl<T> KBox<T> {
    /// Allocates.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        match Self::init(value, flags) {
            Ok(new) => Ok(new),
            Err(_) => Err(AllocError),
        }
    }

    /// Allocates and pins.
    pub fn pin(value: T, flags: Flags) -> Result<Pin<Self>, AllocError> {
        // SAFETY: The value is on the heap and stays there.
        Ok(unsafe { Pin::new_unchecked(Self::new(value, flags)?) })
    }

    /// Allocates and initialises in place.
    pub fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Pin<Self>, Error>
    where
        Error: From<E>,
    {
        // SAFETY: The value is on the heap and stays there.
        Ok(unsafe { Pin::new_unchecked(Self::init(init, flags)?) })
    }

    fn init<E>(init: impl PinInit<T, E>, _: Flags) -> Result<Self, Error>
    where
        Error: From<E>,
    {
        let memory = Memory::new()?;
        let value = NonNull::from(Box::leak(init::boxed(init)?));
        Ok(Self {
            value,
            _memory: memory,
        })
    }

    /// The pointer, which owns the value.
    pub fn into_raw(this: Self) -> *mut T {
        std::mem::ManuallyDrop::new(this).value.as_ptr()
    }

    /// Undoes [`KBox::into_raw`].
    ///
    /// # Safety
    ///
    /// Once for each call of that.
    pub unsafe fn from_raw(value: *mut T) -> Self {
        memory::check(value, "KBox::from_raw()");
        let value = NonNull::new(value).expect("into_raw() returns no null pointer");
        Self {
            value,
            _memory: Memory(()),
        }
    }
}

impl<T> Drop for KBox<T> {
    fn drop(&mut self) {
        let value = self.value.as_ptr();
        // SAFETY: The value is ours.
        unsafe { value.drop_in_place() };
        // SAFETY: It came from `Box::leak`, and has no value any more.
        unsafe { memory::free(value.cast(), Layout::new::<T>()) };
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: The value is ours.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The value is ours.
        unsafe { self.value.as_mut() }
    }
}
