//! `jackfield plugin` for authors: a project from its first file to what is handed on. The work is done by `kit`.

mod bench;
mod build;
mod check;
mod conform;
mod new;
mod pack;
mod run;
mod subject;
mod test;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use kit::{
    Progress,
    build::Options,
    project::{Project, ProjectError},
};

use crate::cli::{Color, FAILURE, USAGE, complain};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuthorCommand {
    /// Begin a plugin: a folder with sources, unit tests and scenarios that builds as it is.
    ///
    /// Nothing is overwritten. The folder stands alone: a plugin in Rust carries the SDK's sources along.
    New(new::NewArgs),
    /// Build the project in this folder into a component that a host takes.
    ///
    /// Finds the tools of its language and says what it tried when there are none. The component, `build/<id>.wasm`,
    /// carries the manifest made of plugin.toml, and has passed what a host checks without running it.
    Build(build::BuildArgs),
    /// Look at a plugin as a host and its admin will: what it is, proves, asks for, and what an update would mean.
    ///
    /// `contract` says for which released contract it was built, and so which hosts load it.
    /// The exit code is 0 when a host takes it (warnings included, unless --strict), 1 when none does.
    Check(check::CheckArgs),
    /// Build the project and put what is handed on into one folder, `dist/<id>-<version>`.
    ///
    /// The component, its manifest to read, its SHA-256, and how to sign and install it.
    Pack(pack::PackArgs),
    /// Run the project on a live host: build, install, use; again after each save; its log lines as they come.
    ///
    /// Needs the token of an admin in JACKFIELD_TOKEN. Each save becomes a version of its own, `0.1.0-dev.<time>`; the
    /// host keeps the last 20 and those in use.
    ///
    /// With --json each line is an object whose `event` is `built` (plugin, version, secs, bytes), `installed` (changes),
    /// `running` (id and group of an instance, the version running or null, is_new, grants missing), `unused`, `failed`
    /// (message, goes_on), `watching`, `saved` (files), `log` (instance, at, level, text), or `ended` (installed,
    /// instances, before).
    Run(run::RunArgs),
    /// Play the project's scenarios: the real plugin, with everything else played, and a clock that costs no time.
    ///
    /// Builds first if something was saved since the last time. The exit code is 0 when all pass, 1 when one does
    /// not, 2 when nothing could be tried. `host/crates/kit/docs/scenarios.md` has the format.
    Test(test::TestArgs),
    /// Measure the plugin with its scenarios, beside its limits and beside a plugin that does nothing.
    ///
    /// The exit code is 1 when 99 of 100 calls do not fit into the limit of its kind.
    Bench(bench::BenchArgs),
    /// Try the laws that every connector keeps, on the conversations of its scenarios.
    ///
    /// The exit code is 0 when no law is broken, 1 when one is, 2 when nothing could be tried.
    Conform(conform::ConformArgs),
}

pub(in crate::cli) fn run(command: AuthorCommand, color: Color) -> anyhow::Result<u8> {
    let done = match command {
        AuthorCommand::New(args) => new::run(&args, color),
        AuthorCommand::Build(args) => build::run(&args, color),
        AuthorCommand::Check(args) => check::run(&args, color),
        AuthorCommand::Pack(args) => pack::run(&args, color),
        AuthorCommand::Run(args) => return crate::cli::remote(run::run(&args)),
        AuthorCommand::Test(args) => test::run(&args, color),
        AuthorCommand::Bench(args) => bench::run(&args, color),
        AuthorCommand::Conform(args) => conform::run(&args, color),
    };
    done.or_else(|error| {
        // What the author has to mend before anything can be tried.
        let usage = error.chain().any(|cause| {
            cause.is::<ProjectError>()
                || cause.is::<kit::template::NewError>()
                || cause.is::<subject::BadScenarios>()
                || cause.is::<subject::NothingToTry>()
        });
        complain(&format!("{error:#}"));
        Ok(if usage { USAGE } else { FAILURE })
    })
}

/// Which project, and how to build it.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ProjectArgs {
    /// The project's folder, or one inside it.
    #[arg(default_value = ".", value_name = "DIR")]
    pub folder: PathBuf,
    #[command(flatten)]
    pub tools: ToolArgs,
}

/// What tools may do.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct ToolArgs {
    /// Fetch nothing over the network.
    #[arg(long)]
    pub offline: bool,
    /// On Debian, without a Rust toolchain for WebAssembly: fetch one into the user's cache folder, 200 MB.
    #[arg(long, conflicts_with = "offline")]
    pub fetch_toolchain: bool,
}

impl ProjectArgs {
    pub fn project(&self) -> Result<Project, ProjectError> {
        Project::find(&self.folder)
    }
}

impl ToolArgs {
    pub fn options(&self) -> Options {
        Options {
            offline: self.offline,
            fetch_toolchain: self.fetch_toolchain,
            ..Options::default()
        }
    }
}

/// Says what long work is doing, on standard error.
pub(in crate::cli) struct OnStderr;

impl Progress for OnStderr {
    fn say(&self, line: &str) {
        let _ = writeln!(io::stderr(), "{line}");
    }
}
