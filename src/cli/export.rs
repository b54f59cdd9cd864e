//! `tidelog export`: whole topics to a file or standard output.
//!
//! Invariant: a file of the name that was asked for is a whole export. Until it is one, it has
//! another name. What is there and is no file (a device, a pipe) is written to as it is.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tokio_util::sync::CancellationToken;

use super::args::flag;
use super::exit::{Exit, Failure};
use super::place::{Place, with_place};
use super::progress::{Progress, Unit, count, with_quiet};
use super::signal::Interruption;
use crate::domain::TopicName;
use crate::transfer::{Exported, TransferError, export};
use crate::wire::export::Part;

const LONG: &str = "Writes whole topics, as they are now, in a documented format \
    (docs/export-format.md): every event with its numbers, data byte for byte, and the topic's \
    Merkle root, which is computed from what is read and compared with the one that a store \
    keeps. Records of idempotency keys and producers are not part of it.\n\n\
    A file whose name ends in .zst is compressed. It appears under its name once it is whole.";

/// Topics that are listed at once.
const FETCH: usize = 1000;

/// The command.
pub fn command() -> Command {
    let command = Command::new("export")
        .about("Writes whole topics to a file or standard output")
        .long_about(LONG)
        .arg(Arg::new("topic").value_name("TOPIC").num_args(0..).help("Names of topics"))
        .arg(
            Arg::new("all")
                .long("all")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["topic", "prefix"])
                .help("All topics"),
        )
        .arg(flag("prefix", "TEXT").conflicts_with("topic").help("All that begin with this"))
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Where to [default: standard output]"),
        );
    with_place(with_quiet(command))
}

/// Runs it.
pub async fn run(
    args: &ArgMatches,
    place: &Place,
    interruption: &Interruption,
) -> Result<(), Failure> {
    let topics = topics(args, place).await?;
    let to = args.get_one::<PathBuf>("to").map(PathBuf::as_path);
    // Beside a file there is something to put away.
    let stop = if to.is_some() { interruption.asks() } else { CancellationToken::new() };
    let mut output = Output::open(to)?;
    let parts = std::iter::successors(Some(Part::first(&topics)), Part::next);
    for (topic, part) in topics.iter().zip(parts) {
        let mut progress = Progress::new(args, topic.to_string(), Unit::Events, None);
        let reader = place.reader();
        let done = export(reader, topic, &part, &mut output, &stop, |events, all| {
            progress.at(events, || format!("{events} of {all} events"));
        });
        let done = done.await.map_err(|error| output.failure(error))?;
        progress.remark(&remark(&done));
    }
    output.finish()
}

fn remark(done: &Exported) -> String {
    let Exported { topic, events, transactions, root, compared } = done;
    let compared = if *compared { ", which the store has too" } else { "" };
    let (events, transactions) = (count(*events, "event"), count(*transactions, "transaction"));
    format!("{topic}: {events} in {transactions}, root {root}{compared}")
}

async fn topics(args: &ArgMatches, place: &Place) -> Result<Vec<TopicName>, Failure> {
    let named = args.get_many::<String>("topic").unwrap_or_default();
    let mut topics: Vec<TopicName> =
        named.map(|name| TopicName::parse(name)).collect::<Result<_, _>>()?;
    let prefix = args.get_one::<String>("prefix").map(String::as_str);
    let Some(prefix) = prefix.or_else(|| args.get_flag("all").then_some("")) else {
        let none = || Failure::new(Exit::Usage, "name topics, or --prefix, or --all");
        return if topics.is_empty() { Err(none()) } else { Ok(topics) };
    };
    let reader = place.reader();
    loop {
        let after = topics.last().map(TopicName::as_str);
        let found = reader.topics(prefix, after, FETCH).await?;
        if found.is_empty() {
            break;
        }
        topics.extend(found.into_iter().map(|topic| topic.name));
    }
    if topics.is_empty() {
        return Err(Failure::new(Exit::Failed, "there is no such topic"));
    }
    Ok(topics)
}

/// What a failed transfer means.
pub fn failure(error: TransferError) -> Failure {
    match error {
        TransferError::File(bad) => Failure::new(Exit::Data, bad.to_string()),
        TransferError::Io(error) => Failure::output(&error),
        TransferError::Read(error) => error.into(),
        TransferError::Service(error) => error.into(),
        TransferError::Append(error) => {
            use crate::store::AppendError;
            let exit = match &error {
                AppendError::Refused | AppendError::Rejected(_) => Exit::Failed,
                AppendError::NotWritten(_) => Exit::Unavailable,
                AppendError::Unknown(_) => Exit::Unknown,
            };
            Failure::new(exit, error.to_string())
        }
        TransferError::Differs(text) => Failure::new(Exit::Failed, text),
        TransferError::Interrupted => Failure::new(Exit::Interrupted, "interrupted"),
    }
}

/// Where the lines go. A file that is not finished is removed with the value.
struct Output {
    to: To,
    file: Option<(PathBuf, PathBuf)>,
}

enum To {
    Plain(BufWriter<Box<dyn Write>>),
    Compressed(zstd::Encoder<'static, BufWriter<Box<dyn Write>>>),
    Nothing,
}

impl Output {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            let stdout: Box<dyn Write> = Box::new(io::stdout().lock());
            return Ok(Self { to: To::Plain(BufWriter::new(stdout)), file: None });
        };
        let failed = |error| Failure::file(path.display(), &error);
        let (file, part) = if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            (File::options().write(true).open(path), None)
        } else {
            // Of this process alone, and a new one: another export to the same file, or a link
            // that somebody has put there, must not get mixed up with it.
            let mut part = path.as_os_str().to_owned();
            part.push(format!(".{}.part", std::process::id()));
            let part = PathBuf::from(part);
            (File::create_new(&part), Some((part, path.to_owned())))
        };
        let file: Box<dyn Write> = Box::new(file.map_err(failed)?);
        let file = BufWriter::with_capacity(256 << 10, file);
        let to = if is_compressed(path) {
            let mut encoder = zstd::Encoder::new(file, 0).map_err(failed)?;
            encoder.include_checksum(true).map_err(failed)?;
            To::Compressed(encoder)
        } else {
            To::Plain(file)
        };
        Ok(Self { to, file: part })
    }

    fn failure(&self, error: TransferError) -> Failure {
        match (&self.file, error) {
            (Some((_, path)), TransferError::Io(error)) => Failure::file(path.display(), &error),
            (_, error) => failure(error),
        }
    }

    fn finish(mut self) -> Result<(), Failure> {
        let mut finish = || -> io::Result<()> {
            let mut file = match std::mem::replace(&mut self.to, To::Nothing) {
                To::Plain(file) => file,
                To::Compressed(encoder) => encoder.finish()?,
                To::Nothing => return Ok(()),
            };
            file.flush()?;
            drop(file);
            let Some((part, path)) = &self.file else { return Ok(()) };
            File::open(part)?.sync_all()?;
            fs::rename(part, path)?;
            // The name is to be as durable as what it names.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        let done = finish().map_err(|error| self.failure(error.into()));
        if done.is_ok() {
            self.file = None;
        }
        done
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::Plain(file) => file.write(bytes),
            To::Compressed(encoder) => encoder.write(bytes),
            To::Nothing => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Plain(file) => file.flush(),
            To::Compressed(encoder) => encoder.flush(),
            To::Nothing => Ok(()),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.file {
            // What is left of it says that it is not whole, by its name.
            let _ = fs::remove_file(part);
        }
    }
}

/// Whether a file's name says that it is compressed.
pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}
