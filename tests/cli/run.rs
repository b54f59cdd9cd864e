//! Running the command, and what came of it.

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// What a command came to.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("it ends by itself");
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// It succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    /// It failed with this code, and says this.
    #[track_caller]
    pub fn fails(self, code: i32, why: &str) -> Self {
        assert_eq!(self.code, code, "{}", self.err);
        assert!(self.err.contains(why), "{why:?} is not in {:?}", self.err);
        self
    }

    /// The lines that it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        self.out.lines().map(line).collect()
    }
}

/// The command, with nothing in its environment.
pub fn tidelog(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
    command.args(args).env_clear().stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it.
pub fn run(args: &[&str]) -> Done {
    Done::of(tidelog(args).output().expect("it runs"))
}

/// Runs it with something on standard input.
pub fn feed(args: &[&str], input: impl AsRef<[u8]>) -> Done {
    let mut process = tidelog(args).stdin(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = process.stdin.take().expect("it is piped");
    let input = input.as_ref().to_vec();
    // It need not want all of it.
    let feeding = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let done = Done::of(process.wait_with_output().expect("it ends"));
    let _ = feeding.join();
    done
}

/// A command that runs until the test is done with it.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
