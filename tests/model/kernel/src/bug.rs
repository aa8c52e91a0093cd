// SPDX-License-Identifier: GPL-2.0

//! `WARN_ON()`, which is a finding.

/// `WARN_ON()`: what is warned of must not happen.
#[macro_export]
macro_rules! warn_on {
    ($cond:expr) => {{
        let happened: bool = $cond;
        $crate::sched::require(
            !happened,
            concat!(
                "WARNING: ",
                stringify!($cond),
                " at ",
                file!(),
                ":",
                line!()
            ),
        );
        happened
    }};
}
