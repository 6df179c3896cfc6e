//! How does a test get a worker? Started in this process on a free port, stopped when told.

use std::net::SocketAddr;
use std::time::Duration;

use backends::serve;
use backends::service::Service;
use backends::worker::Worker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// No answer takes this long; it only ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A worker in this process.
pub struct Running {
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Running {
    pub async fn start(service: Service) -> Self {
        let socket = serve::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let listener = serve::listen(socket).expect("it is free still");
        let address = listener.local_addr().expect("it is bound");
        let (worker, stop) = Worker::new(service.name, address);
        let routes = (service.routes)(&worker);
        let served = tokio::spawn(async move { serve::run(listener, routes, &worker).await });
        Self {
            address,
            stop,
            served,
        }
    }

    pub fn say_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Ends when everything in flight is finished.
    pub async fn stopped(self) {
        self.say_stop();
        let ended = within(self.served).await.expect("no panic");
        ended.expect("the socket did not break");
    }

    pub async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.address))
            .await
            .expect("it listens")
    }

    /// Sends bytes and returns everything that comes back until the worker closes.
    pub async fn send(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        rest_of(&mut stream).await
    }

    /// `GET` over HTTP/1.1.
    pub async fn get(&self, target: &str) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nhost: test\r\nte: trailers\r\n");
        self.send(&format!("{head}connection: close\r\n\r\n")).await
    }
}

/// Everything until the end of the stream.
pub async fn rest_of(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    // A reset is an end too; what came before it counts.
    let _ = within(stream.read_to_end(&mut got)).await;
    String::from_utf8(got).expect("these answers are text")
}

/// Fails a test that waits for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("an answer in time")
}
