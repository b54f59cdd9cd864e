//! The rules. Each takes a file (its path and text) and says what is wrong with it.

use crate::code::{code_of, line, modules_used, words};

/// Longest source file, in lines.
const LINES_MAX: usize = 450;

/// Which modules of the crate a module may use besides itself. Lower layers come first.
const LAYERS: [(&str, &[&str]); 16] = [
    ("domain", &[]),
    ("metrics", &[]),
    ("backoff", &[]),
    ("telemetry", &["metrics"]),
    ("store", &["domain", "metrics"]),
    ("topic", &["domain", "store", "metrics", "backoff"]),
    ("wire", &["domain"]),
    ("live", &["domain", "store", "topic", "wire", "metrics"]),
    // Beside the service, not a part of it.
    ("client", &["domain", "store", "wire", "backoff"]),
    // What an operator may choose, so the types of what is chosen.
    ("config", &["domain", "store", "topic", "metrics", "telemetry"]),
    ("http", &["domain", "store", "topic", "wire", "live", "metrics", "config"]),
    (
        "server",
        &["domain", "store", "topic", "wire", "live", "metrics", "config", "http", "telemetry"],
    ),
    ("transfer", &["domain", "store", "wire", "live", "client"]),
    // The service and its client, as commands.
    (
        "cli",
        &[
            "domain",
            "store",
            "topic",
            "wire",
            "live",
            "client",
            "config",
            "server",
            "telemetry",
            "transfer",
        ],
    ),
    (
        "lib",
        &["domain", "store", "topic", "wire", "live", "metrics", "config", "http", "telemetry"],
    ),
    ("main", &["cli"]),
];

/// Who may name the trait that writes: `transfer` for what was decided before, elsewhere.
/// Everybody else goes through `topic::Topics`.
const WRITERS: [&str; 4] = ["store", "topic", "transfer", "server"];

/// Libraries, and the only places that may use them.
const LIBRARIES: [(&str, &[&str]); 16] = [
    ("tokio_postgres", &["src/store/postgres/"]),
    ("deadpool_postgres", &["src/store/postgres/"]),
    ("rustls", &["src/store/postgres/", "src/server", "src/client/tls"]),
    ("reqwest", &["src/client/"]),
    ("rusqlite", &["src/store/sqlite/"]),
    ("refinery", &["src/store/"]),
    ("actix", &["src/topic/", "src/server"]),
    ("actix_web", &["src/http/", "src/server"]),
    (
        "serde",
        &["src/wire/", "src/http/", "src/config/", "src/server", "src/cli/", "src/telemetry/json"],
    ),
    (
        "serde_json",
        &["src/wire/", "src/http/", "src/config/", "src/server", "src/cli/", "src/telemetry/json"],
    ),
    ("clap", &["src/config/cli", "src/cli/"]),
    ("clap_complete", &["src/cli/manual"]),
    ("clap_mangen", &["src/cli/manual"]),
    ("comfy_table", &["src/cli/table"]),
    ("csv", &["src/cli/input/csv"]),
    ("indicatif", &["src/cli/progress"]),
];

/// What the domain, being pure, cannot name.
const IMPURE: [&str; 8] =
    ["tokio", "futures", "async", "await", "SystemTime", "Instant", "File", "Mutex"];

/// The top module of a file: `domain` for `src/domain/batch.rs`, `metrics` for `src/metrics.rs`.
fn layer(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    let top = below.split('/').next().unwrap_or(below);
    top.strip_suffix(".rs").unwrap_or(top)
}

/// Files that are modules of tests as a whole.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

pub fn header(text: &str) -> Vec<String> {
    let begins = text.starts_with("//! ");
    if begins { Vec::new() } else { vec!["does not begin with a `//!` header".into()] }
}

pub fn length(text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!("has {lines} lines; at most {LINES_MAX} are allowed")]
}

pub fn layers(path: &str, text: &str) -> Vec<String> {
    if is_test(path) {
        return Vec::new();
    }
    let own = layer(path);
    let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == own) else {
        return vec![format!("`{own}` is in no layer: add it to LAYERS in tests/tidy/rules.rs")];
    };
    let is_module = |name: &str| LAYERS.iter().any(|(layer, _)| *layer == name);
    let allowed = |name: &str| name == own || below.contains(&name) || !is_module(name);
    modules_used(path, &code_of(text))
        .into_iter()
        .filter(|(_, name)| !allowed(name))
        .map(|(line, name)| format!("line {line}: `{own}` may not use `{name}`"))
        .collect()
}

pub fn writer(path: &str, text: &str) -> Vec<String> {
    const TRAIT: &str = "EventSourceWriter";
    if WRITERS.contains(&layer(path)) || is_test(path) {
        return Vec::new();
    }
    let code = code_of(text);
    let found = words(&code, TRAIT).map(|at| line(&code, at));
    found.map(|line| format!("line {line}: names `{TRAIT}`")).collect()
}

pub fn libraries(path: &str, text: &str) -> Vec<String> {
    if is_test(path) {
        return Vec::new();
    }
    let code = code_of(text);
    let mut wrong = Vec::new();
    for (library, places) in LIBRARIES {
        if !places.iter().any(|place| path.starts_with(place)) {
            let uses = words(&code, library).filter(|at| is_path(&code, *at, library));
            wrong.extend(uses.map(|at| format!("line {}: uses `{library}`", line(&code, at))));
        }
    }
    if layer(path) == "domain" {
        for word in IMPURE {
            let found = words(&code, word);
            wrong.extend(found.map(|at| format!("line {}: `{word}`", line(&code, at))));
        }
    }
    wrong
}

/// Whether a word is the begin of a path: `use word…` or `word::…`, and no field or module.
fn is_path(code: &str, at: usize, word: &str) -> bool {
    let before = code[..at].trim_end();
    let after = &code[at + word.len()..];
    (after.starts_with("::") && !before.ends_with("::")) || before.ends_with("use")
}

pub fn banned(path: &str, text: &str) -> Vec<String> {
    if is_test(path) {
        return Vec::new();
    }
    let code = code_of(text);
    let mut words_banned = vec!["todo!", "unimplemented!", "dbg!", ".unwrap()", ".unwrap_err()"];
    if !matches!(layer(path), "main" | "config") {
        words_banned.extend(["println!", "print!", "eprintln!", "eprint!"]);
    }
    let found = words_banned.iter().flat_map(|word| words(&code, word).map(move |at| (at, word)));
    found.map(|(at, word)| format!("line {}: `{word}`", line(&code, at))).collect()
}

/// Whether a file of `sql/` is a migration: `sql/<back-end>/V<n>__<what>.sql`.
pub fn is_migration(path: &str) -> bool {
    let mut parts = path.split('/').skip(2);
    matches!((parts.next(), parts.next()), (Some(name), None) if name.starts_with('V'))
}
