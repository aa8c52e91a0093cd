// SPDX-License-Identifier: GPL-2.0
//! `make deb`: packages for Debian of a kernel with the driver, and of daxlayout.

mod companion;
mod kernel;
mod request;
mod stamp;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Context, Result};

pub use request::{Config, Request};

use crate::arch::Arch;
use crate::cache::{self, Key, Lock};
use crate::progress::human;
use crate::root::Root;
use crate::settings;

/// The value of ONLY= that ends after the configuration.
const CONFIGURE: &str = "config";

/// The directory of the checkout for the packages.
const OUT: &str = "target/deb";

/// Built packages. Their files are not replaced while the value lives.
pub struct Packages {
    pub files: Vec<PathBuf>,
    /// The release, as `uname -r` prints it.
    pub release: String,
    /// The version of the kernel's packages.
    pub version: String,
    _lock: Lock,
}

pub fn main(repo: &Path) -> Result<ExitCode> {
    let start = Instant::now();
    let request = Request::from_variables()?;
    let only = settings::var("ONLY")?;
    if let Some(other) = only.as_deref().filter(|only| *only != CONFIGURE) {
        return Err(settings::unknown("ONLY", other, "part", &[CONFIGURE]));
    }
    let root = Root::ensure(repo)?;
    if only.is_some() {
        let stamp = stamp::date(stamp::seconds(repo)?)?;
        let plan = kernel::Plan::new(repo, &root, &request, &stamp)?;
        let _lock = Lock::take(&lock(&request))?;
        let config = plan.configured()?.join("linux/.config");
        eprintln!("{request}: the configuration has the Rust driver");
        println!("{}", config.display());
        return Ok(ExitCode::SUCCESS);
    }
    let packages = ensure(repo, &root, &request)?;
    let out = repo.join(OUT).join(request.directory());
    cache::remove(&out)?;
    cache::mkdir(&out)?;
    for file in &packages.files {
        let to = out.join(file.file_name().unwrap_or_default());
        std::fs::hard_link(file, &to)
            .or_else(|_| std::fs::copy(file, &to).map(drop))
            .with_context(|| format!("cannot copy {} to {}", file.display(), out.display()))?;
        println!("{}", to.display());
    }
    let machine = match request.spec.arch {
        Arch::X86 => "",
        other => &format!(
            "on a machine with {}, to which you copy them, ",
            other.name()
        ),
    };
    eprintln!(
        "{} packages of {} in {}\n\
         install them: {machine}apt install {}/*.deb\n\
         then reboot; docs/install.md says what to look at, and how to go back",
        packages.files.len(),
        packages.release,
        human(start.elapsed()),
        out.display(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Finds the packages in the cache, or builds them.
pub fn ensure(repo: &Path, root: &Root, request: &Request) -> Result<Packages> {
    let seconds = stamp::seconds(repo)?;
    let stamp = stamp::date(seconds)?;
    let plan = kernel::Plan::new(repo, root, request, &stamp)?;
    let version = format!("{}+{stamp}.{}", env!("CARGO_PKG_VERSION"), request.revision);
    let key = Key::new("packages")
        .text(&plan.key()?)
        .text(&version)
        .text(include_str!("companion.rs"))
        .text(&companion::key(repo, request.spec.arch)?)
        .finish();
    let all = cache::dir().join("packages");
    let prefix = format!("{}-r{}", request.directory(), request.revision);
    let name = format!("{prefix}-{key}");
    let dir = all.join(&name);
    let lock = Lock::share(&name)?;
    if dir.exists() {
        return found(&dir, plan.version, lock);
    }
    drop(lock);

    let lock = Lock::take(&name)?;
    if !dir.exists() {
        // One tree, one build at a time.
        let _tree = Lock::take(&self::lock(request))?;
        let part = cache::part_of(&dir);
        cache::remove(&part)?;
        cache::mkdir(&part)?;
        let tree = plan.configured()?;
        companion::build(repo, root, request.spec.arch, &version, &tree, &part)
            .context("cannot build the package of daxlayout")?;
        plan.build(&tree, &part)
            .with_context(|| format!("cannot build {request}"))?;
        cache::rename(&part, &dir)?;
        cache::prune(&all, &prefix)?;
    }
    found(&dir, plan.version, lock)
}

/// The name of the lock on the tree of such packages.
fn lock(request: &Request) -> String {
    format!("deb-{}", request.directory())
}

fn found(dir: &Path, version: String, lock: Lock) -> Result<Packages> {
    let files = kernel::debs(dir)?;
    let release = files.iter().find_map(|file| {
        let name = file.file_name()?.to_str()?;
        let release = name.strip_prefix("linux-image-")?.split('_').next()?;
        Some(release.to_owned())
    });
    let Some(release) = release else {
        bail!(
            "no package of a kernel in {}: delete that directory",
            dir.display()
        );
    };
    Ok(Packages {
        files,
        release,
        version,
        _lock: lock,
    })
}
