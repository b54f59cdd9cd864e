//! Connections: each is opened, set up and driven on the runtime that its connector names, whichever
//! thread asks for it: that of its lane, or the store's own, where neither a busy nor a stopped HTTP
//! worker can hold it up.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts,
};
use futures::FutureExt as _;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, Notification};
use tokio_util::context::TokioContext;

use super::config::Target;
use crate::metrics;

const SESSION: &str = include_str!("../../../sql/postgres/queries/session.sql");

/// Opens connections for one use.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) target: Arc<Target>,
    pub(super) tls: tokio_postgres_rustls::MakeRustlsConnect,
    pub(super) runtime: Handle,
    pub(super) statement_timeout: Duration,
    pub(super) lock_timeout: Duration,
    /// For the metrics.
    pub(super) used_for: &'static str,
}

/// A connection, and the task that drives it.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) task: JoinHandle<()>,
    pub(super) server: Server,
}

/// What kind of server a session is on.
pub(super) struct Server {
    pub(super) version: i32,
    pub(super) encoding: String,
    pub(super) fsync: bool,
    pub(super) full_page_writes: bool,
    pub(super) read_only: bool,
}

impl Connector {
    /// Opens a connection and sets its session up.
    pub(super) async fn connect(&self) -> Result<Session, Error> {
        self.connect_and_hear(|_| {}).await
    }

    /// The same; notifications that come over the connection go to `hear`.
    pub(super) async fn connect_and_hear(
        &self,
        hear: impl Fn(&Notification) + Send + 'static,
    ) -> Result<Session, Error> {
        TokioContext::new(self.connect_here(hear), self.runtime.clone()).await
    }

    async fn connect_here(
        &self,
        hear: impl Fn(&Notification) + Send + 'static,
    ) -> Result<Session, Error> {
        let (client, connection) = self.target.postgres.connect(self.tls.clone()).await?;
        let task = tokio::spawn(drive(connection, hear, Counted::new(self.used_for)));
        let statement = milliseconds(self.statement_timeout);
        let lock = milliseconds(self.lock_timeout);
        let row = client.query_one(SESSION, &[&statement, &lock]).await?;
        let server = Server {
            version: row.try_get("version")?,
            encoding: row.try_get("encoding")?,
            fsync: row.try_get::<_, &str>("fsync")? == "on",
            full_page_writes: row.try_get::<_, &str>("full_page_writes")? == "on",
            read_only: row.try_get("read_only")?,
        };
        Ok(Session { client, task, server })
    }

    /// How long it may take until a connection is ready for use.
    pub(super) fn patience(&self) -> Duration {
        let connect = self.target.postgres.get_connect_timeout();
        connect.copied().unwrap_or_default() * 2
    }

    /// A pool of at most `size` such connections. Who finds none free stands in line for at most
    /// `wait`, or for as long as it takes.
    pub(super) fn pool(self, size: usize, wait: Option<Duration>) -> Pool {
        let connect = self.target.postgres.get_connect_timeout().copied();
        let recycling_method = RecyclingMethod::Verified;
        let manager =
            Manager::from_connect(Config::new(), self, ManagerConfig { recycling_method });
        Pool::builder(manager)
            .max_size(size)
            .timeouts(Timeouts { wait, create: connect, recycle: connect })
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is named for the time-outs")
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        async {
            let session = Self::connect(self).await?;
            Ok((session.client, session.task))
        }
        .boxed()
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

async fn drive<S, T>(
    mut connection: Connection<S, T>,
    hear: impl Fn(&Notification),
    _counted: Counted,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            // For example: a commit is durable here but was not confirmed by a replica.
            Ok(AsyncMessage::Notice(notice)) if notice.code().code().starts_with("57P") => {
                tracing::debug!("postgres says: {notice}"); // It ends the session, for one of many.
            }
            Ok(AsyncMessage::Notice(notice)) => {
                tracing::warn!(code = notice.code().code(), "postgres says: {notice}");
            }
            Ok(AsyncMessage::Notification(notification)) => hear(&notification),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "lost a connection to postgres");
                return;
            }
        }
    }
}

/// A connection, as the metrics count it.
struct Counted(&'static str);

impl Counted {
    fn new(used_for: &'static str) -> Self {
        metrics::store_connections(used_for, 1.0);
        Self(used_for)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::store_connections(self.0, -1.0);
    }
}
