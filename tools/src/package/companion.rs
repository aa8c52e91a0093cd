// SPDX-License-Identifier: GPL-2.0
//! The package of daxlayout: the program, its man pages, unit and rules, by debhelper.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use super::kernel::debs;
use crate::arch::Arch;
use crate::cache::{self, Key};
use crate::cargo::Cargo;
use crate::exec;
use crate::progress::Step;
use crate::root::{self, Root};

const INSIDE: &str = "/usr/src/daxlayout";

/// Parts of this checkout in the package: from, to.
const PARTS: [(&str, &str); 7] = [
    ("tools/package/daxlayout", "debian"),
    ("daxlayout/dist", "dist"),
    ("README.md", "docs/README.md"),
    ("docs/install.md", "docs/install.md"),
    ("docs/daxlayout.md", "docs/daxlayout.md"),
    ("docs/deviations.md", "docs/deviations.md"),
    ("docs/errors.md", "docs/errors.md"),
];

/// The program's sources, beside `PARTS`.
const SOURCES: [&str; 3] = ["daxlayout", "Cargo.toml", "Cargo.lock"];

/// A hash over all that goes into the package, but for the compiler: names and contents.
pub fn key(repo: &Path, arch: Arch) -> Result<String> {
    let mut key = Key::new("daxlayout").text(arch.name());
    if arch != Arch::X86 {
        // The libraries and the flags of the link.
        key = key
            .file(&repo.join(root::CROSS))?
            .text(include_str!("../cargo.rs"));
    }
    for part in PARTS.map(|(from, _)| from).into_iter().chain(SOURCES) {
        for entry in WalkDir::new(repo.join(part)).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot list {part}"))?;
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(repo)?;
                key = key.text(&name.to_string_lossy()).file(entry.path())?;
            }
        }
    }
    Ok(key.finish())
}

/// Builds the package into `to`, with `work` as a directory to work in.
pub fn build(
    repo: &Path,
    root: &Root,
    arch: Arch,
    version: &str,
    work: &Path,
    to: &Path,
) -> Result<()> {
    let step = Step::start(format!("building daxlayout {version}"), 0);
    let tree = work.join("daxlayout");
    let log = work.join("daxlayout.log");
    cache::remove(&tree)?;
    cache::remove(&log)?;
    for old in debs(work)? {
        cache::remove(&old)?;
    }
    for (from, name) in PARTS {
        copy(&repo.join(from), &tree.join(name))?;
    }
    let cargo = Cargo::find(repo)?;
    let own = cargo.build_release("daxlayout")?;
    let program = match arch {
        Arch::X86 => own.clone(),
        other => cargo.build_release_for(other, "daxlayout")?,
    };
    copy(&program, &tree.join("daxlayout"))?;
    // It prints the man pages, and does not go into the package.
    copy(&own, &tree.join("own/daxlayout"))?;
    // The oldest entry is all that dpkg needs. CHANGELOG.md is for people.
    let changelog = format!(
        "daxlayout ({version}) UNRELEASED; urgency=medium\n\n  * Built by `make deb`.\n\n \
         -- device-dax in Rust <device-dax@localhost>  {}\n",
        now()?
    );
    cache::write_whole(&tree.join("debian/changelog"), changelog.as_bytes())?;

    // The package has no mail address, since the project has none.
    let script = "chmod 755 daxlayout own/daxlayout debian/rules && mkdir man && \
        own/daxlayout generate man man && own/daxlayout generate completions . && \
        dpkg-buildpackage -d -b -us -uc --host-arch=\"$ARCHITECTURE\" && \
        lintian --allow-root --fail-on error \
        --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog ../daxlayout_*.deb";
    // The build root's strip knows one architecture; cargo has stripped the programs of others.
    let options = match arch {
        Arch::X86 => "noautodbgsym",
        Arch::Arm64 | Arch::Riscv => "noautodbgsym nostrip",
    };
    let mut command = root
        .shell(script)
        .env("DEB_BUILD_OPTIONS", options)
        .env("ARCHITECTURE", arch.debian())
        .bind(work, INSIDE)
        .cwd(format!("{INSIDE}/daxlayout"))
        .build()?;
    exec::logged(&mut command, &log, &step)?;
    for deb in debs(work)? {
        let name = deb.file_name().unwrap_or_default().to_os_string();
        cache::rename(&deb, &to.join(name))?;
    }
    step.done();
    Ok(())
}

/// The time as a changelog of Debian has it.
fn now() -> Result<String> {
    let text = exec::output(std::process::Command::new("date").arg("-R"))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Copies a file or a directory of files.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        let entries =
            fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
        for entry in entries.flatten() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        cache::mkdir(parent)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_covers_names_and_contents() {
        let repo = std::env::temp_dir().join(format!("xtask-companion-{}", std::process::id()));
        let made = |changed: &str, name: &str| {
            let _ = fs::remove_dir_all(&repo);
            for part in PARTS.map(|(from, _)| from).into_iter().chain(SOURCES) {
                let file = repo.join(part).join("file");
                fs::create_dir_all(repo.join(part)).unwrap();
                fs::write(&file, part).unwrap();
                if part == changed {
                    fs::write(repo.join(part).join(name), "more").unwrap();
                }
            }
            key(&repo, Arch::X86).unwrap()
        };
        let before = made("", "");
        assert_eq!(made("", ""), before);
        for part in PARTS.map(|(from, _)| from).into_iter().chain(SOURCES) {
            let [changed, added] = ["file", "other"].map(|name| made(part, name));
            assert_ne!(changed, before, "{part}");
            assert_ne!(added, before, "{part}");
            assert_ne!(changed, added, "{part}");
        }
        fs::remove_dir_all(&repo).unwrap();
    }
}
