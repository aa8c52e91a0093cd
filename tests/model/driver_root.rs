// SPDX-License-Identifier: GPL-2.0

// Included by the build scripts of this crate and of the one with faults.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The driver's sources, in this checkout.
fn sources() -> PathBuf {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = here.ancestors().find(|dir| dir.join("src/dax.rs").exists());
    root.expect("this is a checkout of the driver").join("src")
}

/// The lints that clippy must not find in the driver: `unsafe` without a reason, and calls that
/// bring the kernel down.
const LINTS: &str = "clippy::undocumented_unsafe_blocks, clippy::unwrap_used, \
     clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented, \
     clippy::unreachable, clippy::indexing_slicing";

/// Writes down which files the driver in `source` is made of: those that its `dax.rs`
/// names.
fn write_root(source: &Path) {
    for cfg in ["MODULE", "CONFIG_DEV_DAX_KMEM", "CONFIG_NUMA"] {
        println!("cargo::rustc-cfg={cfg}");
    }
    let root = fs::read_to_string(source.join("dax.rs")).expect("the driver has a root");
    let names = root
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let mut text = String::new();
    for name in names {
        let file = source.join(format!("{name}.rs"));
        let file = if file.exists() {
            file
        } else {
            source.join(name).join("mod.rs")
        };
        text += &format!(
            "#[deny({LINTS})]\n#[path = {:?}]\npub(crate) mod {name};\n",
            file.display().to_string()
        );
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("driver.rs"), text).expect("the output folder can be written to");
}
