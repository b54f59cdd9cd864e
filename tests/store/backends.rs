//! The back-ends, each empty and fresh for every test.
//!
//! A test is an `async fn(stand: Stand)`; `on_every_backend!` makes of it one `#[test]` for each
//! back-end: `guarantees::s1_fenced::sqlite::an_old_writer_is_refused`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidelog::store::memory::MemoryStore;
use tidelog::store::postgres::{self, PostgresStore};
use tidelog::store::sqlite::{self, SqliteStore};
use tidelog::store::{EventSourceReader, EventSourceWriter};

use crate::cluster::Cluster;

/// Longer than any test takes: a store that hangs has failed.
const HANGS: Duration = Duration::from_secs(300);

/// All back-ends: the module of the tests, and the variant of [`Backend`].
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        mod memory { on_backend!(Memory: $($test),+); }
        mod sqlite { on_backend!(Sqlite: $($test),+); }
        mod postgres { on_backend!(Postgres: $($test),+); }
        #[cfg(feature = "client")]
        mod over_http { on_backend!(OverHttp: $($test),+); }
    };
}

macro_rules! on_backend {
    ($backend:ident: $($test:ident),+) => {
        $(#[test]
        fn $test() {
            crate::backends::run(crate::backends::Backend::$backend, super::$test);
        })+
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Memory,
    Sqlite,
    Postgres,
    /// The memory store, read through a service by the client.
    #[cfg(feature = "client")]
    OverHttp,
}

/// One instance of a store, from both sides.
#[derive(Clone)]
pub struct Store {
    pub writer: Arc<dyn EventSourceWriter>,
    pub reader: Arc<dyn EventSourceReader>,
}

impl Store {
    pub fn of<S: EventSourceWriter + EventSourceReader>(store: S) -> Self {
        let store = Arc::new(store);
        Self { writer: store.clone(), reader: store }
    }
}

/// Where the data is.
enum Place {
    Memory,
    Sqlite(TempDir),
    Postgres(String),
    #[cfg(feature = "client")]
    OverHttp,
}

/// A place for data, and a store on it.
pub struct Stand {
    place: Place,
    pub store: Store,
}

impl Stand {
    async fn fresh(backend: Backend) -> Self {
        let place = match backend {
            Backend::Memory => Place::Memory,
            Backend::Sqlite => Place::Sqlite(tempfile::tempdir().expect("a directory")),
            Backend::Postgres => Place::Postgres(Cluster::shared().database()),
            #[cfg(feature = "client")]
            Backend::OverHttp => Place::OverHttp,
        };
        let store = open(&place).await;
        Self { place, store }
    }

    /// Another instance on the same data, as another process would have; where only one may use
    /// the data, the same.
    pub async fn other(&self) -> Store {
        match self.place {
            Place::Postgres(_) => open(&self.place).await,
            _ => self.store.clone(),
        }
    }

    /// Whether the store is read through a service.
    pub fn is_remote(&self) -> bool {
        !matches!(self.place, Place::Memory | Place::Sqlite(_) | Place::Postgres(_))
    }

    /// Closes the store and opens it again. `false` where nothing outlives the store: then
    /// nothing is done.
    pub async fn reopen(&mut self) -> bool {
        if !matches!(self.place, Place::Sqlite(_) | Place::Postgres(_)) {
            return false;
        }
        self.store.writer.close().await;
        self.store = open(&self.place).await;
        true
    }
}

async fn open(place: &Place) -> Store {
    match place {
        Place::Memory => Store::of(MemoryStore::default()),
        Place::Sqlite(dir) => {
            let config = sqlite::Config::new(dir.path().join("tidelog.db"));
            Store::of(SqliteStore::open(&config).expect("the store opens"))
        }
        Place::Postgres(url) => {
            let config = postgres::Config { lanes: 2, readers: 4, ..postgres::Config::new(url) };
            Store::of(PostgresStore::connect(&config).await.expect("the store opens"))
        }
        #[cfg(feature = "client")]
        Place::OverHttp => crate::over_http::open().await,
    }
}

/// Runs a test on an empty store.
pub fn run<T: Future<Output = ()>>(backend: Backend, test: impl FnOnce(Stand) -> T) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let test = test(Stand::fresh(backend).await);
        tokio::time::timeout(HANGS, test).await.expect("the test ends");
    });
}
