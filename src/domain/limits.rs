//! The limits that the contract fixes, in one place. Limits that an operator may choose are in
//! the configuration of the layer that enforces them.

/// Longest name of a topic or a consumer, in characters (all of them ASCII).
pub const NAME_CHARS_MAX: usize = 200;
/// Longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest content hash, in bytes of UTF-8.
pub const HASH_BYTES_MAX: usize = 255;
/// Longest event type and longest content type, in bytes of UTF-8.
pub const TYPE_BYTES_MAX: usize = 255;
/// Longest reason of an invalidation, in bytes of UTF-8.
pub const REASON_BYTES_MAX: usize = 1024;
/// Longest idempotency key and longest producer id, in visible ASCII characters.
pub const TOKEN_CHARS_MAX: usize = 255;
/// Deepest nesting of arrays and objects in data and metadata. The databases underneath parse
/// JSON recursively in their views, so a deeper value would be unreadable there.
pub const JSON_DEPTH_MAX: usize = 128;
/// Seqs, transactions and producer line numbers stay below this (2^53), so that every JSON
/// reader, JavaScript's included, can hold them exactly.
pub const POSITION_MAX: u64 = 1 << 53;
/// Most events of a page.
pub const PAGE_EVENTS_MAX: usize = 10_000;
/// Events of a page where the request does not say.
pub const PAGE_EVENTS_DEFAULT: usize = 1_000;

const _: () = assert!(PAGE_EVENTS_DEFAULT <= PAGE_EVENTS_MAX);
const _: () = assert!(POSITION_MAX < i64::MAX as u64, "positions fit the databases' integers");
