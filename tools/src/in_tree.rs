// SPDX-License-Identifier: GPL-2.0
//! Copies this repository's Kbuild, Kconfig, .kunitconfig and src/ into a kernel tree. Files that
//! are equal are not written, so make rebuilds only what changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

use crate::cache::{self, Key};

/// The directory of the module in a kernel tree.
pub const DIRECTORY: &str = "drivers/dax/rust";

/// The configuration that the kernel's kunit.py reads.
pub const KUNIT_CONFIG: &str = ".kunitconfig";

/// The module's files, relative to the repository, sorted.
pub fn files(repo: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in ["Kbuild", "Kconfig", KUNIT_CONFIG, "src"] {
        let start = repo.join(name);
        if !start.exists() {
            bail!(
                "{} is not there: this checkout has no kernel module to build",
                start.display()
            );
        }
        for entry in WalkDir::new(&start)
            .into_iter()
            .filter_entry(|e| !hidden(e.path()))
        {
            let entry = entry.with_context(|| format!("cannot list {}", start.display()))?;
            if entry.file_type().is_file() && !made_by_kbuild(entry.path()) {
                let path = entry.path().strip_prefix(repo).unwrap_or(entry.path());
                found.push(path.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The hash of all of the module's files, names included.
pub fn key(repo: &Path) -> Result<String> {
    let mut key = Key::new("module");
    for file in files(repo)? {
        key = key.text(&file.to_string_lossy()).file(&repo.join(&file))?;
    }
    Ok(key.finish())
}

/// Makes `tree`/drivers/dax/rust the same as the repository. Returns the files that it wrote or
/// removed.
pub fn update(repo: &Path, tree: &Path) -> Result<Vec<PathBuf>> {
    let target = tree.join(DIRECTORY);
    cache::mkdir(&target)?;
    let wanted: BTreeSet<PathBuf> = files(repo)?.into_iter().collect();
    let mut changed = Vec::new();
    for file in &wanted {
        let data = cache::read(&repo.join(file))?;
        let to = target.join(file);
        if fs::read(&to).is_ok_and(|there| there == data) {
            continue;
        }
        if let Some(parent) = to.parent() {
            cache::mkdir(parent)?;
        }
        cache::write_whole(&to, &data)?;
        changed.push(file.clone());
    }
    for entry in WalkDir::new(&target)
        .into_iter()
        .filter_entry(|e| !hidden(e.path()))
    {
        let entry = entry.with_context(|| format!("cannot list {}", target.display()))?;
        let name = entry
            .path()
            .strip_prefix(&target)
            .unwrap_or(entry.path())
            .to_owned();
        let stale = entry.file_type().is_file() && source(&name) && !wanted.contains(&name);
        if stale {
            cache::remove(entry.path())?;
            changed.push(name);
        }
    }
    Ok(changed)
}

/// Removes the module's objects from `tree`, so that make compiles all of its files.
pub fn remove_objects(tree: &Path) -> Result<()> {
    let target = tree.join(DIRECTORY);
    for entry in WalkDir::new(&target) {
        let entry = entry.with_context(|| format!("cannot list {}", target.display()))?;
        if entry.path().extension().is_some_and(|e| e == "o") {
            cache::remove(entry.path())?;
        }
    }
    Ok(())
}

fn hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|n| n != KUNIT_CONFIG && n.to_string_lossy().starts_with('.'))
}

/// Whether this file of the tree may have come from the repository.
fn source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default();
    !made_by_kbuild(path)
        && (matches!(&*name, "Kbuild" | "Kconfig" | "Makefile" | KUNIT_CONFIG)
            || ["rs", "c", "h", "S"].iter().any(|e| extension == *e))
}

fn made_by_kbuild(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = [
        ".o", ".ko", ".a", ".mod", ".mod.c", ".order", ".cmd", ".rsi", ".part",
    ];
    ends.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn all_objects_of_the_module_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        let stay = [
            "drivers/dax/super.o",
            "drivers/dax/rust/src/glue.c",
            "drivers/dax/rust/src/.glue.o.cmd",
        ];
        let objects = ["src/glue.o", "src/dax.o", "src/device_dax.o", "built-in.o"];
        let objects = objects.map(|name| format!("{DIRECTORY}/{name}"));
        for name in objects.iter().map(String::as_str).chain(stay) {
            put(&tree.join(name), "");
        }
        remove_objects(tree).unwrap();
        assert!(objects.iter().all(|name| !tree.join(name).exists()));
        assert!(stay.iter().all(|name| tree.join(name).exists()));
    }

    #[test]
    fn touches_only_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, tree) = (dir.path().join("r"), dir.path().join("t"));
        for (name, text) in [
            ("Kbuild", "k"),
            ("Kconfig", "c"),
            (".kunitconfig", "u"),
            ("src/dax.rs", "1"),
            ("src/old.rs", "o"),
        ] {
            put(&repo.join(name), text);
        }
        put(&repo.join("tools/x.rs"), "not the module");
        assert_eq!(update(&repo, &tree).unwrap().len(), 5);
        let there = tree.join(DIRECTORY);
        assert!(!there.join("tools").exists());

        let past = SystemTime::now() - Duration::from_secs(99);
        let kconfig = fs::File::options()
            .append(true)
            .open(there.join("Kconfig"))
            .unwrap();
        kconfig.set_modified(past).unwrap();
        put(&there.join("src/dax.o"), "object");
        put(&there.join("src/.dax.o.cmd"), "command");
        put(&there.join("src/device_dax.mod.c"), "generated");
        let before = key(&repo).unwrap();
        put(&repo.join("src/dax.rs"), "2");
        fs::remove_file(repo.join("src/old.rs")).unwrap();
        assert_ne!(before, key(&repo).unwrap());

        let changed = update(&repo, &tree).unwrap();
        assert_eq!(
            changed,
            [PathBuf::from("src/dax.rs"), PathBuf::from("src/old.rs")]
        );
        assert!(!there.join("src/old.rs").exists());
        assert!(there.join("src/.dax.o.cmd").exists());
        assert!(there.join("src/dax.o").exists() && there.join("src/device_dax.mod.c").exists());
        assert_eq!(
            fs::metadata(there.join("Kconfig"))
                .unwrap()
                .modified()
                .unwrap(),
            past
        );
        assert!(update(&repo, &tree).unwrap().is_empty());
    }
}
