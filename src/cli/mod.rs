//! The commands: one file each. Here, and nowhere else, errors are `anyhow`'s.

pub mod mock;
