//! Ctrl-C and SIGTERM of a command: they end it at once, with the exit code of the table. A
//! command that writes asks to be asked instead: the first signal asks it to come to an end that
//! can be gone on from, the second ends it, as does [`PATIENCE`]: who it writes to may not answer.
//!
//! Invariant: a command that cannot go on, because nobody takes its output, ends all the same: a
//! thread of its own waits for the signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{process, thread};

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use super::progress::say;

/// How long a command that was asked may take to come to an end: less than those who send SIGTERM
/// wait before they kill.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a signal does. Cheap to clone.
#[derive(Clone, Default)]
pub struct Interruption {
    asks: Arc<AtomicBool>,
    asked: CancellationToken,
}

impl Interruption {
    /// Listens from now on.
    pub fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::new(Exit::Internal, format!("no signals: {error}"));
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let mut signals = {
            let _inside = runtime.enter();
            let signal = |kind| signal(kind).map_err(failed);
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let this = Self::default();
        let interruption = this.clone();
        let wait = async move {
            let mut next = async || {
                tokio::select! {
                    _ = signals.0.recv() => {}
                    _ = signals.1.recv() => {}
                }
            };
            next().await;
            if this.asks.load(Ordering::Relaxed) {
                this.asked.cancel();
                let _ = tokio::time::timeout(PATIENCE, next()).await;
                end("interrupted; what was under way may be written all the same");
            }
            end("interrupted");
        };
        let waiting = move || runtime.block_on(wait);
        thread::Builder::new().name("signals".into()).spawn(waiting).map_err(failed)?;
        Ok(interruption)
    }

    /// From now on the first signal does not end the command, but this token.
    pub fn asks(&self) -> CancellationToken {
        self.asks.store(true, Ordering::Relaxed);
        self.asked.clone()
    }
}

fn end(why: &str) -> ! {
    say(why);
    process::exit(i32::from(Exit::Interrupted as u8));
}
