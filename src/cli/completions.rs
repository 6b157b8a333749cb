//! `keyweir completions`: what a shell completes.

use std::io::{Write, stdout};

use clap_complete::Shell;

pub(crate) fn execute(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::definition(), "keyweir", &mut script);
    stdout().write_all(&script)?;
    Ok(())
}
