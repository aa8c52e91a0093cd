// SPDX-License-Identifier: GPL-2.0

//! Messages of a device, which go into the trace.

use crate::device::Device;

impl<C> Device<C> {
    #[doc(hidden)]
    pub fn __message(&self, level: &str, text: core::fmt::Arguments<'_>) {
        self.message(level, text);
    }
}

/// `pr_err()`
#[macro_export]
macro_rules! pr_err {
    ($($args:tt)*) => { $crate::sched::trace(|| format!($($args)*)) };
}

/// `pr_warn()`
#[macro_export]
macro_rules! pr_warn {
    ($($args:tt)*) => { $crate::sched::trace(|| format!($($args)*)) };
}

/// `dev_err()`
#[macro_export]
macro_rules! dev_err {
    ($dev:expr, $($args:tt)*) => { $dev.__message("err", format_args!($($args)*)) };
}

/// `dev_warn()`
#[macro_export]
macro_rules! dev_warn {
    ($dev:expr, $($args:tt)*) => { $dev.__message("warn", format_args!($($args)*)) };
}

/// `dev_info()`
#[macro_export]
macro_rules! dev_info {
    ($dev:expr, $($args:tt)*) => { $dev.__message("info", format_args!($($args)*)) };
}
