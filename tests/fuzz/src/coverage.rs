// SPDX-License-Identifier: GPL-2.0
//! Which edges of the code were taken, as the compiler's SanitizerCoverage counts them:
//! `-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-inline-8bit-counters`.

use std::slice;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering::Relaxed};

static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LEN: AtomicUsize = AtomicUsize::new(0);

/// Called by the instrumented program before `main`, with its counters.
#[no_mangle]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    START.store(start, Relaxed);
    LEN.store((stop as usize).saturating_sub(start as usize), Relaxed);
}

/// The counters; none in a program that was built without them.
fn counters() -> &'static [AtomicU8] {
    let start = START.load(Relaxed);
    if start.is_null() {
        return &[];
    }
    // SAFETY: The runtime handed out this array of bytes, which is there as long as the program;
    // instrumented code increments them with plain stores, but only this one thread runs it.
    unsafe { slice::from_raw_parts(start.cast::<AtomicU8>(), LEN.load(Relaxed)) }
}

/// How many edges there are.
pub fn edges() -> usize {
    counters().len()
}

/// Forgets what was counted.
pub fn clear() {
    for counter in counters() {
        counter.store(0, Relaxed);
    }
}

/// By edge, how often it was taken, as a bit: once, twice, three times, up to 7, 15, 31, 127.
pub fn taken() -> impl Iterator<Item = (usize, u8)> {
    let classes = counters()
        .iter()
        .map(|counter| match counter.load(Relaxed) {
            0 => 0,
            1 => 1,
            2 => 2,
            3 => 4,
            4..=7 => 8,
            8..=15 => 16,
            16..=31 => 32,
            32..=127 => 64,
            _ => 128,
        });
    classes.enumerate().filter(|(_, class)| *class != 0)
}
