//! The `tidelog` command as an operator meets it: what it prints, and how it exits.
//!
//! Not here: what holds for every setting of the table (`src/config/tests.rs`).

use std::fs;
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// What a run printed, and how it ended.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn says(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in:\n{}", self.err);
        }
        self
    }
}

/// Runs the command in a directory of its own, with nothing in the environment.
struct Place {
    dir: TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Place {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), variables: Vec::new() }
    }

    fn with_file(text: &str) -> Self {
        let place = Self::new();
        fs::write(place.dir.path().join("t.toml"), text).unwrap();
        place
    }

    fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn run(&self, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_tidelog"))
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(self.variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[test]
fn a_service_without_any_settings_has_a_configuration() {
    let ran = Place::new().run(&["config"]);
    ran.says(0, &[]);
    assert!(ran.out.lines().any(|line| {
        line.starts_with("listen = \"127.0.0.1:4810\" ") && line.ends_with("# default")
    }));
    assert_eq!(ran.err, "");
}

#[test]
fn config_names_the_source_of_each_value() {
    let place = Place::with_file("\n\ntopic_idle = \"5s\"\nbatch_events_max = 0x10\n")
        .with_variable("TIDELOG_WRITE_TIMEOUT", "3s")
        .with_variable("TIDELOG_CONFIG", "t.toml");
    let ran = place.run(&["config", "--read-only", "--queue-events-max", "30000"]);
    ran.says(0, &[]);
    let expected = [
        ("topic_idle = \"5s\"", "# t.toml:3"),
        ("batch_events_max = 16", "# t.toml:4"),
        ("write_timeout = \"3s\"", "# TIDELOG_WRITE_TIMEOUT"),
        ("read_only = true", "# --read-only"),
        ("queue_events_max = 30000", "# --queue-events-max"),
    ];
    for (value, source) in expected {
        let found = ran.out.lines().find(|line| line.starts_with(&format!("{value} ")));
        assert!(found.is_some_and(|line| line.ends_with(source)), "{value}:\n{}", ran.out);
    }
}

#[test]
fn all_mistakes_are_reported_at_once_each_with_its_source() {
    let place = Place::with_file(
        "lisen = \"127.0.0.1:1\"\nbatch_bytes_max = \"1MB\"\nworkers = 1.5\n\n[topic]\nidle = 1\n\n\
         [[token]]\nname = \"a b\"\nsha256 = \"x\"\ntopic = [\"t\"]\naccess = \"admin\"\n",
    )
    .with_variable("TIDELOG_TOPIC_IDEL", "5s")
    .with_variable("TIDELOG_WRITE_TIMEOUT", "10")
    .with_variable("TIDELOG_STORE", "mysql://me:s3cret@h/db");
    let ran = place.run(&["serve", "--config=t.toml", "--read-only=yes", "--queue-events-max=1"]);
    ran.says(
        78,
        &[
            "the configuration has 14 mistakes:",
            "t.toml:1: lisen: is not a setting; did you mean listen?",
            "t.toml:2: batch_bytes_max: is \"1MB\"; it must be bytes or KiB",
            "t.toml:3: workers: is of the type float",
            "t.toml:5: topic: is not a setting",
            "t.toml:9: token.name: is \"a b\"",
            "t.toml:10: token.sha256: must be",
            "t.toml:11: token.topic: is not a key of a token; did you mean topics?",
            "t.toml:8: token.topics: is missing",
            "t.toml:12: token.access: is \"admin\"",
            "TIDELOG_TOPIC_IDEL: is not a setting; did you mean TIDELOG_TOPIC_IDLE?",
            "TIDELOG_WRITE_TIMEOUT: is \"10\"; it must be a number and a unit",
            "TIDELOG_STORE: must be sqlite:PATH",
            "--read-only: is \"yes\"; it must be true or false",
            "topic_queue_events_max (default): is 20000, above queue_events_max = 1 \
             (--queue-events-max)",
        ],
    );
    assert!(!ran.err.contains("s3cret"), "{}", ran.err);
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    let place = Place::with_file("listen = \"127.0.0.1:1\"\n\nstore = memory:\n");
    place.run(&["serve", "--config", "no.toml"]).says(78, &["no.toml: cannot be read: "]);
    place.run(&["config", "--config", "t.toml"]).says(78, &["t.toml:3: is not TOML: "]);
    let twice = Place::with_file("read_only = true\nread_only = true\n");
    twice.run(&["config", "--config", "t.toml"]).says(78, &["t.toml:2: is not TOML: duplicate"]);
}

#[test]
fn secrets_are_masked() {
    let file = format!(
        "store = \"postgres://me:s3cret@db/log?sslmode=require\"\n\n[[token]]\nname = \"app\"\n\
         sha256 = \"{}\"\ntopics = [\"orders\", \"eu.*\"]\naccess = \"read\"\n",
        sha256("token")
    );
    let ran = Place::with_file(&file).run(&["config", "--config=t.toml"]);
    ran.says(0, &[]);
    assert!(
        ran.out.contains("store = \"postgres://me:***@db/log?sslmode=require\""),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("topics = [\"orders\", \"eu.*\"]\naccess = \"read\""), "{}", ran.out);
    assert!(!ran.out.contains("s3cret") && !ran.out.contains(&sha256("token")), "{}", ran.out);
}

#[test]
fn a_token_in_the_place_of_its_hash_is_not_printed() {
    let file = "[[token]]\nname = \"app\"\nsha256 = \"tidelog_s3cret\"\ntopics = [\"*\"]\naccess = \"read\"\n";
    let ran = Place::with_file(file).run(&["config", "--config=t.toml"]);
    ran.says(78, &["t.toml:3: token.sha256: must be the SHA-256"]);
    assert!(!ran.err.contains("s3cret"), "{}", ran.err);
}

#[test]
fn an_address_that_others_reach_needs_tokens_or_insecure() {
    let open = ["0.0.0.0:4810", "[::]:4810", "192.0.2.1:4810", "[::ffff:192.0.2.1]:1"];
    for listen in open {
        let ran = Place::new().run(&["serve", "--listen", listen]);
        ran.says(78, &["--listen: ", "no tokens", "`tidelog token`", "insecure", "127.0.0.1"]);
    }
    for listen in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        Place::new().run(&["config", "--listen", listen]).says(0, &[]);
    }
    Place::new().run(&["config", "--listen=0.0.0.0:1", "--insecure"]).says(0, &[]);
    Place::new().run(&["config", "--listen=0.0.0.0:1", "--insecure=false"]).says(78, &[]);
    let token = format!(
        "[[token]]\nname = \"a\"\nsha256 = \"{}\"\ntopics = [\"*\"]\naccess = \"write\"\n",
        sha256("a")
    );
    Place::with_file(&token).run(&["config", "--listen=0.0.0.0:1", "--config=t.toml"]).says(0, &[]);
}

#[test]
fn a_wrong_token_is_not_reported_as_no_token() {
    let ran = Place::with_file("listen = \"0.0.0.0:1\"\n[[token]]\nname = \"a\"\n")
        .run(&["config", "--config=t.toml"]);
    ran.says(78, &["token.sha256: is missing"]);
    assert!(!ran.err.contains("no tokens"), "{}", ran.err);
}

#[test]
fn tokens_have_names_and_hashes_of_their_own() {
    let token = |name: &str, secret: &str| {
        format!(
            "[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\ntopics = [\"*\"]\naccess = \"read\"\n",
            sha256(secret)
        )
    };
    let run = |file: String| Place::with_file(&file).run(&["config", "--config=t.toml"]);
    run(token("a", "1") + &token("b", "2")).says(0, &[]);
    run(token("a", "1") + &token("a", "2")).says(78, &["t.toml:6: token: has the name \"a\""]);
    run(token("a", "1") + &token("b", "1")).says(78, &["t.toml:6: token: \"b\" has the sha256"]);
    run("[token]\nname = \"a\"\n".into())
        .says(78, &["t.toml:1: token: must be written as [[token]]"]);
    run("token = [1]\n".into()).says(78, &["t.toml:1: token: must be a table"]);
    run(token("a", "1") + "workers = 1\n")
        .says(78, &["t.toml:6: token.workers: ", "above the first"]);
    run(token("a", "1").replace("[\"*\"]", "[]")).says(78, &["token.topics: must be a list"]);
    run(token("a", "1").replace('*', "a b")).says(78, &["token.topics: has the topic \"a b\""]);
}

#[test]
fn a_burst_without_a_rate_is_a_mistake() {
    let place = Place::new();
    place.run(&["config", "--rate-burst=5"]).says(78, &["--rate-burst: has no effect"]);
    place.run(&["config", "--rate-burst=5", "--rate-limit=1"]).says(0, &[]);
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    let place = Place::new();
    for args in
        [&[][..], &["serv"], &["serve", "--lisen=x"], &["serve", "x"], &["token", "--access=x"]]
    {
        assert_eq!(place.run(args).code, 2, "{args:?}");
    }
    for args in [&["--help"][..], &["serve", "--help"], &["serve", "-h"], &["--version"]] {
        assert_eq!(place.run(args).code, 0, "{args:?}");
    }
    place.run(&["serve", "--lisen=x"]).says(2, &["--listen"]);
}

#[test]
fn the_template_is_a_configuration_file() {
    let template = Place::new().run(&["config", "--template"]);
    template.says(0, &[]);
    let place = Place::with_file(&template.out);
    let ran = place.run(&["config", "--config=t.toml"]);
    ran.says(0, &[]);
    assert_eq!(ran.out, Place::new().run(&["config"]).out);
}

#[test]
fn a_new_token_opens_what_its_table_says() {
    let ran = Place::new().run(&["token", "--name=app", "--topics=orders,eu.*", "--access=read"]);
    ran.says(0, &[]);
    let (token, table) = ran.out.split_once('\n').unwrap();
    assert!(token.starts_with("tidelog_"), "{token}");
    assert!(table.contains(&sha256(token)), "{table}");
    assert!(!table.contains(token), "{table}");
    let place = Place::with_file(table);
    let shown = place.run(&["config", "--config=t.toml", "--listen=0.0.0.0:1"]);
    shown.says(0, &[]);
    let expected =
        "name = \"app\"\nsha256 = \"***\"\ntopics = [\"orders\", \"eu.*\"]\naccess = \"read\"";
    assert!(shown.out.contains(expected), "{}", shown.out);
}

#[test]
fn a_reader_that_closes_early_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidelog"))
        .args(["config", "--template"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
