//! Ctrl-C and SIGTERM of a command that writes: the first asks it to come to an end that can be
//! gone on from, the second ends it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};

/// Listens from now on; must be called inside a runtime.
pub fn interruption() -> Result<CancellationToken, Failure> {
    let failed = |error| Failure::new(Exit::Internal, format!("no signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let token = CancellationToken::new();
    let asked = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        asked.cancel();
        next().await;
        std::process::exit(i32::from(Exit::Interrupted as u8));
    });
    Ok(token)
}
