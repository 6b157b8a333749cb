//! `keyweir run`: the server.

use super::RunArgs;
use crate::config;
use crate::server::{self, Tokens};
use crate::telemetry::logger;

pub(crate) fn execute(args: RunArgs) -> anyhow::Result<()> {
    let loaded = config::load(&args.file.config)?;
    logger::init(&loaded.config.log)?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let tokens = Tokens::complete(&loaded.config)?;
    server::run(loaded, Some(args.file.config), tokens)?;
    Ok(())
}
