// SPDX-License-Identifier: GPL-2.0

//! The pure modules of the driver, compiled unchanged, and tests of them.
//!
//! Without `DAX_DEPTH` the tests are quick. `DAX_DEPTH=7` sets the number of pages in the region of
//! which every state is visited, and there are more random sequences if it is set. Outside of tests
//! the crate is only there for the lints: `cargo clippy`.

#![forbid(unsafe_code)]
// Code that would panic in the kernel is an error here.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    ),
    allow(dead_code, unused_imports, reason = "it is used by the driver")
)]

#[allow(clippy::arithmetic_side_effects, reason = "not in the kernel")]
#[path = "shim.rs"]
pub(crate) mod prelude;
#[path = "../../../src/ranges/mod.rs"]
pub(crate) mod ranges;

#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod hwpoison;
#[cfg(test)]
mod interleaved;
#[cfg(test)]
mod layouts;
#[cfg(test)]
mod model;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod random;
#[cfg(test)]
mod range;
#[cfg(test)]
mod real;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod text;
