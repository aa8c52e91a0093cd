// SPDX-License-Identifier: GPL-2.0

//! Compiles the driver from a copy, with a switch at each place where a fault can be put in. The
//! switches are off until a test turns one on.

include!("../driver_root.rs");
include!("changes.rs");

fn main() {
    let source = sources();
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=changes.rs");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let copy = out.join("src");
    copy_sources(&source, &copy);
    for change in CHANGES {
        let file = copy.join(change.file);
        let text = fs::read_to_string(&file).expect("the file is one of the driver's");
        let count = text.matches(change.from).count();
        assert_eq!(
            count, 1,
            "{}: {} has {count} times what is to be changed, {:?}: adapt changes.rs",
            change.fault, change.file, change.from
        );
        let text = text.replace(change.from, change.to);
        fs::write(&file, text).expect("the copy can be written to");
    }
    write_root(&copy);
}

fn copy_sources(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the output folder can be written to");
    for entry in fs::read_dir(from).expect("the driver's sources can be read") {
        let path = entry.expect("the driver's sources can be listed").path();
        let name = path.file_name().expect("it is in a folder").to_owned();
        if path.is_dir() {
            copy_sources(&path, &to.join(name));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            fs::copy(&path, to.join(name)).expect("the copy can be made");
        }
    }
}
