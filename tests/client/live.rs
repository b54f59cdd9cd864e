//! Live reading.
