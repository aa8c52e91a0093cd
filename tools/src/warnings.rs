// SPDX-License-Identifier: GPL-2.0
//! The warnings about the driver in the log of a build.

use crate::in_tree;

/// This file. What relies on a log without warnings has it in its key.
pub const CODE: &str = include_str!("warnings.rs");

/// The warnings of objtool, modpost, rustc and a C compiler about the driver. rustc names the file
/// in a line of its own.
pub fn find(log: &str) -> Vec<&str> {
    let words = ["warning:", "WARNING:"];
    let about_driver = |line: &&str| {
        line.contains(in_tree::DIRECTORY)
            && (words.iter().any(|word| line.contains(word))
                || line.trim_start().starts_with("--> "))
    };
    log.lines().filter(about_driver).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_about_the_driver_are_found() {
        let log = "  LD [M]  drivers/dax/rust/src/device_dax.o\n\
                   drivers/dax/rust/src/device_dax.o: warning: objtool: sort() falls through\n\
                   make[3]: warning: jobserver unavailable: using -j1\n\
                   warning: unused variable: `x`\n   --> drivers/dax/rust/src/driver/device.rs:1:2\n\
                   drivers/dax/device.c:3:4: warning: something of C\n\
                   drivers/dax/rust/src/glue.c:5:6: warning: unused\n\
                   WARNING: modpost: drivers/dax/rust/src/device_dax: section mismatch\n\
                   WARNING: modpost: drivers/dax/device_dax: section mismatch\n";
        let found = find(log);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("objtool"));
        assert!(found[1].contains("device.rs"));
        assert!(found[2].contains("glue.c"));
        assert!(found[3].contains("modpost"));
    }
}
