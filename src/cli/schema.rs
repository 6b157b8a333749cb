//! `keyweir schema`: the JSON Schema of the configuration, and of providers' packs; the OpenAPI document.

use std::io::{Write, stdout};

use super::SchemaArgs;
use crate::verdict::pack;
use crate::{admin, config};

pub(crate) fn execute(args: &SchemaArgs) -> anyhow::Result<()> {
    if args.markdown {
        stdout().write_all(config::reference().as_bytes())?;
    } else if args.openapi {
        writeln!(stdout(), "{:#}", admin::openapi())?;
    } else if args.pack {
        writeln!(stdout(), "{:#}", pack::json_schema())?;
    } else {
        writeln!(stdout(), "{:#}", config::json_schema())?;
    }
    Ok(())
}
