// SPDX-License-Identifier: GPL-2.0
//! The directory of a guest: its kernel, its initrd and its log.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cache;
use crate::cpio::Archive;
use crate::initramfs;
use crate::kernel::Kernel;
use crate::root::Root;

/// The name of the kernel in the directory of a run.
pub const IMAGE: &str = "kernel";
/// The name of the initrd there.
pub const INITRD: &str = "initrd";
/// The name of the kernel's log there.
pub const LOG: &str = "kernel.log";

/// Number of guests' logs that are kept.
const KEPT_RUNS: usize = 60;
/// Time that the directory of a guest that has not ended is kept. A guest that runs longer may lose
/// its log.
const LONGEST_RUN: Duration = Duration::from_secs(24 * 3600);

/// Makes a directory for one run, and removes old ones.
pub fn run_dir() -> Result<PathBuf> {
    let runs = cache::dir().join("runs");
    cache::mkdir(&runs)?;
    let mut old: Vec<PathBuf> = fs::read_dir(&runs)
        .with_context(|| format!("cannot list {}", runs.display()))?
        .flatten()
        .map(|e| e.path())
        .collect();
    old.sort_by_key(|path| fs::metadata(path).and_then(|m| m.modified()).ok());
    for path in old
        .iter()
        .rev()
        .skip(KEPT_RUNS)
        .filter(|path| !in_use(path))
    {
        // Another run may be cleaning as well.
        let _ = fs::remove_dir_all(path);
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let dir = runs.join(format!("{}-{}", now.as_millis(), std::process::id()));
    cache::mkdir(&dir)?;
    Ok(dir)
}

/// Whether a guest may be running in the directory: a guest that ends removes its kernel, unless it
/// was killed.
fn in_use(dir: &Path) -> bool {
    let began = fs::metadata(dir).and_then(|m| m.modified());
    let age = began.map(|began| began.elapsed().unwrap_or_default());
    dir.join(IMAGE).exists() && age.is_ok_and(|age| age < LONGEST_RUN)
}

/// Writes the initrd: the base image, the kernel's modules, further archives, and the files of this
/// run.
pub fn write_image(
    root: &Root,
    kernel: &Kernel,
    dir: &Path,
    more: &[PathBuf],
    own: impl FnOnce(&mut Archive<Vec<u8>>) -> Result<()>,
) -> Result<()> {
    let image = dir.join(IMAGE);
    fs::hard_link(kernel.image(), &image)
        .or_else(|_| fs::copy(kernel.image(), &image).map(drop))
        .with_context(|| format!("cannot copy the kernel to {}", image.display()))?;
    let path = dir.join(INITRD);
    let why = || format!("cannot write {}", path.display());
    let mut initrd = File::create(&path).with_context(why)?;
    let elsewhere = kernel.elsewhere(root)?;
    let other = elsewhere.as_ref().map(|(_, other)| (other, kernel.arch));
    let base = [initramfs::ensure(root, other)?, kernel.modules()];
    for part in base.iter().chain(more) {
        let mut part =
            File::open(part).with_context(|| format!("cannot open {}", part.display()))?;
        std::io::copy(&mut part, &mut initrd).with_context(why)?;
    }
    let mut archive = Archive::new(Vec::new());
    own(&mut archive)?;
    initrd.write_all(&archive.finish()?).with_context(why)
}
