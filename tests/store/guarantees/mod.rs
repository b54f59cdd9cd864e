//! The guarantees of `store/mod.rs`, one file each.

mod s10_apart;
mod s11_hints;
mod s12_consumers;
mod s13_keys;
mod s1_fenced;
mod s2_facts;
mod s3_atomic;
mod s4_no_gaps;
mod s5_honest;
mod s6_whole;
mod s7_records;
mod s8_bytes;
mod s9_surface;
