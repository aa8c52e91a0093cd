// SPDX-License-Identifier: GPL-2.0
//! Kernel sources: Debian's linux-source package of a series, fetched with the
//! host's apt from the build root's package sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::cache::{self, Lock};
use crate::exec;
use crate::progress::Step;
use crate::root::Root;

/// The unpacked package: a tarball and the version it has in Debian.
pub struct Source {
    pub tarball: PathBuf,
    pub version: String,
}

impl Source {
    /// The source that was fetched before, if any.
    pub fn cached(series: &str) -> Result<Option<Self>> {
        let (package, dir) = place(series);
        if !dir.exists() {
            return Ok(None);
        }
        let version = cache::read_text(&dir.join("version"))?.trim().to_owned();
        Ok(Some(Self {
            tarball: dir.join(format!("{package}.tar.xz")),
            version,
        }))
    }

    pub fn ensure(root: &Root, series: &str) -> Result<Self> {
        if let Some(source) = Self::cached(series)? {
            return Ok(source);
        }
        let (package, dir) = place(series);
        let _lock = Lock::take(&package)?;
        if !dir.exists() {
            let step = Step::start(format!("fetching {package}"), 0);
            fetch(root, &package, &dir, &step)?;
            step.done();
        }
        Self::cached(series)?.with_context(|| format!("{} is gone again", dir.display()))
    }
}

/// The package's name and its folder in the cache.
fn place(series: &str) -> (String, PathBuf) {
    let package = format!("linux-source-{series}");
    let dir = cache::dir().join("source").join(&package);
    (package, dir)
}

fn fetch(root: &Root, package: &str, dir: &Path, step: &Step) -> Result<()> {
    let part = cache::part_of(dir);
    cache::remove(&part)?;
    cache::mkdir(&part)?;
    let log = cache::dir().join(format!("{package}.log"));
    cache::remove(&log)?;
    let apt = Apt::new(root)?;

    exec::logged(apt.get().arg("update"), &log, step)
        .context("cannot read the Debian package lists")?;
    let got = exec::logged(
        apt.get().args(["download", package]).current_dir(&part),
        &log,
        step,
    );
    if let Err(error) = got {
        let there = apt.kernels().unwrap_or_default();
        let there = if there.is_empty() {
            "none".to_owned()
        } else {
            there.join(", ")
        };
        return Err(error).with_context(|| {
            format!("Debian has no {package} at present; it has: {there}. Try KERNEL= with one of those series, \
                if this project has a patch for it (patches/)")
        });
    }

    let Some(deb) = find(&part, "deb")? else {
        bail!(
            "apt-get download {package} left no package in {}",
            part.display()
        );
    };
    exec::logged(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(&deb)
            .arg(part.join("x")),
        &log,
        step,
    )
    .with_context(|| format!("cannot unpack {}", deb.display()))?;
    let version = exec::output(Command::new("dpkg-deb").arg("-f").arg(&deb).arg("Version"))?;
    let tarball = format!("{package}.tar.xz");
    cache::rename(&part.join("x/usr/src").join(&tarball), &part.join(&tarball))?;
    cache::write_whole(&part.join("version"), &version)?;
    cache::remove(&part.join("x"))?;
    cache::remove(&deb)?;
    cache::rename(&part, dir)
}

fn find(dir: &Path, extension: &str) -> Result<Option<PathBuf>> {
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut paths = entries.flatten().map(|e| e.path());
    Ok(paths.find(|p| p.extension().is_some_and(|e| e == extension)))
}

/// The host's apt (its proxies, its keys) on the root's package sources.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(root: &Root) -> Result<Self> {
        let state = cache::dir().join("apt/state");
        let archives = cache::dir().join("apt/cache");
        cache::mkdir(&state.join("lists/partial"))?;
        cache::mkdir(&archives.join("archives/partial"))?;
        let path = |name: &str| root.path.join(name).display().to_string();
        let settings = [
            format!("Dir::Etc::SourceList={}", path("etc/apt/sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::State={}", state.display()),
            format!("Dir::State::status={}", path("var/lib/dpkg/status")),
            format!("Dir::Cache={}", archives.display()),
            "APT::Sandbox::User=root".to_owned(),
        ];
        Ok(Self {
            options: settings
                .into_iter()
                .flat_map(|s| ["-o".to_owned(), s])
                .collect(),
        })
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.args(&self.options);
        command
    }

    fn kernels(&self) -> Result<Vec<String>> {
        let mut command = Command::new("apt-cache");
        command
            .args(&self.options)
            .args(["pkgnames", "linux-source-"]);
        let text = String::from_utf8_lossy(&exec::output(&mut command)?).into_owned();
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }
}
