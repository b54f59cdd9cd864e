//! A port for what is stopped and started again under its clients, and for what is not there.

use std::net::TcpListener;

/// A port of the loopback that nobody listens on, and that the system gives to no connection and
/// to nobody who asks for any port: while its server is down, such a one would take it, and the
/// server's clients with it.
pub fn free_port() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let low = range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
    let low = low.unwrap_or(32_768).max(2_048);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| rand::random_range(low / 2..low));
    ports.find(is_free).expect("it does not end")
}

/// The URL of an address that nobody listens on.
pub fn nobody() -> String {
    format!("http://127.0.0.1:{}", free_port())
}
