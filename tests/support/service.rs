//! A service in this process, on a port of its own, over a store of the test's.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use actix_web::web::Data;
use tidelog::config::Config;
use tidelog::store::{EventSourceReader, EventSourceWriter};
use tidelog::topic::Topics;
use tidelog::{http, server};
use tokio::sync::oneshot;

/// Ends, without waiting for connections, with the value. The store stays open.
pub struct Service {
    pub port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts a service; port 0 is any that is free.
    pub async fn start(
        config: Config,
        writer: Arc<dyn EventSourceWriter>,
        reader: Arc<dyn EventSourceReader>,
        port: u16,
    ) -> Self {
        let (ready, port_bound) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let topics = Topics::new(writer, server::settings(&config));
                let app = Data::new(server::app(&config, topics, reader, None));
                let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
                let port = listener.local_addr().expect("it is bound").port();
                let timeout = config.shutdown_timeout;
                let server = http::serve(app, listener, 1, timeout).expect("it can be served");
                let handle = server.handle();
                let serving = actix_web::rt::spawn(server);
                let _ = ready.send(port);
                let _ = stopped.await;
                handle.stop(false).await;
                let _ = serving.await;
            });
        });
        let port = port_bound.await.expect("the service starts");
        Self { port, stop: Some(stop), thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
