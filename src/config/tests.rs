//! Tests over the whole table: whatever setting is added, it is tested.
//!
//! Not here: single mistakes and the command itself (`tests/config.rs`).

use std::ffi::OsString;
use std::io::Write as _;

use tempfile::NamedTempFile;

use super::settings::SETTINGS;
use super::source::Source;
use super::table::Setting;
use super::*;

/// Two values of a setting that differ from each other; the first is not its default either.
fn two_values(setting: &Setting) -> [&'static str; 2] {
    let candidates: &[&str] = match setting.range {
        [min, max] => &[min, max],
        _ => match setting.placeholder {
            "ADDRESS:PORT" => &["127.0.0.2:1", "[::1]:2"],
            "URL" => &["memory:", "sqlite:x.db"],
            "COUNT|off" | "COUNT|auto" => &["7", "8"],
            "true|false" => &["true", "false"],
            "auto|text|json" => &["text", "json"],
            "FILTER" => &["warn", "debug"],
            other => panic!("{}: no values for {other}", setting.name),
        },
    };
    let first = candidates.iter().find(|value| **value != setting.default).unwrap();
    let second = candidates.iter().find(|value| *value != first).unwrap();
    [first, second]
}

fn load_with(
    flags: &[String],
    variables: &[(String, &str)],
    file: Option<&str>,
) -> Result<Loaded, ConfigError> {
    let mut args = vec!["config".to_owned()];
    args.extend(flags.iter().cloned());
    let mut keep = NamedTempFile::new().unwrap();
    if let Some(text) = file {
        keep.write_all(text.as_bytes()).unwrap();
        args.push(format!("--config={}", keep.path().display()));
    }
    let matches = cli::config().try_get_matches_from(args).unwrap();
    let variables: Vec<(OsString, OsString)> =
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    load(&cli::inputs(&matches, variables))
}

/// The text in force and its source; only this setting is looked at, whatever others say to it.
fn in_force(
    setting: &'static Setting,
    flag: Option<&str>,
    variable: Option<&'static str>,
    file: Option<&str>,
) -> (String, Source) {
    let mut flags: Vec<String> =
        flag.map(|value| format!("--{}={value}", setting.flag())).into_iter().collect();
    let variables: Vec<_> = variable.map(|value| (setting.variable(), value)).into_iter().collect();
    let file = file.map(|value| format!("{} = {value:?}\n", setting.name));
    flags.extend(companions(setting));
    let loaded = load_with(&flags, &variables, file.as_deref()).unwrap();
    let given = loaded.in_force.given.iter().find(|given| given.setting.name == setting.name);
    given.map(|given| (given.text.clone(), given.source.clone())).unwrap()
}

/// Flags that keep the rules between settings, so that each can go to the ends of its range.
fn companions(setting: &Setting) -> Vec<String> {
    let all = [
        ("transaction_events_max", "1"),
        ("topic_queue_events_max", "1"),
        ("event_bytes_max", "1KiB"),
        ("body_bytes_max", "1KiB"),
        ("live_topic_bytes_max", "64KiB"),
        ("keys_bytes_max", "64KiB"),
        ("rate_limit", "5"),
    ];
    // What is largest of a pair stays at the default or above; the one under test is left alone.
    let raised = [
        ("queue_events_max", "100000000"),
        ("queue_bytes_max", "1024GiB"),
        ("topic_queue_events_max", "100000000"),
        ("body_bytes_max", "4GiB"),
        ("body_bytes_total_max", "1024GiB"),
        ("live_bytes_max", "1024GiB"),
        ("keys_bytes_total_max", "1024GiB"),
    ];
    let larger: &[&str] = match setting.name {
        "transaction_events_max" => &["topic_queue_events_max", "queue_events_max"],
        "topic_queue_events_max" => &["queue_events_max"],
        "event_bytes_max" => &["body_bytes_max", "body_bytes_total_max", "queue_bytes_max"],
        "body_bytes_max" => &["body_bytes_total_max", "queue_bytes_max"],
        "live_topic_bytes_max" => &["live_bytes_max"],
        "keys_bytes_max" => &["keys_bytes_total_max"],
        _ => &[],
    };
    let raised = raised.into_iter().filter(|(name, _)| larger.contains(name));
    let lowered =
        all.into_iter().filter(|(name, _)| !larger.contains(name) && *name != setting.name);
    raised
        .chain(lowered)
        .map(|(name, value)| format!("--{}={value}", name.replace('_', "-")))
        .collect()
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default_for_every_setting() {
    for setting in SETTINGS {
        let [a, b] = two_values(setting);
        let name = setting.name;
        let (text, source) = in_force(setting, None, None, None);
        assert_eq!((&*text, source), (setting.default, Source::Default), "{name}");
        let (text, source) = in_force(setting, None, None, Some(a));
        assert!(text == a && matches!(source, Source::File { line: 1, .. }), "{name}: {text}");
        let (text, source) = in_force(setting, None, Some(b), Some(a));
        assert_eq!((&*text, source), (b, Source::Variable), "{name}");
        let (text, source) = in_force(setting, Some(a), Some(b), Some(b));
        assert_eq!((&*text, source), (a, Source::Flag), "{name}");
    }
}

#[test]
fn a_wrong_value_is_a_mistake_in_every_source_of_every_setting_even_when_overridden() {
    for setting in SETTINGS {
        let flags = vec![format!("--{}=?", setting.flag())];
        let file = format!("\n{} = \"?\"", setting.name);
        let error = load_with(&flags, &[(setting.variable(), "?")], Some(&file)).err().unwrap();
        let text = error.to_string();
        assert_eq!(error.0.len(), 3, "{text}");
        let file = format!(":2: {}: ", setting.name);
        for at in [format!("--{}: ", setting.flag()), format!("{}: ", setting.variable()), file] {
            assert!(text.contains(&at), "{at} in {text}");
        }
    }
}

#[test]
fn an_empty_value_is_a_mistake_of_every_setting() {
    for setting in SETTINGS {
        assert!((setting.check)("").is_err(), "{}", setting.name);
    }
}

#[test]
fn values_outside_the_range_are_refused() {
    for setting in SETTINGS {
        let [min, max] = setting.range else { continue };
        // One unit beyond each end, in the unit of that end.
        let split = |text: &str| {
            let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            (text[..at].parse::<u64>().unwrap(), text[at..].to_owned())
        };
        let (number, unit) = split(max);
        let above = format!("{}{unit}", number + 1);
        assert!((setting.check)(&above).is_err_and(|why| why.contains("range")), "{above}");
        let (number, unit) = split(min);
        if number > 0 {
            let below = format!("{}{unit}", number - 1);
            assert!((setting.check)(&below).is_err_and(|why| why.contains("range")), "{below}");
        }
    }
}

#[test]
fn the_template_changes_nothing_and_reads_back_to_the_defaults() {
    let defaults = format!("{:?}", Config::default());
    let template = template();
    let untouched = load_with(&[], &[], Some(&template)).unwrap();
    assert_eq!(format!("{:?}", untouched.config), defaults);
    let uncommented: String = template
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let loaded = load_with(&[], &[], Some(&uncommented)).unwrap();
    assert_eq!(format!("{:?}", loaded.config), defaults);
    for given in &loaded.in_force.given {
        assert!(matches!(given.source, Source::File { .. }), "{}", given.setting.name);
    }
}

#[test]
fn what_is_in_force_is_printed_as_a_file_that_says_the_same() {
    let flags = ["--listen=127.0.0.9:1", "--topic-idle=2min", "--read-only", "--rate-limit=9"];
    let loaded = load_with(&flags.map(str::to_owned), &[], None).unwrap();
    let again = load_with(&[], &[], Some(&loaded.report())).unwrap();
    assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
}

#[test]
fn the_help_names_every_setting_with_its_flag_variable_and_default() {
    for mut command in [cli::serve(), cli::config()] {
        let help = command.render_long_help().to_string();
        for setting in SETTINGS {
            let flag = format!("--{}", setting.flag());
            let default = format!("[default: {}]", setting.default);
            let env = format!("[env: {}]", setting.variable());
            for part in [flag, default, env] {
                assert!(help.contains(&part), "{} --help: no {part}", command.get_name());
            }
        }
    }
}
