// SPDX-License-Identifier: GPL-2.0

//! Freed memory. It is kept until the execution ends, filled with a pattern, so that the model sees
//! its use. This is what KASAN does.

use std::alloc::Layout;
use std::collections::BTreeMap;

use crate::sched;

/// The pattern in freed memory. It is no valid count, flag or address.
pub const POISON: u8 = 0x6b;

/// Memory that was freed in this execution, by address.
#[derive(Default)]
struct Quarantine(BTreeMap<usize, Layout>);

impl Drop for Quarantine {
    fn drop(&mut self) {
        for (address, layout) in &self.0 {
            // SAFETY: It came from the host's allocator with that layout, and nobody
            // uses it: the execution is over.
            unsafe { std::alloc::dealloc(*address as *mut u8, *layout) };
        }
    }
}

/// Frees memory.
///
/// # Safety
///
/// It came from the host's allocator with that layout and has no value any more.
pub(crate) unsafe fn free(memory: *mut u8, layout: Layout) {
    if layout.size() == 0 {
        return;
    }
    // SAFETY: By the contract.
    unsafe { memory.write_bytes(POISON, layout.size()) };
    sched::part(|quarantine: &mut Quarantine| quarantine.0.insert(memory as usize, layout));
}

/// Whether the address is in memory that was freed.
pub fn is_freed<T>(pointer: *const T) -> bool {
    let address = pointer as usize;
    sched::part(|quarantine: &mut Quarantine| {
        let before = quarantine.0.range(..=address).next_back();
        before.is_some_and(|(start, layout)| address < start + layout.size())
    })
}

/// Nobody may use freed memory.
pub fn check<T>(pointer: *const T, what: &str) {
    if !sched::inert() && is_freed(pointer) {
        sched::violation(format!("{what}: the memory was freed"));
    }
}
