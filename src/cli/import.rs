//! `tidelog import`: topics of an export file into a store or a service.
//!
//! The file is read twice: it is checked as a whole before anything is written, because what was
//! written from a file that turns out to be damaged could not be taken back. What comes over a pipe
//! is therefore put into a temporary file first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::path::Path;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};
use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::args::text;
use super::exit::{Exit, Failure};
use super::export::{failure, is_compressed};
use super::place::{Missing, Place, with_place};
use super::progress::{Progress, Unit, count, with_quiet};
use super::signal::Interruption;
use crate::transfer::{
    Imported, IntoService, IntoStore, Section, Sections, Step, Target, TransferError, import,
};

const LONG: &str = "Writes topics of an export file with the numbers, transactions and \
    invalidations that they had, and reads them again to compare.\n\n\
    A topic may have a beginning of what the file has, from an import that was interrupted: then \
    it goes on behind it (a service: an import of the same file into the same service). If it has \
    anything else, nothing of it is written, and topics behind it in the file are not tried. Into \
    a store events keep the times at which they were recorded, and with them the Merkle root; a \
    service records them anew. What else writes to the topic must wait. The whole file is checked before anything is written; standard input is put \
    into a temporary file for it.";

/// Pieces of the file that are read and not taken.
const PIECES_OPEN: usize = 4;

/// The command.
pub fn command() -> Command {
    let command = Command::new("import")
        .about("Writes topics of an export file, numbered as they were, and compares")
        .long_about(LONG)
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .default_value("-")
                .help("- is standard input; a name that ends in .zst is compressed"),
        )
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["url", "store"])
                .help("Only checks the file: that it is whole, and its Merkle roots"),
        );
    with_place(with_quiet(command))
}

/// Runs it.
pub async fn run(args: &ArgMatches, interruption: &Interruption) -> Result<(), Failure> {
    let path = text(args, "file");
    let name = if path == "-" { "standard input" } else { path };
    let told = |error| match error {
        TransferError::Io(error) if is_damage(&error) => {
            let damaged =
                if is_compressed(Path::new(path)) { "is no whole zstd file: " } else { "" };
            Failure::new(Exit::Data, format!("{name}: {damaged}{error}"))
        }
        TransferError::Io(error) => Failure::file(name, &error),
        error => failure(error).of(name),
    };
    let input = Input::open(path).map_err(|error| told(error.into()))?;
    check(args, &input).map_err(told)?;
    if args.get_flag("check") {
        return Ok(());
    }
    let place = Place::open(args, Missing::Make).await?;
    let stop = interruption.asks();
    let done = write(args, &input, &place, &stop).await;
    let done = done.map_err(|error| match error {
        TransferError::File(_) | TransferError::Io(_) => told(error),
        TransferError::Interrupted => failure(error).advice("the same command again goes on"),
        error => place.tell(failure(error)),
    });
    place.close().await;
    done
}

/// Reads the whole file and looks whether it makes sense.
fn check(args: &ArgMatches, input: &Input) -> Result<(), TransferError> {
    let mut progress = Progress::new(args, "checking", Unit::Events, None);
    let mut events = 0;
    let mut name = None;
    let mut of_topic = 0;
    for section in Sections::new(input.read()?) {
        match section? {
            Section::Begin(topic, _) => (name, of_topic) = (Some(topic), 0),
            Section::Transaction(transaction) => {
                events += transaction.len() as u64;
                of_topic += transaction.len() as u64;
                progress.at(events, || format!("{events} events"));
            }
            Section::End => {
                if let Some(topic) = name.take().filter(|_| args.get_flag("check")) {
                    progress.remark(&format!("{topic}: {}, whole", count(of_topic, "event")));
                }
            }
        }
    }
    Ok(())
}

async fn write(
    args: &ArgMatches,
    input: &Input,
    place: &Place,
    stop: &CancellationToken,
) -> Result<(), TransferError> {
    let (mut service, mut store);
    let target: &mut dyn Target = match place {
        Place::Service(client) => {
            service = IntoService::new(client.clone());
            &mut service
        }
        Place::Local(local) => {
            store = IntoStore::new(Arc::clone(&local.store.0));
            &mut store
        }
    };
    let mut progress: Option<Progress> = None;
    let tell = |step: Step<'_>| match step {
        Step::At(topic, events, all) => {
            let begin = || Progress::new(args, topic.to_string(), Unit::Events, Some(all));
            let progress = progress.get_or_insert_with(begin);
            progress.at(events, || format!("{events} of {all} events"));
        }
        Step::Done(Imported { topic, events, there, root }) => {
            if let Some(progress) = progress.take() {
                let had = if there > 0 {
                    format!(", {there} of which were there")
                } else {
                    String::new()
                };
                progress
                    .remark(&format!("{topic}: {}{had}, root {root:?}", count(events, "event")));
            }
        }
    };
    import(sections(input)?, place.reader(), target, stop, tell).await
}

/// What is imported, in a file that does not change any more, unless somebody writes into it.
struct Input {
    file: File,
    compressed: bool,
}

impl Input {
    fn open(path: &str) -> io::Result<Self> {
        let compressed = is_compressed(Path::new(path));
        if path == "-" {
            return Ok(Self { file: kept(&mut io::stdin())?, compressed });
        }
        let mut file = File::open(path)?;
        let regular = file.metadata()?.is_file();
        let file = if regular { file } else { kept(&mut file)? };
        Ok(Self { file, compressed })
    }

    /// All of it, uncompressed.
    fn read(&self) -> io::Result<Box<dyn BufRead + Send>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        if self.compressed {
            return Ok(Box::new(BufReader::with_capacity(256 << 10, zstd::Decoder::new(file)?)));
        }
        Ok(Box::new(BufReader::with_capacity(256 << 10, file)))
    }
}

/// A pipe's content, in a file without a name that goes with the process.
fn kept(pipe: &mut dyn Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(pipe, &mut file)?;
    Ok(file)
}

/// Whether a file cannot be read because of what is in it: not the whole of it, or not compressed as
/// its name says.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

/// The sections of the file, read by a thread.
fn sections(
    input: &Input,
) -> Result<impl Stream<Item = Result<Section, TransferError>> + use<>, TransferError> {
    let (out, pieces) = mpsc::channel(PIECES_OPEN);
    let input = input.read()?;
    let read = move || {
        let mut sections = Sections::new(input);
        loop {
            let piece = sections.piece();
            if piece.is_empty() || out.blocking_send(piece).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("input".into()).spawn(read)?;
    let pieces = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    Ok(pieces.flat_map(stream::iter))
}
