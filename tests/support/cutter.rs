//! A TCP proxy that cuts connections at byte positions, as planned: the n-th connection by the
//! n-th plan, and connections beyond the plans not at all.
//!
//! Not here: a proxy that knows messages (`proxy.rs`).

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Whose bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Client,
    Service,
}

/// What a cut does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both ends see the connection closed.
    Both,
    /// Only the client does: the service goes on with what it has, and waits for more.
    ClientOnly,
    /// As `ClientOnly`; and what the client had sent beyond the cut comes to the service only
    /// when it has begun to answer on a later connection.
    Late,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub from: From,
    /// So many bytes are passed on.
    pub after: usize,
    pub cut: Cut,
}

/// The proxy. Ends, with all connections, when dropped.
pub struct Cutter {
    pub port: u16,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    plans: Mutex<VecDeque<Plan>>,
    /// How many connections were cut.
    cuts: AtomicUsize,
    /// The newest connection that is being answered.
    answered: watch::Sender<Option<usize>>,
}

impl Cutter {
    /// Listens on a free port of the loopback, in front of a port there.
    pub async fn start(service: u16, plans: impl IntoIterator<Item = Plan>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let plans = Mutex::new(plans.into_iter().collect());
        let state = State { plans, cuts: AtomicUsize::new(0), answered: watch::Sender::new(None) };
        let state = Arc::new(state);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, service, state.clone()));
        Self { port, state, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, service: u16, state: Arc<State>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    while let Ok((client, _)) = listener.accept().await {
        let (state, this) = (state.clone(), number);
        let plan = state.plans.lock().pop_front();
        number += 1;
        connections.spawn(async move {
            // Who is not there closes the door.
            if let Ok(service) = TcpStream::connect(("127.0.0.1", service)).await {
                relay(client, service, plan, this, &state).await;
            }
        });
    }
}

async fn relay(
    client: TcpStream,
    service: TcpStream,
    plan: Option<Plan>,
    this: usize,
    state: &State,
) {
    let _ = (client.set_nodelay(true), service.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_service, mut to_service) = service.into_split();
    let limit = |side| plan.filter(|plan| plan.from == side).map_or(usize::MAX, |p| p.after);
    let (mut beyond, mut unread) = (Vec::new(), Vec::new());
    let answered = || {
        state.answered.send_if_modified(|newest| {
            let newer = Some(this) > *newest;
            *newest = (*newest).max(Some(this));
            newer
        });
    };
    let limits = (limit(From::Client), limit(From::Service));
    let cut = tokio::select! {
        cut = pass(&mut from_client, &mut to_service, limits.0, &mut beyond, || {}) => cut,
        cut = pass(&mut from_service, &mut to_client, limits.1, &mut unread, answered) => cut,
    };
    if !cut {
        // One side has closed: the other may still say something.
        let _ = tokio::join!(to_service.shutdown(), to_client.shutdown());
        let _ = tokio::io::copy(&mut from_service, &mut to_client).await;
        return;
    }
    state.cuts.fetch_add(1, Ordering::SeqCst);
    let how = plan.expect("only what is planned is cut").cut;
    if how == Cut::Both {
        return;
    }
    drop((from_client, to_client));
    let drain = async {
        let _ = tokio::io::copy(&mut from_service, &mut tokio::io::sink()).await;
    };
    let late = async {
        if how == Cut::Late {
            let mut answered = state.answered.subscribe();
            let _ = answered.wait_for(|newest| *newest > Some(this)).await;
            let _ = to_service.write_all(&beyond).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = drain => {}
        () = late => {}
    }
}

/// Passes bytes on. `true` once the limit is reached, with what came beyond it; `false` where a
/// side has closed.
async fn pass(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    limit: usize,
    beyond: &mut Vec<u8>,
    seen: impl Fn(),
) -> bool {
    let mut passed = 0;
    let mut buffer = vec![0; 64 << 10];
    loop {
        if passed == limit {
            return true;
        }
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return false };
        seen();
        let now = count.min(limit - passed);
        if to.write_all(&buffer[..now]).await.is_err() {
            return false;
        }
        passed += now;
        if now < count {
            beyond.extend_from_slice(&buffer[now..count]);
            return true;
        }
    }
}
