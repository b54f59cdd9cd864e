//! How long the client goes on trying.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connect::Retry;
use super::error::Error;
use crate::backoff::Backoff;

/// Is told why something is tried again.
pub(super) type Told = Arc<dyn Fn(&Error) + Send + Sync>;

/// One run of attempts. Counts from the last progress.
pub(super) struct Patience {
    backoff: Backoff,
    within: Duration,
    until: Instant,
    told: Option<Told>,
    /// Whether something failed since the last progress.
    failed: bool,
}

impl Patience {
    pub(super) fn new(retry: Retry, told: Option<Told>) -> Self {
        let Retry { within, first, longest } = retry;
        let backoff = Backoff::new(first, longest);
        Self { backoff, within, until: Instant::now() + within, told, failed: false }
    }

    /// There was progress.
    pub(super) fn renew(&mut self) {
        self.backoff.reset();
        self.failed = false;
        self.until = Instant::now() + self.within;
    }

    /// Waits for the next attempt. `false`, at once, where there should be none.
    pub(super) async fn again(&mut self, error: &Error) -> bool {
        let pause = self.pause(error);
        if !error.retryable() || Instant::now() + pause > self.until {
            return false;
        }
        let again = std::mem::replace(&mut self.failed, true);
        if let Some(told) = self.told.as_ref().filter(|_| !again) {
            told(error);
        }
        sleep(pause).await;
        true
    }

    /// The next pause, for who never gives up.
    pub(super) fn pause(&mut self, error: &Error) -> Duration {
        self.backoff.pause().max(error.retry_after().unwrap_or_default())
    }
}
