//! Where topics are: each place empty and fresh for every test.
//!
//! A test is a `fn(place: &Place)`; `on_every_place!` makes of it one `#[test]` for each place.

use std::sync::Arc;

use tempfile::TempDir;
use tidelog::config::Config;
use tidelog::store::memory::MemoryStore;
use tidelog::store::postgres::{self, PostgresStore};
use tidelog::store::sqlite::{self, SqliteStore};

use crate::cluster::Cluster;
use crate::run::{Done, feed, run};
use crate::service::Service;

macro_rules! on_every_place {
    ($($test:ident),+ $(,)?) => {
        mod sqlite { on_place!(Sqlite: $($test),+); }
        mod postgres { on_place!(Postgres: $($test),+); }
        mod service_on_memory { on_place!(OnMemory: $($test),+); }
        mod service_on_sqlite { on_place!(OnSqlite: $($test),+); }
        mod service_on_postgres { on_place!(OnPostgres: $($test),+); }
    };
}

macro_rules! on_place {
    ($kind:ident: $($test:ident),+) => {
        $(#[test]
        fn $test() {
            super::$test(&crate::places::Place::new(crate::places::Kind::$kind));
        })+
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A store that the command opens.
    Sqlite,
    Postgres,
    /// A service on a store.
    OnMemory,
    OnSqlite,
    OnPostgres,
}

/// See the module.
pub struct Place {
    /// `--store` or `--url`, and its value.
    flag: &'static str,
    pub url: String,
    _service: Option<Service>,
    _dir: TempDir,
}

impl Place {
    pub fn new(kind: Kind) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("tidelog.db");
        let config = Config::default();
        let direct = |url: String| (url, None);
        let (url, service) = match kind {
            Kind::Sqlite => direct(format!("sqlite:{}", file.display())),
            Kind::Postgres => direct(Cluster::shared().database()),
            Kind::OnMemory => {
                let store = Arc::new(MemoryStore::default());
                serve(|| Service::start(config, store.clone(), store, 0))
            }
            Kind::OnSqlite => {
                let store = SqliteStore::open(&sqlite::Config::new(file)).expect("it opens");
                let store = Arc::new(store);
                serve(|| Service::start(config, store.clone(), store, 0))
            }
            Kind::OnPostgres => {
                let url = Cluster::shared().database();
                serve(async || {
                    let settings = postgres::Config { readers: 4, ..postgres::Config::new(url) };
                    let store = PostgresStore::connect(&settings).await.expect("it opens");
                    let store = Arc::new(store);
                    Service::start(config, store.clone(), store, 0).await
                })
            }
        };
        let flag = if service.is_some() { "--url" } else { "--store" };
        Self { flag, url, _service: service, _dir: dir }
    }

    pub fn is_service(&self) -> bool {
        self.flag == "--url"
    }

    /// The arguments, and where.
    pub fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &[self.flag, &self.url]].concat()
    }

    pub fn run(&self, args: &[&str]) -> Done {
        run(&self.args(args))
    }

    pub fn feed(&self, args: &[&str], input: impl AsRef<[u8]>) -> Done {
        feed(&self.args(args), input)
    }
}

fn serve<F: Future<Output = Service>>(start: impl FnOnce() -> F) -> (String, Option<Service>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let service = runtime.expect("a runtime").block_on(start());
    (service.url(), Some(service))
}
