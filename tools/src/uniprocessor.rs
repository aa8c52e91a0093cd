// SPDX-License-Identifier: GPL-2.0
//! Builds the module for a machine with one CPU (`CONFIG_SMP=n`), and without its KUnit suites.

use std::path::Path;

use anyhow::{bail, Result};

use crate::cache::{self, Key};
use crate::exec;
use crate::in_tree;
use crate::kernel::{Builder, Kernel};
use crate::progress::Step;
use crate::report::TestResult;
use crate::root::Root;
use crate::spec::{Impl, Spec};
use crate::warnings;

/// The options that are turned off.
const OFF: [&str; 2] = ["SMP", "KUNIT"];

/// Builds drivers/dax in a copy of the Rust kernel's tree, unless these sources were built before.
pub fn results(repo: &Path, root: &Root, spec: &Spec) -> Result<Vec<TestResult>> {
    let spec = Spec {
        imp: Impl::Rust,
        ..spec.clone()
    };
    let kernel = Kernel::ensure(repo, root, &spec)?;
    let builder = Builder::new(repo, root, &spec)?;
    let key = key(repo, &kernel.dir)?;
    let proof = cache::dir().join(format!("uniprocessor-{}-{key}", spec.flavour()));
    let name = format!(
        "{}: builds without a warning for one CPU and without KUnit",
        spec.series
    );
    if proof.exists() {
        return Ok(vec![TestResult::passed(name)]);
    }

    let part = cache::part_of(&proof);
    cache::remove(&part)?;
    builder.copy(&kernel, &part)?;
    drop(kernel);
    let log = build(&builder, &part)?;
    let warned = warnings::find(&log);
    if !warned.is_empty() {
        let why = format!(
            "{}\nthe tree is left in {}",
            warned.join("\n"),
            part.display()
        );
        return Ok(vec![TestResult::failed(name, &why)]);
    }
    cache::remove(&part)?;
    cache::write_whole(&proof, b"")?;
    Ok(vec![TestResult::passed(name)])
}

/// The key of the proof: all that the build is made from and judged by. The directory's name stands
/// for the configuration that the Rust kernel begins with.
fn key(repo: &Path, kernel: &Path) -> Result<String> {
    Ok(Key::new("uniprocessor")
        .text(&kernel.to_string_lossy())
        .text(&in_tree::key(repo)?)
        .file(&repo.join("tools/kernel/rust.config"))?
        .text(include_str!("uniprocessor.rs"))
        .text(warnings::CODE)
        .finish())
}

/// Builds drivers/dax of the tree in `part`. Returns the log.
fn build(builder: &Builder<'_>, part: &Path) -> Result<String> {
    let make = builder.spec.make();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let off = OFF.map(|option| format!("-d {option}")).join(" ");
    let script =
        format!("scripts/config {off} && {make} olddefconfig && {make} -j{jobs} drivers/dax/");
    let log = part.join("build.log");
    let step = Step::start(format!("building {} for one CPU", builder.spec), 0);
    exec::logged(&mut builder.in_tree(part, &script).build()?, &log, &step)?;
    step.done();
    let config = cache::read_text(&part.join("linux/.config"))?;
    for option in OFF {
        if !config.contains(&format!("# CONFIG_{option} is not set")) {
            bail!("CONFIG_{option} is on though it was turned off");
        }
    }
    if !config.contains("CONFIG_DEV_DAX_RUST=y") {
        bail!("CONFIG_DEV_DAX_RUST is off: there is nothing to build");
    }
    cache::read_text(&log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_has_the_module_and_its_options() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let files = ["Kbuild", "Kconfig", in_tree::KUNIT_CONFIG, "src/dax.rs"];
        let files = [&files[..], &["tools/kernel/rust.config"]].concat();
        for name in &files {
            write(name, "old");
        }
        let of = |kernel: &str| key(dir.path(), Path::new(kernel)).unwrap();
        let mut keys = vec![of("a"), of("b")];
        for name in files {
            write(name, "new");
            keys.push(of("a"));
        }
        assert_eq!(keys.len(), 7);
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
    }
}
