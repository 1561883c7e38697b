//! `cargo xtask`: the chores of this repository, from a fresh clone to a running demo.

#![expect(clippy::print_stdout, reason = "a command-line tool talks on stdout")]

mod bindings;
mod guests;
mod museum;
mod python;
mod reference;
mod stages;
mod typescript;
mod wit_diff;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The chores of the Jackfield repository",
    after_help = "\
Environment:
  CARGO_TARGET_DIR          where everything is built; guests land in <it>/plugins
  JACKFIELD_PLUGIN_RUSTC    the rustc to build guests with, instead of looking for one
  JACKFIELD_NO_DOWNLOAD=1   never download a toolchain; say what to install instead
  XDG_CACHE_HOME            the private toolchain lives in <it>/jackfield/wasm-rust"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the guests into WebAssembly components, `<target>/plugins/<name>.wasm`
    ///
    /// A guest is a workspace package under plugins/ that is a cdylib, or one under examples/ that
    /// declares `kind` in its `package.metadata.jackfield`. Its component may import nothing but
    /// jackfield:log. The examples of tests/guests land in `<target>/plugins/test`: only tests run them.
    Plugins {
        /// Build only this plugin ("asterisk", or the package name); repeatable
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
    },

    /// Generate the SDKs' bindings from wit/: Rust into `plugins/sdk/src/bindings/<world>.rs`, TypeScript into the kit's templates
    Bindings {
        /// Change nothing; fail if a file is not what wit/ generates
        #[arg(long)]
        check: bool,
    },

    /// Write the contract as a page to read, wit/reference.md, from the files in wit/
    Reference {
        /// Change nothing; fail if the page is not what wit/ says
        #[arg(long)]
        check: bool,
    },

    /// Show what changed in wit/ since an older copy of it; fail if it breaks plugins that exist
    ///
    /// Within one version of a package nothing may go or change, and an interface that plugins export
    /// gets no new function. New interfaces, new types that no old item uses, and new functions in an
    /// interface that plugins import are fine. Docs do not count.
    ///
    /// CI runs it against every released version in the museum.
    WitDiff {
        /// An older copy of the folder wit/; without it, each one in the museum
        #[arg(value_name = "DIR")]
        older: Option<PathBuf>,
    },

    /// The contract of each released WIT version and plugins as they were built against it, in `tests/museum/<version>`
    Museum {
        #[command(subcommand)]
        command: MuseumCommand,
    },

    /// Show which Rust toolchain builds the guests, getting one if there is none
    Toolchain {
        /// Fetch the private toolchain from Debian even if another one would do
        #[arg(long)]
        fetch: bool,
    },

    /// Build the guests, then run every test of the workspace
    Test {
        /// Handed to `cargo test --workspace`, e.g. `cargo xtask test -- --test swap`
        #[arg(last = true)]
        args: Vec<String>,
    },

    /// Build the guests, then run `jackfield demo`
    Demo {
        /// Handed to `jackfield demo`
        #[arg(last = true)]
        args: Vec<String>,
    },

    /// Build the guests, then run the benches (profile dev, so nothing is built twice)
    Bench {
        /// Handed to `cargo bench`
        #[arg(last = true)]
        args: Vec<String>,
    },
}

#[derive(Subcommand)]
enum MuseumCommand {
    /// Copy wit/ and the built plugins, `<target>/plugins/*.wasm`, into the museum under the version of wit/sdk
    ///
    /// Build them first (`cargo xtask plugins`). A version that is kept already is refused: a released
    /// one never changes.
    Keep,

    /// Show the kept plugins with their size
    List,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let workspace = Workspace::load()?;
    match command {
        Command::Plugins { only } => guests::build(&workspace, &only),
        Command::Bindings { check } => bindings::generate(&workspace, check),
        Command::Reference { check } => reference::generate(&workspace, check),
        Command::WitDiff { older } => wit_diff::compare(&workspace, older),
        Command::Museum { command: MuseumCommand::Keep } => museum::keep(&workspace),
        Command::Museum { command: MuseumCommand::List } => museum::list(&workspace),
        Command::Toolchain { fetch } => guests::show_toolchain(fetch),
        Command::Test { args } => stages::test(&workspace, &args),
        Command::Demo { args } => stages::demo(&workspace, &args),
        Command::Bench { args } => stages::bench(&workspace, &args),
    }
}
