//! `jackfield plugin`: what a component is and may do, without running it; and the plugins of a running host.

pub(super) mod author;
mod inspect;
mod remote;

use std::path::PathBuf;

use clap::Subcommand;

use super::{Color, FAILURE, SUCCESS, client::HostArgs, complain, replay, say};
use crate::{connectors::load, plugins::compile};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    #[command(flatten)]
    Author(author::AuthorCommand),
    /// Show what a plugin is, what its binary proves, and what each permission would allow.
    ///
    /// The file is validated and compiled, and none of its code runs. A file that is no plugin is refused with
    /// the reason and the fix.
    Inspect {
        /// The component, a .wasm file.
        file: PathBuf,
        /// One JSON document instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Give a plugin the inputs of a recording again, and show what it does differently.
    ///
    /// The exit code is 0 when every answer is as it was recorded, 1 when one is not, 2 when the recording cannot be
    /// replayed.
    Replay(replay::ReplayArgs),
    /// Show the plugins of a running host: versions, and the connectors that use them.
    List {
        #[command(flatten)]
        show: Show,
    },
    /// Show what plugins may use, and what they do use.
    Stat {
        /// Only of this connector.
        connector: Option<String>,
        #[command(flatten)]
        show: Show,
    },
    /// Give a component to a running host, which checks, compiles and keeps it.
    ///
    /// Connectors whose plugin it is take it up by themselves, without losing their connection. If it asks for more
    /// than is granted, they go on with the version they have until you grant it.
    Install {
        /// The component, a .wasm file.
        file: PathBuf,
        /// Its signature; without it, FILE.minisig if there is one.
        #[arg(long, value_name = "MINISIG")]
        signature: Option<PathBuf>,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Make every connector and hook of a plugin run this version, newer or older.
    Use {
        /// The plugin's id.
        plugin: String,
        /// The version, or its SHA-256, or the beginning of that (at least 8 digits), or `latest`: the one installed
        /// last, unless another one has a higher number. Of several builds of one version, name one by its hash.
        version: String,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Go back to the version that was in use before.
    Rollback {
        /// The plugin's id.
        plugin: String,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Take every version of a plugin out of a running host.
    Uninstall {
        /// The plugin's id.
        plugin: String,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Let a connector run.
    Enable {
        /// As in [connectors.<name>].
        connector: String,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Stop a connector; it stays configured.
    Disable {
        /// As in [connectors.<name>].
        connector: String,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Forget all that REST and these commands have set of a connector.
    ///
    /// What the config file says of it stays; one that the file does not name is gone then.
    Forget {
        /// As in [connectors.<name>].
        connector: String,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Show what a connector's plugin asks for, why, what it means, and what was said to it.
    Permissions {
        /// As in [connectors.<name>].
        connector: String,
        #[command(flatten)]
        show: Show,
    },
    /// Let a connector's plugin use what it asks for.
    Grant {
        /// As in [connectors.<name>].
        connector: String,
        /// E.g. link:ami, as `jackfield plugin permissions` shows them.
        #[arg(required = true)]
        permissions: Vec<String>,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Let a connector's plugin run without something it asks for.
    Decline {
        /// As in [connectors.<name>].
        connector: String,
        /// E.g. http:crm.example.org, as `jackfield plugin permissions` shows them.
        #[arg(required = true)]
        permissions: Vec<String>,
        #[command(flatten)]
        host: HostArgs,
    },
    /// Show what is set of a connector and who owns each key, or set keys.
    ///
    /// Example: jackfield plugin set hq settings.country=DE limits.memory_mib=128
    Set {
        /// As in [connectors.<name>]; a new name makes a connector.
        connector: String,
        /// Keys with their values: JSON, or else a text. `KEY=` takes a key away, `secrets.NAME=-` reads the
        /// secret from standard input.
        #[arg(value_name = "KEY=VALUE")]
        keys: Vec<String>,
        #[command(flatten)]
        show: Show,
    },
    /// Show the last lines a connector's plugin has logged.
    Logs {
        /// As in [connectors.<name>].
        connector: String,
        #[command(flatten)]
        show: Show,
    },
    /// Run a version beside a connector with its effects discarded, and show what it does otherwise.
    Shadow {
        /// As in [connectors.<name>].
        connector: String,
        /// The version to begin with; without it, what was found so far is shown.
        version: Option<String>,
        /// End it.
        #[arg(long, conflicts_with = "version")]
        end: bool,
        #[command(flatten)]
        show: Show,
    },
    /// List a connector's recordings, capture one, or fetch one.
    Record {
        /// As in [connectors.<name>].
        connector: String,
        /// Begin a capture to a file on the host's machine.
        #[arg(long, group = "what")]
        start: bool,
        /// End the capture.
        #[arg(long, group = "what")]
        stop: bool,
        /// Write this recording to standard output, `ring` for the last minutes.
        #[arg(long, value_name = "NAME", group = "what")]
        fetch: Option<String>,
        /// With --stop and with --fetch ring: tokens in the place of callers' numbers.
        #[arg(long, requires = "what", conflicts_with = "start")]
        redact: bool,
        #[command(flatten)]
        show: Show,
    },
}

/// How to show what a host answers.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Show {
    /// The answer as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

pub(super) fn run(command: PluginCommand, color: Color) -> anyhow::Result<u8> {
    match command {
        PluginCommand::Author(command) => author::run(command, color),
        PluginCommand::Inspect { file, json } => inspect(&file, json),
        PluginCommand::Replay(args) => replay::run(&args),
        remote => super::remote(remote::run(remote)),
    }
}

fn inspect(file: &std::path::Path, json: bool) -> anyhow::Result<u8> {
    let runtime = compile::runtime()?;
    match load(&runtime, file) {
        Ok(plugin) => {
            say(&if json { inspect::as_json(&plugin) } else { inspect::as_lines(&plugin) });
            Ok(SUCCESS)
        }
        Err(message) => {
            complain(&message);
            Ok(FAILURE)
        }
    }
}
