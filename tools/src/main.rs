// SPDX-License-Identifier: GPL-2.0
//! The project's host tool, called by `make`: build root, kernels, guests, tests.

mod arch;
mod architectures;
mod bench;
mod cache;
mod cargo;
mod check;
mod checkpatch;
mod clients;
mod clippy;
mod colours;
mod commands;
mod compare;
mod cpio;
mod defects;
mod exec;
mod exit_marker;
mod floors;
mod groups;
mod guest;
mod in_tree;
mod initramfs;
mod interactive;
mod kconfig;
mod kernel;
mod ktap;
mod kunit;
mod libtest;
mod matrix;
mod model;
mod module;
mod modules;
mod monitor;
mod mutants;
mod package;
mod poweroff;
mod printk;
mod progress;
mod public;
mod report;
mod root;
mod rules;
mod run;
mod rust_code;
mod settings;
mod source;
mod spec;
mod splat;
mod stress;
mod system;
mod table;
mod testrun;
mod uniprocessor;
mod vanilla;
mod virt;
mod warnings;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use commands::Uses;
use kernel::Kernel;
use root::Root;

#[derive(Parser)]
#[command(about, version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build one kernel
    Kernel,
    /// Run CMD in a guest
    Guest,
    /// Run a shell on this terminal in a guest
    Shell,
    /// Run format, lints, rules and host tests
    Check,
    /// Run all tests
    Test,
    /// Compare C and Rust side by side
    Compare,
    /// Run the tests of all consumers on all kernels
    Matrix,
    /// Run the guest tests on another architecture
    Architectures,
    /// Run the tests of the C driver's defects on C and Rust
    Defects,
    /// Run the tests of ndctl and of the kernel, on C and Rust
    Public,
    /// Run the driver on a model of the kernel, in random orders
    Model,
    /// Put mistakes into the pure modules, which the host tests must see
    Mutants,
    /// Do everything at once in a guest, checked
    Stress,
    /// Build everything and show the Rust module at work in a guest
    Run,
    /// Measure the C and the Rust driver
    Bench,
    /// Show that tenants of one cache colour each do not push each other out
    Colours,
    /// Run programs that use device-dax in guests, on C and Rust
    Clients,
    /// Build the module in the kernel tree KDIR
    Module,
    /// Build packages for Debian: kernel and daxlayout
    Deb,
    /// Install the packages of `make deb` in a Debian system and test it
    System,
    /// Draw which file of the module uses which
    Floors,
    /// Run a command in the build root; for our own use
    #[command(hide = true)]
    Enter {
        #[arg(long)]
        root: PathBuf,
        #[arg(long, num_args = 2)]
        bind: Vec<PathBuf>,
        #[arg(long)]
        cwd: PathBuf,
        #[arg(last = true, required = true)]
        words: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match parse().and_then(execute) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command, and checks the variables that are meant for it.
fn parse() -> Result<Command> {
    let matches = Args::command().get_matches();
    // `enter` is not in the list: it runs without make's variables.
    if let Some(uses) = matches.subcommand_name().and_then(Uses::named) {
        settings::check(uses)?;
    }
    Ok(Args::from_arg_matches(&matches)?.command)
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Kernel => {
            let repo = repo()?;
            let kernel = Kernel::ensure(&repo, &Root::ensure(&repo)?, &settings::spec()?)?;
            println!("{}", kernel.image().display());
            println!("{}", kernel.tree().display());
        }
        Command::Guest => return interactive::guest(&repo()?),
        Command::Shell => return interactive::shell(&repo()?),
        Command::Check => return check::main(&repo()?),
        Command::Test => return testrun::main(&repo()?),
        Command::Compare => return compare::main(&repo()?),
        Command::Architectures => return architectures::main(&repo()?),
        Command::Matrix => return matrix::main(&repo()?),
        Command::Defects => return defects::main(&repo()?),
        Command::Public => return public::main(&repo()?),
        Command::Model => return model::main(&repo()?),
        Command::Mutants => return mutants::main(&repo()?),
        Command::Stress => return stress::main(&repo()?),
        Command::Run => return run::main(&repo()?),
        Command::Module => return module::main(&repo()?),
        Command::Colours => return colours::main(&repo()?),
        Command::Clients => return clients::main(&repo()?),
        Command::Bench => return bench::main(&repo()?),
        Command::System => return system::main(&repo()?),
        Command::Deb => return package::main(&repo()?),
        Command::Floors => print!("{}", floors::drawing(&repo()?)?),
        Command::Enter {
            root,
            bind,
            cwd,
            words,
        } => root::enter(&root, &bind, &cwd, &words)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The checkout in which the tool was called.
fn repo() -> Result<PathBuf> {
    let start = std::env::current_dir().context("no current directory")?;
    let found = start
        .ancestors()
        .find(|dir| dir.join("tools/root.packages").exists());
    match found {
        Some(dir) => Ok(dir.to_owned()),
        None => bail!(
            "{} is in no checkout of this project: call make in one",
            start.display()
        ),
    }
}
