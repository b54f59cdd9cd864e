//! The metrics of consumers, as text. Their labels are names that clients choose, and come and go:
//! so what is exposed is written anew for each scrape, and is not kept by the recorder, which
//! forgets no series.
//!
//! Not here: which consumers have a series of their own (`http/lags.rs`).
//! Invariant: names have only characters that need no escaping.

use std::fmt::{Display, Write as _};

use super::table::METRICS;

const EVENTS: &str = "tidelog_consumer_lag_events";
const SECONDS: &str = "tidelog_consumer_lag_seconds";

/// What stands for a name in the series of all other consumers; no name has parentheses.
const OTHER: &str = "(other)";

/// How far a consumer is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lag {
    /// Events that it has not handled.
    pub events: u64,
    /// For how long the first of them has been there.
    pub seconds: f64,
}

impl Lag {
    /// The larger of both, each for itself.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        let (events, seconds) = (self.events.max(other.events), self.seconds.max(other.seconds));
        Self { events, seconds }
    }
}

/// Appends the series of consumers, by topic and name, and of all others, where there are any.
pub fn put<N: Display>(out: &mut String, own: &[(N, N, Lag)], others: Option<Lag>) {
    if own.is_empty() && others.is_none() {
        return;
    }
    family(out, EVENTS, own, others, |lag| lag.events.to_string());
    family(out, SECONDS, own, others, |lag| lag.seconds.to_string());
}

fn family<N: Display>(
    out: &mut String,
    name: &str,
    own: &[(N, N, Lag)],
    others: Option<Lag>,
    value: impl Fn(&Lag) -> String,
) {
    let metric = METRICS.iter().find(|metric| metric.name == name).expect("it is in the table");
    let mut put = |line: std::fmt::Arguments<'_>| {
        out.write_fmt(line).expect("a text takes everything");
    };
    put(format_args!("# HELP {name} {}\n", metric.help));
    put(format_args!("# TYPE {name} {}\n", metric.kind.name()));
    for (topic, consumer, lag) in own {
        let value = value(lag);
        put(format_args!("{name}{{topic=\"{topic}\",consumer=\"{consumer}\"}} {value}\n"));
    }
    if let Some(lag) = others {
        let value = value(&lag);
        put(format_args!("{name}{{topic=\"{OTHER}\",consumer=\"{OTHER}\"}} {value}\n"));
    }
    put(format_args!("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_exposed_as_prometheus_reads_them() {
        let mut out = String::from("# what was there\n");
        put::<&str>(&mut out, &[], None);
        assert_eq!(out, "# what was there\n");
        let own = [("t", "billing", Lag { events: 12, seconds: 3.25 })];
        put(&mut out, &own, Some(Lag::default().max(Lag { events: 7, seconds: 0.0 })));
        let lines: Vec<&str> = out.lines().skip(1).filter(|line| !line.is_empty()).collect();
        let [help, kind, own, other, .., seconds, _] = lines[..] else { panic!("{out}") };
        assert!(help.starts_with("# HELP tidelog_consumer_lag_events "), "{out}");
        assert_eq!(kind, "# TYPE tidelog_consumer_lag_events gauge");
        assert_eq!(own, "tidelog_consumer_lag_events{topic=\"t\",consumer=\"billing\"} 12");
        assert!(other.ends_with("{topic=\"(other)\",consumer=\"(other)\"} 7"), "{out}");
        assert!(seconds.ends_with("{topic=\"t\",consumer=\"billing\"} 3.25"), "{out}");
    }
}
