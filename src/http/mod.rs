//! The HTTP interface: routes, bodies, problems. Everything that a client can see of a request.
//!
//! Not here: JSON shapes of events and acks (`wire/`), ordering (`topic/`), SQL (`store/`).

pub mod problem;
