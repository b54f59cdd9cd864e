//! What `append` reads: lines of events from a file or standard input, in one of three formats,
//! with bounded memory.
//!
//! A thread reads and parses, because reading a terminal or a pipe blocks. What it has parsed it
//! hands over before it reads more, so that a line is never kept back while the next one is
//! waited for.
//!
//! Invariant: lines come in order, and nothing comes behind a bad one.

mod csv;
mod json;
mod keys;
mod ndjson;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use tokio::sync::mpsc;

use super::exit::{Exit, Failure};
use crate::domain::{Content, Data, EventType, Key};
use crate::wire::submitted::{Submitted, json_text};
pub use keys::Keys;

/// Lines that are handed over together, and their bytes.
const CHUNK: (usize, usize) = (256, 256 << 10);
/// Chunks that are parsed and not taken.
const CHUNKS_OPEN: usize = 4;

/// How the input is written.
#[derive(Clone, Debug)]
pub enum Format {
    /// Events as the contract has them, one or one transaction a line.
    Ndjson,
    /// Rows under a header; the data of an event is the object of its row.
    Csv {
        /// Columns that make the key.
        keys: Keys,
        /// Between fields.
        delimiter: u8,
    },
    /// An array of values, or values one after the other; each is the data of an event.
    Json {
        /// Members that make the key.
        keys: Keys,
    },
}

/// A line that can be written.
#[derive(Debug)]
pub struct Line {
    /// Where it is: the number of its line in the input (of values: which one it is), from 1.
    pub place: u64,
    /// What it says.
    pub what: Submitted,
}

type Item = Result<Line, Failure>;

/// See the module.
pub struct Source {
    /// What the input is called.
    pub name: String,
    /// How many bytes it has, where that is known.
    pub size: Option<u64>,
    read: Arc<AtomicU64>,
    chunks: mpsc::Receiver<Vec<Item>>,
    next: VecDeque<Item>,
}

impl Source {
    /// Opens a file, or standard input (`-`), and begins to read. Events that name no type get
    /// this one.
    pub fn open(path: &str, format: Format, kind: Option<EventType>) -> Result<Self, Failure> {
        let (name, size, input): (_, _, Box<dyn Read + Send>) = if path == "-" {
            ("standard input".to_owned(), None, Box::new(io::stdin()))
        } else {
            let failed = |error| Failure::file(path, &error);
            let file = File::open(path).map_err(failed)?;
            let about = file.metadata().map_err(failed)?;
            if about.is_dir() {
                return Err(Failure::new(Exit::Failed, format!("{path} is a directory")));
            }
            (path.to_owned(), about.is_file().then_some(about.len()), Box::new(file))
        };
        let (out, chunks) = mpsc::channel(CHUNKS_OPEN);
        let read = Arc::new(AtomicU64::new(0));
        let (called, counted) = (name.clone(), Arc::clone(&read));
        let parse = move || {
            let draft = Draft { items: Vec::new(), bytes: 0, out };
            let sink = Sink { name: called, kind, draft: Rc::new(RefCell::new(draft)) };
            let input = Tap { input, read: counted, draft: Rc::clone(&sink.draft) };
            // That nobody takes any more is no failure.
            let _ = match &format {
                Format::Ndjson => ndjson::read(input, &sink),
                Format::Csv { keys, delimiter } => self::csv::read(input, keys, *delimiter, &sink),
                Format::Json { keys } => json::read(input, keys, &sink),
            }
            .and_then(|()| sink.draft.borrow_mut().flush());
        };
        let thread = std::thread::Builder::new().name("input".into()).spawn(parse);
        thread.map_err(|error| Failure::new(Exit::Internal, format!("no thread: {error}")))?;
        Ok(Self { name, size, read, chunks, next: VecDeque::new() })
    }

    /// The next line; `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Item> {
        while self.next.is_empty() {
            self.next = self.chunks.recv().await?.into();
        }
        self.next.pop_front()
    }

    /// How many bytes have been read.
    pub fn position(&self) -> impl Fn() -> u64 + use<> {
        let read = Arc::clone(&self.read);
        move || read.load(Ordering::Relaxed)
    }
}

/// Nobody takes lines any more, or there are none behind a bad one.
struct Ended;

/// Lines that are parsed and not handed over.
struct Draft {
    items: Vec<Item>,
    bytes: usize,
    out: mpsc::Sender<Vec<Item>>,
}

impl Draft {
    fn flush(&mut self) -> Result<(), Ended> {
        if self.items.is_empty() {
            return if self.out.is_closed() { Err(Ended) } else { Ok(()) };
        }
        self.bytes = 0;
        self.out.blocking_send(std::mem::take(&mut self.items)).map_err(|_| Ended)
    }
}

/// Where a format puts its lines.
struct Sink {
    name: String,
    kind: Option<EventType>,
    draft: Rc<RefCell<Draft>>,
}

impl Sink {
    /// Takes a line of so many bytes.
    fn line(&self, place: u64, mut what: Submitted, bytes: usize) -> Result<(), Ended> {
        let (Submitted::Event(events) | Submitted::Group(events)) = &mut what;
        for event in events.iter_mut().filter(|event| event.event_type.is_none()) {
            event.event_type.clone_from(&self.kind);
        }
        let mut draft = self.draft.borrow_mut();
        draft.items.push(Ok(Line { place, what }));
        draft.bytes += bytes;
        if draft.items.len() >= CHUNK.0 || draft.bytes >= CHUNK.1 { draft.flush() } else { Ok(()) }
    }

    /// Takes an event whose data is this JSON.
    fn data(&self, place: u64, key: String, data: String) -> Result<(), Ended> {
        let bytes = data.len();
        let key = match Key::parse(key.into()) {
            Ok(key) => key,
            Err(error) => return self.bad(place, error),
        };
        match json_text(ByteString::from(data)) {
            Ok(data) => {
                let content = Content::new(key, None, None, Data::Json(data), None);
                self.line(place, content.into(), bytes)
            }
            Err(bad) => self.bad(place, bad.detail),
        }
    }

    /// The line there makes no sense; nothing follows.
    fn bad(&self, place: u64, why: impl std::fmt::Display) -> Result<(), Ended> {
        self.end(Failure::new(Exit::Data, format!("{}:{place}: {why}", self.name)))
    }

    /// The input cannot be read; nothing follows.
    fn unreadable(&self, error: &io::Error) -> Result<(), Ended> {
        self.end(Failure::file(&self.name, error))
    }

    fn end(&self, failure: Failure) -> Result<(), Ended> {
        let mut draft = self.draft.borrow_mut();
        draft.items.push(Err(failure));
        draft.flush()?;
        Err(Ended)
    }
}

/// Reads for a parser, and hands over what is parsed first.
struct Tap<R> {
    input: R,
    read: Arc<AtomicU64>,
    draft: Rc<RefCell<Draft>>,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let flushed = self.draft.borrow_mut().flush();
        flushed.map_err(|Ended| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let count = self.input.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What the name of a file says of its format: `csv`, `json`, or else lines of events.
pub fn extension(path: &str) -> &str {
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("csv") => "csv",
        Some("json") => "json",
        _ => "ndjson",
    }
}
