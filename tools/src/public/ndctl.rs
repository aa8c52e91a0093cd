// SPDX-License-Identifier: GPL-2.0
//! ndctl with its own tests, from Debian's source package, built in the build
//! root and packed for a guest.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::arch::Arch;
use crate::cache::{self, Key, Lock};
use crate::cpio;
use crate::exec;
use crate::progress::Step;
use crate::root::Root;
use crate::source;

/// Lines that meson and ninja print; only the progress depends on it.
const BUILD_LINES: u64 = 300;

pub struct Ndctl {
    pub archive: PathBuf,
    pub version: String,
}

pub fn ensure(repo: &Path, root: &Root, arch: Arch) -> Result<Ndctl> {
    let devel = match arch {
        Arch::X86 => None,
        other => Some((root.ensure_devel(repo, other)?, other)),
    };
    let tarball = source::upstream(root, "ndctl")?;
    let script = repo.join("tests/public/build-ndctl.sh");
    let name = tarball.file_name().unwrap_or_default().to_string_lossy();
    let version = name
        .split_once('_')
        .and_then(|(_, rest)| rest.split_once(".orig"))
        .map_or("unknown", |(version, _)| version)
        .to_owned();
    let key = Key::new("ndctl")
        .text(&root.key)
        .text(devel.as_ref().map_or("", |(devel, _)| &devel.key))
        .text(arch.name())
        .text(&name)
        .file(&script)?
        .text(include_str!("ndctl.rs"))
        .text(cpio::CODE)
        .finish();
    let name = format!("ndctl-{version}-{key}.cpio");
    let archive = cache::dir().join("public").join(&name);
    let _lock = Lock::take(&name)?;
    if !archive.exists() {
        let step = Step::start(
            format!("building ndctl {version} and its tests"),
            BUILD_LINES,
        );
        let from = From {
            tarball: &tarball,
            version: &version,
            script: &script,
            devel: devel.as_ref(),
        };
        build(root, &from, &archive, &step)?;
        step.done();
    }
    Ok(Ndctl { archive, version })
}

/// What a build of ndctl begins with.
struct From<'a> {
    tarball: &'a Path,
    version: &'a str,
    script: &'a Path,
    /// The libraries of another architecture.
    devel: Option<&'a (Root, Arch)>,
}

fn build(root: &Root, from: &From<'_>, archive: &Path, step: &Step) -> Result<()> {
    let part = archive.with_extension("part");
    cache::remove(&part)?;
    let (tree, staged) = (part.join("ndctl"), part.join("staged"));
    cache::mkdir(&tree)?;
    cache::mkdir(&staged)?;
    let mut command = root
        .command("/usr/src/build-ndctl.sh")
        .arg(from.version)
        .bind(from.tarball, "/usr/src/tarball")
        .bind(from.script, "/usr/src/build-ndctl.sh")
        .bind(&tree, "/usr/src/ndctl")
        .bind(&staged, "/usr/src/staged");
    if let Some((devel, arch)) = from.devel {
        command = command.arg(arch.gnu()).arg(arch.cpu());
        command = command.bind(&devel.path, "/usr/src/devel");
    }
    let mut command = command.build()?;
    let log = archive.with_extension("log");
    cache::remove(&log)?;
    exec::logged(&mut command, &log, step)?;
    let packed = part.join("packed");
    cpio::pack(&staged, &packed)?;
    cache::rename(&packed, archive)?;
    cache::remove(&part)
}
