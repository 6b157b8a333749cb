//! Every interleaving of a few threads in the parts of the pool that take no lock.
//!
//! The sources are keyweir's own; what they import from their parent is here, with loom's atomics and words of two bits,
//! so that a handful of numbers has several words and levels. A cell that threads race for must be written by one atomic
//! operation: loom compares with the last access only, and a load before the store would hide the race from it.
#![cfg(test)]

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};

    pub(super) const BITS: usize = 2;
}

#[path = "../../../src/pool/lease.rs"]
#[expect(dead_code, reason = "the models look at the counters only")]
mod lease;
#[path = "../../../src/pool/ready.rs"]
mod ready;

mod models;

/// Shares of limits are taken under locks: no lease has one here.
mod quota {
    use super::Millis;

    pub(super) enum Share {}

    impl Share {
        pub(super) fn asked(&mut self) {
            match *self {}
        }

        pub(super) fn settle(&mut self, _: u64, _: Millis) {
            match *self {}
        }
    }
}

use loom::sync::atomic::{AtomicU32, AtomicU64};

/// Of a key, what a lease changes.
#[derive(Default)]
pub struct KeyState {
    in_flight: AtomicU32,
    uses: AtomicU64,
    last_used: AtomicU64,
}

#[derive(Clone, Copy)]
pub struct Millis(u64);
