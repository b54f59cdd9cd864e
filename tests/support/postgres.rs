//! A PostgreSQL cluster of the tests' own, from the installed binaries or those in the folder
//! `TIDELOG_POSTGRES_BIN`: in a temporary folder, with fsync on, ended and removed with the test
//! process, however that ends.
//!
//! Not here: the store that is tested. Run as root, the server runs as user `postgres`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod port;

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports to try: another process may take one between the look and the start.
const PORTS_TRIED_MAX: usize = 20;

/// A cluster with databases.
pub struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// Stops the server and removes the folder when the pipe to it closes.
    _watcher: Child,
}

/// How to stop a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ends all sessions and writes a checkpoint.
    Fast,
    /// As a crash: without a checkpoint.
    Immediate,
}

impl Cluster {
    /// The cluster that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Cluster> = LazyLock::new(|| Cluster::new(&[]));
        &SHARED
    }

    /// A cluster of its own, with server settings like `fsync=off`.
    pub fn new(settings: &[&str]) -> Self {
        let bin = binaries();
        let dir = tempfile::tempdir().expect("a temporary folder").keep();
        if nix::unistd::geteuid().is_root() {
            let user = postgres_user();
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            chown(&dir, Some(uid), Some(gid)).expect("root may");
        }
        let mut watcher = as_server_user(Command::new("sh"));
        let script = "read _; \"$1/pg_ctl\" stop -s -m immediate -D \"$2/data\"; rm -rf \"$2\"";
        watcher.args(["-c", script, "sh"]).arg(&bin).arg(&dir).process_group(0);
        let silent = watcher.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let watcher = silent.spawn().expect("there is a shell");
        let mut cluster =
            Self { bin, dir, port: 0, databases: AtomicU32::new(0), _watcher: watcher };
        let data = cluster.dir.join("data");
        let mut initdb = cluster.command("initdb");
        initdb.args(["-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"]);
        run(initdb.arg(&data));
        for _ in 0..PORTS_TRIED_MAX {
            cluster.port = port::free_port();
            cluster.configure(settings);
            if cluster.starts() {
                return cluster;
            }
        }
        panic!("the server does not start: {}", cluster.log());
    }

    fn configure(&self, settings: &[&str]) {
        let mut lines = vec![
            "listen_addresses='127.0.0.1'".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories='{}'", self.dir.display()),
            "max_connections=400".to_owned(),
            "max_wal_size=4GB".to_owned(),
            "min_wal_size=256MB".to_owned(),
        ];
        lines.extend(settings.iter().map(ToString::to_string));
        let file = self.dir.join("data/postgresql.auto.conf");
        std::fs::write(file, lines.join("\n") + "\n").expect("the folder is ours");
    }

    /// Starts the server, and waits until it takes connections. After a kill it may take a few
    /// attempts until the old server's processes are gone.
    pub fn start(&self) {
        let started = (0..50).any(|_| self.starts());
        assert!(started, "the server does not start: {}", self.log());
    }

    fn starts(&self) -> bool {
        let mut start = self.command("pg_ctl");
        start.args(["start", "-s", "-w", "-t", "60", "-D"]).arg(self.dir.join("data"));
        start.arg("-l").arg(self.dir.join("log")).stdout(Stdio::null()).stderr(Stdio::null());
        start.status().expect("pg_ctl runs").success()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Stops the server.
    pub fn stop(&self, how: Stop) {
        let mode = if how == Stop::Fast { "fast" } else { "immediate" };
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "-s", "-w", "-m", mode, "-D"]).arg(self.dir.join("data"));
        run(&mut stop);
    }

    /// The postmaster's process.
    pub fn pid(&self) -> u32 {
        let file = std::fs::read_to_string(self.dir.join("data/postmaster.pid"));
        let file = file.expect("the server runs");
        file.lines().next().and_then(|line| line.parse().ok()).expect("a pid")
    }

    /// Kills the postmaster with SIGKILL.
    pub fn kill(&self) {
        let pid = nix::unistd::Pid::from_raw(self.pid().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it is ours");
    }

    /// Makes an empty database and gives its URL.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Removes a database, whoever uses it.
    pub fn drop_database(&self, url: &str) {
        self.sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", database_of(url)));
    }

    /// The URL of a database, over TCP.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The connection string of a database, over a unix socket.
    pub fn socket(&self, url: &str) -> String {
        let database = database_of(url);
        let dir = self.dir.display();
        format!("host={dir} port={} user=postgres dbname={database}", self.port)
    }

    /// The URL of a database, over a unix socket.
    pub fn socket_url(&self, url: &str) -> String {
        let (dir, port) = (self.dir.display().to_string(), self.port);
        format!("postgres://postgres@{}:{port}/{}", dir.replace('/', "%2F"), database_of(url))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements as superuser, each in a transaction of its own; answers the last one's
    /// rows, a line each.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        psql.arg("-h").arg(&self.dir).args(["-p", &self.port.to_string()]);
        psql.args(["-d", database_of(database), "-c", sql]);
        run(&mut psql).trim_end().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = as_server_user(Command::new(self.bin.join(program)));
        command.current_dir(&self.dir).env("LC_ALL", "C").env_remove("PGOPTIONS");
        command
    }
}

/// The last part of a URL, or all of a bare name.
fn database_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn postgres_user() -> nix::unistd::User {
    let user = nix::unistd::User::from_name("postgres").expect("users can be looked up");
    user.expect("the server does not run as root, and there is no user postgres")
}

fn as_server_user(mut command: Command) -> Command {
    if nix::unistd::geteuid().is_root() {
        let user = postgres_user();
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// Those of `TIDELOG_POSTGRES_BIN`, else the newest installed version's, or those on the PATH.
fn binaries() -> PathBuf {
    if let Some(bin) = std::env::var_os("TIDELOG_POSTGRES_BIN") {
        return bin.into();
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = installed
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = versions.into_iter().rev().map(|(_, bin)| bin);
    let mut candidates = candidates.chain(std::env::split_paths(&path));
    let complete = |bin: &PathBuf| {
        ["initdb", "pg_ctl", "psql"].iter().all(|program| Path::new(bin).join(program).exists())
    };
    candidates.find(complete).expect("PostgreSQL is not installed: apt-get install postgresql")
}
