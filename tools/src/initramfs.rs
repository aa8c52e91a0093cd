// SPDX-License-Identifier: GPL-2.0
//! The guest's file system: Debian's own files of a few packages and the shared
//! libraries they need, taken from the build root. Made once, uncompressed:
//! under emulation, unpacking costs more than reading.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

use crate::arch::Arch;
use crate::cache::{self, Key, Lock};
use crate::cpio::{self, Archive};
use crate::exec;
use crate::progress::Step;
use crate::root::Root;

/// The packages of guests of all architectures, one a line.
const PACKAGES: &str = include_str!("../foreign/guest.packages");

/// More packages whose files a guest of x86 has; a `*` stands for a version. Other architectures
/// get the libraries of their packages with them, and have no Python.
const PACKAGES_X86: [&str; 5] = [
    "libc6",
    "libgcc-s1",
    "python3-minimal",
    "python3.*-minimal",
    "libpython3.*-minimal",
];

/// Directories that nothing reads in a guest.
const LEFT_OUT: [&str; 8] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/bash-completion",
    "usr/share/common-licenses",
    "usr/share/perl5",
];
/// Directories that nothing reads, in the directory of libraries.
const LEFT_OUT_LIBRARIES: [&str; 2] = ["gconv", "perl-base"];

/// Links that Debian makes when it configures a package.
const LINKS: [(&str, &str); 3] = [
    ("usr/bin/awk", "gawk"),
    ("usr/bin/which", "which.debianutils"),
    ("etc/mtab", "../proc/self/mounts"),
];

const DIRECTORIES: [(&str, u32); 9] = [
    ("dev", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("root", 0o700),
    ("mnt", 0o755),
    ("var/tmp", 0o1777),
    ("etc/modprobe.d", 0o755),
];

const INIT: &str = include_str!("../guest/init");
const FSTAB: &str = include_str!("../guest/fstab");

/// The base image for guests, a cpio archive: of packages of the build root, or of all packages of
/// another one, which is for an architecture.
pub fn ensure(root: &Root, other: Option<(&Root, Arch)>) -> Result<PathBuf> {
    let arch = other.map_or(Arch::X86, |(_, arch)| arch);
    let key = Key::new("base image")
        .text(other.map_or(&root.key, |(other, _)| &other.key))
        .text(INIT)
        .text(FSTAB)
        .text(include_str!("initramfs.rs"))
        .text(PACKAGES)
        .text(cpio::CODE)
        .finish();
    let kind = match other {
        None => "base".to_owned(),
        Some(_) => format!("base-{}", arch.name()),
    };
    let name = format!("{kind}-{key}.cpio");
    let path = cache::dir().join(&name);
    if path.exists() {
        return Ok(path);
    }
    let _lock = Lock::take(&name)?;
    if !path.exists() {
        let step = Step::start("making the guest's base image", 0);
        let part = cache::part_of(&path);
        let names = match other {
            None => chosen(root, &step)?,
            Some((other, arch)) => everything(&other.path, arch)?,
        };
        let from = other.map_or(&root.path, |(other, _)| &other.path);
        write(root, from, &names, &part, &step).context("cannot make the guest's base image")?;
        cache::rename(&part, &path)?;
        step.done();
        cache::prune(&cache::dir(), &kind)?;
    }
    Ok(path)
}

/// The names of the packages' files in the build root.
fn chosen(root: &Root, step: &Step) -> Result<BTreeSet<PathBuf>> {
    let mut tree = Tree {
        root: &root.path,
        names: BTreeSet::new(),
    };
    let shared = PACKAGES.lines().filter(|line| !line.starts_with('#'));
    for package in shared.chain(PACKAGES_X86) {
        tree.package(package)?;
        step.advance(1);
    }
    for name in tree.libraries(root)? {
        tree.add(&name)?;
    }
    Ok(tree.names)
}

/// The names of all files in the tree `root`, but for those that nothing reads.
fn everything(root: &Path, arch: Arch) -> Result<BTreeSet<PathBuf>> {
    let mut names = BTreeSet::new();
    for directory in ["etc", "usr"] {
        let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        let files = WalkDir::new(root.join(directory))
            .into_iter()
            .filter_entry(|entry| !is_left_out(&relative(entry.path()), arch));
        for entry in files {
            let entry = entry.with_context(|| format!("cannot list {}", root.display()))?;
            names.insert(relative(entry.path()));
        }
    }
    Ok(names)
}

fn is_left_out(name: &Path, arch: Arch) -> bool {
    let libraries = Path::new("usr/lib").join(arch.gnu());
    LEFT_OUT.iter().any(|dir| name.starts_with(dir))
        || LEFT_OUT_LIBRARIES
            .iter()
            .any(|dir| name.starts_with(libraries.join(dir)))
}

/// Writes an image with the files of those names in `from`, and the accounts of the build root.
fn write(
    root: &Root,
    from: &Path,
    names: &BTreeSet<PathBuf>,
    to: &Path,
    step: &Step,
) -> Result<()> {
    let file = File::create(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for (name, mode) in DIRECTORIES {
        archive.directory(Path::new(name), mode)?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        archive.symlink(Path::new(link), &Path::new("usr").join(link))?;
    }
    for name in names {
        archive.copy(name, &from.join(name))?;
        step.advance(1);
    }
    for (name, target) in LINKS {
        archive.symlink(Path::new(name), Path::new(target))?;
    }
    for name in ["etc/passwd", "etc/group", "etc/shells", "etc/nsswitch.conf"] {
        let path = root.path.join(name);
        if path.exists() {
            archive.copy(Path::new(name), &path)?;
        }
    }
    archive.file(Path::new("etc/fstab"), 0o644, FSTAB.as_bytes())?;
    archive.file(
        Path::new("etc/hosts"),
        0o644,
        b"127.0.0.1 localhost guest\n",
    )?;
    archive.char_device(Path::new("dev/console"), 0o600, (5, 1))?;
    archive.file(Path::new("init"), 0o755, INIT.as_bytes())?;
    archive
        .finish()?
        .flush()
        .with_context(|| format!("cannot write {}", to.display()))
}

/// The names, relative to the root, that the image will hold.
struct Tree<'a> {
    root: &'a Path,
    names: BTreeSet<PathBuf>,
}

impl Tree<'_> {
    fn package(&mut self, pattern: &str) -> Result<()> {
        let mut found = false;
        for list in self.lists(pattern)? {
            found = true;
            for line in cache::read_text(&list)?.lines() {
                let name = line.trim_start_matches('/');
                let left_out = is_left_out(Path::new(name), Arch::X86);
                if !left_out && !matches!(name, "" | "." | "bin" | "sbin" | "lib" | "lib64") {
                    self.add(Path::new(name))?;
                }
            }
        }
        if !found {
            bail!("the build root has no package {pattern}: see tools/root.packages");
        }
        Ok(())
    }

    /// dpkg's lists of files of the packages that match.
    fn lists(&self, pattern: &str) -> Result<Vec<PathBuf>> {
        let info = self.root.join("var/lib/dpkg/info");
        let entries =
            fs::read_dir(&info).with_context(|| format!("cannot list {}", info.display()))?;
        let matching = entries.flatten().filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.strip_suffix(".list")
                .is_some_and(|n| matches(pattern, n.trim_end_matches(":amd64")))
        });
        Ok(matching.map(|entry| entry.path()).collect())
    }

    /// Adds a name, and what it links to, under the directories as they really are.
    fn add(&mut self, name: &Path) -> Result<()> {
        let Some(file) = name.file_name() else {
            return Ok(());
        };
        let parent = self.root.join(name.parent().unwrap_or(Path::new("")));
        // A package may list what its scripts or dpkg diverted or removed.
        let Ok(parent) = fs::canonicalize(&parent) else {
            return Ok(());
        };
        let full = parent.join(file);
        let (Ok(meta), Ok(name)) = (fs::symlink_metadata(&full), full.strip_prefix(self.root))
        else {
            return Ok(());
        };
        if !self.names.insert(name.to_owned()) || !meta.is_symlink() {
            return Ok(());
        }
        let target =
            fs::read_link(&full).with_context(|| format!("cannot read {}", full.display()))?;
        let next = match target.strip_prefix("/") {
            Ok(absolute) => absolute.to_owned(),
            Err(_) => name.parent().unwrap_or(Path::new("")).join(&target),
        };
        // Links to directories bring no content along.
        if self.root.join(&next).is_file() {
            self.add(&next)
        } else {
            Ok(())
        }
    }

    /// The libraries that the image's programs load, by their own loader's word.
    fn libraries(&self, root: &Root) -> Result<Vec<PathBuf>> {
        let mut programs = Vec::new();
        for name in &self.names {
            if is_elf(&self.root.join(name)) {
                programs.push(Path::new("/").join(name));
            }
        }
        // Some are static, and ldd calls that an error.
        let script = "ldd \"$@\" 2>/dev/null || true";
        let mut command = root.shell(script).arg("ldd").args(&programs).build()?;
        let text = String::from_utf8_lossy(&exec::output(&mut command)?).into_owned();
        Ok(text
            .lines()
            .filter_map(library)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect())
    }
}

/// The path in a line of ldd's output.
fn library(line: &str) -> Option<PathBuf> {
    let line = line.trim();
    let path = line.split_once(" => ").map_or(line, |(_, path)| path);
    let path = path.split_once(" (0x")?.0;
    path.strip_prefix('/').map(PathBuf::from)
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    let meta = fs::symlink_metadata(path);
    meta.is_ok_and(|m| m.is_file())
        && File::open(path)
            .and_then(|mut f| f.read_exact(&mut magic))
            .is_ok()
        && &magic == b"\x7fELF"
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ldd() {
        let line = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)";
        assert_eq!(library(line), Some("lib/x86_64-linux-gnu/libc.so.6".into()));
        assert_eq!(
            library("\t/lib64/ld.so.2 (0x0)"),
            Some("lib64/ld.so.2".into())
        );
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007ffd)"), None);
        assert_eq!(library("/usr/bin/bash:"), None);
        assert_eq!(library("\tlibx.so => not found"), None);
    }

    #[test]
    fn versions_match() {
        assert!(matches("python3.*-minimal", "python3.13-minimal"));
        assert!(!matches("python3.*-minimal", "python3-minimal"));
        assert!(matches("jq", "jq") && !matches("jq", "jql"));
    }
}
