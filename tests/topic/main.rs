//! The topic actors, on a store that fails as told.

mod failures;
mod filling;
mod memory;
mod order;
mod recovery;
mod support;
