//! The rules (`domain::decide`): cases named by sentences of the contract, and laws that hold for
//! any commands. No store, no actor.

#[path = "../support/book.rs"]
mod book;
mod cases;
mod laws;
#[path = "../support/make.rs"]
mod make;
mod model;
mod shape;
mod topic;
