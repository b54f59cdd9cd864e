//! Every panel of the dashboard, on a real Prometheus that scrapes the built service under load
//! while its database goes away for a moment: no target errors or comes back empty.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::load::Load;
use crate::model::{dashboard, list, panels, word};
use crate::postgres::{Cluster, Stop};
use crate::prometheus::{Prometheus, promtool};
use crate::service::Service;
use crate::table;

/// Most time for the load to show on every panel.
const PATIENCE: Duration = Duration::from_secs(120);

/// A target, with its variables replaced as Grafana does when "All" is chosen.
fn replaced(expression: &str) -> String {
    // The least that Grafana takes is four intervals of scraping; see `SCRAPE_INTERVAL`.
    let expression = expression.replace("$__rate_interval", "4s");
    expression.replace("$job", ".*").replace("$instance", ".*")
}

fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs_f64()
}

/// The values that a target would draw since `from`; none where it comes back empty.
async fn values(prometheus: &Prometheus, target: &Value, from: f64) -> Result<Vec<f64>, String> {
    let query = replaced(word(target, "expr"));
    let (start, end) = (from.to_string(), seconds_now().to_string());
    let range = [("query", &*query), ("start", &*start), ("end", &*end), ("step", "1")];
    let found = prometheus.api("query_range", &range).await?;
    let series = list(&found, "result").iter();
    let values = series.flat_map(|series| list(series, "values")).filter_map(|sample| {
        let value: f64 = sample[1].as_str()?.parse().ok()?;
        value.is_finite().then_some(value)
    });
    Ok(values.collect())
}

/// What is wrong with a panel: a target errs or has no value, or all of it is zero.
async fn complaints(prometheus: &Prometheus, panel: &Value, from: f64) -> Vec<String> {
    let title = word(panel, "title");
    let (mut wrong, mut positive) = (Vec::new(), false);
    for target in list(panel, "targets") {
        let name = format!("{title}, {:?}", word(target, "legendFormat"));
        match values(prometheus, target, from).await {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(values) if values.is_empty() => wrong.push(format!("{name} is empty")),
            Ok(values) => positive |= values.iter().any(|value| *value > 0.0),
        }
    }
    if !positive {
        wrong.push(format!("{title} shows nothing but zeros"));
    }
    wrong
}

async fn all_complaints(prometheus: &Prometheus, dashboard: &Value, from: f64) -> Vec<String> {
    let mut wrong = Vec::new();
    for panel in panels(dashboard) {
        wrong.extend(complaints(prometheus, panel, from).await);
    }
    wrong
}

async fn wait(count: &AtomicU64, more: u64) {
    let target = count.load(Ordering::Relaxed) + more;
    while count.load(Ordering::Relaxed) < target {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn wait_for_scrapes(prometheus: &Prometheus) {
    let enough = [("query", "count_over_time(tidelog_build_info[1m]) > 2")];
    loop {
        // It may still be starting.
        let found = prometheus.api("query", &enough).await.unwrap_or_default();
        if found["result"].as_array().is_some_and(|result| !result.is_empty()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The choices that a variable offers: `label_values(SELECTOR, LABEL)`.
async fn choices(prometheus: &Prometheus, variable: &Value) -> usize {
    let query = replaced(word(&variable["query"], "query"));
    let inside = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')'));
    let (selector, label) = inside.and_then(|inside| inside.rsplit_once(", ")).expect("a query");
    let path = format!("label/{label}/values");
    let found = prometheus.api(&path, &[("match[]", selector)]).await.expect("it can be asked");
    found.as_array().expect("a list").len()
}

#[tokio::test]
async fn under_load_every_panel_shows_something() {
    let cluster = Cluster::new(&[]);
    let database = cluster.database();
    // So low that the load gets to them.
    let limits = "--write-timeout 1s --topic-idle 1s --topic-queue-events-max 1500 \
        --transaction-events-max 1000";
    let service = Service::start(&database, &limits.split_whitespace().collect::<Vec<_>>());
    table::check(&service.metrics().await, false);
    let prometheus = Prometheus::start(&service.address);
    let (dashboard, from) = (dashboard(), seconds_now());
    let load = Load::new(&service);
    let watching = async {
        wait(&load.done, 500).await;
        // What rises between two scrapes is seen; what is up at the first one is not a rise.
        wait_for_scrapes(&prometheus).await;
        cluster.stop(Stop::Immediate);
        wait(&load.failed, 100).await;
        cluster.start();
        wait(&load.done, 500).await;
        let mut wrong = all_complaints(&prometheus, &dashboard, from).await;
        while !wrong.is_empty() && seconds_now() < from + PATIENCE.as_secs_f64() {
            tokio::time::sleep(Duration::from_millis(200)).await;
            wrong = all_complaints(&prometheus, &dashboard, from).await;
        }
        load.stop();
        wrong
    };
    let all = async { futures::join!(load.run(), watching) };
    let ((), wrong) = tokio::time::timeout(PATIENCE * 2, all).await.expect("it ends");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));

    for variable in &list(&dashboard["templating"], "list")[1..] {
        assert_eq!(choices(&prometheus, variable).await, 1, "{variable}");
    }
    let rules = prometheus.api("rules", &[]).await.expect("it can be asked");
    let rules = list(&list(&rules, "groups")[0], "rules");
    assert!(rules.len() >= 5);
    rules.iter().for_each(|rule| assert_eq!(rule["health"], "ok", "{rule}"));
    let metrics = service.metrics().await;
    table::check(&metrics, true);
    promtool(&["check", "metrics"], &metrics).expect("names and types are as Prometheus wants");
}

#[test]
fn prometheus_takes_the_shipped_configuration_and_rules() {
    for (what, name) in [("config", "prometheus.yml"), ("rules", "alerts.yml")] {
        let path = crate::file(&format!("prometheus/{name}"));
        promtool(&["check", what, path.to_str().expect("UTF-8")], "").expect("it is right");
    }
}
