//! Whether a stream has begun does not depend on how the network cuts it.

#![no_main]

use keyweir::upstream::first_event::{FirstEvent, Gate};
use libfuzzer_sys::fuzz_target;

fn decide<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Gate {
    let mut gate = FirstEvent::default();
    for piece in pieces {
        match gate.feed(piece) {
            Gate::Hold => {}
            decided => return decided,
        }
    }
    gate.finish()
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, stream)) = input.split_first() else { return };
    // Beyond the gate's bound, what it holds depends on where it was cut.
    if stream.len() < 64 * 1024 {
        assert_eq!(decide(std::iter::once(stream)), decide(stream.chunks(usize::from(size).max(1))));
    }
});
