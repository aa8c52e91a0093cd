// SPDX-License-Identifier: GPL-2.0
//! The command line. `generate` makes the man pages and the completions of it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::plan::{CachePart, Refusal};
use crate::span::{parse_range, parse_size, Span};

const STATUS: &str = "\
Exit status:
  0  done
  1  the options are wrong
  2  no such region, device, driver or cache
  3  it does not fit, or is refused; nothing was changed
  4  the kernel refused a write; what was done before was undone
  5  a file cannot be read or written; what was done before was undone
  6  something failed, and not everything could be undone

Sizes and addresses are bytes: 2097152, 0x200000, 2M, 1G. A range is START-LAST, as in sysfs, or START+LENGTH.";

/// Show, carve, save and restore the regions of device-dax
///
/// A region is special memory (HBM, CXL, soft-reserved) that can be divided into devices, /dev/daxX.Y. daxctl
/// makes a device of a size; daxlayout also chooses its addresses: in one part of a memory-side cache, in two
/// ranges at a distance, or exactly where you want it.
#[derive(Parser, Debug)]
#[command(name = "daxlayout", version, after_help = STATUS, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// The root of sysfs; with another one, /proc/iomem is not read
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys")]
    pub sysfs: PathBuf,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show regions, holes, devices, and which devices share parts of a cache
    Show(ShowArgs),
    /// Print the ranges that a new device would get
    Plan(PlanArgs),
    /// Make a device
    Create(CreateArgs),
    /// Write the layout of all regions as JSON
    Save(SaveArgs),
    /// Make the devices of a saved layout
    ///
    /// The whole layout is checked first; if anything does not fit, nothing is changed. A device that exists
    /// already is left alone. If a step fails, all steps before it are undone.
    Restore(RestoreArgs),
    /// Print DAX_ADDRESS=... for a udev rule
    Udev {
        /// The device, as in %k
        #[arg(value_name = "DEVICE")]
        device: String,
    },
    /// Write the man page or the shell completions
    Generate {
        what: Generated,
        /// The directory to write them to
        dir: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Generated {
    Man,
    Completions,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Only this region
    #[arg(short, long, value_name = "ID")]
    pub region: Option<u64>,
    /// Only the region of this device
    #[arg(short, long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// A table, one line for each range
    #[arg(long, conflicts_with = "json")]
    pub table: bool,
    /// Also draw the regions into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Size of the direct-mapped cache, if sysfs does not show it
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub cache_size: Option<u64>,
}

#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The region; needed only if there are several
    #[arg(short, long, value_name = "ID")]
    pub region: Option<u64>,
    /// Size of the device; by default all free memory where it may be
    #[arg(short, long, value_parser = parse_size)]
    pub size: Option<u64>,
    /// Alignment of the device: 4K, 2M or 1G; by default that of the region
    #[arg(short, long, value_parser = parse_size)]
    pub align: Option<u64>,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Print what `daxctl create-device --input` takes
    #[arg(long, conflicts_with = "json")]
    pub daxctl_json: bool,
}

#[derive(Args, Debug)]
pub struct PlaceArgs {
    /// In part K of N equal parts of the cache, counted from 0; devices of different colours share no part of it
    #[arg(long, value_name = "K/N", value_parser = parse_colour, group = "place")]
    pub colour: Option<Colour>,
    /// In two equal ranges at this distance; `auto` is the size of the cache
    #[arg(long, value_name = "DISTANCE", value_parser = parse_distance, group = "place")]
    pub pair_distance: Option<Distance>,
    /// Exactly this range, START-LAST or START+LENGTH; may be given several times, the order is kept
    #[arg(long, value_name = "RANGE", value_parser = parse_range, group = "place")]
    pub range: Vec<Span>,
    /// Anywhere, in as few ranges as possible; this is the default
    #[arg(long, group = "place")]
    pub contiguous: bool,
    /// Size of the direct-mapped cache, if sysfs does not show it; with --offset, any distance at which the place
    /// repeats. --stride is the same option
    #[arg(long, value_name = "SIZE", value_parser = parse_size, alias = "stride")]
    pub cache_size: Option<u64>,
    /// In the bytes from this offset on, in each --cache-size bytes of the address space
    #[arg(long, value_name = "SIZE", value_parser = parse_size, requires = "cache_size", group = "place")]
    pub offset: Option<u64>,
    /// With --offset: the number of these bytes; by default the larger of the alignment and 2 MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size, requires = "offset")]
    pub width: Option<u64>,
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// The driver to bind: device_dax, kmem, or none
    #[arg(long, default_value = "device_dax")]
    pub driver: String,
    /// Draw the region before and after, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub struct SaveArgs {
    /// Only this region
    #[arg(short, long, value_name = "ID")]
    pub region: Option<u64>,
    /// The file; by default standard output
    pub file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// Only this region
    #[arg(short, long, value_name = "ID")]
    pub region: Option<u64>,
    /// Only the region of this device
    #[arg(short, long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Succeed if the file has no layout of the region
    #[arg(long)]
    pub if_saved: bool,
    /// The file; by default standard input
    pub file: Option<PathBuf>,
}

/// One of several equal parts of the cache, as `--colour` takes it.
#[derive(Clone, Copy, Debug)]
pub struct Colour {
    /// The number of the part, from 0.
    pub colour: u64,
    /// The number of parts.
    pub colours: u64,
}

impl Colour {
    /// The addresses of the colour, for a cache of `period` bytes.
    pub fn part(self, period: u64) -> Result<CachePart, Refusal> {
        CachePart::colour(self.colour, self.colours, period)
    }
}

fn parse_colour(text: &str) -> Result<Colour, String> {
    let parsed = text
        .split_once('/')
        .and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((colour, colours)) if colour < colours => Ok(Colour { colour, colours }),
        _ => Err("write K/N, with K from 0 to N-1".to_owned()),
    }
}

/// The distance of two ranges, as `--pair-distance` takes it.
#[derive(Clone, Copy, Debug)]
pub enum Distance {
    /// The size of the cache.
    Auto,
    Bytes(u64),
}

fn parse_distance(text: &str) -> Result<Distance, String> {
    match text {
        "auto" => Ok(Distance::Auto),
        _ => parse_size(text).map(Distance::Bytes),
    }
}
