//! JSON shapes of the contract, for the server and for clients written in Rust.
//!
//! Not here: HTTP, limits that an operator chooses, the rules.

pub mod ack;
pub mod head;
pub mod read;
pub mod sse;
pub mod submitted;
