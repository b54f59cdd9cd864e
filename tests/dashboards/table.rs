//! The table of metrics in the README, the one in the program, and what `/metrics` exposes: one.

use std::collections::{HashMap, HashSet};

use tidelog::metrics::table::{Kind, METRICS, Metric};

/// A metric as `/metrics` shows it: its type, its help, and its label sets.
#[derive(Default)]
pub struct Exposed {
    pub kind: String,
    pub help: String,
    pub series: Vec<Vec<(String, String)>>,
}

/// Reads the exposition format. Parts of a histogram count as the histogram.
pub fn exposed(text: &str) -> HashMap<String, Exposed> {
    let mut all: HashMap<String, Exposed> = HashMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            all.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            all.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let (series, _) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| name.strip_suffix(part));
            let whole = whole.filter(|whole| all.contains_key(*whole)).unwrap_or(name);
            let found = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
            let found = found.map(|label| {
                let (name, value) = label.split_once("=\"").expect("a label");
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            });
            let labels = found.filter(|(name, _)| name != "le").collect();
            all.get_mut(whole).expect("the type comes first").series.push(labels);
        }
    }
    all
}

/// A row of the README.
fn row(metric: &Metric) -> String {
    let labels = metric.labels.iter().map(|label| {
        let values: Vec<String> = label.values.iter().map(|value| format!("`{value}`")).collect();
        let values =
            if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
        format!("`{}`{values}", label.name)
    });
    let labels: Vec<String> = labels.collect();
    let (name, kind, unit, help) = (metric.name, metric.kind.name(), metric.unit, metric.help);
    format!("| `{name}` | {kind} | {unit} | {} | {help} |", labels.join("; "))
}

#[test]
fn the_readme_has_exactly_the_metrics_of_the_program() {
    let readme = crate::text("README.md");
    let metrics = |line: &&str| line.starts_with("| `tidelog_") || line.starts_with("| `process_");
    let found: Vec<&str> = readme.lines().filter(metrics).collect();
    let expected: Vec<String> = METRICS.iter().map(row).collect();
    assert!(found == expected, "it should be\n{}\n", expected.join("\n"));
}

#[test]
fn names_types_and_units_fit() {
    let mut names = HashSet::new();
    for Metric { name, kind, unit, labels, help } in METRICS {
        assert!(names.insert(name), "{name} twice");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        for base in ["seconds", "bytes"] {
            assert_eq!(name.contains(base), *unit == base, "{name} in {unit}");
        }
        assert!(help.ends_with('.') && !help.contains('|'), "{name}: {help}");
        let known = labels.iter().filter(|label| !label.values.is_empty()).count();
        assert!(known == 0 || (labels.len() == 1 && *kind == Kind::Counter), "{name}");
    }
}

/// What is exposed is what the table says. `all` that the table has is exposed once it has
/// happened.
pub fn check(text: &str, all: bool) {
    let found = exposed(text);
    for (name, Exposed { kind, help, series }) in &found {
        let metric = METRICS.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!((&**kind, &**help), (metric.kind.name(), metric.help), "{name}");
        for labels in series {
            let names: Vec<&str> = labels.iter().map(|(name, _)| &**name).collect();
            let expected: Vec<&str> = metric.labels.iter().map(|label| label.name).collect();
            assert_eq!(names, expected, "{name}");
            for (label, (_, value)) in metric.labels.iter().zip(labels) {
                let known = label.values.is_empty() || label.values.contains(&&**value);
                assert!(known, "{name}: {value} is not a known {}", label.name);
            }
        }
    }
    for metric in METRICS {
        let series = found.get(metric.name).map_or(&[][..], |exposed| &exposed.series);
        let known = metric.labels.iter().all(|label| !label.values.is_empty());
        assert!(!series.is_empty() || !(all || known), "{} is not exposed", metric.name);
        for value in metric.labels.iter().flat_map(|label| label.values) {
            let has = |labels: &Vec<_>| labels.iter().any(|(_, found)| found == value);
            assert!(series.iter().any(has), "{}: {value} is not exposed", metric.name);
        }
    }
}
