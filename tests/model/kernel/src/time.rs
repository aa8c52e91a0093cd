// SPDX-License-Identifier: GPL-2.0

//! Time, which the model has none of.

/// Ticks of the kernel's clock.
pub type Jiffies = usize;

/// Milliseconds in ticks.
pub fn msecs_to_jiffies(msecs: u32) -> Jiffies {
    msecs as Jiffies
}
