// SPDX-License-Identifier: GPL-2.0
//! The build root: a Debian 13 tree with compilers, QEMU and the guest's
//! programs, and how commands run in it.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use nix::mount::{mount, MsFlags};

use crate::arch::Arch;
use crate::cache::{self, Key, Lock};
use crate::exec;
use crate::progress::Step;

/// Lines mmdebstrap prints when all goes well; only the progress depends on it.
const MKROOT_LINES: u64 = 10;
const UNPACK_LINES: u64 = 9;

/// The recipe of a root.
struct Recipe {
    name: &'static str,
    suite: &'static str,
    packages: &'static str,
    what: &'static str,
}

const USUAL: Recipe = Recipe {
    name: "root",
    suite: "trixie",
    packages: "tools/root.packages",
    what: "the build root (Debian 13, about 2.5 GiB)",
};

const NEWEST: Recipe = Recipe {
    name: "newest",
    suite: "sid",
    packages: "tools/newest.packages",
    what: "a root with Debian's newest compilers (about 2.5 GiB)",
};

/// Trees of packages that are only unpacked, so that they need not be of this machine's
/// architecture.
const GUEST: &str = "tools/foreign/guest.packages";
pub const CROSS: &str = "tools/foreign/cross.packages";
const DEVEL: &str = "tools/foreign/devel.packages";
const EMULATOR: &str = "tools/foreign/emulator.packages";

/// The end of the name of Debian's suite of backports.
const BACKPORTS: &str = "-backports";

const SYSTEM: Recipe = Recipe {
    name: "system",
    suite: "trixie",
    packages: "tools/system.packages",
    what: "a Debian 13 system (about 300 MiB)",
};

const CLIENTS: Recipe = Recipe {
    name: "clients",
    suite: "trixie",
    packages: "tools/clients.packages",
    what: "a Debian 13 system with programs that use device-dax (about 1 GiB)",
};

const COMPILERS: [&str; 7] = ["rustc", "bindgen", "clang", "gcc", "lld", "llvm", "pahole"];

#[derive(Clone)]
pub struct Root {
    pub path: PathBuf,
    pub key: String,
}

impl Root {
    /// The build root's path, whether it exists or not; as in tools/bootstrap.sh.
    pub fn locate(repo: &Path) -> Result<Self> {
        Self::place(repo, &USUAL)
    }

    /// Finds the build root in the cache, or makes it.
    pub fn ensure(repo: &Path) -> Result<Self> {
        Self::make(repo, &USUAL)
    }

    /// Finds or makes the root that has only compilers, the newest of Debian.
    pub fn ensure_newest(repo: &Path) -> Result<Self> {
        Self::make(repo, &NEWEST)
    }

    /// Finds or makes the tree of a Debian system, which a guest boots.
    pub fn ensure_system(repo: &Path) -> Result<Self> {
        Self::make(repo, &SYSTEM)
    }

    /// Finds or makes the tree with the programs of `make clients`.
    pub fn ensure_clients(repo: &Path) -> Result<Self> {
        Self::make(repo, &CLIENTS)
    }

    /// Finds or makes the tree of the programs of a guest of another architecture.
    pub fn ensure_guest(&self, repo: &Path, arch: Arch) -> Result<Self> {
        self.unpack(repo, GUEST, arch, "guest")
    }

    /// Finds or makes the tree with which programs for another architecture are linked: its C
    /// library, and the standard library of the build root's rustc.
    pub fn ensure_cross(&self, repo: &Path, arch: Arch) -> Result<Self> {
        self.unpack(repo, CROSS, arch, "cross")
    }

    /// Finds or makes the tree with which ndctl for another architecture is built.
    pub fn ensure_devel(&self, repo: &Path, arch: Arch) -> Result<Self> {
        self.unpack(repo, DEVEL, arch, "devel")
    }

    /// Finds or makes the tree that has QEMU for other architectures.
    pub fn ensure_emulator(&self, repo: &Path) -> Result<Self> {
        self.unpack(repo, EMULATOR, Arch::X86, "emulator")
    }

    /// Unpacks packages and what they depend on, from where this root's packages are from. No
    /// script of a package runs.
    fn unpack(&self, repo: &Path, packages: &str, arch: Arch, name: &str) -> Result<Self> {
        let list = cache::read_text(&repo.join(packages))?;
        let debian = arch.debian();
        let key = Key::new("unpacked").text(&self.key).text(&list).finish();
        let name = format!("{name}-{debian}");
        let path = cache::dir().join(format!("{name}-{key}"));
        let root = Self { path, key };
        let _lock = Lock::take(&format!("{name}-{}", root.key))?;
        if root.path.exists() {
            return Ok(root);
        }
        let log = cache::dir().join(format!("{name}-{}.log", root.key));
        cache::remove(&log)?;
        let part = cache::part_of(&root.path);
        cache::remove(&part)?;
        let lines = list.lines().filter(|line| !line.starts_with('#'));
        let include = lines.collect::<Vec<_>>().join(",");
        // What names no backport is fetched without: a mirror has less to keep consistent.
        let mut sources = cache::read_text(&self.path.join("etc/apt/sources.list"))?;
        if !include.contains(BACKPORTS) {
            let release = sources.lines().filter(|line| !line.contains(BACKPORTS));
            sources = release.collect::<Vec<_>>().join("\n");
        }
        let sources_list = cache::dir().join(format!("{name}-{}.list", root.key));
        cache::write_whole(&sources_list, sources.as_bytes())?;
        let step = Step::start(
            format!("unpacking Debian packages of {debian}"),
            UNPACK_LINES,
        );
        let mut make = Command::new("mmdebstrap");
        make.args(["--mode=root", "--variant=extract"])
            .arg(format!("--architectures={debian}"))
            .arg(format!("--include={include}"))
            .arg("trixie")
            .arg(&part)
            .arg(&sources_list);
        exec::logged(&mut make, &log, &step).with_context(|| {
            format!(
                "cannot unpack {packages}; perhaps the Debian mirror of this machine's apt is out of reach"
            )
        })?;
        cache::remove(&sources_list)?;
        cache::rename(&part, &root.path)?;
        step.done();
        cache::prune(&cache::dir(), &name)?;
        Ok(root)
    }

    fn place(repo: &Path, recipe: &Recipe) -> Result<Self> {
        let parts = [recipe.packages, "tools/mkroot.sh"].map(|p| repo.join(p));
        let key = cache::plain_key(&parts)?;
        let path = cache::dir().join(format!("{}-{key}", recipe.name));
        Ok(Self { path, key })
    }

    fn make(repo: &Path, recipe: &Recipe) -> Result<Self> {
        let root = Self::place(repo, recipe)?;
        if root.path.exists() {
            return Ok(root);
        }
        if !nix::unistd::geteuid().is_root() {
            bail!(
                "{} is not there, and making it needs root: run make as root once",
                root.path.display()
            );
        }
        let name = format!("{}-{}", recipe.name, root.key);
        let _lock = Lock::take(&name)?;
        if root.path.exists() {
            return Ok(root);
        }
        let log = cache::dir().join(format!("{name}.log"));
        cache::remove(&log)?;
        let step = Step::start(format!("making {}", recipe.what), MKROOT_LINES);
        let mut script = Command::new(repo.join("tools/mkroot.sh"));
        script
            .arg(&root.path)
            .arg(recipe.suite)
            .arg(repo.join(recipe.packages));
        exec::logged(&mut script, &log, &step).with_context(|| {
            format!(
                "cannot make {}; perhaps the Debian mirror of this machine's apt is out of reach",
                recipe.what
            )
        })?;
        step.done();
        cache::prune(&cache::dir(), recipe.name)?;
        Ok(root)
    }

    /// The versions of the compilers. They are part of a kernel's key; the root's other packages
    /// are not, so a new program for the guest rebuilds no kernel.
    pub fn toolchain(&self) -> Result<String> {
        let status = cache::read_text(&self.path.join("var/lib/dpkg/status"))?;
        let mut found: Vec<String> = status.split("\n\n").filter_map(compiler).collect();
        found.sort();
        Ok(found.join(" "))
    }

    /// A command in the root. It does not get the caller's environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> InRoot {
        InRoot {
            root: self.path.clone(),
            binds: Vec::new(),
            cwd: "/".into(),
            words: vec![program.as_ref().to_owned()],
            envs: Vec::new(),
        }
    }

    /// A shell script in the root.
    pub fn shell(&self, script: &str) -> InRoot {
        self.command("sh").arg("-c").arg(script)
    }
}

/// `name=version` of a paragraph of dpkg's list, if it is about a compiler.
fn compiler(paragraph: &str) -> Option<String> {
    let field = |name: &str| {
        paragraph
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
    };
    let package = field("Package")?;
    COMPILERS
        .contains(&package)
        .then(|| format!("{package}={}", field("Version").unwrap_or_default()))
}

/// A command to be run in the root, with some host directories bound into it.
pub struct InRoot {
    root: PathBuf,
    binds: Vec<(PathBuf, PathBuf)>,
    cwd: PathBuf,
    words: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
}

impl InRoot {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.words.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.words
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn bind(mut self, host: &Path, inside: impl AsRef<Path>) -> Self {
        self.binds
            .push((host.to_owned(), inside.as_ref().to_owned()));
        self
    }

    pub fn cwd(mut self, inside: impl AsRef<Path>) -> Self {
        self.cwd = inside.as_ref().to_owned();
        self
    }

    /// The command in mount and process namespaces of its own. When this process dies, all of the
    /// command's processes die, and no mount stays.
    pub fn build(self) -> Result<Command> {
        // Use /proc: cargo may have replaced our file since we started.
        let xtask = format!("/proc/{}/exe", std::process::id());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]);
        command
            .arg(xtask)
            .arg("enter")
            .arg("--root")
            .arg(&self.root);
        for (host, inside) in &self.binds {
            command.arg("--bind").arg(host).arg(inside);
        }
        command
            .arg("--cwd")
            .arg(&self.cwd)
            .arg("--")
            .args(&self.words);
        command.env_clear();
        command.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command.env("HOME", "/root").env("LC_ALL", "C.UTF-8");
        command.envs(self.envs);
        Ok(command)
    }
}

/// `xtask enter`, already in the new namespaces: mounts, chroot, exec.
pub fn enter(root: &Path, binds: &[PathBuf], cwd: &Path, words: &[OsString]) -> Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("cannot make the mounts private")?;
    mount(
        Some("proc"),
        &root.join("proc"),
        Some("proc"),
        MsFlags::empty(),
        none,
    )
    .context("cannot mount /proc in the build root")?;
    for name in ["dev", "sys"] {
        bind(&Path::new("/").join(name), &root.join(name))?;
    }
    for pair in binds.chunks_exact(2) {
        let inside = pair[1].strip_prefix("/").unwrap_or(&pair[1]);
        let target = root.join(inside);
        if pair[0].is_dir() {
            cache::mkdir(&target)?;
        } else if !target.exists() {
            std::fs::write(&target, "")
                .with_context(|| format!("cannot make {}", target.display()))?;
        }
        bind(&pair[0], &target)?;
    }
    nix::unistd::chroot(root).with_context(|| format!("cannot chroot to {}", root.display()))?;
    std::env::set_current_dir(cwd)
        .with_context(|| format!("no directory {} in the build root", cwd.display()))?;
    let Some((program, args)) = words.split_first() else {
        bail!("enter: no command given");
    };
    let error = Command::new(program).args(args).exec();
    Err(error)
        .with_context(|| format!("cannot run {} in the build root", program.to_string_lossy()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let none: Option<&str> = None;
    mount(
        Some(from),
        to,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )
    .with_context(|| format!("cannot bind {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_are_recognised() {
        let paragraph = "Package: rustc\nStatus: install ok installed\nVersion: 1.85.0+dfsg3-1";
        assert_eq!(compiler(paragraph).unwrap(), "rustc=1.85.0+dfsg3-1");
        assert!(compiler("Package: bash\nVersion: 5").is_none());
    }
}
