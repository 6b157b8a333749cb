//! `keyweir run`

use super::RunArgs;

pub(crate) fn execute(args: RunArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: {args:?}")
}
