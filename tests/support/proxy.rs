//! A TCP proxy in front of PostgreSQL that knows where messages end, and can cut a connection
//! before the n-th one from now on.
//!
//! Not here: TLS (connect with `sslmode=disable`).

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Whose messages are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Frontend,
    /// The server's.
    Backend,
}

/// What a cut does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both ends see the connection closed.
    Both,
    /// Only the client does: the server goes on with what it has, and notices nothing.
    ClientOnly,
    /// Nobody notices anything: but nothing of that side gets through any more.
    Silence,
}

#[derive(Clone, Copy)]
struct Armed {
    side: Side,
    cut: Cut,
    left: usize,
}

/// The proxy. Ends, with all connections, when dropped.
pub struct Proxy {
    port: u16,
    armed: Arc<Mutex<Option<Armed>>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port of the loopback, in front of a port there.
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let armed = Arc::new(Mutex::new(None));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, server, armed.clone()));
        Self { port, armed, _tasks: tasks }
    }

    /// The same URL, through the proxy.
    pub fn through(&self, url: &str) -> String {
        let (before, after) = url.rsplit_once(':').expect("a URL with a port");
        let database = after.split_once('/').expect("a URL with a database").1;
        format!("{before}:{}/{database}?sslmode=disable", self.port)
    }

    /// Lets `left` more messages of a side through, and cuts the connection on which the next
    /// one comes, instead of passing it on.
    pub fn cut_after(&self, left: usize, side: Side, cut: Cut) {
        *self.armed.lock() = Some(Armed { side, cut, left });
    }

    /// Cuts nothing any more; whether a cut was still to come.
    pub fn disarm(&self) -> bool {
        self.armed.lock().take().is_some()
    }
}

async fn serve(listener: TcpListener, server: u16, armed: Arc<Mutex<Option<Armed>>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let armed = armed.clone();
        connections.spawn(async move {
            if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                relay(client, server, &armed).await;
            }
        });
    }
}

async fn relay(client: TcpStream, server: TcpStream, armed: &Mutex<Option<Armed>>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (cut, is_cut) = watch::channel(None);
    let mut up = Pipe { from: from_client, to: to_server, side: Side::Frontend, armed, cut: &cut };
    let mut down = Pipe { from: from_server, to: to_client, side: Side::Backend, armed, cut: &cut };
    let mut seen = is_cut.clone();
    tokio::select! {
        _ = async { tokio::join!(up.run(true), down.run(false)) } => {}
        _ = seen.wait_for(Option::is_some) => {}
    }
    if *is_cut.borrow() == Some(Cut::ClientOnly) {
        let Pipe { from: client_read, to: mut server_write, .. } = up;
        let Pipe { from: mut server_read, to: client_write, .. } = down;
        drop((client_read, client_write));
        // What the server still says goes nowhere, for as long as it likes.
        let _ = tokio::io::copy(&mut server_read, &mut tokio::io::sink()).await;
        let _ = server_write.shutdown().await;
    }
}

struct Pipe<'a> {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    side: Side,
    armed: &'a Mutex<Option<Armed>>,
    cut: &'a watch::Sender<Option<Cut>>,
}

impl Pipe<'_> {
    /// Passes messages on; the client's first has no type.
    async fn run(&mut self, mut untyped: bool) {
        while let Ok(message) = self.message(untyped).await {
            untyped = false;
            if let Some(cut) = self.is_due() {
                if cut != Cut::Silence {
                    self.cut.send_replace(Some(cut));
                }
                return std::future::pending().await;
            }
            if self.to.write_all(&message).await.is_err() {
                break;
            }
        }
        let _ = self.to.shutdown().await;
    }

    async fn message(&mut self, untyped: bool) -> std::io::Result<Vec<u8>> {
        let head = if untyped { 4 } else { 5 };
        let mut message = vec![0; head];
        self.from.read_exact(&mut message).await?;
        let length = u32::from_be_bytes(message[head - 4..].try_into().expect("four bytes"));
        message.resize(head - 4 + length as usize, 0);
        self.from.read_exact(&mut message[head..]).await?;
        Ok(message)
    }

    fn is_due(&self) -> Option<Cut> {
        let mut armed = self.armed.lock();
        let this = armed.as_mut().filter(|armed| armed.side == self.side)?;
        if this.left > 0 {
            this.left -= 1;
            return None;
        }
        armed.take().map(|armed| armed.cut)
    }
}
