// SPDX-License-Identifier: GPL-2.0
//! The disk of the system: a Debian tree in an ext4 image, and the kernels that are on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::cache::{self, Key, Lock};
use crate::exec;
use crate::progress::Step;
use crate::root::{InRoot, Root};

const INSIDE: &str = "/usr/src/disk";
const SIZE: &str = "3G";

/// A disk that one run uses and changes. It stays until the next run.
pub struct Disk<'a> {
    root: &'a Root,
    system: Root,
    /// The directory of the disk, and of what the guests need besides.
    pub dir: PathBuf,
    _lock: Lock,
}

impl<'a> Disk<'a> {
    /// A disk with Debian as mmdebstrap installed it.
    pub fn fresh(repo: &Path, root: &'a Root) -> Result<Self> {
        let system = Root::ensure_system(repo)?;
        let image = image(repo, root, &system)?;
        let lock = Lock::take("system")?;
        let dir = cache::dir().join("system");
        cache::remove(&dir)?;
        cache::mkdir(&dir)?;
        let step = Step::start("copying the disk", 0);
        let mut copy = Command::new("cp");
        copy.args(["--sparse=always", "--reflink=auto"]);
        copy.arg(&image).arg(dir.join("disk.img"));
        exec::output(&mut copy)?;
        step.done();
        Ok(Self {
            root,
            system,
            dir,
            _lock: lock,
        })
    }

    pub fn image(&self) -> PathBuf {
        self.dir.join("disk.img")
    }

    /// The name of the kernel that a boot loader takes: the newest in /boot, as linux-version
    /// sorts them.
    pub fn newest(&self) -> Result<String> {
        let list = self.debugfs("ls -p /boot")?;
        let names = kernels(&list);
        if names.is_empty() {
            bail!("no kernel in /boot of {}", self.image().display());
        }
        let sort = self.system.command("linux-version").arg("sort");
        let sorted = exec::output(&mut sort.args(names).build()?)?;
        let sorted = String::from_utf8_lossy(&sorted).into_owned();
        let newest = sorted.split_whitespace().last();
        Ok(newest
            .context("linux-version sort printed nothing")?
            .to_owned())
    }

    /// Copies a kernel and its initrd from the disk.
    pub fn extract(&self, release: &str) -> Result<(PathBuf, PathBuf)> {
        let copy = |name: &str| {
            let to = self.dir.join(name);
            cache::remove(&to)?;
            self.debugfs(&format!("dump /boot/{name}-{release} {INSIDE}/{name}"))?;
            let size = std::fs::metadata(&to).map(|m| m.len()).unwrap_or(0);
            if size == 0 {
                bail!("the disk has no /boot/{name}-{release}");
            }
            Ok(to)
        };
        Ok((copy("vmlinuz")?, copy("initrd.img")?))
    }

    /// Runs a command of debugfs on the disk.
    fn debugfs(&self, command: &str) -> Result<String> {
        let debugfs = self.root.command("debugfs").args(["-R", command]);
        let image = format!("{INSIDE}/disk.img");
        let mut debugfs = debugfs.arg(image).bind(&self.dir, INSIDE).build()?;
        debugfs.stderr(Stdio::piped());
        let text = exec::output(&mut debugfs)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The names of the kernels in what `ls -p /boot` of debugfs prints.
fn kernels(list: &str) -> Vec<&str> {
    let names = list.lines().filter_map(|line| line.split('/').nth(5));
    names.filter_map(|n| n.strip_prefix("vmlinuz-")).collect()
}

/// The image that each run begins with, made if it is not in the cache.
fn image(repo: &Path, root: &Root, system: &Root) -> Result<PathBuf> {
    let tests = repo.join("tests/system");
    let mut key = Key::new("disk").text(&system.key).text(SIZE);
    for name in ["prepare.sh", "agent.sh", "agent.service"] {
        key = key.file(&tests.join(name))?;
    }
    let name = format!("disk-{}", key.finish());
    let dir = cache::dir().join(&name);
    let _lock = Lock::take(&name)?;
    if !dir.exists() {
        let part = cache::part_of(&dir);
        cache::remove(&part)?;
        cache::mkdir(&part)?;
        let log = cache::dir().join(format!("{name}.log"));
        cache::remove(&log)?;
        let step = Step::start("making the disk of a Debian system", 0);
        let script = format!(
            "cp -a /usr/src/system tree && /usr/src/test/prepare.sh tree && \
             mke2fs -q -t ext4 -L root -d tree disk.img {SIZE} && rm -r tree"
        );
        let command = bound(root, &script, &part, system, &tests);
        exec::logged(&mut command.build()?, &log, &step)?;
        cache::rename(&part, &dir)?;
        cache::prune(&cache::dir(), "disk")?;
        step.done();
    }
    Ok(dir.join("disk.img"))
}

fn bound(root: &Root, script: &str, part: &Path, system: &Root, tests: &Path) -> InRoot {
    root.shell(script)
        .bind(part, INSIDE)
        .bind(&system.path, "/usr/src/system")
        .bind(tests, "/usr/src/test")
        .cwd(INSIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_kernels_in_a_list() {
        let list = "/12/040755/0/0/.//\n/13/100644/0/0/vmlinuz-7.3.4+deb13-amd64/1/\n\
            /14/100644/0/0/initrd.img-7.3.4+deb13-amd64/1/\n";
        assert_eq!(kernels(list), ["7.3.4+deb13-amd64"]);
    }
}
