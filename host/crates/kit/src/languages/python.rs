//! Plugins in Python.

use std::process::Command;

use anyhow::bail;

use super::{Compiled, Language};
use crate::{
    Progress,
    build::Options,
    project::{Lang, Project},
};

/// Python, WASI-free.
#[derive(Debug)]
pub struct Python;

impl Language for Python {
    fn lang(&self) -> Lang {
        Lang::Python
    }

    fn compile(&self, _: &Project, _: &Options, _: &dyn Progress) -> anyhow::Result<Compiled> {
        bail!(
            "this build of jackfield has no tools for Python yet; fix: give [build] a command and its output"
        )
    }

    fn unit_tests(&self, _: &Project, _: &Options) -> anyhow::Result<Command> {
        bail!("this build of jackfield has no tools for Python yet")
    }

    fn left_overs(&self) -> &'static [&'static str] {
        &["node_modules", "__pycache__", ".venv"]
    }
}
