//! The dashboard, as the JSON that Grafana imports: a data source to be chosen, unique ids, panels
//! that do not overlap, and no variable or metric that does not exist.

use std::collections::HashSet;

use serde_json::Value;
use tidelog::metrics::table::{Kind, METRICS};

/// Variables that Grafana itself replaces.
const BUILT_IN: [&str; 1] = ["__rate_interval"];
/// Metrics that Prometheus adds to every target.
const OF_PROMETHEUS: [&str; 2] = ["up", "scrape_duration_seconds"];
/// Words of PromQL, and labels, that may stand where a metric could.
const PROMQL: [&str; 17] = [
    "sum",
    "by",
    "rate",
    "increase",
    "histogram_quantile",
    "min",
    "max",
    "time",
    "on",
    "or",
    "group_left",
    "le",
    "reason",
    "kind",
    "code",
    "method",
    "route",
];
/// Labels that are named without a selector.
const LABELS: [&str; 7] = ["job", "instance", "status", "use", "version", "topic", "consumer"];

pub fn dashboard() -> Value {
    serde_json::from_str(&crate::text("tidelog.json")).expect("JSON")
}

pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} in {value}"))
}

pub fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Panels that are not only headings.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

#[test]
fn it_can_be_imported_as_it_is() {
    let dashboard = dashboard();
    assert!(dashboard["id"].is_null(), "Grafana gives the number");
    assert!((1..=40).contains(&word(&dashboard, "uid").len()));
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36));
    assert!(dashboard["__inputs"].is_null(), "provisioning cannot answer questions");
    let variables = list(&dashboard["templating"], "list");
    let source = &variables[0];
    assert_eq!((word(source, "type"), word(source, "query")), ("datasource", "prometheus"));
    for variable in &variables[1..] {
        assert_eq!(variable["datasource"]["uid"], "${datasource}", "{variable}");
    }
    for panel in panels(&dashboard) {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        for target in list(panel, "targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
        }
    }
}

#[test]
fn every_panel_has_an_id_a_title_an_explanation_and_targets_of_its_own() {
    let dashboard = dashboard();
    let (mut ids, mut titles) = (HashSet::new(), HashSet::new());
    for panel in list(&dashboard, "panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "twice: {panel}");
        assert!(titles.insert((word(panel, "title"), word(panel, "type"))), "twice: {panel}");
    }
    for panel in panels(&dashboard) {
        assert!(["timeseries", "stat"].contains(&word(panel, "type")), "{panel}");
        assert!(word(panel, "description").ends_with('.'), "{panel}");
        assert!(!word(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{panel}");
        let targets = list(panel, "targets");
        let refs: HashSet<&str> = targets.iter().map(|target| word(target, "refId")).collect();
        let legends: HashSet<&str> =
            targets.iter().map(|target| word(target, "legendFormat")).collect();
        assert!(!targets.is_empty() && refs.len() == targets.len(), "{panel}");
        assert_eq!(legends.len(), targets.len(), "two lines of one name: {panel}");
    }
}

#[test]
fn panels_stay_in_the_grid_and_do_not_overlap() {
    let dashboard = dashboard();
    let mut taken = HashSet::new();
    for panel in list(&dashboard, "panels") {
        let at = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{cell:?} is taken already: {panel}");
        }
    }
    let bottom = taken.iter().map(|(_, y)| y + 1).max().expect("there are panels");
    for y in 0..bottom {
        assert!(taken.iter().any(|(_, row)| *row == y), "row {y} is empty: Grafana would move it");
    }
}

/// Names in an expression, outside strings, selectors and ranges.
fn names(expression: &str) -> Vec<String> {
    let (mut names, mut name, mut depth, mut in_string) = (Vec::new(), String::new(), 0, false);
    for c in expression.chars().chain([' ']) {
        match c {
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && !in_string && (c.is_alphanumeric() || c == '_') {
            name.push(c);
        } else if !name.is_empty() {
            names.push(std::mem::take(&mut name));
        }
    }
    names.retain(|name| name.starts_with(char::is_alphabetic));
    names
}

/// Whether a metric is exposed; histograms by their parts.
fn exists(name: &str) -> bool {
    let is = |name: &str, histogram: bool| {
        METRICS.iter().any(|m| m.name == name && (m.kind == Kind::Histogram) == histogram)
    };
    let part = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    is(name, false) || part.is_some_and(|name| is(name, true)) || OF_PROMETHEUS.contains(&name)
}

#[test]
fn expressions_name_only_metrics_and_variables_that_exist() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list");
    let variables: Vec<&str> = variables.iter().map(|variable| word(variable, "name")).collect();
    let alerts = crate::text("prometheus/alerts.yml");
    let alerts = alerts.lines().map(str::trim).filter_map(|line| {
        line.strip_prefix("expr: ").or_else(|| line.starts_with("histogram_").then_some(line))
    });
    let targets = panels(&dashboard).flat_map(|panel| list(panel, "targets"));
    let mut expressions: Vec<&str> = targets.map(|target| word(target, "expr")).collect();
    let of_panels = expressions.len();
    expressions.extend(alerts.filter(|line| *line != "|"));
    assert!(of_panels > 50 && expressions.len() > of_panels + 5);
    for expression in expressions {
        let mut metrics = 0;
        for name in names(expression) {
            if PROMQL.contains(&&*name) || LABELS.contains(&&*name) {
                continue;
            }
            assert!(exists(&name), "{name} in {expression}");
            metrics += 1;
        }
        assert!(metrics > 0, "{expression}");
        for variable in expression.split('$').skip(1) {
            let end = variable.find(|c: char| !c.is_alphanumeric() && c != '_');
            let variable = &variable[..end.unwrap_or(variable.len())];
            assert!(
                variables.contains(&variable) || BUILT_IN.contains(&variable),
                "${variable} in {expression}"
            );
        }
    }
}
