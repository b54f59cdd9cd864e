//! What is asked of every connection's socket.

use std::any::Any;
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

/// A connection on which nothing is sent is asked this often whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);

/// Makes the kernel end a connection whose client is gone, or has left what was sent to it unread
/// for `stall`: the framework does not notice, because it waits for room to send more.
pub(super) fn prepare(stream: &dyn Any, stall: Duration) {
    let Some(stream) = stream.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_AGAIN);
    let done = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let done = done.and(socket.set_tcp_user_timeout(Some(stall)));
    #[cfg(not(target_os = "linux"))]
    let _ = stall; // There `stall.rs` alone lets go, and the socket's buffer stays.
    if let Err(error) = done {
        tracing::debug!(%error, "a socket does not take its options"); // It is gone already.
    }
}
