//! `keyweir schema`: the JSON Schema of the configuration.

use std::io::{Write, stdout};

use super::SchemaArgs;
use crate::config;

pub(crate) fn execute(args: &SchemaArgs) -> anyhow::Result<()> {
    if args.markdown {
        stdout().write_all(config::reference().as_bytes())?;
    } else {
        writeln!(stdout(), "{:#}", config::json_schema())?;
    }
    Ok(())
}
