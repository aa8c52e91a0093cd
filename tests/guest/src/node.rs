// SPDX-License-Identifier: GPL-2.0
//! Nodes of devices outside of /dev.

use crate::device::Device;
use crate::sysfs::{Error, Result};
use nix::sys::stat::{makedev, mknod, Mode, SFlag};
use std::fs;
use std::path::{Path, PathBuf};

/// A second inode for a device, outside devtmpfs; removed when dropped.
pub struct Node(PathBuf);

impl Node {
    /// `mknod(2)`.
    pub fn of(device: &Device) -> Result<Node> {
        let path = std::env::temp_dir().join(format!("dax-guest-{}", device.name()));
        let dev = device.dev()?;
        let (major, minor) = dev.split_once(':').unwrap_or_default();
        let number = makedev(major.parse().unwrap_or(0), minor.parse().unwrap_or(0));
        let _ = fs::remove_file(&path);
        mknod(&path, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, number)
            .map_err(|e| Error::new(format!("mknod {}", path.display()), e.into()))?;
        Ok(Node(path))
    }

    /// The path of the node.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
