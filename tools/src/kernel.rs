// SPDX-License-Identifier: GPL-2.0
//! Kernels: the C kernel of a series, and the same tree with our module in place of
//! drivers/dax/{bus,device}.c. Both are built at /usr/src/linux inside the build root, so the Rust
//! kernel's build can begin with a copy of the C kernel's tree.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::arch::{Arch, Pages};
use crate::cache::{self, Key, Lock};
use crate::exec;
use crate::in_tree;
use crate::kconfig;
use crate::modules;
use crate::progress::Step;
use crate::root::{InRoot, Root};
use crate::source::Source;
use crate::spec::{Impl, Spec, Toolchain};
use crate::warnings;

/// The path of every kernel tree inside the build root.
pub const TREE: &str = "/usr/src/linux";
const FRAGMENTS: &str = "/usr/src/kernel-config";

/// The patch by which test kernels that are not for x86 reserve memory for tests.
const SOFT_RESERVED: &str = "tests/soft-reserved/soft-reserved.patch";
/// The patch that RISC-V needs, with the C driver too.
const RISCV: &str = "patches/riscv.patch";

/// Number of lines that a full build prints, until one was counted.
const FULL_BUILD_LINES: u64 = 2400;

/// A built kernel. Its files are not replaced while the value lives.
pub struct Kernel {
    /// The directory of this kernel in the cache.
    pub dir: PathBuf,
    pub arch: Arch,
    pub pages: Pages,
    /// The factor by which it is slower than a usual kernel, with its emulation.
    pub slowness: u32,
    repo: PathBuf,
    _lock: Lock,
}

impl Kernel {
    pub fn tree(&self) -> PathBuf {
        self.dir.join("linux")
    }

    pub fn image(&self) -> PathBuf {
        self.dir.join("image").join(self.arch.image())
    }

    /// The cpio archive of /lib/modules.
    pub fn modules(&self) -> PathBuf {
        self.dir.join("image/modules.cpio")
    }

    /// The root with QEMU for this kernel, and the one with the guest's programs, if both are not
    /// in `root`.
    pub fn elsewhere(&self, root: &Root) -> Result<Option<(Root, Root)>> {
        if self.arch == Arch::X86 {
            return Ok(None);
        }
        let emulator = root.ensure_emulator(&self.repo)?;
        Ok(Some((emulator, root.ensure_guest(&self.repo, self.arch)?)))
    }

    /// The build root and the directory of the Rust kernel of `spec`, if one was built, from any
    /// sources. Makes and fetches nothing.
    pub fn existing(repo: &Path, spec: &Spec) -> Result<Option<(Root, PathBuf)>> {
        let root = Root::locate(repo)?;
        let Some(source) = Source::cached(&spec.series)?.filter(|_| root.path.exists()) else {
            return Ok(None);
        };
        let Ok(patch) = patch(repo, &spec.series) else {
            return Ok(None);
        };
        let builder = Builder::new(repo, &root, spec)?;
        let key = builder.rust_key(&builder.c_key(&source)?, &patch)?;
        let dir = builder.dir("rust", &key);
        Ok(dir.exists().then_some((root, dir)))
    }

    pub fn ensure(repo: &Path, root: &Root, spec: &Spec) -> Result<Self> {
        match spec.imp {
            Impl::C => Builder::new(repo, root, spec)?
                .c()
                .map(|(kernel, _)| kernel),
            Impl::Rust => Builder::new(repo, root, spec)?.rust(),
        }
        .with_context(|| format!("cannot build {spec}"))
    }
}

/// Builds kernels of one kind in the cache.
pub struct Builder<'a> {
    repo: &'a Path,
    /// Debian 13, where the sources are from.
    base: &'a Root,
    /// The root with the compilers.
    root: Root,
    pub spec: &'a Spec,
}

impl<'a> Builder<'a> {
    pub fn new(repo: &'a Path, base: &'a Root, spec: &'a Spec) -> Result<Self> {
        let root = match spec.toolchain {
            Toolchain::Llvm | Toolchain::Gcc => base.clone(),
            Toolchain::Newest => Root::ensure_newest(repo)?,
        };
        Ok(Self {
            repo,
            base,
            root,
            spec,
        })
    }

    /// The C kernel and its key.
    pub fn c(&self) -> Result<(Kernel, String)> {
        let source = Source::ensure(self.base, &self.spec.series)?;
        let fragments = self.fragments();
        let key = self.c_key(&source)?;
        // A C kernel's tree never changes. How it is packed may change.
        let kernel = self.share(self.dir("c", &key))?;
        if modules::is_packed(&self.root, &kernel.dir) {
            return Ok((kernel, key));
        }
        drop(kernel);
        let kernel = self.lock(self.dir("c", &key))?;
        if kernel.dir.exists() {
            self.pack(&kernel.dir)?;
            return Ok((kernel, key));
        }

        // make continues an interrupted build where it stopped.
        let part = cache::part_of(&kernel.dir);
        let tree = part.join("linux");
        let origin = self.origin(&source)?;
        if !tree.exists() {
            match self.sibling(&origin)? {
                Some(sibling) => self.copy(&sibling, &part)?,
                None => self.unpack(&source, &part, &tree)?,
            }
        }
        for patch in self.patches() {
            self.patch(&patch, &part)?;
        }
        let names: Vec<String> = fragments
            .iter()
            .map(|f| format!("{FRAGMENTS}/{f}"))
            .collect();
        let script = format!(
            "{make} tinyconfig && scripts/kconfig/merge_config.sh -m .config {} && {make} olddefconfig",
            names.join(" "),
            make = self.spec.make(),
        );
        self.configure(&part, &script, &fragments)?;
        self.make(&part)?;
        modules::package(&self.root, self.spec, &part)?;
        cache::write_whole(&part.join("origin"), origin.as_bytes())?;
        cache::rename(&part, &kernel.dir)?;
        self.prune("c")?;
        Ok((kernel, key))
    }

    /// The key that two C kernels share if a copy of one's tree can be made into the other: make
    /// then rebuilds only what their options make different. A tree with an older patch cannot be
    /// patched with the new one.
    fn origin(&self, source: &Source) -> Result<String> {
        let toolchain = self.root.toolchain()?;
        let how = self.spec.make_variables();
        let mut origin = format!("{} {how} {toolchain}", source.version);
        for patch in self.patches() {
            origin += " ";
            origin += &Key::new("patch").file(&patch)?.finish();
        }
        Ok(origin)
    }

    /// The C kernel of that origin whose configuration is nearest to this one's.
    fn sibling(&self, origin: &str) -> Result<Option<Kernel>> {
        let all = cache::dir().join("kernel");
        cache::mkdir(&all)?;
        let entries =
            std::fs::read_dir(&all).with_context(|| format!("cannot list {}", all.display()))?;
        let wanted = kconfig::read(&self.hosts(&self.fragments()))?;
        let own = format!("{}-c-", self.spec.flavour());
        let best = entries
            .flatten()
            .filter(|e| {
                let dir = e.path();
                dir.extension().is_none_or(|e| e != "part")
                    && std::fs::read_to_string(dir.join("origin")).is_ok_and(|o| o == origin)
            })
            .max_by_key(|e| {
                let name = e.file_name().to_string_lossy().into_owned();
                // Almost no object of a debug kernel fits another kernel.
                let debug = name.contains("-debug") == self.spec.debug;
                let config = std::fs::read_to_string(e.path().join("linux/.config"));
                let config = kconfig::parse(&config.unwrap_or_default());
                let differences = kconfig::differences(&wanted, &config).len();
                (debug, Reverse(differences), name.starts_with(&own))
            });
        best.map(|e| self.share(e.path())).transpose()
    }

    /// The Rust kernel. There is one tree for each C kernel and patch; it is updated from the
    /// sources.
    fn rust(&self) -> Result<Kernel> {
        let patch = patch(self.repo, &self.spec.series)?;
        let sources = in_tree::key(self.repo)?;
        let c_spec = Spec {
            imp: Impl::C,
            ..self.spec.clone()
        };
        let (c, c_key) = Builder {
            repo: self.repo,
            base: self.base,
            root: self.root.clone(),
            spec: &c_spec,
        }
        .c()?;

        let kernel = self.lock(self.dir("rust", &self.rust_key(&c_key, &patch)?))?;
        if !kernel.dir.exists() {
            let part = cache::part_of(&kernel.dir);
            cache::remove(&part)?;
            cache::mkdir(&part)?;
            self.copy(&c, &part)?;
            self.patch(&patch, &part)?;
            cache::rename(&part, &kernel.dir)?;
            self.prune("rust")?;
        }
        drop(c);

        let fragment = self.host("rust.config");
        let stamp = kernel.dir.join("stamp");
        let want = Key::new("stamp").text(&sources).file(&fragment)?.finish();
        if std::fs::read_to_string(&stamp).is_ok_and(|have| have == want) {
            self.pack(&kernel.dir)?;
            return Ok(kernel);
        }
        cache::remove(&stamp)?;
        let changed = in_tree::update(self.repo, &kernel.tree())?;
        // Compilers warn only when they compile. A build that had warnings, or did not end, has no
        // stamp, and make would not compile these files again.
        in_tree::remove_objects(&kernel.tree())?;
        let config = kernel.tree().join(".config");
        let wanted = kconfig::read(&[&fragment])?;
        let new_options = changed.iter().any(|f| f.ends_with("Kconfig"));
        if new_options || kconfig::verify(&wanted, &config).is_err() {
            let script = format!(
                "scripts/kconfig/merge_config.sh -m .config {FRAGMENTS}/rust.config && {} olddefconfig",
                self.spec.make()
            );
            let mut fragments = self.fragments();
            fragments.push("rust.config".to_owned());
            self.configure(&kernel.dir, &script, &fragments)?;
        }
        self.make(&kernel.dir)?;
        modules::package(&self.root, self.spec, &kernel.dir)?;
        cache::write_whole(&stamp, want.as_bytes())?;
        Ok(kernel)
    }

    /// Packs a built kernel, unless it was packed in the same way before.
    fn pack(&self, dir: &Path) -> Result<()> {
        if modules::is_packed(&self.root, dir) {
            return Ok(());
        }
        modules::package(&self.root, self.spec, dir)
    }

    fn c_key(&self, source: &Source) -> Result<String> {
        let mut key = Key::new("kernel-c")
            .text(&self.root.toolchain()?)
            .text(&self.spec.make_variables())
            .text(&source.version);
        for patch in self.patches() {
            key = key.file(&patch)?;
        }
        for fragment in self.fragments() {
            key = key.text(&kconfig_text(&self.host(&fragment))?);
        }
        Ok(key.finish())
    }

    /// The patches of this architecture's kernels, with either driver.
    fn patches(&self) -> Vec<PathBuf> {
        let names: &[&str] = match self.spec.arch {
            Arch::X86 => &[],
            Arch::Arm64 => &[SOFT_RESERVED],
            Arch::Riscv => &[SOFT_RESERVED, RISCV],
        };
        names.iter().map(|name| self.repo.join(name)).collect()
    }

    fn rust_key(&self, c_key: &str, patch: &Path) -> Result<String> {
        Ok(Key::new("kernel-rust").text(c_key).file(patch)?.finish())
    }

    fn prune(&self, imp: &str) -> Result<()> {
        let prefix = format!("{}-{imp}", self.spec.flavour());
        cache::prune(&cache::dir().join("kernel"), &prefix)
    }

    fn dir(&self, imp: &str, key: &str) -> PathBuf {
        cache::dir()
            .join("kernel")
            .join(format!("{}-{imp}-{key}", self.spec.flavour()))
    }

    fn lock(&self, dir: PathBuf) -> Result<Kernel> {
        let lock = Lock::take(&name(&dir))?;
        Ok(self.kernel(dir, lock))
    }

    fn share(&self, dir: PathBuf) -> Result<Kernel> {
        let lock = Lock::share(&name(&dir))?;
        Ok(self.kernel(dir, lock))
    }

    fn kernel(&self, dir: PathBuf, lock: Lock) -> Kernel {
        Kernel {
            dir,
            arch: self.spec.arch,
            pages: self.spec.pages,
            slowness: self.spec.slowness(),
            repo: self.repo.to_owned(),
            _lock: lock,
        }
    }

    fn fragments(&self) -> Vec<String> {
        let mut names = vec!["base.config".to_owned()];
        // Options that a series names differently, or does not have.
        let own = format!("{}.config", self.spec.series);
        if self.host(&own).exists() {
            names.push(own);
        }
        if self.spec.arch != Arch::X86 {
            names.push(format!("{}.config", self.spec.arch.name()));
        }
        if self.spec.pages != Pages::Of4k {
            names.push(format!("{}.config", self.spec.pages.name()));
        }
        if self.spec.debug {
            names.push("debug.config".to_owned());
        }
        if self.spec.nvdimm {
            names.push("nvdimm.config".to_owned());
        }
        if self.spec.builtin {
            names.push("builtin.config".to_owned());
        }
        if self.spec.clients {
            names.push("clients.config".to_owned());
        }
        names
    }

    fn host(&self, fragment: &str) -> PathBuf {
        self.repo.join("tools/kernel").join(fragment)
    }

    fn hosts(&self, fragments: &[String]) -> Vec<PathBuf> {
        fragments.iter().map(|f| self.host(f)).collect()
    }

    /// A command in the tree of `dir`, at the path both kernels share.
    pub fn in_tree(&self, dir: &Path, script: &str) -> InRoot {
        in_tree(&self.root, &dir.join("linux"), script)
            .bind(&self.repo.join("tools/kernel"), FRAGMENTS)
    }

    pub fn unpack(&self, source: &Source, part: &Path, tree: &Path) -> Result<()> {
        let raw = part.join("unpack");
        cache::remove(&raw)?;
        cache::mkdir(&raw)?;
        let step = Step::start(format!("unpacking Linux {}", source.version), 0);
        let script = "tar -xJf /usr/src/tarball --strip-components=1 -C /usr/src/unpack";
        let mut command = self
            .root
            .shell(script)
            .bind(&source.tarball, "/usr/src/tarball")
            .bind(&raw, "/usr/src/unpack")
            .build()?;
        exec::logged(&mut command, &part.join("unpack.log"), &step)?;
        step.done();
        cache::rename(&raw, tree)
    }

    /// Copies another kernel's tree, with all that was built in it.
    pub fn copy(&self, from: &Kernel, part: &Path) -> Result<()> {
        cache::mkdir(part)?;
        let from_name = name(&from.dir);
        let step = Step::start(
            format!("copying the tree of {from_name} for {}", self.spec),
            0,
        );
        let unfinished = part.join("linux.part");
        cache::remove(&unfinished)?;
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"])
            .arg(from.tree())
            .arg(&unfinished);
        exec::logged(&mut copy, &part.join("copy.log"), &step)?;
        step.done();
        cache::rename(&unfinished, &part.join("linux"))
    }

    /// Applies a patch, unless the tree has it: a tree may be a copy of another's, or of a build
    /// that was interrupted.
    pub fn patch(&self, patch: &Path, part: &Path) -> Result<()> {
        let step = Step::start(format!("patching {}", self.spec), 0);
        let script = "patch -p1 --reverse --dry-run --force --silent </usr/src/patch || \
             patch -p1 --forward --no-backup-if-mismatch </usr/src/patch";
        let apply = self.in_tree(part, script).bind(patch, "/usr/src/patch");
        let done = exec::logged(&mut apply.build()?, &part.join("patch.log"), &step);
        done.with_context(|| {
            let series = &self.spec.series;
            format!("{} does not apply to Linux {series}", patch.display())
        })?;
        step.done();
        Ok(())
    }

    fn configure(&self, dir: &Path, script: &str, fragments: &[String]) -> Result<()> {
        let log = dir.join("config.log");
        cache::remove(&log)?;
        let step = Step::start(format!("configuring {}", self.spec), 0);
        exec::logged(&mut self.in_tree(dir, script).build()?, &log, &step)?;
        kconfig::verify(
            &kconfig::read(&self.hosts(fragments))?,
            &dir.join("linux/.config"),
        )?;
        step.done();
        Ok(())
    }

    fn make(&self, dir: &Path) -> Result<()> {
        let log = dir.join("build.log");
        let lines = dir.join("build.lines");
        cache::remove(&log)?;
        let first = FULL_BUILD_LINES;
        let expected = std::fs::read_to_string(&lines)
            .ok()
            .and_then(|t| t.trim().parse().ok());
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let script = format!(
            "{} -j{jobs} {} modules",
            self.spec.make(),
            self.spec.arch.image()
        );
        let mut command = self
            .in_tree(dir, &script)
            .env("KBUILD_BUILD_USER", "device-dax")
            .env("KBUILD_BUILD_HOST", "build-root")
            .build()?;
        let step = Step::start(format!("building {}", self.spec), expected.unwrap_or(first));
        exec::logged(&mut command, &log, &step)?;
        let text = cache::read_text(&log)?;
        let warned = warnings::find(&text);
        if !warned.is_empty() {
            bail!(
                "building {}: the driver has warnings, see {}\n{}",
                self.spec,
                log.display(),
                warned.join("\n")
            );
        }
        cache::write_whole(&lines, step.count().to_string().as_bytes())?;
        step.done();
        Ok(())
    }
}

fn name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A command in a kernel tree, which is bound to the path where trees are built.
pub fn in_tree(root: &Root, tree: &Path, script: &str) -> InRoot {
    root.shell(script).bind(tree, TREE).cwd(TREE)
}

pub fn patch(repo: &Path, series: &str) -> Result<PathBuf> {
    let path = repo.join(format!("patches/{series}.patch"));
    if !path.exists() {
        bail!(
            "{} is not there: this project has no hook for Linux {series}",
            path.display()
        );
    }
    Ok(path)
}

/// A fragment without comments and blank lines, so that a change of these rebuilds nothing.
fn kconfig_text(fragment: &Path) -> Result<String> {
    let options = kconfig::parse(&cache::read_text(fragment)?);
    let lines: Vec<String> = options
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    Ok(lines.concat())
}
