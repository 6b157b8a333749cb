//! `keyweir man`: the man page, commands included.

use std::io::{Write, stdout};

use clap_mangen::Man;

pub(crate) fn execute() -> anyhow::Result<()> {
    let mut definition = super::definition();
    definition.build();
    let mut page = Vec::new();
    Man::new(definition.clone()).render(&mut page)?;
    for command in definition.get_subcommands().filter(|command| command.get_name() != "help") {
        writeln!(page, ".SH \"KEYWEIR {}\"", command.get_name().to_uppercase())?;
        let man = Man::new(command.clone());
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    stdout().write_all(&page)?;
    Ok(())
}
