//! What is measured: Tidelog, and what it is compared with; how each is started, and how each
//! takes a load. Everything listens on loopback, on free ports, below a temporary folder.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::postgres::Cluster;

/// Where programs are that `scripts/bench` has installed.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin");

/// The database below.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Db {
    Postgres,
    Sqlite,
}

/// What takes a load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Tidelog(Db),
    /// Events into the log alone, so many a statement.
    RawLog(Db, usize),
    /// The same, and a row of the surface for each.
    RawSurface(Db),
    /// One INSERT of one row at a time.
    RawInsert,
    /// A service that does one INSERT a request.
    InsertPerRequest,
    /// A service that puts the events of many requests into one INSERT (`grouped.rs`).
    Grouped,
    Echo,
    Redis,
    /// Whether every acknowledgement is durable.
    JetStream(bool),
}

impl Subject {
    pub fn name(self) -> String {
        let db = |db| if db == Db::Postgres { "PostgreSQL" } else { "SQLite" };
        match self {
            Self::Tidelog(on) => format!("**Tidelog on {}**", db(on)),
            Self::RawLog(on, batch) => format!("raw SQL, {}, log only, {batch} a commit", db(on)),
            Self::RawSurface(on) => format!("raw SQL, {}, log and surface", db(on)),
            Self::RawInsert => "bare INSERT, PostgreSQL".to_owned(),
            Self::InsertPerRequest => "insert per request, PostgreSQL".to_owned(),
            Self::Grouped => "grouped INSERTs without rules, PostgreSQL".to_owned(),
            Self::Echo => "HTTP echo, nothing stored".to_owned(),
            Self::Redis => "Redis streams, appendfsync always".to_owned(),
            Self::JetStream(true) => "NATS JetStream, sync_interval always".to_owned(),
            Self::JetStream(false) => "NATS JetStream, default (not durable)".to_owned(),
        }
    }
}

/// A child process that listens; ends with the value.
pub struct Process {
    child: Child,
    pub address: String,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// One that says on standard error where it listens.
    fn told(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let address = lines
            .by_ref()
            .map(|line| line.expect("a line"))
            .find_map(|line| {
                let at = line.find("http://")? + "http://".len();
                let end = line[at..].find(['"', ' ', '/'])?;
                Some(line[at..at + end].to_owned())
            })
            .expect("it says where it listens");
        // Whoever writes to a pipe that nobody reads stops one day.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// One that listens on the port that it was given.
    async fn on_port(command: &mut Command, port: u16) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("it starts");
        let process = Self { child, address: format!("127.0.0.1:{port}") };
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(&process.address).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        process
    }

    pub fn tidelog(store: &str, dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", store]);
        Self::told(command.args(["--log-format", "json"]).current_dir(dir))
    }

    /// The services of `baseline.rs`.
    pub fn baseline(url: Option<&str>, grouped: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("it runs"));
        command.arg("--serve").args(grouped.then_some("--grouped"));
        Self::told(command.args(url))
    }

    pub async fn redis(dir: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new(program("redis-server").expect("it was looked for"));
        command.current_dir(dir).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        Self::on_port(&mut command, port).await
    }

    pub async fn nats(dir: &Path, durable: bool) -> Self {
        let port = free_port();
        let sync = if durable { "sync_interval: always" } else { "" };
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{\n store_dir: \"{}\"\n {sync}\n}}\n",
            dir.display()
        );
        let path = dir.join("nats.conf");
        std::fs::write(&path, config).expect("it can be written");
        let mut command = Command::new(program("nats-server").expect("it was looked for"));
        Self::on_port(command.arg("-c").arg(path), port).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A peer's program, where there is one. What `scripts/bench` has installed comes first: a
/// distribution's may be too old.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::iter::once(PathBuf::from(TOOLS)).chain(std::env::split_paths(&path));
    folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()))
}

/// Files of 16 MiB that the log of the server has, as one that has run for a while: all that
/// `max_wal_size` allows. With fewer, a long run comes to where there are none.
const WAL_FILES: usize = 256;

/// A PostgreSQL whose write-ahead log is made of files that are there already, as it is on a server
/// that has run for a while. On a fresh one each commit that needs a new file of 16 MiB waits until
/// that is filled with zeros and synced, some 25 ms.
pub fn cluster() -> Cluster {
    let cluster = Cluster::new(&["max_wal_size=4GB", "min_wal_size=4GB"]);
    let fill = format!(
        "SELECT count(pg_switch_wal()) FROM generate_series(1, {WAL_FILES}) n,
            LATERAL pg_logical_emit_message(false, 'fill', n::text) e",
    );
    cluster.sql("postgres", &fill);
    settle(&cluster);
    cluster
}

/// What was written before is in the tables, and its log can be used again.
pub fn settle(cluster: &Cluster) {
    cluster.sql("postgres", "CHECKPOINT");
}
