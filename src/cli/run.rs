//! `keyweir run`: the server.

use super::RunArgs;
use crate::config;
use crate::server;
use crate::telemetry::logger;

pub(crate) fn execute(args: RunArgs) -> anyhow::Result<()> {
    let loaded = config::load(&args.file.config)?;
    logger::init(&loaded.config.log)?;
    server::run(loaded, args.file.config)?;
    Ok(())
}
