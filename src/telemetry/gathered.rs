//! Access lines on their way to standard error: gathered for a moment and written together, because
//! a system call for each, and a wake-up of whoever reads them, costs as much as parsing the request.
//!
//! Everything else is written at once, after what was gathered: lines keep their order. A process
//! that is killed takes the access lines of the last moment with it; one that ends does not.
//!
//! Invariants: memory is bounded; what cannot be written is lost and stops nothing.

use std::io::{self, Write};

use parking_lot::Mutex;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The target of access lines.
const ACCESS: &str = "tidelog::http::access";

/// Gathered lines are written when there are so many bytes, if not before.
const BYTES_MAX: usize = 32 << 10;

static GATHERED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes what was gathered. To be called a few times a second, and at the end.
pub fn flush() {
    write_out(&mut GATHERED.lock());
}

fn write_out(gathered: &mut Vec<u8>) {
    // Nobody is left to be told of a failure.
    let _ = io::stderr().write_all(gathered);
    gathered.clear();
}

/// Makes writers of lines.
pub(super) struct Gathering;

/// Writes one line.
pub(super) struct Line {
    at_once: bool,
}

impl<'a> MakeWriter<'a> for Gathering {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { at_once: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line { at_once: metadata.target() != ACCESS || *metadata.level() < Level::INFO }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut gathered = GATHERED.lock();
        gathered.extend_from_slice(bytes);
        if self.at_once || gathered.len() >= BYTES_MAX {
            write_out(&mut gathered);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
