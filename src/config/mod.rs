//! Reading `keyweir.yaml` and keys files.

pub mod model;
pub mod secret;

pub use model::*;
pub use secret::{Secret, TokenDigest};
