//! Samples and what becomes of them: a table for people, JSON for machines, a plot.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::subject::Subject;

/// One measurement of one subject.
#[derive(Clone, Default)]
pub struct Sample {
    pub events: usize,
    pub seconds: f64,
    /// Microseconds of single requests, sorted; empty where there were none.
    pub latencies: Vec<u32>,
    /// CPU seconds of service, database and client.
    pub cpu: [f64; 3],
    /// MiB resident at the end of the load, of the service.
    pub memory: f64,
    /// Growth of the data on disk.
    pub disk: u64,
}

impl Sample {
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    fn percentile(&self, percent: usize) -> Option<u32> {
        self.latencies.get(self.latencies.len() * percent / 100).copied()
    }
}

/// All samples of a case, by subject.
pub struct Results {
    pub case: String,
    pub about: String,
    pub samples: Vec<(Subject, Vec<Sample>)>,
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Results {
    pub fn median_rate(&self, of: Subject) -> Option<f64> {
        let (_, samples) = self.samples.iter().find(|(subject, _)| *subject == of)?;
        Some(median(samples.iter().map(Sample::rate)))
    }

    /// Tidelog on the database that a subject is on, where it is on one, or else on PostgreSQL.
    fn compared(&self, with: Subject) -> Option<f64> {
        let db = match with {
            Subject::Tidelog(_) => return None,
            Subject::RawLog(db, _) | Subject::RawSurface(db) => db,
            _ => super::subject::Db::Postgres,
        };
        Some(self.median_rate(Subject::Tidelog(db))? / self.median_rate(with)?)
    }

    pub fn table(&self) -> String {
        let mut text = format!("\n### `{}`: {}\n\n", self.case, self.about);
        text.push_str(
            "| | events/s | lowest to highest | Tidelog is | p50 / p99 ms | \
             CPU µs an event: service, database, client | MiB | bytes an event |\n\
             | --- | ---: | --- | ---: | --- | --- | ---: | ---: |\n",
        );
        for (subject, samples) in &self.samples {
            let rates: Vec<f64> = samples.iter().map(Sample::rate).collect();
            let (low, high) = (
                rates.iter().copied().fold(f64::MAX, f64::min),
                rates.iter().copied().fold(0.0, f64::max),
            );
            let times = self.compared(*subject).map_or(String::new(), |x| format!("{x:.2} ×"));
            let of = |percent| {
                let all = samples.iter().filter_map(|sample| sample.percentile(percent));
                let all: Vec<f64> = all.map(f64::from).collect();
                (!all.is_empty()).then(|| median(all) / 1000.0)
            };
            let latency = match (of(50), of(99)) {
                (Some(p50), Some(p99)) => format!("{p50:.2} / {p99:.2}"),
                _ => String::new(),
            };
            let cpu = |at: usize| median(samples.iter().map(|s| s.cpu[at] * 1e6 / s.events as f64));
            let memory = median(samples.iter().map(|sample| sample.memory));
            let disk = median(samples.iter().map(|s| s.disk as f64 / s.events as f64));
            let _ = writeln!(
                text,
                "| {} | {} | {} to {} | {times} | {latency} | {:.1}, {:.1}, {:.1} | {memory:.0} | \
                 {disk:.0} |",
                subject.name(),
                thousands(median(rates.iter().copied())),
                thousands(low),
                thousands(high),
                cpu(0),
                cpu(1),
                cpu(2),
            );
        }
        text
    }

    /// Rate and p99 in milliseconds of every subject, for the plot.
    pub fn points(&self) -> Vec<Point> {
        let of = |(subject, samples): &(Subject, Vec<Sample>)| {
            let p99 = samples.iter().filter_map(|sample| sample.percentile(99));
            let p99 = median(p99.map(|us| f64::from(us) / 1000.0));
            Point { subject: *subject, rate: median(samples.iter().map(Sample::rate)), p99 }
        };
        self.samples.iter().map(of).collect()
    }

    pub fn json(&self) -> Value {
        let subjects = self.samples.iter().map(|(subject, samples)| {
            let rounds = samples.iter().map(|sample| {
                json!({
                    "events": sample.events,
                    "seconds": sample.seconds,
                    "p50_us": sample.percentile(50),
                    "p99_us": sample.percentile(99),
                    "cpu_seconds": {
                        "service": sample.cpu[0], "database": sample.cpu[1], "client": sample.cpu[2],
                    },
                    "service_mib": sample.memory,
                    "disk_bytes": sample.disk,
                })
            });
            json!({
                "subject": subject.name().replace('*', ""),
                "events_per_second": self.median_rate(*subject),
                "tidelog_is_times": self.compared(*subject),
                "rounds": rounds.collect::<Vec<_>>(),
            })
        });
        json!({ "case": self.case, "subjects": subjects.collect::<Vec<_>>() })
    }
}

pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Throughput, and p99 in milliseconds, of a subject.
pub struct Point {
    pub subject: Subject,
    pub rate: f64,
    pub p99: f64,
}

/// Throughput and p99 over the number of connections, as two panels of an SVG.
pub fn plot(points: &[(usize, Vec<Point>)]) -> String {
    let panels = [("events a second", 0_usize), ("p99, milliseconds", 1)];
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 360\" \
         font-family=\"sans-serif\" font-size=\"12\"><rect width=\"860\" height=\"360\" \
         fill=\"white\"/>\n",
    );
    let colours = ["#0b6e4f", "#3a86ff", "#d1495b", "#8d6a9f"];
    for (title, which) in panels {
        let left = 70.0 + 430.0 * which as f64;
        let (top, width, height) = (40.0, 330.0, 250.0);
        let value = |point: &Point| if which == 0 { point.rate } else { point.p99 };
        let highest = points.iter().flat_map(|(_, all)| all.iter().map(value)).fold(1.0, f64::max);
        let x = |n: usize| left + width * n as f64 / (points.len().max(2) - 1) as f64;
        let y = |value: f64| top + height * (1.0 - value / (highest * 1.05));
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"25\" font-weight=\"bold\">{title}</text>");
        for step in 0..=4 {
            let at = highest * f64::from(step) / 4.0;
            let label = if which == 0 { thousands(at) } else { format!("{at:.1}") };
            let (y, right) = (y(at), left + width);
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.0}\" \
                 y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 6.0,
                y + 4.0
            );
        }
        for (n, (connections, _)) in points.iter().enumerate() {
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"308\" text-anchor=\"middle\">{connections}</text>",
                x(n)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"326\" text-anchor=\"middle\">connections</text>",
            left + width / 2.0
        );
        let subjects = points.first().map_or(0, |(_, all)| all.len());
        for at in 0..subjects {
            let colour = colours[at % colours.len()];
            let line: Vec<String> = (points.iter().enumerate())
                .map(|(n, (_, all))| format!("{:.1},{:.1}", x(n), y(value(&all[at]))))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            if which == 0 {
                let name = points[0].1[at].subject.name().replace('*', "");
                let _ = writeln!(
                    svg,
                    "<text x=\"{}\" y=\"348\" fill=\"{colour}\">{name}</text>",
                    70 + 205 * at
                );
            }
        }
    }
    svg.push_str("</svg>\n");
    svg
}
