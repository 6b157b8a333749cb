//! `keyweir mock`

use std::net::SocketAddr;

pub(crate) fn execute(listen: SocketAddr) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: mock provider on {listen}")
}
