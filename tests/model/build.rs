// SPDX-License-Identifier: GPL-2.0

//! The driver is compiled as it is.

include!("driver_root.rs");

fn main() {
    let source = sources();
    println!("cargo::rerun-if-changed={}", source.display());
    write_root(&source);
}
