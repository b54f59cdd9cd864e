//! JSON shapes of the contract, for the server and for clients written in Rust.
//!
//! Not here: HTTP, limits that an operator chooses, the rules.

pub mod ack;
pub mod answer;
pub mod consumers;
pub mod export;
pub mod head;
pub mod problem;
pub mod read;
pub mod received;
pub mod sse;
pub mod submit;
pub mod submitted;
pub mod time;
pub mod topics;
