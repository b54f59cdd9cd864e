//! The checks find what they are there to find, and nothing else.

use crate::code::{code_of, modules_used, words};
use crate::rules;

fn used(path: &str, text: &str) -> Vec<String> {
    modules_used(path, &code_of(text)).into_iter().map(|(_, name)| name).collect()
}

#[test]
fn comments_texts_and_tests_are_no_code() {
    let text = r####"
//! dbg!
/* dbg! /* nested dbg! */ dbg! */
fn f<'a>(x: &'a str) -> char { let _ = "dbg! \" dbg!"; let _ = r#"dbg! " dbg!"#; '"' } // dbg!
const B: &[u8] = br"dbg!"; const C: char = '\''; const D: &str = "dbg!";
#[cfg(test)]
mod tests { fn g() { dbg!("}"); } }
#[cfg(test)]
use dbg!;
fn bar() { dbg!(1) }
"####;
    let code = code_of(text);
    assert_eq!(code.lines().count(), text.lines().count());
    let found: Vec<_> = words(&code, "dbg!").map(|at| crate::code::line(&code, at)).collect();
    assert_eq!(found, [10], "{code}");
    assert!(code.contains("fn f<'a>(x: &'a str)"));
}

#[test]
fn words_are_whole_words() {
    assert_eq!(words("actix::a; actix_web::b; my_actix; actix", "actix").count(), 2);
    assert_eq!(words("x.unwrap(); x.unwrap_or(1); y.unwrap()", ".unwrap()").count(), 2);
    assert_eq!(words("my_todo!(); todo!()", "todo!").count(), 1);
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let file = "src/topic/actor/mod.rs";
    assert_eq!(used(file, "use crate::http::Problem;"), ["http"]);
    assert_eq!(used(file, "let x = crate::http::f();"), ["http"]);
    let group = "use crate::{\n    domain::{Seq, http}, store::{self, x::{y, z}},\n wire,\n};";
    assert_eq!(used(file, group), ["domain", "store", "wire"]);
    assert_eq!(used(file, "pub(crate) use x; use super::http; macro_rules! m { }"), [""; 0]);
    assert_eq!(used(file, "use super::super::http::Problem;"), ["http"]);
    assert_eq!(used("src/topic/mod.rs", "use super::http::Problem;"), ["http"]);
    assert_eq!(used("src/metrics.rs", "use super::{http, store};"), ["http", "store"]);
    assert_eq!(used("src/topic/queue.rs", "use super::super::http;"), ["http"]);
    assert_eq!(used("src/topic/queue.rs", "use super::http;"), [""; 0]);
}

#[test]
fn a_layer_that_reaches_up_is_found() {
    let wrong = |path, text| !rules::layers(path, text).is_empty();
    assert!(wrong("src/domain/event.rs", "use crate::store::Scan;"));
    assert!(wrong("src/domain/event.rs", "use crate::metrics;"));
    assert!(wrong("src/store/memory.rs", "use crate::topic::Topics;"));
    assert!(wrong("src/topic/queue.rs", "use crate::{domain::Seq, http::problem};"));
    assert!(wrong("src/wire/head.rs", "use crate::store::Scan;"));
    assert!(wrong("src/http/auth.rs", "use crate::server::run;"));
    assert!(wrong("src/metrics.rs", "use crate::domain::Seq;"));
    assert!(wrong("src/client/mod.rs", "use crate::http::App;"));
    assert!(wrong("src/http/app.rs", "use crate::client::Client;"));
    assert!(wrong("src/brand_new/mod.rs", "//! In no layer."));
    assert!(!wrong("src/topic/queue.rs", "use crate::store::Scan;\nuse crate::domain::Seq;"));
    assert!(!wrong("src/domain/event.rs", "/// See [`crate::store`].\nfn f() {}"));
    assert!(!wrong("src/server.rs", "use crate::http::App;"));
}

#[test]
fn whoever_names_the_trait_that_writes_is_found() {
    let text = "use crate::store::{EventSourceReader, EventSourceWriter};";
    assert!(!rules::writer("src/http/app.rs", text).is_empty());
    assert!(!rules::writer("src/config/check.rs", text).is_empty());
    assert!(rules::writer("src/topic/mod.rs", text).is_empty());
    assert!(rules::writer("src/store/sqlite/mod.rs", text).is_empty());
    assert!(rules::writer("src/http/app.rs", "use crate::store::EventSourceReader;").is_empty());
}

#[test]
fn libraries_in_the_wrong_place_are_found() {
    let wrong = |path, text| !rules::libraries(path, text).is_empty();
    assert!(wrong("src/topic/mod.rs", "use rusqlite::Connection;"));
    assert!(wrong("src/store/sqlite/mod.rs", "let x: tokio_postgres::Row = y;"));
    assert!(wrong("src/topic/mod.rs", "use actix_web::web;"));
    assert!(wrong("src/domain/event.rs", "use serde::Serialize;"));
    assert!(wrong("src/http/mod.rs", "use reqwest::Client;"));
    assert!(wrong("src/client/error.rs", "use rustls::Error;"));
    assert!(wrong("src/domain/event.rs", "let now = std::time::SystemTime::now();"));
    assert!(wrong("src/domain/event.rs", "async fn f() {}"));
    assert!(!wrong("src/store/sqlite/mod.rs", "use rusqlite::Connection;"));
    assert!(!wrong("src/http/mod.rs", "use actix_web::web;"));
}

#[test]
fn careless_code_is_found() {
    let count = |path, text| rules::banned(path, text).len();
    for text in ["todo!()", "unimplemented!()", "dbg!(1)", "x.unwrap();", "println!()", "eprint!()"]
    {
        assert_eq!(count("src/topic/mod.rs", text), 1, "{text}");
    }
    assert_eq!(count("src/main.rs", "println!(); x.unwrap()"), 1);
    assert_eq!(count("src/topic/mod.rs", "x.unwrap_or_default(); \"todo!\" // dbg!"), 0);
    assert_eq!(count("src/config/tests.rs", "x.unwrap()"), 0);
}

#[test]
fn missing_headers_and_long_files_are_found() {
    assert_eq!(rules::header("use x;\n//! Late.").len(), 1);
    assert_eq!(rules::header("//!\n").len(), 1);
    assert_eq!(rules::header("//! Here.\n").len(), 0);
    assert_eq!(rules::length(&"x\n".repeat(450)).len(), 0);
    assert_eq!(rules::length(&"x\n".repeat(451)).len(), 1);
}

#[test]
fn migrations_are_told_from_queries() {
    assert!(rules::is_migration("sql/sqlite/V1__topics.sql"));
    assert!(!rules::is_migration("sql/sqlite/queries/Vast.sql"));
    assert!(!rules::is_migration("sql/sqlite/readme.sql"));
}
