//! What a provider's answer means for the key that was used.
//!
//! This version judges by status alone, with one exception: an error inside a 200 stream is judged by what it says.
//! Definite verdicts (limited until T, key revoked) act at once; uncertain ones are for the pool to weigh.

pub mod pack;
mod reset;
mod status;

pub use reset::stated_rest;
pub use status::{Fault, Verdict, of_failure, of_status, of_stream_error};
