//! Lines on their way out of the process: bounded buffers that one thread empties.
//!
//! Whoever writes a line only appends to a buffer in memory; a writer thread swaps the buffers out and does the I/O. A
//! stuck or failing destination therefore costs lines, never time: they are dropped whole and counted. Buffers are
//! split into shards so that worker threads do not meet on one lock, and swapped rather than copied, so that nothing is
//! allocated once they have grown to what the traffic needs. Lines of one thread keep their order.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::metrics;

/// What one shard may hold, in bytes; more is dropped.
const SHARD_MAX: usize = 1 << 20;
/// A shard this full is emptied at once, in bytes: under load its memory should stay in the processor's cache.
const SHARD_HASTE: usize = 64 * 1024;
/// How long lines wait for company, so that many of them leave in one write.
const LINGER: Duration = Duration::from_millis(100);
/// How long a flush waits for a destination that may be stuck.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);
/// Pause before a non-blocking destination is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// How soon lines leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// At once: few lines, each of them wanted now.
    Prompt,
    /// Within [`LINGER`].
    Batched,
}

/// A bounded, lossy queue of lines with a writer thread.
pub(super) struct Sink {
    shared: Arc<Shared>,
    pace: Pace,
}

struct Shared {
    shards: Box<[Shard]>,
    control: Mutex<Control>,
    wake: Condvar,
    flushed: Condvar,
}

/// Two cache lines each: the prefetcher pulls them in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<Vec<u8>>);

/// What the writer thread is asked to do.
#[derive(Debug, Default)]
struct Control {
    hurry: bool,
    reopen: bool,
    stop: bool,
    flushes_asked: u64,
    flushes_done: u64,
}

impl Sink {
    /// Starts a writer thread called `name`.
    pub(super) fn start(name: &'static str, pace: Pace, shards: usize, mut output: Output) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            shards: (0..shards.max(1)).map(|_| Shard::default()).collect(),
            control: Mutex::default(),
            wake: Condvar::new(),
            flushed: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || worker.run(&mut output))?;
        Ok(Self { shared, pace })
    }

    /// Appends what `write` writes, and a line feed.
    pub(super) fn line(&self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        let mut buffer = self.shared.own_shard().0.lock();
        let start = buffer.len();
        let written = write(&mut buffer);
        buffer.push(b'\n');
        let end = buffer.len();
        let fits = written.is_ok() && end <= SHARD_MAX;
        if !fits {
            buffer.truncate(start);
        }
        drop(buffer);
        if !fits {
            metrics::log_dropped(1);
        }
        if self.pace == Pace::Prompt || (start < SHARD_HASTE && end >= SHARD_HASTE) {
            self.shared.ask(|control| control.hurry = true);
        }
    }

    /// Waits until everything appended before has been written or dropped; false if that took longer than the deadline.
    pub(super) fn flush(&self) -> bool {
        self.flush_and(|_| {})
    }

    /// The order goes out together with the flush: a thread that stops must not leave a flush behind.
    fn flush_and(&self, order: impl FnOnce(&mut Control)) -> bool {
        let deadline = Instant::now() + FLUSH_DEADLINE;
        let mut control = self.shared.control.lock();
        order(&mut control);
        control.flushes_asked += 1;
        let mine = control.flushes_asked;
        self.shared.wake.notify_one();
        while control.flushes_done < mine {
            if self.shared.flushed.wait_until(&mut control, deadline).timed_out() {
                return control.flushes_done >= mine;
            }
        }
        true
    }

    /// Opens the file anew once what is buffered has gone to the old one.
    pub(super) fn reopen(&self) {
        self.shared.ask(|control| control.reopen = true);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.flush_and(|control| control.stop = true);
    }
}

// === impl Shared ===

impl Shared {
    fn own_shard(&self) -> &Shard {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed));
        let own = OWN.try_with(|own| *own).unwrap_or(0);
        &self.shards[own % self.shards.len()]
    }

    fn ask(&self, order: impl FnOnce(&mut Control)) {
        order(&mut self.control.lock());
        self.wake.notify_one();
    }

    fn run(&self, output: &mut Output) {
        let mut spare = Vec::new();
        loop {
            let order = self.next_order();
            for shard in &self.shards {
                std::mem::swap(&mut *shard.0.lock(), &mut spare);
                output.write(&spare);
                spare.clear();
            }
            if order.reopen {
                output.reopen();
            }
            self.control.lock().flushes_done = order.flushes_asked;
            self.flushed.notify_all();
            if order.stop {
                return;
            }
        }
    }

    /// Waits for an order or for the next round, and takes the order.
    fn next_order(&self) -> Control {
        let mut control = self.control.lock();
        let idle = !control.hurry && !control.reopen && !control.stop && control.flushes_asked == control.flushes_done;
        if idle {
            self.wake.wait_for(&mut control, LINGER);
        }
        let Control { stop, flushes_asked, flushes_done, .. } = *control;
        std::mem::replace(&mut *control, Control { stop, flushes_asked, flushes_done, ..Control::default() })
    }
}

/// Where a sink's lines end up.
pub(super) struct Output {
    target: Box<dyn Write + Send>,
    path: Option<PathBuf>,
    name: String,
    /// The last write failed; said once.
    failing: bool,
    /// The last line written is incomplete.
    torn: bool,
}

impl Output {
    /// An open stream, called `name` in messages.
    pub(super) fn stream(name: &str, target: Box<dyn Write + Send>) -> Self {
        Self { target, path: None, name: name.to_owned(), failing: false, torn: false }
    }

    /// A file that is appended to, made (0640) where it is missing.
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        let target = Box::new(append_to(&path)?);
        Ok(Self { name: path.display().to_string(), path: Some(path), target, failing: false, torn: false })
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append_to(path) {
            Ok(file) => (self.target, self.torn) = (Box::new(file), false),
            Err(error) => log::error!("cannot reopen {}: {error}; writing to the old file", self.name),
        }
    }

    fn write(&mut self, mut chunk: &[u8]) {
        if chunk.is_empty() {
            return;
        }
        match self.end_torn_line().and_then(|()| self.write_all(&mut chunk)) {
            Ok(()) if self.failing => {
                self.failing = false;
                log::warn!("{} can be written again", self.name);
            }
            Ok(()) => {}
            Err(error) => {
                metrics::log_dropped(memchr::memchr_iter(b'\n', chunk).count() as u64);
                if !std::mem::replace(&mut self.failing, true) {
                    log::error!("cannot write {}: {error}; lines are dropped and counted until it works", self.name);
                }
            }
        }
    }

    fn end_torn_line(&mut self) -> io::Result<()> {
        if self.torn {
            self.write_all(&mut b"\n".as_slice())?;
        }
        Ok(())
    }

    /// Writes all of `chunk` or leaves in it what was not written.
    fn write_all(&mut self, chunk: &mut &[u8]) -> io::Result<()> {
        while !chunk.is_empty() {
            match self.target.write(chunk) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    let (written, rest) = chunk.split_at(count);
                    self.torn = written.last() != Some(&b'\n');
                    *chunk = rest;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::park_timeout(RETRY_PAUSE),
                Err(error) => return Err(error),
            }
        }
        self.target.flush()
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// A destination whose next write can be made to stop half-way, to block, or to work.
    #[derive(Clone, Default)]
    struct Fake {
        text: Arc<Mutex<Vec<u8>>>,
        fails: Arc<AtomicBool>,
        gate: Arc<Mutex<()>>,
    }

    impl Write for Fake {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.gate.lock());
            let mut text = self.text.lock();
            if !self.fails.load(Ordering::SeqCst) {
                text.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            if text.ends_with(b"half") || bytes.len() < 4 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            text.extend_from_slice(b"half");
            Ok(4)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(fake: &Fake) -> Sink {
        Sink::start("test-log", Pace::Batched, 1, Output::stream("fake", Box::new(fake.clone()))).unwrap()
    }

    fn append(sink: &Sink, text: &str) {
        sink.line(|out| out.write_all(text.as_bytes()));
    }

    #[test]
    fn a_full_disk_costs_lines_but_no_later_one() {
        let fake = Fake::default();
        let sink = sink(&fake);
        append(&sink, "one");
        assert!(sink.flush());
        fake.fails.store(true, Ordering::SeqCst);
        let dropped = metrics::log_dropped_so_far();
        append(&sink, "lost line");
        append(&sink, "lost too");
        assert!(sink.flush());
        assert!(metrics::log_dropped_so_far() >= dropped + 2);
        fake.fails.store(false, Ordering::SeqCst);
        append(&sink, "two");
        assert!(sink.flush());
        assert_eq!(fake.text.lock().as_slice(), b"one\nhalf\ntwo\n", "the torn line is ended before the next");
    }

    #[test]
    fn a_stuck_destination_never_holds_up_the_writer_of_a_line() {
        let fake = Fake::default();
        let sink = sink(&fake);
        let stuck = fake.gate.lock();
        let dropped = metrics::log_dropped_so_far();
        let line = "x".repeat(1023);
        // One shard's worth may be in the writer's hands, one in the buffer; the third megabyte has no place.
        for _ in 0..3 * 1024 {
            append(&sink, &line);
        }
        assert!(metrics::log_dropped_so_far() >= dropped + 1000);
        drop(stuck);
        assert!(sink.flush());
        let text = fake.text.lock();
        assert!(text.len() <= 2 * SHARD_MAX && text.len().is_multiple_of(1024), "whole lines only");
    }

    #[test]
    fn dropping_the_sink_writes_what_is_left() {
        let fake = Fake::default();
        let sink = sink(&fake);
        append(&sink, "last words");
        drop(sink);
        assert_eq!(fake.text.lock().as_slice(), b"last words\n");
    }
}
