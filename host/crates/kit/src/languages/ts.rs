//! Plugins in TypeScript.

use std::process::Command;

use anyhow::bail;

use super::{Compiled, Language};
use crate::{
    Progress,
    build::Options,
    project::{Lang, Project},
};

/// TypeScript, WASI-free.
#[derive(Debug)]
pub struct TypeScript;

impl Language for TypeScript {
    fn lang(&self) -> Lang {
        Lang::Ts
    }

    fn compile(&self, _: &Project, _: &Options, _: &dyn Progress) -> anyhow::Result<Compiled> {
        bail!(
            "this build of jackfield has no tools for TypeScript yet; fix: give [build] a command and its output"
        )
    }

    fn unit_tests(&self, _: &Project, _: &Options) -> anyhow::Result<Command> {
        bail!("this build of jackfield has no tools for TypeScript yet")
    }

    fn left_overs(&self) -> &'static [&'static str] {
        &["node_modules", "__pycache__", ".venv"]
    }
}
