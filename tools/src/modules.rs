// SPDX-License-Identifier: GPL-2.0
//! The parts of a built kernel for a guest: the image that boots, and an archive of its modules.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::cache::{self, Key};
use crate::cpio::{self, Archive};
use crate::exec;
use crate::kernel::in_tree;
use crate::progress::Step;
use crate::root::Root;
use crate::spec::Spec;

/// The key of what packs an image: the build root and this code. The tree itself is not in it.
fn key(root: &Root) -> String {
    Key::new("modules")
        .text(&root.key)
        .text(include_str!("modules.rs"))
        .text(cpio::CODE)
        .finish()
}

/// Whether `dir`/image was made as it would be made now, if the tree did not change.
pub fn is_packed(root: &Root, dir: &Path) -> bool {
    std::fs::read_to_string(dir.join("image/key")).is_ok_and(|have| have == key(root))
}

/// Fills `dir`/image from the tree `dir`/linux.
pub fn package(root: &Root, spec: &Spec, dir: &Path) -> Result<()> {
    let image = dir.join("image");
    let part = cache::part_of(&image);
    cache::remove(&part)?;
    cache::mkdir(&part)?;
    let log = dir.join("install.log");
    cache::remove(&log)?;

    let step = Step::start("packing the kernel and its modules", 0);
    let script = format!(
        "{} -s INSTALL_MOD_PATH=/usr/src/modules INSTALL_MOD_STRIP=1 modules_install",
        spec.make()
    );
    let staged = part.join("staged");
    cache::mkdir(&staged)?;
    let mut install = in_tree(root, &dir.join("linux"), &script)
        .bind(&staged, "/usr/src/modules")
        .build()?;
    exec::logged(&mut install, &log, &step)?;
    write_archive(&staged, &part.join("modules.cpio"))?;
    cache::remove(&staged)?;
    let name = spec.arch.image();
    let built = dir.join("linux/arch").join(spec.arch.name());
    let built = built.join("boot").join(name);
    std::fs::copy(&built, part.join(name))
        .with_context(|| format!("cannot copy {}", built.display()))?;
    cache::write_whole(&part.join("key"), key(root).as_bytes())?;
    cache::remove(&image)?;
    cache::rename(&part, &image)?;
    step.done();
    Ok(())
}

fn write_archive(staged: &Path, to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for entry in WalkDir::new(staged.join("lib/modules")).sort_by_file_name() {
        let entry = entry.context("cannot list the installed modules")?;
        // "build" points to the tree, which no guest has.
        if entry.file_name() == "build" || entry.file_name() == "source" {
            continue;
        }
        let name = entry.path().strip_prefix(staged).unwrap_or(entry.path());
        // /lib is a link in the guest.
        archive.copy(&PathBuf::from("usr").join(name), entry.path())?;
    }
    archive
        .finish()?
        .flush()
        .with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_root_or_other_code_packs_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = |key: &str| Root {
            path: PathBuf::from("/"),
            key: key.to_owned(),
        };
        assert!(!is_packed(&root("a"), dir.path()));
        cache::mkdir(&dir.path().join("image")).unwrap();
        assert!(!is_packed(&root("a"), dir.path()));
        std::fs::write(dir.path().join("image/key"), key(&root("a"))).unwrap();
        assert!(is_packed(&root("a"), dir.path()));
        assert!(!is_packed(&root("b"), dir.path()));
        std::fs::write(dir.path().join("image/key"), "of other code").unwrap();
        assert!(!is_packed(&root("a"), dir.path()));
    }
}
