//! The `keyweir` binary.

fn main() {}
