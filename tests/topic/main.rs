//! The topic actors, on a store that fails as told.

mod failures;
mod memory;
mod order;
mod recovery;
mod support;
