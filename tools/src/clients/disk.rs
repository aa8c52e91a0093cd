// SPDX-License-Identifier: GPL-2.0
//! The disk of the clients' guests: a Debian tree with the programs, in an ext4 image. Guests do
//! not change the image: QEMU keeps what they write to itself.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cache::{self, Key, Lock};
use crate::exec;
use crate::progress::Step;
use crate::root::Root;

const SIZE: &str = "2G";
/// The label by which a guest finds the disk; tests/clients/start.sh says the same.
const LABEL: &str = "clients";

/// The image, made if it is not in the cache.
pub fn ensure(repo: &Path, root: &Root) -> Result<PathBuf> {
    let tree = Root::ensure_clients(repo)?;
    let key = Key::new("clients' disk")
        .text(&tree.key)
        .text(include_str!("disk.rs"))
        .finish();
    let name = format!("clients-disk-{key}");
    let dir = cache::dir().join(&name);
    let image = dir.join("disk.img");
    let _lock = Lock::take(&name)?;
    if dir.exists() {
        return Ok(image);
    }
    let part = cache::part_of(&dir);
    cache::remove(&part)?;
    cache::mkdir(&part)?;
    let step = Step::start("making the disk with the clients' programs", 0);
    let script = format!("mke2fs -q -t ext4 -L {LABEL} -d /usr/src/tree disk.img {SIZE}");
    let command = root
        .shell(&script)
        .bind(&part, "/usr/src/disk")
        .bind(&tree.path, "/usr/src/tree")
        .cwd("/usr/src/disk");
    exec::logged(&mut command.build()?, &part.join("log"), &step)?;
    cache::rename(&part, &dir)?;
    cache::prune(&cache::dir(), "clients-disk")?;
    step.done();
    Ok(image)
}
