// SPDX-License-Identifier: GPL-2.0

//! Atomics. Another task may go on before every access. The order of accesses is the order in which
//! they are made, whatever memory order they ask for.

use std::cell::Cell;
use std::collections::HashMap;

use crate::sched;

/// Orders of memory accesses, of which the model knows but the strongest.
pub mod ordering {
    /// None.
    pub struct Relaxed;
    /// The memory order of a load.
    pub struct Acquire;
    /// The memory order of a store.
    pub struct Release;
    /// The memory order of a full barrier.
    pub struct Full;
}

/// `kernel::sync::atomic::Atomic`. A static one begins anew in each execution.
#[repr(transparent)]
pub struct Atomic<T>(Cell<T>);

// SAFETY: All tasks of the model are on one thread of the host. Statics, which other
// threads see too, are only read.
unsafe impl<T: Send> Sync for Atomic<T> {}

/// The values of static atomics, by address.
struct Statics<T>(HashMap<usize, T>);

impl<T> Default for Statics<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

extern "C" {
    static __data_start: u8;
    static _end: u8;
}

/// Whether the address is that of a static.
fn is_static(address: usize) -> bool {
    // The linker provides both; they are not read.
    let (start, end) = (&raw const __data_start as usize, &raw const _end as usize);
    (start..end).contains(&address)
}

impl<T: Copy + 'static> Atomic<T> {
    /// With that value.
    pub const fn new(value: T) -> Self {
        Self(Cell::new(value))
    }

    fn get(&self) -> T {
        let address = std::ptr::from_ref(self) as usize;
        if !is_static(address) {
            return self.0.get();
        }
        sched::part(|all: &mut Statics<T>| *all.0.entry(address).or_insert(self.0.get()))
    }

    fn replace(&self, value: T) -> T {
        let old = self.get();
        let address = std::ptr::from_ref(self) as usize;
        if is_static(address) {
            sched::part(|all: &mut Statics<T>| all.0.insert(address, value));
        } else {
            self.0.set(value);
        }
        old
    }

    /// The address of the value, to be read at once. The value is not a static one.
    pub fn as_ptr(&self) -> *mut T {
        self.before("volatile read");
        self.0.as_ptr()
    }

    fn before(&self, what: &str) {
        if !sched::inert() {
            crate::memory::check(self, "an atomic");
            sched::point(|| what.to_owned());
        }
    }

    /// The value.
    pub fn load<O>(&self, _: O) -> T {
        self.before("read an atomic");
        self.get()
    }

    /// Another value.
    pub fn store<O>(&self, value: T, _: O) {
        self.before("write an atomic");
        self.replace(value);
    }

    /// Another value; gives the old one.
    pub fn xchg<O>(&self, value: T, _: O) -> T {
        self.before("exchange an atomic");
        self.replace(value)
    }
}

macro_rules! arithmetic {
    ($($t:ty)*) => {$(
        impl Atomic<$t> {
            /// Adds; gives the old value.
            pub fn fetch_add<O>(&self, value: $t, _: O) -> $t {
                self.before("add to an atomic");
                self.replace(self.get().wrapping_add(value))
            }

            /// Subtracts; gives the old value.
            pub fn fetch_sub<O>(&self, value: $t, _: O) -> $t {
                self.before("subtract from an atomic");
                self.replace(self.get().wrapping_sub(value))
            }
        }
    )*};
}
arithmetic!(i32 u32 i64 u64 usize);
