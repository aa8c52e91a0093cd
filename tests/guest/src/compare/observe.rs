// SPDX-License-Identifier: GPL-2.0
//! Everything of the dax family that a user can see, as text, after each operation.
//!
//! Nothing is left out because two drivers differ in it. Some things differ from run to run of one
//! kernel, and are normalised: an event's sequence number, a device's minor number, a log line's
//! time, pointers in it, and the registers and addresses of a warning. The first line of a warning
//! stays.

use super::log::Log;
use crate::device::DEVICES;
use crate::sysfs::{self, Error, Result};
use crate::uevents::Listener;
use crate::units::Span;
use dax_protocol::compare::{Changes, Modules, Operation, State, Step};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The modules of the family. Other loaded modules do not matter.
const MODULES: [&str; 6] = [
    "device_dax",
    "dax_hmem",
    "dax_pmem",
    "dax_cxl",
    "fsdev_dax",
    "kmem",
];
/// Directories with memory blocks.
const MEMORY: &str = "/sys/devices/system/memory";

/// Everything that happened since the last look.
pub struct Look {
    changed: Changes,
    uevents: Vec<String>,
    log: Vec<String>,
    hash: String,
}

impl Look {
    /// Notes an operation and its result.
    pub fn step(self, op: Operation, result: String) -> Step {
        Step {
            op,
            result,
            changed: self.changed,
            uevents: self.uevents,
            log: self.log,
            hash: self.hash,
        }
    }
}

/// Reads the state again and again, and reports the changes.
pub struct Observer {
    /// The directories of the regions' owners, whether they exist or not.
    owners: Vec<PathBuf>,
    /// The memory that the regions manage.
    spans: Vec<Span>,
    state: State,
    events: Listener,
    log: Log,
}

impl Observer {
    /// Takes the first look. Regions that appear later are found when they have a device.
    pub fn new() -> Result<Observer> {
        let mut observer = Observer {
            owners: Vec::new(),
            spans: Vec::new(),
            state: State::new(),
            events: Listener::open()?,
            log: Log::open()?,
        };
        observer.look()?;
        Ok(observer)
    }

    /// The state at the last look.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Reads the state, and returns everything that is new.
    pub fn look(&mut self) -> Result<Look> {
        self.find_regions()?;
        let state = self.read()?;
        let changed = changes(&self.state, &state);
        self.state = state;
        let mut uevents = Vec::new();
        while let Some(lines) = self.events.receive() {
            uevents.push(event(lines));
        }
        Ok(Look {
            changed,
            uevents,
            log: self.log_lines()?,
            hash: hash(&self.state),
        })
    }

    /// The lines of the kernel log, without two kinds. The Rust driver gives a reason when it
    /// refuses a write, the C driver gives none; a test of the group lifecycle is about that. Clocks
    /// complain when the emulator was kept waiting.
    fn log_lines(&mut self) -> Result<Vec<String>> {
        let mut lines = self.log.lines()?;
        lines.retain(|line| {
            let reason = line.starts_with("<6> ") && line.contains(": refused: ");
            let suppressed = line.contains(" dax_glue_refused");
            let clock = ["<6> clocksource: Watchdog", "<6> hrtimer: interrupt took"];
            let of_clock = clock.iter().any(|start| line.starts_with(start));
            !reason && !suppressed && !of_clock
        });
        Ok(lines)
    }

    /// Remembers owners of regions and where their memory is.
    fn find_regions(&mut self) -> Result<()> {
        for name in sysfs::names(DEVICES.as_ref()).unwrap_or_default() {
            let Ok(device) = Path::new(DEVICES).join(&name).canonicalize() else {
                continue;
            };
            let Some(owner) = device.parent() else {
                continue;
            };
            if self.owners.iter().any(|known| known == owner) {
                continue;
            }
            // In an empty region, and in a full one, the first device says where the region begins.
            let start = sysfs::read_number(&device.join("resource"))?;
            let len = sysfs::read_number(&owner.join("dax_region/size"))?;
            self.spans.push(Span::at(start, len));
            self.owners.push(owner.to_owned());
        }
        Ok(())
    }

    /// Reads everything.
    fn read(&self) -> Result<State> {
        let mut state = State::new();
        for owner in &self.owners {
            walk(&mut state, owner);
        }
        walk(&mut state, Path::new("/sys/bus/dax"));
        let spans: Vec<String> = self.spans.iter().map(|span| format!("{span:?}")).collect();
        state.insert("regions".into(), spans.join(" "));
        nodes(&mut state);
        name_minors(&mut state);
        let names: Vec<String> = modules().into_keys().collect();
        state.insert("/proc/modules".into(), names.join(" "));
        self.iomem(&mut state)?;
        self.memory(&mut state);
        Ok(state)
    }

    /// The lines of `/proc/iomem` that lie in a region, with their depth.
    fn iomem(&self, state: &mut State) -> Result<()> {
        let text = text_of("/proc/iomem")?;
        let mut kept = Vec::new();
        for line in text.lines() {
            let range = line.trim_start().split(' ').next().unwrap_or_default();
            let Some((start, end)) = range.split_once('-') else {
                continue;
            };
            let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
            let (start, end) = (number(start), number(end));
            if self.spans.iter().any(|s| s.start <= start && end <= s.end) {
                kept.push(line);
            }
        }
        state.insert("/proc/iomem".into(), kept.join("\n"));
        Ok(())
    }

    /// Memory blocks in the regions.
    fn memory(&self, state: &mut State) {
        for span in &self.spans {
            for block in crate::memory::blocks(*span).unwrap_or_default() {
                for file in ["state", "valid_zones", "removable", "phys_device"] {
                    read_file(state, &block.join(file));
                }
            }
        }
        read_file(state, &Path::new(MEMORY).join("auto_online_blocks"));
    }
}

/// An event in one line, without its number and that of the node.
fn event(lines: Vec<String>) -> String {
    let normal = |line: String| match line.split_once('=') {
        Some(("SEQNUM", _)) => None,
        Some(("MINOR", number)) if number.parse::<u32>().is_ok() => Some("MINOR=(any)".into()),
        _ => Some(line),
    };
    let kept: Vec<String> = lines.into_iter().filter_map(normal).collect();
    kept.join(" ")
}

/// The files that are new, changed or gone.
pub fn changes(before: &State, after: &State) -> Changes {
    let new = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value));
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    new.map(|(key, value)| (key.clone(), Some(value.clone())))
        .chain(gone.map(|key| (key.clone(), None)))
        .collect()
}

/// FNV-1a over keys and values.
pub fn hash(state: &State) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for (key, value) in state {
        for byte in [key.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// Adds a directory and all that is in it; links are not followed.
fn walk(state: &mut State, dir: &Path) {
    let Ok(meta) = fs::symlink_metadata(dir) else {
        return;
    };
    state.insert(
        dir.display().to_string(),
        format!("directory {:o} {}:{}", meta.mode(), meta.uid(), meta.gid()),
    );
    for name in sysfs::names(dir).unwrap_or_default() {
        let path = dir.join(name);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_symlink() => {
                let target = fs::read_link(&path).unwrap_or_default();
                state.insert(
                    path.display().to_string(),
                    format!("-> {}", target.display()),
                );
            }
            // Only those of the C driver have it. A test of the group sysfs is about that.
            Ok(meta) if meta.is_dir() && is_power_of_mapping(&path) => {}
            Ok(meta) if meta.is_dir() => walk(state, &path),
            // Only those of the Rust driver have it. The group zero is about that.
            Ok(_) if path.ends_with("dax_region/zero_on_alloc") => {}
            Ok(_) => read_file(state, &path),
            // Gone since it was listed.
            Err(_) => {}
        }
    }
}

/// Whether a path is that of `mappingN/power`.
fn is_power_of_mapping(path: &Path) -> bool {
    let parent = path.parent().and_then(Path::file_name);
    let of_mapping = parent.is_some_and(|name| name.to_string_lossy().starts_with("mapping"));
    of_mapping && path.ends_with("power")
}

/// Adds a file: mode, owner, and its text or the error of reading it.
fn read_file(state: &mut State, path: &Path) {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return;
    };
    let content = if meta.mode() & 0o444 == 0 {
        String::new()
    } else {
        match sysfs::try_read(path) {
            Ok(text) => format!(" {text:?}"),
            Err(errno) => format!(" {errno}"),
        }
    };
    state.insert(
        path.display().to_string(),
        format!(
            "{:o} {}:{}{content}",
            meta.mode() & 0o7777,
            meta.uid(),
            meta.gid()
        ),
    );
}

/// The nodes in /dev.
fn nodes(state: &mut State) {
    for name in sysfs::names("/dev".as_ref()).unwrap_or_default() {
        if !name.starts_with("dax") {
            continue;
        }
        let Ok(meta) = fs::symlink_metadata(Path::new("/dev").join(&name)) else {
            continue;
        };
        let kind = if meta.file_type().is_char_device() {
            "char"
        } else {
            "other"
        };
        let (major, minor) = (libc::major(meta.rdev()), libc::minor(meta.rdev()));
        state.insert(
            format!("/dev/{name}"),
            format!(
                "{kind} {major}:{minor} {:o} {}:{}",
                meta.mode() & 0o7777,
                meta.uid(),
                meta.gid()
            ),
        );
    }
}

/// Adds the links of /sys/dev/char to dax devices, and gives every minor number the name of its
/// device. They are given back after an RCU grace period, so which one is free is a matter of
/// time. One that is not the same everywhere keeps its digits, and is seen.
fn name_minors(state: &mut State) {
    let dir = Path::new("/sys/dev/char");
    for number in sysfs::names(dir).unwrap_or_default() {
        let target = fs::read_link(dir.join(&number)).unwrap_or_default();
        let target = target.display().to_string();
        let Some((_, name)) = target.rsplit_once("/dax").filter(|(_, n)| n.contains('.')) else {
            continue;
        };
        let name = format!("dax{name}");
        let (major, minor) = number.split_once(':').unwrap_or_default();
        let (plain, named) = (
            format!("{major}:{minor}"),
            format!("{major}:(minor of {name})"),
        );
        let (line, named_line) = (
            format!("MINOR={minor}\\n"),
            format!("MINOR=(minor of {name})\\n"),
        );
        let attribute = |file: &str| format!("/{name}/{file}");
        for (key, value) in state.iter_mut() {
            if key.ends_with(&attribute("dev")) {
                *value = value.replace(&format!("\"{plain}\\n"), &format!("\"{named}\\n"));
            } else if key.ends_with(&attribute("uevent")) {
                *value = value.replace(&line, &named_line);
            } else if *key == format!("/dev/{name}") {
                *value = value.replace(&format!(" {plain} "), &format!(" {named} "));
            }
        }
        state.insert(format!("/sys/dev/char/{named}"), format!("-> {target}"));
    }
}

/// The modules of the family, each with the modules of the family that use it.
pub fn modules() -> Modules {
    let text = text_of("/proc/modules").unwrap_or_default();
    let mut modules = Modules::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        if !MODULES.contains(&name) {
            continue;
        }
        let users = words.nth(2).unwrap_or_default();
        let users = users.split(',').filter(|user| MODULES.contains(user));
        let mut users: Vec<String> = users.map(str::to_owned).collect();
        users.sort_unstable();
        modules.insert(name.to_owned(), users);
    }
    modules
}

/// Reads a file of any size.
fn text_of(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::new(format!("read {path}"), e.into()))
}
