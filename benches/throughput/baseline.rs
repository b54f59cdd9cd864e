//! Services to compare with, on the same HTTP server: an echo (what HTTP itself costs); what a user
//! would write instead of Tidelog, one INSERT a request through a pool, without ordering,
//! de-duplication or surface; and what is left of Tidelog's way without its rules (`grouped.rs`).
//! The benchmark runs itself with `--serve` for them.

use actix_web::{App, HttpResponse, HttpServer, web};
use deadpool_postgres::{Config, Pool, PoolConfig, Runtime};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_postgres::NoTls;

use super::grouped;

/// Connections of the service that inserts.
const POOL: usize = 32;

#[derive(Deserialize)]
pub(super) struct Event {
    pub key: String,
    pub data: Box<RawValue>,
}

#[derive(Serialize)]
struct Ack {
    id: i64,
}

async fn echo(body: web::Bytes) -> HttpResponse {
    HttpResponse::Created().content_type("application/json").body(body)
}

async fn insert_grouped(
    url: web::Data<String>,
    event: web::Json<Event>,
) -> actix_web::Result<HttpResponse> {
    let id = grouped::insert(&url, event.into_inner()).await;
    let id = id.ok_or_else(|| actix_web::error::ErrorServiceUnavailable("not written"))?;
    Ok(HttpResponse::Created().json(Ack { id }))
}

const ONE: &str = "INSERT INTO plain_event (key, data) VALUES ($1, $2) RETURNING id";
pub(super) const MANY: &str = "INSERT INTO plain_event (key, data)
    SELECT * FROM unnest($1::text[], $2::text[]) RETURNING id";

async fn insert(pool: web::Data<Pool>, event: web::Json<Event>) -> actix_web::Result<HttpResponse> {
    let row = async {
        let client = pool.get().await.map_err(|error| error.to_string())?;
        let statement = client.prepare_cached(ONE).await.map_err(|error| error.to_string())?;
        let data = event.data.get();
        client.query_one(&statement, &[&event.key, &data]).await.map_err(|error| error.to_string())
    };
    let row = row.await.map_err(actix_web::error::ErrorServiceUnavailable)?;
    Ok(HttpResponse::Created().json(Ack { id: row.get(0) }))
}

async fn insert_many(pool: web::Data<Pool>, body: web::Bytes) -> actix_web::Result<HttpResponse> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let events: Vec<Event> = lines.map(serde_json::from_slice).collect::<Result<_, _>>()?;
    let keys: Vec<&str> = events.iter().map(|event| event.key.as_str()).collect();
    let data: Vec<&str> = events.iter().map(|event| event.data.get()).collect();
    let rows = async {
        let client = pool.get().await.map_err(|error| error.to_string())?;
        let statement = client.prepare_cached(MANY).await.map_err(|error| error.to_string())?;
        client.query(&statement, &[&keys, &data]).await.map_err(|error| error.to_string())
    };
    let rows = rows.await.map_err(actix_web::error::ErrorServiceUnavailable)?;
    let acks: Vec<Ack> = rows.iter().map(|row| Ack { id: row.get(0) }).collect();
    Ok(HttpResponse::Created().json(acks))
}

async fn pool(url: &str) -> std::io::Result<Pool> {
    let config =
        Config { url: Some(url.to_owned()), pool: Some(PoolConfig::new(POOL)), ..Config::new() };
    let pool = config.create_pool(Some(Runtime::Tokio1), NoTls).map_err(std::io::Error::other)?;
    let client = pool.get().await.map_err(std::io::Error::other)?;
    let table = "CREATE TABLE plain_event (id bigserial PRIMARY KEY, key text NOT NULL,
        data text NOT NULL, recorded_at timestamptz NOT NULL DEFAULT now())";
    client.batch_execute(table).await.map_err(std::io::Error::other)?;
    drop(client);
    Ok(pool)
}

/// Serves until it is killed; says on standard error where.
pub async fn serve(url: Option<String>, grouped: bool) -> std::io::Result<()> {
    let pool = match url {
        Some(url) => Some((web::Data::new(pool(&url).await?), web::Data::new(url))),
        None => None,
    };
    let server = HttpServer::new(move || {
        let app = App::new()
            .app_data(web::PayloadConfig::new(64 << 20))
            .route("/echo", web::post().to(echo))
            .route("/insert", web::post().to(insert))
            .route("/insert-many", web::post().to(insert_many))
            .route("/insert-grouped", web::post().to(insert_grouped));
        match &pool {
            Some((pool, url)) => app.app_data(pool.clone()).app_data(url.clone()),
            None => app,
        }
    });
    let mut server = server.tcp_nodelay(true);
    if grouped {
        // As Tidelog: a thread for two cores, and a connection to the database on it.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        server = server.workers((cores / 2).max(1));
    }
    let server = server.bind("127.0.0.1:0")?;
    eprintln!("listening on http://{}/", server.addrs()[0]);
    server.run().await
}
