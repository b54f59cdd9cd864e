//! Tidelog: an event store for people who already run a database.
pub mod domain;
pub mod store;
