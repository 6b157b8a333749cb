//! Linux's scheduler, and the one place with unsafe code: it is asked for what no library asks.
//!
//! A thread that wakes up waits until the one that runs has used up its slice, some milliseconds, whatever their
//! priorities are, unless its own slice is shorter (`sched_setattr(2)`; Linux before 6.12 takes no notice of it). What
//! that is worth was measured: docs/adr/0011.

#![allow(unsafe_code, reason = "neither std nor rustix has this system call")]

use std::cell::Cell;
use std::io;
use std::time::Duration;

/// The shortest slice there is.
const SHORT: Duration = Duration::from_micros(100);
/// What the kernel gives whoever asks for nothing.
const USUAL: Duration = Duration::ZERO;

thread_local! {
    static GOES_FIRST: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn go_first() {
    if GOES_FIRST.replace(true) {
        return;
    }
    let nice = rustix::process::getpriority_process(Some(rustix::thread::gettid()));
    told(nice.map_err(io::Error::from).and_then(|nice| set(nice, SHORT)));
}

pub(super) fn give_way(nice: i32) {
    told(set(nice, USUAL));
}

/// Nothing but speed depends on it.
fn told(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        log::debug!(error:%; "A thread keeps its priority.");
    }
}

/// Sets this thread's priority and slice; refused where an operator gave the server a policy that has none.
fn set(nice: i32, slice: Duration) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: 0,
        sched_flags: libc::SCHED_FLAG_KEEP_POLICY as u64,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: slice.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    let (this_thread, no_flags): (libc::pid_t, libc::c_uint) = (0, 0);
    // SAFETY: the kernel reads `size` bytes at the address, which are those of a struct of integers that is borrowed until
    // it returns, and it writes none. The other arguments are integers of the types it documents.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, &raw const attributes, no_flags) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_way_stands_behind_others() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let ranks = move || {
            let before = nice();
            set(before, SHORT).unwrap();
            let first = nice();
            set(19, USUAL).unwrap();
            (before == first, nice())
        };
        assert_eq!(std::thread::spawn(ranks).join().unwrap(), (true, 19));
    }
}
