// SPDX-License-Identifier: GPL-2.0

//! Names the files of the driver, which are compiled unchanged.

include!("driver_root.rs");

fn main() {
    let source = sources();
    println!("cargo::rerun-if-changed={}", source.display());
    write_root(&source);
}
