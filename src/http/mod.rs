//! The HTTP interface: routes, bodies, problems. Everything that a client can see of a request.
//!
//! Not here: JSON shapes of events and acks (`wire/`), ordering (`topic/`), SQL (`store/`).

mod access;
pub mod app;
mod append;
pub mod arriving;
pub mod auth;
mod body;
mod connection;
mod consumers;
mod events;
mod failure;
mod headers;
mod keep;
pub mod lags;
mod live;
mod notifications;
mod observe;
mod ops;
mod origin;
pub mod problem;
mod query;
mod reference;
mod stall;
mod surface;
mod topics;
mod transactions;
mod unread;

use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App as Application, HttpRequest, HttpResponse, HttpServer, Resource};

use access::Route;
use app::App;
use problem::{ErrorCode, Extra, Problem};

/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may go on sending after its request was answered, before it is cut off.
const LINGER: Duration = Duration::from_secs(2);
/// How long a connection without a request is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Serves HTTP/1.1, and HTTP/2 with prior knowledge, until it is stopped. Signals are left alone.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(
    app: Data<App>,
    listener: TcpListener,
    workers: usize,
    shutdown_timeout: Duration,
) -> std::io::Result<Server> {
    let stall = app.limits.read_stall_timeout;
    let server = HttpServer::new(move || {
        Application::new()
            .app_data(app.clone())
            .configure(routes)
            .wrap(from_fn(observe::observe))
            .wrap(Compress::default())
            .wrap(stall::Stall)
    });
    Ok(server
        .workers(workers)
        .on_connect(move |stream, _| connection::prepare(stream, stall))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(LINGER)
        // Acks leave in small pieces; Nagle would hold each back until the one before was received.
        .tcp_nodelay(true)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(shutdown_timeout.as_secs())
        .disable_signals()
        .listen_auto_h2c(listener)?
        .run())
}

/// The route table. What is asked for most comes first: paths, and then methods, are tried in this
/// order.
fn routes(config: &mut ServiceConfig) {
    const READ: &str = "GET, HEAD";
    config
        .service(
            resource("/v1/topics/{topic}/events", "GET, HEAD, POST")
                .route(web::post().to(append::append))
                .route(web::get().to(events::events))
                .route(web::head().to(events::events)),
        )
        .service(
            resource("/v1/topics", READ)
                .route(web::get().to(topics::list))
                .route(web::head().to(topics::list)),
        )
        .service(
            resource("/v1/topics/{topic}", READ)
                .route(web::get().to(topics::one))
                .route(web::head().to(topics::one)),
        )
        .service(
            resource("/v1/topics/{topic}/transactions", "POST")
                .route(web::post().to(transactions::write)),
        )
        .service(
            resource("/v1/topics/{topic}/transactions/{n}", READ)
                .route(web::get().to(events::transaction))
                .route(web::head().to(events::transaction)),
        )
        .service(
            resource("/v1/topics/{topic}/transactions/{n}/invalidation", "POST")
                .route(web::post().to(transactions::invalidate)),
        )
        .service(
            resource("/v1/topics/{topic}/latest", READ)
                .route(web::get().to(surface::latest))
                .route(web::head().to(surface::latest)),
        )
        .service(
            resource("/v1/topics/{topic}/surface", READ)
                .route(web::get().to(surface::surface))
                .route(web::head().to(surface::surface)),
        )
        .service(
            resource("/v1/topics/{topic}/consumers", READ)
                .route(web::get().to(consumers::list))
                .route(web::head().to(consumers::list)),
        )
        .service(
            resource("/v1/topics/{topic}/consumers/{consumer}", "GET, HEAD, PUT, DELETE")
                .route(web::get().to(consumers::one))
                .route(web::head().to(consumers::one))
                .route(web::put().to(consumers::put))
                .route(web::delete().to(consumers::delete)),
        )
        .service(
            resource("/", READ).route(web::get().to(ops::root)).route(web::head().to(ops::root)),
        )
        .service(
            resource("/v1/notifications", READ)
                .route(web::get().to(notifications::notifications))
                .route(web::head().to(notifications::notifications)),
        )
        .service(
            resource("/metrics", READ)
                .route(web::get().to(ops::metrics))
                .route(web::head().to(ops::metrics)),
        )
        .service(
            resource("/health/live", READ)
                .route(web::get().to(ops::live))
                .route(web::head().to(ops::live)),
        )
        .service(
            resource("/health/ready", READ)
                .route(web::get().to(ops::ready))
                .route(web::head().to(ops::ready)),
        )
        .service(
            resource("/version", READ)
                .route(web::get().to(ops::version))
                .route(web::head().to(ops::version)),
        )
        .service(
            resource("/openapi.json", READ)
                .route(web::get().to(reference::document))
                .route(web::head().to(reference::document)),
        )
        .service(
            resource("/docs", READ)
                .route(web::get().to(reference::page))
                .route(web::head().to(reference::page)),
        )
        .service(
            resource("/docs/{file}", READ)
                .route(web::get().to(reference::file))
                .route(web::head().to(reference::file)),
        )
        .default_service(web::to(nowhere));
}

/// A path, and what is answered to methods that it does not know.
fn resource(path: &'static str, methods: &'static str) -> Resource {
    web::resource(path).app_data(Route(path)).default_service(web::to(
        move |request: HttpRequest| async move {
            let detail = format!("{} is not allowed here; there is {methods}", request.method());
            let problem = Problem::new(ErrorCode::MethodNotAllowed, detail);
            Err::<HttpResponse, _>(problem.with(Extra::Allow(methods)))
        },
    ))
}

async fn nowhere() -> Result<HttpResponse, Problem> {
    Err(Problem::new(ErrorCode::NotFound, "there is nothing at this path"))
}
