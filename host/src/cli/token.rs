//! `jackfield token`: the keys of API clients.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Color, ConfigArgs};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and show it, once.
    Create {
        /// Whose it is, e.g. `chat`; events name it as their actor.
        name: String,
    },
}

pub(super) fn run(_command: TokenCommand, _color: Color) -> anyhow::Result<u8> {
    Ok(0)
}
