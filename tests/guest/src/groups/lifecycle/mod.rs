// SPDX-License-Identifier: GPL-2.0
//! Binding and unbinding of devices and of their region; ids; modules; log messages.

mod bind;
mod ids;
mod messages;
mod modules;
mod refused;
mod region;
mod traces;

use crate::ktap::Test;

/// The tests on a region that is not really there, by file.
pub const REFUSED_FILES: &[&[Test]] = &[refused::TESTS];
/// The other tests, by file.
pub const FILES: &[&[Test]] = &[
    bind::TESTS,
    region::TESTS,
    ids::TESTS,
    modules::TESTS,
    messages::TESTS,
    traces::TESTS,
];
