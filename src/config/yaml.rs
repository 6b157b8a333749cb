//! The only file that knows serde_yaml: values to structs, structs to YAML text.
//!
//! Text becomes a tree elsewhere (`tree`), because serde_yaml stops at the first mistake and forgets where things
//! stood; what reaches this file has the right shape already.

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use serde_yaml::{Mapping, Value};

/// The value does not have the struct's shape. Without serde_yaml's text, which repeats values.
#[derive(Debug, thiserror::Error)]
#[error("does not have the shape the schema says")]
pub(crate) struct Mismatch;

/// Fills a struct.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Mismatch> {
    serde_yaml::from_value(value).map_err(|_| Mismatch)
}

/// Fills a struct from a text that is part of the program; the error is serde_yaml's, which repeats values.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

/// Turns a struct into a value, its fields in their order.
pub(crate) fn value<T: Serialize>(data: &T) -> Result<Value, Mismatch> {
    serde_yaml::to_value(data).map_err(|_| Mismatch)
}

/// Writes a struct as YAML.
pub(crate) fn write<T: Serialize>(data: &T) -> Result<String, Mismatch> {
    serde_yaml::to_string(data).map_err(|_| Mismatch)
}
