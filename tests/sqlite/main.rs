//! What only the SQLite back-end has: its file, its settings, its views, and its agreement with
//! the memory store on random commands. What every back-end has is tested in `tests/store/`.

mod chains;
mod file;
mod group;
mod log;
mod model;
#[path = "../support/plain.rs"]
mod plain;
#[path = "../support/program.rs"]
mod program;
mod support;
mod unsynced;
mod views;
#[path = "../support/chains.rs"]
mod walks;
