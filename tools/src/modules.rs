// SPDX-License-Identifier: GPL-2.0
//! What a guest needs of a built kernel: bzImage, and an archive of its modules.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::cache;
use crate::cpio::Archive;
use crate::exec;
use crate::kernel::in_tree;
use crate::progress::Step;
use crate::root::Root;
use crate::spec::Spec;

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
    let built = dir.join("linux/arch/x86/boot/bzImage");
    std::fs::copy(&built, part.join("bzImage"))
        .with_context(|| format!("cannot copy {}", built.display()))?;
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
