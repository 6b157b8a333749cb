//! `keyweir healthcheck`

use super::HealthcheckArgs;

pub(crate) fn execute(args: HealthcheckArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: {args:?}")
}
