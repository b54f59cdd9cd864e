//! How far consumers are behind, for the metrics: looked at by the housekeeping, one bounded query
//! at a time, and never by a scrape.
//!
//! A pass over all consumers takes as many looks as there are thousands of them; what it has seen is
//! shown once it is through. The first consumers in the store's order have series of their own, so
//! that these do not change from scrape to scrape; of the others the worst is shown.
//!
//! Invariants: at most `series_max` consumers, and one for all others, are kept and exposed, however
//! many there are; nobody is shown a topic that he may not read.

use std::sync::Arc;

use parking_lot::Mutex;

use super::auth::Caller;
use crate::config::Access;
use crate::domain::{Consumer, ConsumerName, Timestamp, TopicName};
use crate::metrics::lags::{Lag, put};
use crate::store::{EventSourceReader, StoreError};
use crate::topic::now;

/// Consumers that one look takes.
const LOOK: usize = 1_000;

/// What has been seen of consumers.
pub struct Lags {
    series_max: usize,
    /// The last pass that is through.
    seen: Mutex<Arc<Seen>>,
    pass: Mutex<Pass>,
}

#[derive(Default)]
struct Seen {
    own: Vec<(TopicName, ConsumerName, Lag)>,
    others: Option<Lag>,
}

/// A pass that is under way.
#[derive(Default)]
struct Pass {
    seen: Seen,
    after: Option<(TopicName, ConsumerName)>,
}

impl Pass {
    fn take(&mut self, found: Vec<(TopicName, Consumer)>, series_max: usize, now: Timestamp) {
        for (topic, consumer) in found {
            self.after = Some((topic.clone(), consumer.name.clone()));
            let seconds = consumer.lag_seconds(now);
            let lag = Lag { events: consumer.lag_events(), seconds };
            if self.seen.own.len() < series_max {
                self.seen.own.push((topic, consumer.name, lag));
            } else {
                self.seen.others = Some(self.seen.others.unwrap_or_default().max(lag));
            }
        }
    }
}

impl Lags {
    /// Nothing has been seen. At most `series_max` consumers will have series of their own.
    #[must_use]
    pub fn new(series_max: usize) -> Self {
        Self { series_max, seen: Mutex::default(), pass: Mutex::default() }
    }

    /// Goes on with the pass, or begins the next one.
    ///
    /// # Errors
    /// When the store cannot answer now; the next look begins a new pass.
    pub async fn look(&self, reader: &dyn EventSourceReader) -> Result<(), StoreError> {
        let mut pass = std::mem::take(&mut *self.pass.lock());
        let found = reader.all_consumers(pass.after.as_ref(), LOOK).await?;
        let through = found.len() < LOOK;
        pass.take(found, self.series_max, now());
        if through {
            *self.seen.lock() = Arc::new(pass.seen);
        } else {
            *self.pass.lock() = pass;
        }
        Ok(())
    }

    /// Appends what a caller may see to the metrics; what he may not is among the others.
    pub(super) fn put(&self, out: &mut String, caller: &Caller) {
        self.put_allowed(out, |topic| caller.may(topic, Access::Read));
    }

    fn put_allowed(&self, out: &mut String, may: impl Fn(&TopicName) -> bool) {
        let seen = Arc::clone(&*self.seen.lock());
        let mut others = seen.others;
        let mut own = Vec::with_capacity(seen.own.len());
        for (topic, name, lag) in &seen.own {
            if may(topic) {
                own.push((topic.as_str(), name.as_str(), *lag));
            } else {
                others = Some(others.unwrap_or_default().max(*lag));
            }
        }
        put(out, &own, others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Revision, Seq, TransactionNo, Version};

    /// A consumer of a topic of ten events, one recorded each second, seen after eleven.
    fn behind(topic: &str, name: &str, handled: u64) -> (TopicName, Consumer) {
        let consumer = Consumer {
            name: ConsumerName::parse(name).expect("a name"),
            seq: handled.checked_sub(1).map(Seq),
            revision: Revision(1),
            updated_at: Timestamp(0),
            head: Version { seq: Seq(9), transaction: TransactionNo(9) },
            waiting_since: (handled < 10).then_some(Timestamp(handled as i64 * 1_000_000)),
        };
        (TopicName::parse(topic).expect("a name"), consumer)
    }

    fn shown(lags: &Lags, may: impl Fn(&TopicName) -> bool) -> Vec<String> {
        let mut out = String::new();
        lags.put_allowed(&mut out, may);
        let series = out.lines().filter_map(|line| line.strip_prefix("tidelog_consumer_lag_"));
        series.map(str::to_owned).collect()
    }

    #[test]
    fn few_have_series_of_their_own_and_of_the_others_the_worst_is_shown() {
        let lags = Lags::new(2);
        assert!(shown(&lags, |_| true).is_empty());
        let mut pass = Pass::default();
        let now = Timestamp(11_000_000);
        pass.take(vec![behind("t", "a", 4), behind("t", "b", 10), behind("t", "c", 7)], 2, now);
        pass.take(vec![behind("u", "a", 9), behind("u", "b", 2)], 2, now);
        assert_eq!(pass.after.as_ref().map(|(_, name)| name.as_str()), Some("b"));
        *lags.seen.lock() = Arc::new(pass.seen);
        let expected = [
            "events{topic=\"t\",consumer=\"a\"} 6",
            "events{topic=\"t\",consumer=\"b\"} 0",
            "events{topic=\"(other)\",consumer=\"(other)\"} 8",
            "seconds{topic=\"t\",consumer=\"a\"} 7",
            "seconds{topic=\"t\",consumer=\"b\"} 0",
            "seconds{topic=\"(other)\",consumer=\"(other)\"} 9",
        ];
        assert_eq!(shown(&lags, |_| true), expected);
        let hidden = shown(&lags, |topic| topic.as_str() != "t");
        assert_eq!(hidden, [expected[2], expected[5]], "no name of a topic that may not be read");
    }

    #[test]
    fn a_consumer_that_nobody_may_see_still_counts() {
        let lags = Lags::new(9);
        let mut pass = Pass::default();
        pass.take(vec![behind("t", "a", 4)], 9, Timestamp(11_000_000));
        *lags.seen.lock() = Arc::new(pass.seen);
        assert!(shown(&lags, |_| false)[0].ends_with("consumer=\"(other)\"} 6"));
    }
}
