//! The house rules that a program can check: headers, layers, sizes, and what is not in the code.
//!
//! The checks work on text, not on syntax trees: comments, the insides of strings and test code
//! are blanked out (`code.rs`), then words are looked for. `checkers` shows that they find what
//! they are there to find.

mod checkers;
mod code;
mod rules;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
struct File {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder, in order of path.
fn files(folder: &str, extension: &str) -> Vec<File> {
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).expect("UTF-8");
                let path = path.strip_prefix(root()).expect("it is below the root");
                let path = path.to_str().expect("UTF-8").replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|one, two| one.path.cmp(&two.path));
    assert!(found.len() > 1, "there are files to check in {folder}");
    found
}

/// Runs a check on every source file. A check says what is wrong, a line each.
fn every_source(check: impl Fn(&str, &str) -> Vec<String>) {
    let wrong: Vec<String> = files("src", "rs")
        .iter()
        .flat_map(|file| {
            check(&file.path, &file.text).into_iter().map(|w| format!("{}: {w}", file.path))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_source_file_begins_with_a_header() {
    every_source(|_, text| rules::header(text));
}

#[test]
fn no_layer_uses_one_above_it() {
    every_source(rules::layers);
}

#[test]
fn only_topics_and_the_server_name_the_trait_that_writes() {
    every_source(rules::writer);
}

#[test]
fn libraries_stay_where_they_belong() {
    every_source(rules::libraries);
}

#[test]
fn no_source_file_is_too_long() {
    every_source(|_, text| rules::length(text));
}

#[test]
fn nothing_unfinished_or_careless_is_in_the_sources() {
    every_source(rules::banned);
}

#[test]
fn every_migration_begins_by_saying_what_it_is() {
    let migrations = files("sql", "sql");
    let migrations: Vec<_> =
        migrations.iter().filter(|file| rules::is_migration(&file.path)).collect();
    assert!(migrations.len() >= 2, "one back-end has none");
    for file in migrations {
        assert!(file.text.starts_with("-- "), "{} begins without a comment", file.path);
    }
}
