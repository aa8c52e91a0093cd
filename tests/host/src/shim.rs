// SPDX-License-Identifier: GPL-2.0

//! The host's stand-in for `src/prelude.rs`: the part of the kernel crate that the pure modules
//! use, and allocations that fail on demand.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

/// The size of a page, as a shift.
pub(crate) const PAGE_SHIFT: usize = if cfg!(feature = "pages-64k") {
    16
} else if cfg!(feature = "pages-16k") {
    14
} else {
    12
};

/// The kind of memory to allocate. The host has one kind only.
#[derive(Clone, Copy)]
pub(crate) struct Flags;
/// The kind that the driver uses.
pub(crate) const GFP_KERNEL: Flags = Flags;

/// An errno.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Error(pub(crate) i32);
pub(crate) const ENOMEM: Error = Error(-12);
pub(crate) const EBUSY: Error = Error(-16);
pub(crate) const EINVAL: Error = Error(-22);
pub(crate) const ENOSPC: Error = Error(-28);
pub(crate) const ERANGE: Error = Error(-34);

/// `kernel::warn_on!`: what the kernel would only complain of is a failure here, but
/// in the tests that are about it.
macro_rules! warn_on {
    ($cond:expr) => {{
        let cond = $cond;
        if cond {
            $crate::prelude::warn(stringify!($cond));
        }
        cond
    }};
}
#[allow(unused_imports, reason = "the parsers never complain")]
pub(crate) use warn_on;

/// The error of an allocation that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AllocError;

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        ENOMEM
    }
}

thread_local! {
    static FAIL_AFTER: Cell<Option<usize>> = const { Cell::new(None) };
    static NODES: Cell<usize> = const { Cell::new(0) };
    static WARNINGS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Runs `body`, which is to make the driver complain, and says how often it did.
pub(crate) fn warnings(body: impl FnOnce()) -> usize {
    WARNINGS.set(Some(0));
    body();
    WARNINGS.take().unwrap_or(0)
}

/// Counts a warning of the driver. Outside of [`warnings`] a warning is a failure.
pub(crate) fn warn(what: &str) {
    match WARNINGS.get() {
        Some(count) => WARNINGS.set(Some(count + 1)),
        None => assert!(what.is_empty(), "warn_on!({what})"),
    }
}

/// Lets `count` allocations of this thread succeed and then none, or all.
pub(crate) fn fail_after(count: Option<usize>) {
    FAIL_AFTER.set(count);
}

/// Number of tree nodes of this thread, in trees or in reserve.
pub(crate) fn nodes() -> usize {
    NODES.get()
}

fn allocate() -> Result<(), AllocError> {
    match FAIL_AFTER.get() {
        Some(0) => return Err(AllocError),
        Some(count) => FAIL_AFTER.set(Some(count - 1)),
        None => {}
    }
    Ok(())
}

/// `kernel::alloc::KVVec`: grows only when told that it may.
pub(crate) struct KVVec<T>(Vec<T>);

/// The value that a full vector gives back.
pub(crate) struct PushError<T>(pub(crate) T);

impl<T> KVVec<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn reserve(&mut self, additional: usize, _: Flags) -> Result<(), AllocError> {
        if self.0.capacity() - self.0.len() < additional {
            allocate()?;
            self.0.reserve_exact(additional.max(self.0.capacity()));
        }
        Ok(())
    }

    pub(crate) fn push(&mut self, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.0.push(value);
        Ok(())
    }

    pub(crate) fn push_within_capacity(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.0.len() == self.0.capacity() {
            return Err(PushError(value));
        }
        self.0.push(value);
        Ok(())
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(|value| keep(value));
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }
}

impl<T> IntoIterator for KVVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T> Deref for KVVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

/// The memory of a node, counted. It has a size, because a vector has room for
/// any number of values without one.
struct Node(#[allow(dead_code, reason = "for the size")] usize);

impl Drop for Node {
    fn drop(&mut self) {
        NODES.set(NODES.get() - 1);
    }
}

/// `kernel::rbtree::RBTreeNodeReservation`.
pub(crate) struct RBTreeNodeReservation<K, V>(Node, std::marker::PhantomData<(K, V)>);
/// `kernel::rbtree::RBTreeNode`.
pub(crate) struct RBTreeNode<K, V>(Node, K, V);
/// `kernel::rbtree::RBTree`.
pub(crate) struct RBTree<K, V>(BTreeMap<K, (V, Node)>);
/// `kernel::rbtree::Cursor`, which cannot move.
pub(crate) struct Cursor<'a, K, V>(&'a K, &'a V);

impl<K, V> RBTreeNodeReservation<K, V> {
    pub(crate) fn new(_: Flags) -> Result<Self, Error> {
        allocate()?;
        NODES.set(NODES.get() + 1);
        Ok(Self(Node(0), std::marker::PhantomData))
    }

    pub(crate) fn into_node(self, key: K, value: V) -> RBTreeNode<K, V> {
        RBTreeNode(self.0, key, value)
    }
}

impl<K, V> RBTreeNode<K, V> {
    pub(crate) fn into_reservation(self) -> RBTreeNodeReservation<K, V> {
        RBTreeNodeReservation(self.0, std::marker::PhantomData)
    }
}

impl<K: Ord, V> RBTree<K, V> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, (value, _))| (key, value))
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(|(value, _)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key).map(|(value, _)| value)
    }

    pub(crate) fn insert(&mut self, node: RBTreeNode<K, V>) -> Option<RBTreeNode<K, V>> {
        let RBTreeNode(node, key, value) = node;
        assert!(!self.0.contains_key(&key), "a hole is replaced by another");
        self.0.insert(key, (value, node));
        None
    }

    pub(crate) fn remove_node(&mut self, key: &K) -> Option<RBTreeNode<K, V>> {
        let (key, (value, node)) = self.0.remove_entry(key)?;
        Some(RBTreeNode(node, key, value))
    }

    pub(crate) fn cursor_lower_bound(&self, key: &K) -> Option<Cursor<'_, K, V>> {
        let (key, (value, _)) = self.0.range(key..).next()?;
        Some(Cursor(key, value))
    }
}

impl<K, V> Cursor<'_, K, V> {
    pub(crate) fn current(&self) -> (&K, &V) {
        (self.0, self.1)
    }
}
