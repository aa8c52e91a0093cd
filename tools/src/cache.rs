// SPDX-License-Identifier: GPL-2.0
//! The cache outside the checkout: its place, the names of artefacts, which are hashes of what goes
//! into them, and the locks that keep two runs apart.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::progress;

/// Digits of a key that appear in a name; 64 bits are plenty for one machine.
const KEY_LEN: usize = 16;

/// `${XDG_CACHE_HOME:-~/.cache}/device-dax`; tools/bootstrap.sh and tools/clean.sh say the same.
pub fn dir() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .unwrap_or_else(|| set("HOME").unwrap_or_else(|| "/root".into()).join(".cache"))
        .join("device-dax")
}

/// A hash over everything that goes into an artefact.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    pub fn new(kind: &str) -> Self {
        Self::default().text(kind)
    }

    /// Adds one part; its length goes in too, so that parts cannot run together.
    pub fn bytes(mut self, data: &[u8]) -> Self {
        self.0.update((data.len() as u64).to_le_bytes());
        self.0.update(data);
        self
    }

    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub fn file(self, path: &Path) -> Result<Self> {
        Ok(self.bytes(&read(path)?))
    }

    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The hash that `cat FILES | sha256sum` prints.
pub fn plain_key(files: &[PathBuf]) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(read(file)?);
    }
    Ok(hex(&hash.finalize()))
}

fn hex(digest: &[u8]) -> String {
    let digits: Vec<String> = digest.iter().map(|b| format!("{b:02x}")).collect();
    let mut text = digits.concat();
    text.truncate(KEY_LEN);
    text
}

pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

pub fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub fn mkdir(path: &Path) -> Result<()> {
    fs::create_dir_all(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))
}

pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
}

/// Removes a file or a whole directory; what is not there is no error.
pub fn remove(path: &Path) -> Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let done = if meta.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    done.with_context(|| format!("cannot remove {}", path.display()))
}

/// Writes under a temporary name, then renames: the file is whole or not there.
pub fn write_whole(path: &Path, data: &[u8]) -> Result<()> {
    let part = part_of(path);
    fs::write(&part, data).with_context(|| format!("cannot write {}", part.display()))?;
    rename(&part, path)
}

/// The name of a file while it is being made.
pub fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// A lock on one artefact. The kernel releases it if this process dies.
pub struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Waits, and says so, while another process makes or uses the artefact `name`.
    pub fn take(name: &str) -> Result<Self> {
        Self::wait(
            name,
            FlockArg::LockExclusiveNonblock,
            FlockArg::LockExclusive,
        )
    }

    /// Waits for an artefact that is only used: many processes may use one at once.
    pub fn share(name: &str) -> Result<Self> {
        Self::wait(name, FlockArg::LockSharedNonblock, FlockArg::LockShared)
    }

    fn wait(name: &str, at_once: FlockArg, waiting: FlockArg) -> Result<Self> {
        let path = dir().join("locks").join(name);
        let file = match Self::attempt(&path, at_once)? {
            Ok(lock) => return Ok(lock),
            Err(file) => file,
        };
        let step = progress::Step::start(format!("waiting for another run to finish {name}"), 0);
        let file = Flock::lock(file, waiting)
            .map_err(|(_, e)| e)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        step.done();
        Ok(Self { _file: file })
    }

    /// The lock, or the open file of one that somebody else has.
    fn attempt(path: &Path, how: FlockArg) -> Result<Result<Self, File>> {
        mkdir(path.parent().unwrap_or(Path::new("/")))?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open the lock {}", path.display()))?;
        Ok(match Flock::lock(file, how) {
            Ok(file) => Ok(Self { _file: file }),
            Err((file, _)) => Err(file),
        })
    }
}

/// Number of artefacts of a kind that are kept: one for this checkout, and one for another.
const KEPT: usize = 2;

/// Removes the older artefacts in `directory` whose names begin with `prefix`. An artefact in use
/// stays.
pub fn prune(directory: &Path, prefix: &str) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|e| is_artefact(&e.file_name().to_string_lossy(), prefix))
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .collect();
    found.sort();
    found.reverse();
    for (_, path) in found.iter().skip(KEPT) {
        let name = path.file_name().unwrap_or_default();
        let lock = dir().join("locks").join(name);
        if let Ok(_lock) = Lock::attempt(&lock, FlockArg::LockExclusiveNonblock)? {
            remove(path)?;
        }
    }
    Ok(())
}

/// Whether the name is `PREFIX-KEY` or `PREFIX-KEY.cpio`: not a log, and not a file that is being
/// made.
fn is_artefact(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix).and_then(|r| r.strip_prefix('-'));
    rest.map(|r| r.strip_suffix(".cpio").unwrap_or(r))
        .is_some_and(|key| key.len() == KEY_LEN && key.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let a = Key::new("k").text("ab").text("c").finish();
        let b = Key::new("k").text("a").text("bc").finish();
        assert_ne!(a, b);
        assert_eq!(a, Key::new("k").text("ab").text("c").finish());
        assert_eq!(a.len(), KEY_LEN);
    }

    #[test]
    fn plain_key_is_what_the_shell_computes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "abc").unwrap();
        assert_eq!(plain_key(&[file]).unwrap(), "ba7816bf8f01cfea");
    }

    #[test]
    fn artefacts_of_a_kind_are_told_from_others() {
        assert!(is_artefact("7.3-c-0123456789abcdef", "7.3-c"));
        assert!(is_artefact("base-0123456789abcdef.cpio", "base"));
        assert!(!is_artefact("7.3-c-0123456789abcdef.part", "7.3-c"));
        assert!(!is_artefact("7.3-c-gcc-0123456789abcdef", "7.3-c"));
        assert!(!is_artefact("root-0123456789abcdef.log", "root"));
    }

    /// Runs `make clean` where every program that makes or installs something is a stub. Returns
    /// whether it succeeded, and the names of the stubs that it called.
    fn clean(cache: &Path, args: &[&str]) -> (bool, String) {
        let stubs = tempfile::tempdir().unwrap();
        let called = stubs.path().join("called");
        for name in ["apt-get", "cargo", "mmdebstrap", "unshare"] {
            let stub = stubs.path().join(name);
            let text = format!("#!/bin/bash\necho {name} >>{}\nexit 1\n", called.display());
            fs::write(&stub, text).unwrap();
            fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:/usr/bin:/bin", stubs.path().display());
        let mut make = Command::new("make");
        for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "HOME"] {
            make.env_remove(name);
        }
        let out = make
            .args(["-C", concat!(env!("CARGO_MANIFEST_DIR"), "/.."), "clean"])
            .args(args)
            .env("PATH", path)
            .env("XDG_CACHE_HOME", cache)
            .output()
            .unwrap();
        let called = fs::read_to_string(called).unwrap_or_default();
        (out.status.success(), called)
    }

    #[test]
    fn make_clean_deletes_the_cache_and_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ours = dir.path().join("device-dax");
        let file = ours.join("locks/root");
        mkdir(&ours.join("locks")).unwrap();
        fs::write(&file, "").unwrap();
        fs::write(dir.path().join("other"), "").unwrap();
        // A variable with a wrong name: the cache of another place would be deleted.
        let (success, _) = clean(dir.path(), &["XDG_CACHE_HOM=/nowhere"]);
        assert!(!success && file.exists());
        assert_eq!(clean(dir.path(), &[]), (true, String::new()));
        assert!(!ours.exists() && dir.path().join("other").exists());
        assert_eq!(clean(dir.path(), &[]), (true, String::new()));
        assert!(!ours.exists());
    }

    #[test]
    fn writes_whole_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        write_whole(&file, b"one").unwrap();
        write_whole(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert!(!part_of(&file).exists());
        remove(&file).unwrap();
        remove(&file).unwrap();
    }
}
