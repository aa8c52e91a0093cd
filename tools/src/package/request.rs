// SPDX-License-Identifier: GPL-2.0
//! The packages that CONFIG=, TRIM= and REVISION= ask for.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::arch::{Arch, Pages};
use crate::cache;
use crate::exec;
use crate::settings;
use crate::spec::{Impl, Spec, Toolchain};

/// The configuration that a kernel package begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// The configuration of the tests, and what a virtual machine with Debian needs.
    Small,
    /// Debian's own of the series.
    Debian,
    /// Debian's own for virtual machines.
    DebianCloud,
    /// A file, like /boot/config-6.12.0.
    File(PathBuf),
}

const NAMES: [&str; 3] = ["debian", "debian-cloud", "small"];

impl Config {
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "small" => Ok(Self::Small),
            "debian" => Ok(Self::Debian),
            "debian-cloud" => Ok(Self::DebianCloud),
            path if path.contains('/') => Ok(Self::File(path.into())),
            other => Err(settings::unknown("CONFIG", other, "configuration", &NAMES)
                .context("a file needs a / in its name, like ./config")),
        }
    }

    /// The part of the kernel's name that tells this configuration from others.
    pub fn flavour(&self) -> &'static str {
        match self {
            Self::Small => "small-",
            Self::Debian => "",
            Self::DebianCloud => "cloud-",
            Self::File(_) => "own-",
        }
    }

    /// The name of a directory for this configuration.
    fn directory(&self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Debian => "debian",
            Self::DebianCloud => "debian-cloud",
            Self::File(_) => "own",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Request {
    pub spec: Spec,
    pub config: Config,
    /// The modules that some machine has loaded, as lsmod prints them. Others are left out.
    pub loaded: Option<String>,
    /// Tells builds of the same sources apart; a higher one is an upgrade.
    pub revision: u32,
}

impl Request {
    pub fn new(series: &str, arch: Arch, config: Config) -> Self {
        Self {
            spec: Spec {
                arch,
                // As Debian does; but the build root has no GCC for other architectures.
                toolchain: match arch {
                    Arch::X86 => Toolchain::Gcc,
                    Arch::Arm64 | Arch::Riscv => Toolchain::Llvm,
                },
                ..Spec::new(series, Impl::Rust)
            },
            config,
            loaded: None,
            revision: 1,
        }
    }

    pub fn from_variables() -> Result<Self> {
        let spec = settings::spec()?;
        let packed = Spec {
            toolchain: Toolchain::Llvm,
            arch: Arch::X86,
            ..spec.clone()
        };
        if spec.imp == Impl::C || !packed.is_usual() {
            bail!("make deb packs the usual Rust kernel: leave out IMPL, DEBUG and BUILTIN");
        }
        let config = settings::var("CONFIG")?;
        let config = Config::parse(config.as_deref().unwrap_or("debian"))?;
        let trim = settings::var("TRIM")?;
        check(spec.arch, spec.pages, &config, trim.as_deref())?;
        let revision = match settings::count("REVISION")? {
            None => 1,
            Some(number) => u32::try_from(number).context("REVISION is too large")?,
        };
        Ok(Self {
            loaded: loaded(trim.as_deref())?,
            revision,
            ..Self::new(&spec.series, spec.arch, config)
        })
    }

    /// The name of a directory for packages like these.
    pub fn directory(&self) -> String {
        let trimmed = if self.loaded.is_some() {
            "-trimmed"
        } else {
            ""
        };
        let arch = match self.spec.arch {
            Arch::X86 => String::new(),
            other => format!("{}-", other.name()),
        };
        let config = self.config.directory();
        format!("{}-{arch}{config}{trimmed}", self.spec.series)
    }

    /// Number of lines that the first build prints, as counted once; 0 if nobody has.
    pub fn lines(&self) -> u64 {
        match (&self.config, &self.loaded) {
            (Config::Small, None) => 2_900,
            (Config::DebianCloud, None) => 14_800,
            _ => 0,
        }
    }

    /// The end of the kernel's version. Debian's kernels are called 7.3.4+deb13-amd64
    /// and 7.3.4+deb13-cloud-amd64. A name with `-dax-` comes right after these.
    pub fn local_version(&self, release: &str) -> String {
        let arch = self.spec.arch.debian();
        format!("+deb{release}-dax-{}{arch}", self.config.flavour())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {} for Debian", self.spec.series)?;
        if self.spec.arch != Arch::X86 {
            write!(f, " on {}", self.spec.arch.name())?;
        }
        match &self.config {
            Config::File(path) => write!(f, " ({}", path.display())?,
            named => write!(f, " ({}", named.directory())?,
        }
        let trimmed = self.loaded.is_some();
        f.write_str(if trimmed { ", trimmed)" } else { ")" })
    }
}

/// Fails unless that configuration can be packed for that architecture and size of a page.
fn check(arch: Arch, pages: Pages, config: &Config, trim: Option<&str>) -> Result<()> {
    let named = matches!(config, Config::Debian | Config::DebianCloud);
    match arch {
        Arch::X86 => Ok(()),
        _ if trim == Some("1") => bail!(
            "TRIM=1: the modules that this machine has loaded are not those of ARCH={}. Take \
             TRIM=file, with the output of lsmod on such a machine",
            arch.name()
        ),
        _ if named => bail!(
            "ARCH={}: this machine has Debian's configurations of its own architecture alone. Take \
             CONFIG=small, or the file /boot/config-* of such a machine",
            arch.name()
        ),
        _ if pages != Pages::Of4k => bail!(
            "PAGES={}: CONFIG=small has pages of 4 KiB, and a file says itself which it has",
            pages.name()
        ),
        Arch::Arm64 | Arch::Riscv => Ok(()),
    }
}

/// The modules of TRIM=1, this machine's, or of TRIM=file.
fn loaded(trim: Option<&str>) -> Result<Option<String>> {
    match trim {
        None | Some("0") => Ok(None),
        Some("1") => {
            let text = exec::output(&mut Command::new("lsmod")).context(
                "TRIM=1 keeps the modules that are loaded now, and lsmod (package kmod) names them",
            )?;
            Ok(Some(String::from_utf8_lossy(&text).into_owned()))
        }
        Some(file) => {
            let text = cache::read_text(file.as_ref())
                .context("TRIM= takes 1, or a file with the output of lsmod")?;
            if !text.starts_with("Module ") {
                bail!("TRIM={file}: not the output of lsmod, which begins with \"Module\"");
            }
            Ok(Some(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_have_names_or_are_files() {
        assert_eq!(Config::parse("small").unwrap(), Config::Small);
        assert_eq!(
            Config::parse("/boot/config-1").unwrap(),
            Config::File("/boot/config-1".into())
        );
        let error = format!("{:#}", Config::parse("debian-clud").unwrap_err());
        assert!(error.contains("Did you mean debian-cloud?"), "{error}");
        assert!(NAMES.iter().all(|name| Config::parse(name).is_ok()));
    }

    #[test]
    fn names_tell_kernels_apart() {
        let name = |config| Request::new("7.3", Arch::X86, config).local_version("13");
        assert_eq!(name(Config::Debian), "+deb13-dax-amd64");
        assert_eq!(name(Config::DebianCloud), "+deb13-dax-cloud-amd64");
        assert_eq!(name(Config::Small), "+deb13-dax-small-amd64");
        let arm64 = Request::new("7.3", Arch::Arm64, Config::Small);
        assert_eq!(arm64.local_version("13"), "+deb13-dax-small-arm64");
        assert_eq!(arm64.directory(), "7.3-arm64-small");
        let mut request = Request::new("7.3", Arch::X86, Config::Debian);
        assert_eq!(request.directory(), "7.3-debian");
        request.loaded = Some(String::new());
        assert_eq!(request.directory(), "7.3-debian-trimmed");
        assert_eq!(
            request.to_string(),
            "Linux 7.3 for Debian (debian, trimmed)"
        );
    }

    #[test]
    fn configurations_of_debian_are_those_of_x86() {
        let file = Config::File("./config".into());
        check(Arch::X86, Pages::Of4k, &Config::Debian, Some("1")).unwrap();
        check(Arch::Arm64, Pages::Of4k, &Config::Small, None).unwrap();
        check(Arch::Arm64, Pages::Of4k, &file, Some("lsmod.txt")).unwrap();
        assert!(check(Arch::Arm64, Pages::Of4k, &Config::Debian, None).is_err());
        assert!(check(Arch::Arm64, Pages::Of4k, &file, Some("1")).is_err());
        assert!(check(Arch::Arm64, Pages::Of16k, &file, None).is_err());
    }

    #[test]
    fn modules_to_keep_are_what_lsmod_prints() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "Module                  Size  Used by\nfuse 1 0\n").unwrap();
        assert!(loaded(file.to_str()).unwrap().unwrap().contains("fuse"));
        std::fs::write(&file, "fuse\n").unwrap();
        assert!(loaded(file.to_str()).is_err());
        assert!(loaded(None).unwrap().is_none() && loaded(Some("0")).unwrap().is_none());
    }
}
