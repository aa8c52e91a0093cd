// SPDX-License-Identifier: GPL-2.0

//! Writes down which files the driver is made of: those that `src/dax.rs` names.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let source = match env::var_os("DAX_MODEL_SRC") {
        Some(other) => PathBuf::from(other),
        None => here.join("../../src"),
    };
    let source = source.canonicalize().expect("there is a driver");
    println!("cargo::rerun-if-env-changed=DAX_MODEL_SRC");
    println!("cargo::rerun-if-changed={}", source.display());
    for cfg in ["MODULE", "CONFIG_DEV_DAX_KMEM", "CONFIG_NUMA"] {
        println!("cargo::rustc-cfg={cfg}");
    }
    let root = fs::read_to_string(source.join("dax.rs")).expect("the driver has a root");
    let names = root.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let mut text = String::new();
    for name in names {
        let file = source.join(format!("{name}.rs"));
        let file = if file.exists() { file } else { source.join(name).join("mod.rs") };
        text += &format!("#[path = {:?}]\npub(crate) mod {name};\n", file.display().to_string());
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("driver.rs"), text).expect("the output folder can be written to");
}
