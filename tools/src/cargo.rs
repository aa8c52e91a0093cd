// SPDX-License-Identifier: GPL-2.0
//! cargo and rustfmt. The host's are used if they are new enough (tools/bootstrap.sh decides that),
//! else the build root's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::arch::{Arch, Pages};
use crate::cache;
use crate::exec;
use crate::root::Root;

/// The checkout's and the cache's place inside the build root.
pub const REPO: &str = "/usr/src/device-dax";
const CACHE: &str = "/usr/src/cache";
const CRATES: &str = "/usr/src/crates";
/// The directory of the checkout that the build root's cargo builds in.
const ROOT_TARGET: &str = "target/build-root";
/// The oldest cargo that is used: RUST_MIN of the bootstrap script.
const MIN: (u32, u32) = (1, 85);
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The program whose feature says which pages the kernel has.
const KNOWS_PAGES: &str = "dax-guest";
/// The place of the tree inside the build root with which programs for other architectures are
/// linked.
const CROSS: &str = "/usr/src/cross";

#[derive(Clone)]
pub struct Cargo {
    repo: PathBuf,
    /// The build root, if the host has no cargo that will do.
    root: Option<Root>,
}

/// The output of a command, and whether it succeeded.
pub struct Output {
    pub success: bool,
    pub text: String,
}

impl Cargo {
    pub fn find(repo: &Path) -> Result<Self> {
        let root = if host_cargo_will_do(repo) {
            None
        } else {
            Some(Root::ensure(repo)?)
        };
        Ok(Self {
            repo: repo.to_owned(),
            root,
        })
    }

    /// `host` or `root`, whichever has the toolchain; a part of the names of what it builds.
    pub fn place(&self) -> &'static str {
        match self.root {
            Some(_) => "root",
            None => "host",
        }
    }

    /// The cache's path, as programs of the toolchain see it.
    pub fn cache(&self) -> PathBuf {
        match self.root {
            Some(_) => CACHE.into(),
            None => cache::dir(),
        }
    }

    /// A command that runs a program of the toolchain, or of the cache, in the checkout.
    pub fn command(&self, program: &str, args: &[&str], envs: &[(&str, &str)]) -> Result<Command> {
        if let Some(root) = &self.root {
            let mut command = root
                .command(program)
                .args(args)
                .bind(&self.repo, REPO)
                .bind(&cache::dir(), CACHE)
                .cwd(REPO)
                .env("CARGO_HOME", format!("{CACHE}/cargo"))
                .env("CARGO_NET_OFFLINE", "true")
                .env("CARGO_TARGET_DIR", format!("{REPO}/{ROOT_TARGET}"));
            for (name, value) in envs {
                command = command.env(name, value);
            }
            return command.build();
        }
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.repo);
        command.env("CARGO_TARGET_DIR", self.target_dir());
        command.envs(envs.iter().copied());
        Ok(command)
    }

    /// Runs a program of the toolchain. If the program fails, the output says so; that is no error.
    pub fn run(&self, program: &str, args: &[&str], envs: &[(&str, &str)]) -> Result<Output> {
        let mut command = self.command(program, args, envs)?;
        let what = exec::describe(&command);
        let out = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start: {what}"))?;
        let text = [out.stdout, out.stderr].concat();
        Ok(Output {
            success: out.status.success(),
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    /// Builds a package's program of the same name and returns its path. The program is linked
    /// statically, so it runs on the host and in a guest.
    pub fn build_static(&self, package: &str) -> Result<PathBuf> {
        self.build(package, "debug")
    }

    /// Builds a guest's program for an architecture and its pages. For another architecture than
    /// this machine's, the build root's cargo builds it, since Debian has the standard library for
    /// that.
    pub fn build_for(&self, arch: Arch, pages: Pages, package: &str) -> Result<PathBuf> {
        if arch == Arch::X86 {
            return self.build_static(package);
        }
        self.cross_build(arch, pages, package, "debug")
    }

    /// Builds a program for another architecture with optimisation, as it is given to others.
    pub fn build_release_for(&self, arch: Arch, package: &str) -> Result<PathBuf> {
        self.cross_build(arch, Pages::Of4k, package, "release")
    }

    fn cross_build(
        &self,
        arch: Arch,
        pages: Pages,
        package: &str,
        profile: &str,
    ) -> Result<PathBuf> {
        let root = Root::ensure(&self.repo)?;
        let cross = root.ensure_cross(&self.repo, arch)?;
        let target = arch.target();
        let library = Path::new("usr/lib/rustlib").join(target);
        let linker = target.replace('-', "_").to_uppercase();
        let flags = [
            "-Ctarget-feature=+crt-static -Clink-arg=-fuse-ld=lld",
            &format!("-Clink-arg=--target={}", arch.gnu()),
            &format!("-Clink-arg=--sysroot={CROSS}"),
        ];
        let mut args = vec!["build", "--quiet", "--locked", "--package", package];
        if profile == "release" {
            args.push("--release");
        }
        let feature = pages.feature().filter(|_| package == KNOWS_PAGES);
        // A guest may still use the program for other pages, so each has a directory of its own.
        let mut dir = Path::new(ROOT_TARGET).to_owned();
        if let Some(feature) = &feature {
            args.extend(["--features", feature]);
            dir.push(feature);
        }
        let command = root
            .command("cargo")
            .args(&args)
            .args(["--target", target])
            .bind(&self.repo, REPO)
            .bind(&self.crates()?, CRATES)
            .bind(&cross.path, CROSS)
            .bind(&cross.path.join(&library), Path::new("/").join(&library))
            .cwd(REPO)
            .env("CARGO_HOME", CRATES)
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_PROFILE_RELEASE_STRIP", "true")
            .env("CARGO_TARGET_DIR", Path::new(REPO).join(&dir))
            .env(format!("CARGO_TARGET_{linker}_LINKER"), "clang")
            .env("RUSTFLAGS", flags.join(" "));
        exec::output(&mut command.build()?)
            .with_context(|| format!("cannot build {package} for {}", arch.name()))?;
        let built = self.repo.join(dir).join(target);
        Ok(built.join(profile).join(package))
    }

    /// The directory of all crates. The host's cargo fetches those that it did not need so far.
    fn crates(&self) -> Result<PathBuf> {
        if self.root.is_some() {
            return Ok(cache::dir().join("cargo"));
        }
        let out = self.run("cargo", &["fetch", "--quiet", "--locked"], &[])?;
        if !out.success {
            bail!("cannot fetch crates:\n{}", out.text.trim_end());
        }
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let home = set("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(set("HOME")?).join(".cargo")));
        home.context("neither CARGO_HOME nor HOME is set")
    }

    /// Builds a program with optimisation, as it is given to others.
    pub fn build_release(&self, package: &str) -> Result<PathBuf> {
        self.build(package, "release")
    }

    fn build(&self, package: &str, profile: &str) -> Result<PathBuf> {
        let mut args = vec![
            "build",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--target",
            TARGET,
        ];
        if profile == "release" {
            args.push("--release");
        }
        let out = self.run(
            "cargo",
            &args,
            &[("RUSTFLAGS", "-Ctarget-feature=+crt-static")],
        )?;
        if !out.success {
            bail!("cannot build {package}:\n{}", out.text.trim_end());
        }
        Ok(self.target_dir().join(TARGET).join(profile).join(package))
    }

    /// The directory that cargo builds in. It is in the checkout, as in the bootstrap script: two
    /// checkouts with one directory would take each other's programs for their own.
    fn target_dir(&self) -> PathBuf {
        let given = std::env::var_os("CARGO_TARGET_DIR").filter(|v| !v.is_empty());
        match given {
            _ if self.root.is_some() => self.repo.join(ROOT_TARGET),
            Some(dir) => dir.into(),
            None => self.repo.join("target"),
        }
    }
}

fn host_cargo_will_do(repo: &Path) -> bool {
    let out = Command::new("cargo")
        .arg("--version")
        .current_dir(repo)
        .stderr(Stdio::null())
        .output();
    out.is_ok_and(|o| o.status.success() && new_enough(&String::from_utf8_lossy(&o.stdout)))
}

fn new_enough(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches("cargo ")
        .split('.')
        .map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert!(new_enough("cargo 1.85.1 (d73d2caf9 2024-12-31)"));
        assert!(new_enough("cargo 2.0.0"));
        assert!(!new_enough("cargo 1.65.0"));
        assert!(!new_enough(""));
    }
}
