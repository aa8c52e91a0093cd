// SPDX-License-Identifier: GPL-2.0
//! Shows, carves, saves and restores regions of device-dax.

mod cache;
mod change;
mod cli;
mod colour;
mod create;
mod device;
mod error;
mod generate;
mod iomem;
mod layout;
mod map;
mod memory;
mod output;
mod plan;
mod region;
mod restore;
mod show;
mod span;
mod svg;
mod sysfs;
mod udev;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::Result;
use crate::sysfs::Sysfs;

/// The sysfs tree of this machine.
const SYS: &str = "/sys";
/// The reserved addresses of this machine.
const IOMEM: &str = "/proc/iomem";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` end here, too, and are no errors.
            let status = u8::from(error.use_stderr());
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("daxlayout: {error}");
            ExitCode::from(error.status())
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if let Command::Generate { what, dir } = &cli.command {
        return generate::generate(*what, dir);
    }
    let sysfs = Sysfs {
        root: sysfs::resolved(&cli.sysfs)?,
        iomem: (cli.sysfs == Path::new(SYS)).then(|| IOMEM.into()),
    };
    match &cli.command {
        Command::Show(args) => show::show(&sysfs, args, cli.json),
        Command::Plan(args) => create::print_plan(&sysfs, args, cli.json),
        Command::Create(args) => create::create(&sysfs, args, cli.json),
        Command::Save(args) => layout::save(&sysfs, args),
        Command::Restore(args) => restore::restore(&sysfs, args, cli.json),
        Command::Udev { device } => udev::print(&sysfs, device),
        Command::Generate { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tree_tests;
