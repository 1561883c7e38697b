//! The command line: what people type, and the exit codes scripts rely on.

mod audit;
mod client;
mod explain;
mod hooks;
mod logging;
mod plugin;
mod reload;
mod replay;
mod report;
mod table;
mod token;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::{config::Config, demo, doctor, plugins::compile, serve};

/// All is well.
pub const SUCCESS: u8 = 0;
/// It was tried and did not work.
pub const FAILURE: u8 = 1;
/// It could not be tried: the command line or the configuration is wrong.
pub const USAGE: u8 = 2;

/// Call events of your PBX for Rocket.Chat, live and without a gap.
///
/// Jackfield connects to PBXs through sandboxed plugins, keeps every call, queue and agent event in a journal,
/// and serves them over one REST API and one event stream.
#[derive(Debug, Parser)]
#[command(name = "jackfield", version, max_term_width = 100, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Colours in output.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
}

const EXAMPLES: &str = "\
Examples:
  jackfield demo                                     See it work, no PBX needed
  jackfield check --config jackfield.toml            Find out what is wrong, and the fix
  jackfield serve --config jackfield.toml            Run it
  jackfield token create chat --scope read --expires 90d
  jackfield plugin inspect asterisk.wasm             See what a plugin may do before you let it
  jackfield plugin list                              What runs in a running host (needs JACKFIELD_TOKEN)

Environment:
  JACKFIELD_CONFIG       The config file, instead of --config
  JACKFIELD_LOG          What is logged: error, warn, info, debug, or filters such as
                         jackfield=debug,plugin_runtime=info; add `json` for JSON lines:
                         JACKFIELD_LOG=json,info
  JACKFIELD_PLUGINS_DIR  Where plugins named by id are, unless the config says so
  JACKFIELD_URL          The API of a running host, instead of --url
  JACKFIELD_TOKEN        The token for it; never an option, for others can see those
  JACKFIELD_CACHE_DIR    Where compiled plugins are kept (default: the user's cache folder)
  NO_COLOR               Set to anything: no colours

Exit codes:
  0  all is well
  1  it was tried and failed
  2  the command line or the configuration is wrong; nothing was tried";

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Is it to be used on this stream?
    pub fn on(self, stream: &impl IsTerminal) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                stream.is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host: connect to the PBXs, serve the API.
    ///
    /// Stops on SIGTERM and SIGINT: first the API, then the connectors, last the journal, so that nothing
    /// accepted is lost.
    Serve(ConfigArgs),

    /// Check the configuration, the plugins and the PBXs; every problem comes with its fix.
    ///
    /// Nothing is changed anywhere. The exit code is 0 when nothing failed (warnings included), 1 when
    /// something failed, 2 when the configuration cannot be used.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// One JSON document instead of lines.
        #[arg(long)]
        json: bool,
    },

    /// See the real thing at work without a PBX of your own.
    Demo(DemoArgs),

    /// Tokens of API clients: create, list, revoke.
    ///
    /// Tokens are kept as hashes; a token is shown once, when it is created.
    #[command(subcommand)]
    Token(token::TokenCommand),

    /// Write plugins, look at them; install, update and roll back those of a running host.
    ///
    /// `new`, `build` and `inspect` need no host. The others ask the API of a running one, with the token in
    /// JACKFIELD_TOKEN.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),

    /// Make a running host read its config file again, and show what that changed.
    ///
    /// A file with mistakes changes nothing. Calls, connections and the API go on.
    Reload {
        /// The answer as one JSON document.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        host: client::HostArgs,
    },

    /// Compare the config file with what runs.
    #[command(subcommand)]
    Config(reload::ConfigCommand),

    /// Who changed what: show it, and check that nobody changed that.
    #[command(subcommand)]
    Audit(audit::AuditCommand),

    /// Hooks of a running host: who decides where calls go, what callers hear, who is told; and trials of versions.
    #[command(subcommand)]
    Hooks(hooks::HooksCommand),

    /// Why a call went where it went: who decided what, on which facts, and what came of it.
    Explain(explain::ExplainArgs),

    /// Compile the component on standard input; jackfield starts itself with this.
    #[command(hide = true)]
    CompilePlugin(compile::ChildArgs),

    /// Write completions for a shell to the output.
    ///
    /// For bash: jackfield completions bash > ~/.local/share/bash-completion/completions/jackfield
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Which configuration.
#[derive(Clone, Debug, Args)]
struct ConfigArgs {
    /// The configuration, a TOML file.
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "JACKFIELD_CONFIG",
        default_value = "jackfield.toml"
    )]
    config: PathBuf,
}

/// How to show it.
#[derive(Clone, Debug, Default, Args)]
pub struct DemoArgs {
    /// Where asterisk.wasm is.
    #[arg(long, value_name = "DIR", env = "JACKFIELD_PLUGINS_DIR")]
    pub plugins_dir: Option<PathBuf>,
    /// Use a real Asterisk: an installed one, or, after asking, one unpacked into the user's cache.
    #[arg(long)]
    pub asterisk: bool,
    /// Answer every question with yes.
    #[arg(long, short)]
    pub yes: bool,
    /// The API's port; a free one unless given.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub port: u16,
    /// Stop after this many seconds; 0 is when you stop it.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub seconds: u64,
    /// With --asterisk: write the manager session to this file.
    #[arg(long, hide = true, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// The command line as it is defined, for whoever checks what people are told to type.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too.
            let code = if error.use_stderr() { USAGE } else { SUCCESS };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    compile::use_children();
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(FAILURE)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    let color = cli.color;
    match cli.command {
        Command::Serve(ConfigArgs { config }) => {
            logging::start(color, "info");
            let Some(config) = load(&config) else { return Ok(USAGE) };
            block_on(serve::run(config))
        }
        Command::Check { config, json } => {
            logging::start(color, "error");
            block_on(doctor::run(config.config, json, color))
        }
        Command::Demo(args) => {
            logging::start(color, "warn");
            block_on(demo::run(args, color))
        }
        Command::Token(command) => {
            logging::start(color, "warn");
            token::run(command)
        }
        Command::Plugin(command) => {
            logging::start(color, "warn");
            plugin::run(command, color)
        }
        Command::Reload { json, host } => remote(reload::reload(json, host)),
        Command::Config(command) => remote(reload::config(command)),
        Command::Hooks(command) => remote(hooks::run(command)),
        Command::Explain(args) => remote(explain::run(args)),
        Command::Audit(command) => {
            logging::start(color, "warn");
            audit::run(command)
        }
        Command::CompilePlugin(args) => {
            compile::run_child(&args)?;
            Ok(SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "jackfield", &mut io::stdout());
            Ok(SUCCESS)
        }
    }
}

/// A configuration that can be used; otherwise its complaints are on the terminal already.
fn load(file: &std::path::Path) -> Option<Config> {
    match Config::load(file) {
        Ok(config) => Some(config),
        Err(error) => {
            complain(&error.to_string());
            None
        }
    }
}

/// A command that asks a running host.
fn remote(work: impl Future<Output = Result<(), client::Trouble>>) -> anyhow::Result<u8> {
    block_on(async {
        Ok(match work.await {
            Ok(()) => SUCCESS,
            Err(trouble) => {
                complain(&trouble.text);
                trouble.code
            }
        })
    })
}

fn block_on(work: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done
}

/// A line for people, on standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A line of the result, on standard output. A reader that went away is no error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_and_option_explains_itself() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            for inner in command.get_subcommands() {
                assert!(inner.get_about().is_some(), "{}", inner.get_name());
                walk(inner);
            }
        }
        let mut command = Cli::command();
        command.build();
        walk(&command);
    }
}
