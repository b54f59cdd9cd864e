//! Configuration: what an operator decides, from flags, `TIDELOG_…` variables, a TOML file and
//! defaults, in this order.
//!
//! A setting is defined once, in the table of `settings.rs`; all else follows from it:
//!
//! ```text
//!  settings.rs ── table.rs (macro) ──> Config, SETTINGS
//!  cli.rs (flags)    environment.rs    file.rs (TOML, tokens)
//!        └──────────────────┼──────────────────┘
//!                       layers.rs ──> form.rs (each value), check.rs (values together)
//!                           └──> Loaded ──> show.rs (`tidelog config`)
//! ```
//!
//! Invariants:
//! 1. All mistakes are reported at once, each with its source; nothing is corrected silently.
//! 2. No message and no output names a password, a token or a token's hash.

mod check;
pub mod cli;
mod environment;
mod file;
mod form;
mod layers;
mod settings;
mod show;
mod source;
mod store_url;
mod suggest;
mod table;
pub mod token;

#[cfg(test)]
mod tests;

pub use layers::{Inputs, Loaded, load};
pub use settings::{Config, Rate};
pub use show::template;
pub use source::{ConfigError, Mistake};
pub use store_url::{SecretUrl, StoreUrl};
pub use token::{Access, Token, TopicPattern};
