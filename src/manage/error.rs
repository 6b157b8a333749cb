//! Why the server can't start, and why a change can't be made.

use std::path::PathBuf;

use thiserror::Error;

use crate::config::{Problem, Problems};
use crate::store::StoreError;
use crate::upstream::target::TargetError;

/// Why the server can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The files are wrong.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The store can't be used, and time won't repair it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A target can't be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The access log can't be opened.
    #[error("log.access: {0}")]
    AccessLog(std::io::Error),
    /// The generated tokens can't be kept.
    #[error("{path}: can't keep the generated tokens: {source}")]
    FirstRun {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Why an operator's change was not made.
#[derive(Debug, Error)]
pub enum ManageError {
    /// What it asks for is wrong: every mistake, each with its path.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
    /// A file says it, and a file alone can change it.
    #[error("{0}")]
    Provisioned(String),
    /// It exists already, or something stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// It was changed since the asker looked.
    #[error("{0}")]
    Stale(String),
    /// What is to be changed does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The store did not take it.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) | StoreError::MasterKey(_) => Self::Conflict(error.to_string()),
            StoreError::NotFound(_) => Self::NotFound(error.to_string()),
            StoreError::Invalid(message) => Self::Invalid(vec![message]),
            _ => Self::Store(error),
        }
    }
}

impl From<Problems> for ManageError {
    fn from(Problems(problems): Problems) -> Self {
        Self::Invalid(problems.iter().map(told).collect())
    }
}

/// A mistake in what an operator sent is told without a place in a file.
pub(super) fn told(problem: &Problem) -> String {
    if problem.line == 0 { format!("{}: {}", problem.path, problem.message) } else { problem.to_string() }
}
