// SPDX-License-Identifier: GPL-2.0
//! Sources from Debian, fetched with the host's apt from the build root's package
//! sources: the kernel's linux-source package of a series, and source packages.

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
    /// The source, if it was fetched before.
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

/// The package's name and its directory in the cache.
fn place(series: &str) -> (String, PathBuf) {
    let package = format!("linux-source-{series}");
    let dir = cache::dir().join("source").join(&package);
    (package, dir)
}

fn fetch(root: &Root, package: &str, dir: &Path, step: &Step) -> Result<()> {
    let part = cache::part_of(dir);
    let (unpacked, version) = download(root, package, &part, step)?;
    let tarball = format!("{package}.tar.xz");
    cache::rename(
        &unpacked.join("usr/src").join(&tarball),
        &part.join(&tarball),
    )?;
    cache::write_whole(&part.join("version"), &version)?;
    cache::remove(&unpacked)?;
    cache::rename(&part, dir)
}

/// Debian's own configuration of a series for amd64 and a flavour, from the package linux-config.
/// The flavours are `amd64` and `cloud-amd64`.
pub fn debian_config(root: &Root, series: &str, flavour: &str) -> Result<String> {
    let package = format!("linux-config-{series}");
    let dir = cache::dir().join("source").join(&package);
    let _lock = Lock::take(&package)?;
    if !dir.exists() {
        let step = Step::start(format!("fetching {package}"), 0);
        let part = cache::part_of(&dir);
        let (unpacked, _) = download(root, &package, &part, &step)?;
        let configs = unpacked.join("usr/src").join(&package);
        cache::rename(&configs, &part.join("configs"))?;
        cache::remove(&unpacked)?;
        cache::rename(&part, &dir)?;
        step.done();
    }
    let file = dir.join(format!("configs/config.amd64_none_{flavour}.xz"));
    if !file.exists() {
        bail!(
            "{package} has no configuration {flavour}: see {}",
            dir.display()
        );
    }
    let inside = "/usr/src/config.xz";
    let mut unpack = root.command("xz").args(["-dc", inside]);
    unpack = unpack.bind(&file, inside);
    let text = exec::output(&mut unpack.build()?)
        .with_context(|| format!("cannot read {}", file.display()))?;
    String::from_utf8(text).with_context(|| format!("{} is no text", file.display()))
}

/// Downloads a binary package into the new directory `part` and unpacks it there. Returns where it
/// is unpacked, and its version.
fn download(root: &Root, package: &str, part: &Path, step: &Step) -> Result<(PathBuf, Vec<u8>)> {
    cache::remove(part)?;
    cache::mkdir(part)?;
    let log = cache::dir().join(format!("{package}.log"));
    cache::remove(&log)?;
    let apt = Apt::new(root)?;

    exec::logged(apt.get().arg("update"), &log, step)
        .context("cannot read the Debian package lists")?;
    let got = exec::logged(
        apt.get().args(["download", package]).current_dir(part),
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

    let Some(deb) = find(part, "deb")? else {
        bail!(
            "apt-get download {package} left no package in {}",
            part.display()
        );
    };
    let unpacked = part.join("x");
    exec::logged(
        Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked),
        &log,
        step,
    )
    .with_context(|| format!("cannot unpack {}", deb.display()))?;
    let version = exec::output(Command::new("dpkg-deb").arg("-f").arg(&deb).arg("Version"))?;
    cache::remove(&deb)?;
    Ok((unpacked, version))
}

fn find(dir: &Path, extension: &str) -> Result<Option<PathBuf>> {
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut paths = entries.flatten().map(|e| e.path());
    Ok(paths.find(|p| p.extension().is_some_and(|e| e == extension)))
}

/// The upstream tarball of a source package.
pub fn upstream(root: &Root, package: &str) -> Result<PathBuf> {
    let dir = cache::dir().join("source").join(package);
    let _lock = Lock::take(&format!("source-{package}"))?;
    if !dir.exists() {
        let step = Step::start(format!("fetching the source package {package}"), 0);
        fetch_upstream(root, package, &dir, &step)?;
        step.done();
    }
    tarball(&dir)?
        .with_context(|| format!("no tarball in {}: delete that directory", dir.display()))
}

fn fetch_upstream(root: &Root, package: &str, dir: &Path, step: &Step) -> Result<()> {
    let part = cache::part_of(dir);
    cache::remove(&part)?;
    cache::mkdir(&part)?;
    let log = cache::dir().join(format!("source-{package}.log"));
    cache::remove(&log)?;
    let apt = Apt::sources(root)?;
    exec::logged(apt.get().arg("update"), &log, step)
        .context("cannot read the Debian source lists")?;
    let mut get = apt.get();
    get.args(["source", "--download-only", package])
        .current_dir(&part);
    let got = exec::logged(&mut get, &log, step);
    // Some mirrors lack Debian's part of the package. Upstream's tarball is all that is needed, and
    // apt keeps no file with a wrong checksum.
    if tarball(&part)?.is_none() {
        got?;
        bail!("apt-get source {package} brought no upstream tarball");
    }
    cache::rename(&part, dir)
}

fn tarball(dir: &Path) -> Result<Option<PathBuf>> {
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut paths = entries.flatten().map(|e| e.path());
    Ok(paths.find(|p| {
        let name = p.file_name().unwrap_or_default().to_string_lossy();
        name.contains(".orig.tar.") && !name.ends_with(".asc")
    }))
}

/// The host's apt (its proxies, its keys) on the root's package sources.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(root: &Root) -> Result<Self> {
        Self::on(root, &root.path.join("etc/apt/sources.list"), "apt")
    }

    /// The source packages of the suites that apt knows.
    fn sources(root: &Root) -> Result<Self> {
        let binary = cache::read_text(&root.path.join("etc/apt/sources.list"))?;
        let lines = binary.lines().filter_map(|l| l.strip_prefix("deb "));
        let text: String = lines.flat_map(|l| ["deb-src ", l, "\n"]).collect();
        let list = cache::dir().join("apt-source/sources.list");
        cache::mkdir(&cache::dir().join("apt-source"))?;
        cache::write_whole(&list, text.as_bytes())?;
        Self::on(root, &list, "apt-source")
    }

    fn on(root: &Root, list: &Path, directory: &str) -> Result<Self> {
        let state = cache::dir().join(directory).join("state");
        let archives = cache::dir().join(directory).join("cache");
        cache::mkdir(&state.join("lists/partial"))?;
        cache::mkdir(&archives.join("archives/partial"))?;
        let path = |name: &str| root.path.join(name).display().to_string();
        let settings = [
            format!("Dir::Etc::SourceList={}", list.display()),
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
