// SPDX-License-Identifier: GPL-2.0
//! `make module`: builds the module in the user's kernel tree with the user's toolchain.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{bail, Context, Result};

use crate::cache;
use crate::exec;
use crate::in_tree;
use crate::kconfig;
use crate::kernel;
use crate::settings;

pub fn main(repo: &Path) -> Result<ExitCode> {
    let Some(tree) = settings::var("KDIR")? else {
        bail!("KDIR is not set. It names the kernel tree: make module KDIR=/path/to/linux");
    };
    let tree = PathBuf::from(tree);
    let series = series(&tree)?;
    apply(&kernel::patch(repo, &series)?, &tree)?;
    for file in in_tree::update(repo, &tree)? {
        eprintln!("updated {}/{}", in_tree::DIRECTORY, file.display());
    }

    let options = kconfig::parse(
        &cache::read_text(&tree.join(".config")).context("configure the kernel first")?,
    );
    if !options.contains_key("CONFIG_DEV_DAX_RUST") || !options.contains_key("CONFIG_RUST") {
        bail!("{0}/.config has no CONFIG_DEV_DAX_RUST=y: turn it on (it needs CONFIG_RUST and CONFIG_DEV_DAX), for example\n  \
            {0}/scripts/config --file {0}/.config -e RUST -m DEV_DAX -e DEV_DAX_RUST && make -C {0} LLVM=1 olddefconfig\n\
            and call this again. If they go away again, make -C {0} LLVM=1 rustavailable says what the toolchain lacks", tree.display());
    }
    // `LLVM=`, set but empty, asks for GCC. If LLVM is not set, clang is used.
    let llvm = std::env::var("LLVM").unwrap_or_else(|_| "1".to_owned());
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    make.arg("-C").arg(&tree).arg(format!("-j{jobs}"));
    if !llvm.is_empty() {
        make.arg(format!("LLVM={llvm}"));
    }
    make.arg("drivers/dax/");
    // The flags of the make that called us are not for the kernel's make.
    for name in [
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "LLVM",
        "KERNEL",
        "DEBUG",
        "CPUS",
    ] {
        make.env_remove(name);
    }
    eprintln!("running: {}", exec::describe(&make));
    let status = make
        .stdin(Stdio::null())
        .status()
        .context("cannot start make")?;
    if !status.success() {
        bail!("the kernel's make failed in {}: {status}", tree.display());
    }
    eprintln!(
        "drivers/dax/ is built; make -C {} modules makes device_dax.ko and installs as usual",
        tree.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// The series of a kernel tree, like `7.3`, from its Makefile.
fn series(tree: &Path) -> Result<String> {
    let makefile = cache::read_text(&tree.join("Makefile")).context("KDIR is no kernel tree")?;
    let number = |name: &str| {
        let line = makefile
            .lines()
            .find(|l| l.split('=').next().is_some_and(|n| n.trim() == name));
        line.and_then(|l| l.split_once('='))
            .map(|(_, value)| value.trim().to_owned())
    };
    match (number("VERSION"), number("PATCHLEVEL")) {
        (Some(version), Some(level)) => Ok(format!("{version}.{level}")),
        _ => bail!(
            "{}/Makefile has no VERSION and PATCHLEVEL, so KDIR is no kernel tree",
            tree.display()
        ),
    }
}

/// Applies the hook unless it is there already.
fn apply(patch: &Path, tree: &Path) -> Result<()> {
    let run = |more: &[&str]| {
        let mut command = Command::new("patch");
        command
            .args(["-p1", "--silent", "--force"])
            .args(more)
            .arg("-d")
            .arg(tree)
            .arg("-i")
            .arg(patch);
        exec::output(&mut command)
    };
    if run(&["--reverse", "--dry-run"]).is_ok() {
        return Ok(());
    }
    run(&["--dry-run"])
        .with_context(|| format!("{} does not apply to {}", patch.display(), tree.display()))?;
    run(&["--no-backup-if-mismatch"])?;
    eprintln!("applied {}", patch.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_series() {
        let dir = tempfile::tempdir().unwrap();
        assert!(series(dir.path()).is_err());
        std::fs::write(
            dir.path().join("Makefile"),
            "# SPDX\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n",
        )
        .unwrap();
        assert_eq!(series(dir.path()).unwrap(), "7.3");
    }

    #[test]
    fn patches_once() {
        let dir = tempfile::tempdir().unwrap();
        let patch = dir.path().join("p");
        std::fs::write(dir.path().join("f"), "a\n").unwrap();
        std::fs::write(&patch, "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n").unwrap();
        apply(&patch, dir.path()).unwrap();
        apply(&patch, dir.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("f")).unwrap(),
            "b\n"
        );
        std::fs::write(dir.path().join("f"), "c\n").unwrap();
        assert!(apply(&patch, dir.path()).is_err());
    }
}
