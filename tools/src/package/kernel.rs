// SPDX-License-Identifier: GPL-2.0
//! The kernel's packages. The kernel's own `make bindeb-pkg` makes them, in a tree that has the
//! patch, this checkout's driver, and the configuration that was asked for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::request::{Config, Request};
use crate::arch::Arch;
use crate::cache::{self, Key};
use crate::exec;
use crate::in_tree;
use crate::kconfig;
use crate::kernel::{self, Builder};
use crate::progress::Step;
use crate::root::{InRoot, Root};
use crate::source::{self, Source};

/// The directory of a tree and of what is packed, inside the build root. The kernel's make puts
/// packages beside the tree, so no other tree may be in that directory.
const INSIDE: &str = "/usr/src/deb";
const FRAGMENTS: &str = "/usr/src/kernel-config";
const BASE: &str = "/usr/src/base-config";
const LOADED: &str = "/usr/src/lsmod";
/// Modules that stay though the machine has not loaded them: the dax family and its parents.
const KEPT: &str = "drivers/dax:drivers/nvdimm:drivers/acpi/nfit:drivers/cxl";

/// The name of the source package that the packages say they are from.
const SOURCE: &str = "linux-device-dax";

/// The choices that are made before anything is built.
pub struct Plan<'a> {
    repo: &'a Path,
    root: &'a Root,
    request: &'a Request,
    source: Source,
    patch: PathBuf,
    /// Fragments of tools/kernel/, in the order in which they are merged.
    fragments: Vec<String>,
    /// The configuration below the fragments, if it is not tinyconfig.
    base: Option<String>,
    /// The end of the kernel's name.
    local_version: String,
    /// The version of the packages.
    pub version: String,
}

impl<'a> Plan<'a> {
    pub fn new(repo: &'a Path, root: &'a Root, request: &'a Request, stamp: &str) -> Result<Self> {
        let series = &request.spec.series;
        let source = Source::ensure(root, series)?;
        let base = match &request.config {
            Config::Small => None,
            Config::Debian => Some(source::debian_config(root, series, "amd64")?),
            Config::DebianCloud => Some(source::debian_config(root, series, "cloud-amd64")?),
            Config::File(path) => {
                let text = cache::read_text(path).context("CONFIG= names no file")?;
                let wanted = request.spec.arch.option();
                if !text.lines().any(|line| line == wanted) {
                    bail!(
                        "CONFIG={}: not the configuration of a kernel for this architecture: it has no {wanted}",
                        path.display()
                    );
                }
                Some(text)
            }
        };
        let mut fragments = Vec::new();
        if base.is_none() {
            fragments.push("base.config".to_owned());
            let own = format!("{series}.config");
            if repo.join("tools/kernel").join(&own).exists() {
                fragments.push(own);
            }
            if request.spec.arch != Arch::X86 {
                fragments.push(format!("{}.config", request.spec.arch.name()));
            }
            fragments.push("system.config".to_owned());
        }
        fragments.push("package.config".to_owned());
        Ok(Self {
            repo,
            root,
            request,
            patch: kernel::patch(repo, series)?,
            fragments,
            base,
            local_version: request.local_version(&release(root)?),
            version: format!("{}+dax{stamp}.{}", source.version, request.revision),
            source,
        })
    }

    /// The hash of all that goes into the packages.
    pub fn key(&self) -> Result<String> {
        let mut key = self
            .tree_key()?
            .text(&in_tree::key(self.repo)?)
            .text(&self.local_version)
            .text(&self.version)
            .text(include_str!("kernel.rs"))
            .text(self.base.as_deref().unwrap_or_default())
            .text(self.request.loaded.as_deref().unwrap_or_default());
        for fragment in &self.fragments {
            key = key.file(&self.host(fragment))?;
        }
        Ok(key.finish())
    }

    /// The key of a fresh tree: compilers, source and patch. If anything else changes, the tree is
    /// used again.
    fn tree_key(&self) -> Result<Key> {
        Key::new("deb-tree")
            .text(&self.root.toolchain()?)
            .text(&self.source.version)
            .file(&self.patch)
    }

    /// The directory of the tree.
    fn dir(&self) -> Result<PathBuf> {
        let key = self.tree_key()?.finish();
        let name = format!("{}-{key}", self.request.directory());
        Ok(cache::dir().join("deb").join(name))
    }

    /// Makes the tree ready, and configures it. Returns the directory that it is in.
    pub fn configured(&self) -> Result<PathBuf> {
        let dir = self.dir()?;
        if !dir.exists() {
            let part = cache::part_of(&dir);
            cache::remove(&part)?;
            cache::mkdir(&part)?;
            let builder = Builder::new(self.repo, self.root, &self.request.spec)?;
            builder.unpack(&self.source, &part, &part.join("linux"))?;
            builder.patch(&self.patch, &part)?;
            cache::rename(&part, &dir)?;
            cache::prune(&cache::dir().join("deb"), &self.request.directory())?;
        }
        in_tree::update(self.repo, &dir.join("linux"))?;
        self.configure(&dir)?;
        Ok(dir)
    }

    fn configure(&self, dir: &Path) -> Result<()> {
        let log = dir.join("config.log");
        cache::remove(&log)?;
        let step = Step::start(format!("configuring {}", self.request), 0);
        let make = self.request.spec.make();
        let begin = match &self.base {
            None => format!("{make} tinyconfig"),
            Some(_) => format!("cp {BASE} .config && chmod u+w .config && {make} olddefconfig"),
        };
        // localmodconfig asks about options that are new. The defaults are taken.
        let trim = match &self.request.loaded {
            None => String::new(),
            Some(_) => {
                format!("yes '' | {make} LMC_KEEP={KEPT} LSMOD={LOADED} localmodconfig && ")
            }
        };
        let names: Vec<String> = self
            .fragments
            .iter()
            .map(|f| format!("{FRAGMENTS}/{f}"))
            .collect();
        let script = format!(
            "{begin} && {trim}scripts/kconfig/merge_config.sh -m .config {} && \
             scripts/config --set-str LOCALVERSION {} && {make} olddefconfig",
            names.join(" "),
            self.local_version,
        );
        let mut command = self.in_tree(dir, &script);
        for (text, inside) in [(&self.base, BASE), (&self.request.loaded, LOADED)] {
            if let Some(text) = text {
                let file = dir.join(inside.rsplit('/').next().unwrap_or_default());
                cache::write_whole(&file, text.as_bytes())?;
                command = command.bind(&file, inside);
            }
        }
        exec::logged(&mut command.build()?, &log, &step)?;
        let paths: Vec<PathBuf> = self.fragments.iter().map(|f| self.host(f)).collect();
        kconfig::verify(&kconfig::read(&paths)?, &dir.join("linux/.config"))?;
        step.done();
        Ok(())
    }

    /// Builds the kernel's packages into `to`.
    pub fn build(&self, dir: &Path, to: &Path) -> Result<()> {
        let log = dir.join("build.log");
        cache::remove(&log)?;
        let lines = dir.join("build.lines");
        let expected = fs::read_to_string(&lines)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        // The build root has what the build needs, but not the package build-essential, which dpkg
        // asks for.
        let make = self.request.spec.make();
        let script = format!("{make} -j{jobs} DPKG_FLAGS=-d bindeb-pkg");
        let mut profiles = vec![format!("pkg.{SOURCE}.nokerneldbg")];
        // The programs in the package of headers would be those of the machine that builds.
        let foreign = self.request.spec.arch != Arch::X86;
        if foreign {
            profiles.push(format!("pkg.{SOURCE}.nokernelheaders"));
        }
        let mut command = self
            .in_tree(dir, &script)
            .env("KBUILD_BUILD_USER", "device-dax")
            .env("KBUILD_BUILD_HOST", "build-root")
            .env("DEBFULLNAME", "device-dax in Rust")
            .env("DEBEMAIL", "device-dax@localhost")
            .env("KDEB_SOURCENAME", SOURCE)
            .env("KDEB_PKGVERSION", &self.version)
            .env("KDEB_CHANGELOG_DIST", "UNRELEASED")
            .env("KDEB_COMPRESS", "zstd")
            .env("DEB_BUILD_PROFILES", profiles.join(" "))
            .build()?;
        let step = Step::start(
            format!("building {} {}", self.request, self.version),
            expected.unwrap_or(self.request.lines()),
        );
        for old in debs(dir)? {
            cache::remove(&old)?;
        }
        exec::logged(&mut command, &log, &step)?;
        cache::write_whole(&lines, step.count().to_string().as_bytes())?;
        let mut found = 0;
        for deb in debs(dir)? {
            let name = deb.file_name().unwrap_or_default().to_os_string();
            // linux-libc-dev would replace Debian's, and is for building other programs.
            if name.to_string_lossy().starts_with("linux-libc-dev") {
                cache::remove(&deb)?;
            } else {
                cache::rename(&deb, &to.join(name))?;
                found += 1;
            }
        }
        if found < if foreign { 1 } else { 2 } {
            bail!("bindeb-pkg made too few packages: see {}", log.display());
        }
        step.done();
        Ok(())
    }

    fn in_tree(&self, dir: &Path, script: &str) -> InRoot {
        self.root
            .shell(script)
            .bind(dir, INSIDE)
            .bind(&self.repo.join("tools/kernel"), FRAGMENTS)
            .cwd(format!("{INSIDE}/linux"))
    }

    fn host(&self, fragment: &str) -> PathBuf {
        self.repo.join("tools/kernel").join(fragment)
    }
}

/// The packages in a directory, sorted.
pub fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut debs: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "deb"))
        .collect();
    debs.sort();
    Ok(debs)
}

/// The number of the root's Debian release.
fn release(root: &Root) -> Result<String> {
    let file = root.path.join("etc/os-release");
    let text = cache::read_text(&file)?;
    let number = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_ID=")?.split('"').nth(1));
    Ok(number
        .with_context(|| format!("{} has no VERSION_ID", file.display()))?
        .to_owned())
}
