//! `keyweir demo`

use super::DemoArgs;

pub(crate) fn execute(args: DemoArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: {args:?}")
}
