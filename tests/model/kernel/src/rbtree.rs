// SPDX-License-Identifier: GPL-2.0

//! Ordered trees, whose nodes are allocated beforehand.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use crate::alloc::{Flags, Memory};
use crate::error::{Error, Result};

/// Memory for a node.
#[derive(Debug)]
pub struct RBTreeNodeReservation<K, V>(Memory, PhantomData<(K, V)>);
/// A node that is in no tree.
#[derive(Debug)]
pub struct RBTreeNode<K, V>(Memory, K, V);
/// A tree.
#[derive(Debug)]
pub struct RBTree<K, V>(BTreeMap<K, (V, Memory)>);
/// A place in a tree.
#[derive(Debug)]
pub struct Cursor<'a, K, V>(&'a K, &'a V);

impl<K, V> RBTreeNodeReservation<K, V> {
    /// Allocates.
    pub fn new(_: Flags) -> Result<Self, Error> {
        Ok(Self(Memory::new()?, PhantomData))
    }

    /// Fills the node.
    pub fn into_node(self, key: K, value: V) -> RBTreeNode<K, V> {
        RBTreeNode(self.0, key, value)
    }
}

impl<K, V> RBTreeNode<K, V> {
    /// Allocates and fills a node.
    pub fn new(key: K, value: V, flags: Flags) -> Result<Self, Error> {
        Ok(RBTreeNodeReservation::new(flags)?.into_node(key, value))
    }

    /// Empties the node.
    pub fn into_reservation(self) -> RBTreeNodeReservation<K, V> {
        RBTreeNodeReservation(self.0, PhantomData)
    }
}

impl<K: Ord, V> RBTree<K, V> {
    /// An empty tree.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, (value, _))| (key, value))
    }

    /// In order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values().map(|(value, _)| value)
    }

    /// In order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    /// In order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.values_mut().map(|(value, _)| value)
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(|(value, _)| value)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key).map(|(value, _)| value)
    }

    /// Adds a node; gives back what had the key.
    pub fn insert(&mut self, node: RBTreeNode<K, V>) -> Option<RBTreeNode<K, V>> {
        let RBTreeNode(memory, key, value) = node;
        let old = self.0.remove_entry(&key);
        self.0.insert(key, (value, memory));
        old.map(|(key, (value, memory))| RBTreeNode(memory, key, value))
    }

    /// Takes a node out.
    pub fn remove_node(&mut self, key: &K) -> Option<RBTreeNode<K, V>> {
        let (key, (value, memory)) = self.0.remove_entry(key)?;
        Some(RBTreeNode(memory, key, value))
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key).map(|(value, _)| value)
    }

    /// The first node.
    pub fn cursor_front(&self) -> Option<Cursor<'_, K, V>> {
        self.0
            .iter()
            .next()
            .map(|(key, (value, _))| Cursor(key, value))
    }

    /// The last node.
    pub fn cursor_back(&self) -> Option<Cursor<'_, K, V>> {
        self.0
            .iter()
            .next_back()
            .map(|(key, (value, _))| Cursor(key, value))
    }

    /// The first node that is not below `key`.
    pub fn cursor_lower_bound(&self, key: &K) -> Option<Cursor<'_, K, V>> {
        self.0
            .range(key..)
            .next()
            .map(|(key, (value, _))| Cursor(key, value))
    }
}

impl<K: Ord, V> Default for RBTree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, K, V> Cursor<'a, K, V> {
    /// The entry at the cursor.
    pub fn current(&self) -> (&'a K, &'a V) {
        (self.0, self.1)
    }
}
