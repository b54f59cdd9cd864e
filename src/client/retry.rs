//! How long the client goes on trying.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connect::Retry;
use super::error::Error;
use crate::backoff::Backoff;

/// One run of attempts. Counts from the last progress.
pub(super) struct Patience {
    backoff: Backoff,
    within: Duration,
    until: Instant,
}

impl Patience {
    pub(super) fn new(retry: Retry) -> Self {
        let Retry { within, first, longest } = retry;
        Self { backoff: Backoff::new(first, longest), within, until: Instant::now() + within }
    }

    /// There was progress.
    pub(super) fn renew(&mut self) {
        self.backoff.reset();
        self.until = Instant::now() + self.within;
    }

    /// Waits for the next attempt. `false`, at once, where there should be none.
    pub(super) async fn again(&mut self, error: &Error) -> bool {
        let pause = self.pause(error);
        if !error.retryable() || Instant::now() + pause > self.until {
            return false;
        }
        sleep(pause).await;
        true
    }

    /// The next pause, for who never gives up.
    pub(super) fn pause(&mut self, error: &Error) -> Duration {
        self.backoff.pause().max(error.retry_after().unwrap_or_default())
    }
}
