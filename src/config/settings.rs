//! The table of all settings: name, type, form, default, range and help of each, once. Flags,
//! variables, keys of the file, the template, `tidelog config` and [`Config`] follow from it.
//!
//! Not here: rules between settings (`check.rs`), tokens (`token.rs`).

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::form::{
    Address, Count, Filter, Form, Format, PositiveOrAuto, PositiveOrOff, Size, Switch, Threads,
    Time, within,
};
use super::store_url::{Store, StoreUrl};
use super::table::{Setting, settings};
use super::token::Token;
use crate::telemetry::LogFormat;

settings! {
    "Service" {
        /// Address and port to listen on. Port 0 takes any free port.
        listen: SocketAddr as Address = "127.0.0.1:4810";
        /// Where events are kept: sqlite:PATH (relative to the working directory),
        /// postgres://USER:PASSWORD@HOST:PORT/DATABASE (special characters percent-encoded; the
        /// password may be in PGPASSWORD instead), or memory: (gone when the process ends).
        store: StoreUrl as Store = "sqlite:tidelog-data/tidelog.db";
        /// Threads that serve HTTP and write topics. "auto" is one for every two cores.
        workers: usize as Threads = "auto" in "1" to "1024";
        /// How long requests that are being served may take to finish once the service is told
        /// to stop.
        shutdown_timeout: Duration as Time = "30s" in "0s" to "1h";
    }
    "Writing" {
        /// How long a write may wait for the store before it is answered as failed.
        write_timeout: Duration as Time = "10s" in "100ms" to "10min";
        /// Most events admitted and not yet answered, over all topics. More are refused as
        /// overloaded. A quarter of this and of the next two is not for streams.
        queue_events_max: usize as Count = "200000" in "1" to "100000000";
        /// Most bytes admitted and not yet answered, over all topics. More are refused as
        /// overloaded.
        queue_bytes_max: usize as Size = "256MiB" in "64KiB" to "1024GiB";
        /// Most events admitted and not yet answered, of one topic.
        topic_queue_events_max: usize as Count = "20000" in "1" to "100000000";
        /// Most events of a batch (what a topic commits at once), unless a single transaction
        /// has more.
        batch_events_max: usize as Count = "2000" in "1" to "100000";
        /// Most bytes of a batch, unless a single transaction has more.
        batch_bytes_max: usize as Size = "1MiB" in "1KiB" to "256MiB";
        /// Most batches of a topic on their way to the store at once.
        commits_in_flight_max: usize as Count = "4" in "1" to "64";
        /// How long a topic without writes is kept in memory.
        topic_idle: Duration as Time = "60s" in "1s" to "24h";
        /// Memory for what is known about keys, of each topic.
        keys_bytes_max: usize as Size = "64MiB" in "64KiB" to "64GiB";
        /// The same for all topics together. Where it is short, topics that have more than an
        /// equal share make room.
        keys_bytes_total_max: usize as Size = "96MiB" in "64KiB" to "1024GiB";
        /// Most events that a surface may be behind its topic before writing waits for it.
        unfolded_events_max: usize as Count = "300000" in "1000" to "10000000";
    }
    "Live reads" {
        /// How long a client may leave an answer unread, once the buffers between are full,
        /// before it is cut off. A slow reader that reads now and then is not cut, if the buffer of
        /// its socket has 128 KiB or more: in a smaller one the kernel does not see that it reads.
        read_stall_timeout: Duration as Time = "1min" in "1s" to "1h";
        /// How often a live stream says that it lives, and an event stream where the head is.
        heartbeat_interval: Duration as Time = "15s" in "100ms" to "5min";
        /// How long a live read that needs the store waits for it, before it ends with an error.
        /// One that is caught up waits for as long as it takes.
        read_patience: Duration as Time = "10s" in "100ms" to "10min";
        /// Memory for the newest events of a topic that is read live. Readers that are further
        /// behind read from the store.
        live_topic_bytes_max: usize as Size = "32MiB" in "64KiB" to "64GiB";
        /// The same for all topics together.
        live_bytes_max: usize as Size = "256MiB" in "64KiB" to "1024GiB";
    }
    "Requests" {
        /// Largest event.
        event_bytes_max: usize as Size = "4MiB" in "1KiB" to "256MiB";
        /// Most events of one transaction.
        transaction_events_max: usize as Count = "10000" in "1" to "100000";
        /// Largest body of a request, decompressed. Streams of events may be of any length.
        body_bytes_max: usize as Size = "32MiB" in "1KiB" to "4GiB";
        /// The same for all bodies together that are arriving, but for streams of events. Those that
        /// find no room are refused; the first 16 KiB of each always have room.
        body_bytes_total_max: usize as Size = "256MiB" in "1KiB" to "1024GiB";
        /// How long the body of a request may take to arrive. Streams of events may take any time.
        body_timeout: Duration as Time = "30s" in "100ms" to "1h";
        /// How long a stream of events may stay silent before it is ended.
        stream_idle_timeout: Duration as Time = "5min" in "1s" to "24h";
        /// Most requests a second of one token, or of one client address where there are no
        /// tokens; "off" for any number.
        rate_limit: Option<NonZeroU32> as PositiveOrOff = "off";
        /// Requests that may come at once before rate_limit is applied; "auto" is the number
        /// that rate_limit allows in a second.
        rate_burst: Option<NonZeroU32> as PositiveOrAuto = "auto";
    }
    "Store" {
        /// PostgreSQL connections that append; a topic keeps to one of them. More of them merge less:
        /// worth it where the server has cores to spare and many topics are written at full speed.
        postgres_lanes: usize as Count = "1" in "1" to "64";
        /// Most PostgreSQL connections that read.
        postgres_readers: usize as Count = "8" in "1" to "1000";
        /// SQLite connections that read.
        sqlite_readers: usize as Count = "4" in "1" to "256";
    }
    "Safety" {
        /// Refuse all writes.
        read_only: bool as Switch = "false";
        /// Let everybody who can connect do everything: allows a listen address that is not
        /// loopback without tokens.
        insecure: bool as Switch = "false";
    }
    "Metrics" {
        /// Most consumers whose lag has series of its own in the metrics. Of all others the worst
        /// is shown.
        consumer_series_max: usize as Count = "100" in "0" to "10000";
    }
    "Logging" {
        /// How log lines are written, to standard error: "text", "json", or "auto", which is
        /// text on a terminal and JSON elsewhere.
        log_format: LogFormat as Format = "auto";
        /// Which log lines are written: error, warn, info, debug, trace or off, or a list such
        /// as info,tidelog::store=debug.
        log: String as Filter = "info";
    }
}

impl Default for Config {
    /// What is in force where nothing is given.
    fn default() -> Self {
        Self::from_checked(|name| setting(name).default, Vec::new())
    }
}

/// A limit on requests, of each token or client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: NonZeroU32,
    /// Requests that may come at once.
    pub burst: NonZeroU32,
}

impl Config {
    /// Whether others than this machine's users can connect, and nothing keeps them from doing all.
    #[must_use]
    pub fn is_open_to_others(&self) -> bool {
        !self.listen.ip().to_canonical().is_loopback() && self.tokens.is_empty()
    }

    /// The rate limit; none where it is off.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        let per_second = self.rate_limit?;
        Some(Rate { per_second, burst: self.rate_burst.unwrap_or(per_second) })
    }
}

/// The setting of this name.
pub(super) fn setting(name: &str) -> &'static Setting {
    let found = SETTINGS.iter().find(|setting| setting.name == name);
    found.expect("only names from the table are asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_keeps_to_its_own_rules() {
        for setting in SETTINGS {
            assert_eq!((setting.check)(setting.default), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn every_range_can_be_read_and_is_not_empty() {
        for setting in SETTINGS {
            let Some(bounds) = setting.bounds() else { continue };
            let words: Vec<&str> = bounds.trim_end_matches('.').split(' ').collect();
            for end in [words[1], words[3]] {
                assert_eq!((setting.check)(end), Ok(()), "{}: {end}", setting.name);
            }
        }
    }

    #[test]
    fn without_tokens_only_loopback_is_private() {
        let open = |listen| {
            let listen = Address::parse(listen).expect("an address");
            Config { listen, insecure: true, ..Config::default() }.is_open_to_others()
        };
        for private in
            ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"]
        {
            assert!(!open(private), "{private}");
        }
        for public in ["0.0.0.0:1", "[::]:1", "10.0.0.7:1", "[fe80::1]:1"] {
            assert!(open(public), "{public}");
        }
    }

    #[test]
    fn a_burst_follows_the_rate_unless_it_is_given() {
        let number = NonZeroU32::new;
        let mut config = Config::default();
        assert_eq!(config.rate(), None);
        config.rate_limit = number(5);
        assert_eq!(config.rate().map(|rate| rate.burst), number(5));
        config.rate_burst = number(20);
        assert_eq!(
            config.rate().map(|rate| (Some(rate.per_second), Some(rate.burst))),
            Some((number(5), number(20)))
        );
    }
}
