//! Help, completions and manual pages, and the README's table of exit codes.

use std::collections::BTreeSet;

use tidelog::cli::{TABLE, command};

use crate::run::run;

fn commands() -> Vec<String> {
    command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = run(&["completions", shell]).ok().out;
        for command in commands() {
            assert!(text.contains(&command), "{shell}: no {command}");
        }
        assert!(text.contains("key-separator"), "{shell}");
    }
    run(&["completions", "tcsh"]).fails(2, "tcsh");
}

#[test]
fn there_is_a_manual_page_of_every_command() {
    let page = run(&["man"]).ok().out;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("man1");
    run(&["man", path.to_str().expect("UTF-8")]).ok();
    for command in commands() {
        assert!(page.contains(&format!("tidelog\\-{command}(1)")), "no {command}");
        let page = std::fs::read_to_string(path.join(format!("tidelog-{command}.1")));
        let page = page.unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(page.contains("Exit codes:"), "{command}");
    }
    assert!(path.join("tidelog.1").exists());
    assert!(path.join("tidelog-consumers-set.1").exists());
}

#[test]
fn help_and_the_readme_explain_all_exit_codes_alike() {
    let help = run(&["--help"]).ok().out;
    let readme = include_str!("../../README.md");
    let codes: BTreeSet<u8> = TABLE.iter().map(|(exit, _)| *exit as u8).collect();
    assert_eq!(codes.len(), TABLE.len());
    for (exit, text) in TABLE {
        let code = exit as u8;
        assert!(help.contains(&format!("{code:>3}  {text}")), "--help: {code}");
        assert!(readme.contains(&format!("| {code} | {text} |")), "README.md: {code}");
    }
    for name in commands() {
        let help = run(&[&name, "--help"]).ok().out;
        assert!(help.contains("Exit codes:"), "{name}");
    }
}
