// SPDX-License-Identifier: GPL-2.0
//! Proves that the hook costs nothing: with the switch off, a patched tree builds the same objects
//! as a vanilla tree, byte for byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

use crate::cache::{self, Key};
use crate::exec;
use crate::in_tree;
use crate::kernel::{self, Builder};
use crate::progress::Step;
use crate::report::TestResult;
use crate::root::Root;
use crate::spec::{Impl, Spec};

/// The directories whose objects the hook could change: the dax family, and the bindings of all
/// Rust code.
const DIRECTORIES: [&str; 2] = ["drivers/dax", "rust"];

/// The hash of each object, by its path in the tree.
type Objects = BTreeMap<PathBuf, String>;

/// Builds the patched tree with the switch off, unless it was built before from the same kernel,
/// patch, Kconfig and Kbuild, and compared by this code.
pub fn results(repo: &Path, root: &Root, spec: &Spec) -> Result<Vec<TestResult>> {
    let spec = Spec {
        imp: Impl::C,
        ..spec.clone()
    };
    let builder = Builder::new(repo, root, &spec)?;
    let (vanilla, key) = builder.c()?;
    let patch = kernel::patch(repo, &spec.series)?;
    let key = Key::new("vanilla")
        .text(&key)
        .file(&patch)?
        .file(&repo.join("Kconfig"))?
        .file(&repo.join("Kbuild"))?
        .text(include_str!("vanilla.rs"))
        .finish();
    let proof = cache::dir().join(format!("vanilla-{}-{key}", spec.flavour()));
    let name = format!(
        "{}: with the switch off every object is vanilla's",
        spec.series
    );
    if let Ok(known) = std::fs::read_to_string(&proof) {
        return Ok(vec![TestResult::passed(format!("{name} ({known})"))]);
    }

    let before = objects(&vanilla.tree())?;
    if before.is_empty() {
        bail!(
            "{}: no object to compare, so this kernel's build is not complete: delete it",
            vanilla.tree().display()
        );
    }
    let part = cache::part_of(&proof);
    cache::remove(&part)?;
    builder.copy(&vanilla, &part)?;
    drop(vanilla);
    let after = rebuild(repo, &builder, &patch, &part)?;
    let differing = differences(&before, &after);
    if !differing.is_empty() {
        return Ok(vec![TestResult::failed(
            name,
            &format!(
                "these differ:\n{}\nthe patched tree is left in {}",
                differing.join("\n"),
                part.display()
            ),
        )]);
    }
    cache::remove(&part)?;
    let known = format!("{} objects", before.len());
    cache::write_whole(&proof, known.as_bytes())?;
    Ok(vec![TestResult::passed(format!("{name} ({known})"))])
}

/// Patches the tree in `part`, builds the directories that the hook could change from nothing, and
/// returns their objects.
fn rebuild(repo: &Path, builder: &Builder<'_>, patch: &Path, part: &Path) -> Result<Objects> {
    let tree = part.join("linux");
    builder.patch(patch, part)?;
    in_tree::update(repo, &tree)?;
    for object in objects(&tree)?.keys() {
        cache::remove(&tree.join(object))?;
    }
    let make = builder.spec.make();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    // `make prepare` builds all Rust objects but one.
    let script = format!("{make} olddefconfig && {make} -j{jobs} drivers/dax/ rust/exports.o");
    let step = Step::start(format!("building {} with the switch off", builder.spec), 0);
    let mut command = builder.in_tree(part, &script).build()?;
    exec::logged(&mut command, &part.join("build.log"), &step)?;
    step.done();
    let config = cache::read_text(&tree.join(".config"))?;
    if !config.contains("# CONFIG_DEV_DAX_RUST is not set") {
        bail!("the patched tree has no switch, or it is on: there is nothing to compare");
    }
    objects(&tree)
}

/// The compiled objects, without those that linking the modules makes.
fn objects(tree: &Path) -> Result<Objects> {
    let mut found = Objects::new();
    for entry in DIRECTORIES.iter().flat_map(|f| WalkDir::new(tree.join(f))) {
        let entry = entry.context("cannot list a kernel tree")?;
        let name = entry.file_name().to_string_lossy();
        if name.ends_with(".o") && !name.ends_with(".mod.o") {
            let path = entry.path().strip_prefix(tree).unwrap_or(entry.path());
            let hash = Key::new("object").file(entry.path())?.finish();
            found.insert(path.to_owned(), hash);
        }
    }
    Ok(found)
}

fn differences(before: &Objects, after: &Objects) -> Vec<String> {
    let mut names: Vec<&PathBuf> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let what = match (before.get(name), after.get(name)) {
                (Some(_), Some(_)) => "differs",
                (Some(_), None) => "is not built any more",
                _ => "is new",
            };
            format!("{} {what}", name.display())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_told() {
        let objects = |list: &[(&str, &str)]| -> Objects {
            list.iter()
                .map(|(name, hash)| (PathBuf::from(name), (*hash).to_owned()))
                .collect()
        };
        let before = objects(&[("a.o", "1"), ("b.o", "2"), ("c.o", "3")]);
        let after = objects(&[("a.o", "1"), ("b.o", "9"), ("d.o", "4")]);
        assert_eq!(
            differences(&before, &after),
            ["b.o differs", "c.o is not built any more", "d.o is new"]
        );
        assert!(differences(&before, &before).is_empty());
    }
}
