//! Log lines on their way to standard error, which a thread of its own writes: a reader that hangs
//! must not stop the service.
//!
//! Access lines are gathered for a moment and written together, because each would be a system call
//! and a wake-up of whoever reads them. Everything else is written as soon as possible, after what was
//! gathered: lines keep their order. A process that is killed takes the lines of the last moment with
//! it; one that ends does not.
//!
//! Invariants: memory is bounded, and who logs never waits; lines for which there is no room are lost,
//! and the log says how many.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::ACCESS;

/// How long access lines are gathered, and how many bytes of them.
const GATHER: Duration = Duration::from_millis(250);
const GATHER_BYTES: usize = 256 << 10;
/// Most bytes that wait to be written.
const BYTES_MAX: usize = 1 << 20;
/// How long the end of the process waits for a reader that hangs.
const PATIENCE: Duration = Duration::from_secs(1);

struct State {
    lines: Vec<u8>,
    lost: u64,
    /// Not to be gathered any longer.
    urgent: bool,
    /// Lines that are not among `lines` any more are being written.
    writing: bool,
}

static STATE: Mutex<State> =
    Mutex::new(State { lines: Vec::new(), lost: 0, urgent: false, writing: false });
static COME: Condvar = Condvar::new();
static WRITTEN: Condvar = Condvar::new();

/// Starts the thread that writes, once.
pub(super) fn start() -> io::Result<()> {
    std::thread::Builder::new().name("log".into()).spawn(write).map(drop)
}

/// Returns once everything that was logged is written, or a second has passed.
pub fn flush() {
    let until = Instant::now() + PATIENCE;
    let mut state = STATE.lock();
    while !state.lines.is_empty() || state.writing {
        state.urgent = true;
        COME.notify_one();
        if WRITTEN.wait_until(&mut state, until).timed_out() {
            return;
        }
    }
}

fn write() {
    let mut written = Vec::new();
    let mut state = STATE.lock();
    loop {
        if state.lines.is_empty() {
            COME.wait(&mut state);
        } else if !state.urgent && !COME.wait_for(&mut state, GATHER).timed_out() {
            continue; // More has come.
        } else {
            // Its space is used again: a line is then a copy, and not now and then an allocation.
            let mut lines = std::mem::replace(&mut state.lines, written);
            let lost = std::mem::take(&mut state.lost);
            (state.urgent, state.writing) = (false, true);
            MutexGuard::unlocked(&mut state, || {
                // Nobody is left to be told of a failure.
                let _ = io::stderr().write_all(&lines);
                lines.clear();
                lines.shrink_to(2 * GATHER_BYTES); // The last line may go beyond what is gathered.
            });
            written = lines;
            state.writing = false;
            WRITTEN.notify_all();
            if lost > 0 {
                let told = || tracing::warn!(lost, "log lines were lost: nobody read them in time");
                MutexGuard::unlocked(&mut state, told);
            }
        }
    }
}

/// Makes writers of lines.
pub(super) struct Gathering;

/// Takes one line.
pub(super) struct Line {
    urgent: bool,
}

impl<'a> MakeWriter<'a> for Gathering {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { urgent: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line { urgent: metadata.target() != ACCESS || *metadata.level() < Level::INFO }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = STATE.lock();
        if state.lines.len() + bytes.len() > BYTES_MAX {
            state.lost += 1;
            return Ok(bytes.len());
        }
        let first = state.lines.is_empty();
        state.lines.extend_from_slice(bytes);
        let urgent = self.urgent || state.lines.len() >= GATHER_BYTES;
        if first || urgent && !state.urgent {
            state.urgent |= urgent;
            COME.notify_one();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
