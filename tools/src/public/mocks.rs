// SPDX-License-Identifier: GPL-2.0
//! The modules of the kernel's tools/testing/{nvdimm,cxl}: drivers with some of
//! their functions replaced, and fake machines for them. Building them writes
//! over objects of the tree, so a copy of it is used and thrown away.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::cache::{self, Key, Lock};
use crate::cpio;
use crate::exec;
use crate::kernel::{in_tree, Kernel};
use crate::progress::Step;
use crate::root::Root;
use crate::spec::Spec;

use super::list::Mocks;

/// The directory for modules from outside the tree. depmod prefers them.
const UPDATES: &str = "updates";

impl Mocks {
    fn directory(self) -> &'static str {
        match self {
            Self::Nvdimm => "nvdimm",
            Self::Cxl => "cxl",
        }
    }

    /// More variables for make. modpost does not accept the wrapped exports of
    /// cxl_core when LLVM's linker made it.
    fn make_variables(self) -> &'static str {
        match self {
            Self::Nvdimm => "",
            Self::Cxl => "LD=ld.bfd",
        }
    }
}

/// An archive with the mocks, and the index of these and the kernel's modules.
pub fn ensure(root: &Root, kernel: &Kernel, spec: &Spec, mocks: Mocks) -> Result<PathBuf> {
    // The archive of the kernel's modules says all of what it was built from.
    let key = Key::new("mocks")
        .text(mocks.directory())
        .text(mocks.make_variables())
        .text(&kernel.dir.to_string_lossy())
        .file(&kernel.modules())?
        .text(include_str!("mocks.rs"))
        .text(cpio::CODE)
        .finish();
    let name = format!("{}-{key}.cpio", mocks.directory());
    let archive = cache::dir().join("public").join(&name);
    let _lock = Lock::take(&name)?;
    if !archive.exists() {
        let what = format!("building tools/testing/{} for {spec}", mocks.directory());
        let step = Step::start(what, 0);
        let part = archive.with_extension("part");
        let built = build(root, kernel, spec, mocks, &part, &step);
        cache::remove(&part.join("linux"))?;
        built?;
        cache::rename(&part.join("packed"), &archive)?;
        cache::remove(&part)?;
        step.done();
    }
    Ok(archive)
}

fn build(
    root: &Root,
    kernel: &Kernel,
    spec: &Spec,
    mocks: Mocks,
    part: &Path,
    step: &Step,
) -> Result<()> {
    cache::remove(part)?;
    let (tree, staged) = (part.join("linux"), part.join("staged"));
    cache::mkdir(&staged)?;
    let log = part.join("log");
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"])
        .arg(kernel.tree())
        .arg(&tree);
    exec::logged(&mut copy, &log, step)?;

    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let install = "-s INSTALL_MOD_PATH=/usr/src/modules INSTALL_MOD_STRIP=1 modules_install";
    let make = spec.make();
    let own = format!(
        "{make} {} M=tools/testing/{}",
        mocks.make_variables(),
        mocks.directory()
    );
    // The kernel's modules first, so that depmod sees them all in the end.
    let script = format!("{make} {install} && {own} -j{jobs} && {own} {install}");
    let mut command = in_tree(root, &tree, &script)
        .bind(&staged, "/usr/src/modules")
        .build()?;
    exec::logged(&mut command, &log, step)?;

    let keep = part.join("keep");
    for entry in WalkDir::new(staged.join("lib/modules")) {
        let entry = entry.context("cannot list the installed modules")?;
        let name = entry.path().strip_prefix(&staged).unwrap_or(entry.path());
        // lib/modules/VERSION/updates/... or lib/modules/VERSION/modules.*
        let place = name
            .components()
            .nth(3)
            .map(|c| c.as_os_str().to_string_lossy());
        let wanted = place.is_some_and(|p| p == UPDATES || p.starts_with("modules."));
        if wanted && entry.file_type().is_file() {
            let to = keep.join("usr").join(name);
            cache::mkdir(to.parent().unwrap_or(&keep))?;
            cache::rename(entry.path(), &to)?;
        }
    }
    cpio::pack(&keep, &part.join("packed"))
}
