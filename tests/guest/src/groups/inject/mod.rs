// SPDX-License-Identifier: GPL-2.0
//! Every operation, with each of its allocations failing in turn.

mod bindings;
mod files;
mod identity;
mod ranges;
mod regions;

use crate::ktap::Test;

/// The tests, by file.
pub const FILES: &[&[Test]] = &[
    ranges::TESTS,
    bindings::TESTS,
    files::TESTS,
    regions::TESTS,
    identity::TESTS,
];

/// The kernel copies the text that is written to an attribute. An operation that gives something
/// back may need no other memory.
const THE_COPY: u64 = 1;
