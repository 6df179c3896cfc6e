//! Who answers behind the proxies? Origins that cost so little that the proxy is what is measured.
//!
//! One thread serves every port. What is asked for is in the path, so that one origin serves every
//! case; see [`http1`] for the paths and [`h2c`] for gRPC.

pub mod h2c;
pub mod http1;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections that may wait for an accept.
const BACKLOG: u32 = 4096;

/// What an origin listens on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// First and last ports of HTTP/1.1.
    pub http: Vec<(u16, u16)>,
    /// Ports of gRPC that echo.
    pub echo: Vec<u16>,
    /// Ports of gRPC that open streams and stay silent.
    pub silent: Vec<u16>,
    /// Requests to `/work` that each HTTP port serves at once; others wait.
    pub slots: usize,
}

impl Origin {
    /// Serves until the process ends. Prints `ready` when every port is open.
    ///
    /// # Errors
    ///
    /// A port is taken.
    pub async fn serve(self) -> anyhow::Result<()> {
        for (first, last) in &self.http {
            for port in RangeInclusive::new(*first, *last) {
                let listener = listen(port)?;
                let answer = Rc::new(http1::Worker::new(port, Semaphore::new(self.slots.max(1))));
                tokio::task::spawn_local(async move {
                    loop {
                        let Ok((socket, _)) = listener.accept().await else {
                            continue;
                        };
                        let _ = socket.set_nodelay(true);
                        tokio::task::spawn_local(http1::serve(socket, answer.clone()));
                    }
                });
            }
        }
        let echo = self.echo.iter().map(|port| (*port, h2c::Service::Echo));
        let silent = self.silent.iter().map(|port| (*port, h2c::Service::Silent));
        for (port, service) in echo.chain(silent) {
            let listener = listen(port)?;
            tokio::task::spawn_local(async move {
                loop {
                    let Ok((socket, _)) = listener.accept().await else {
                        continue;
                    };
                    let _ = socket.set_nodelay(true);
                    tokio::task::spawn_local(h2c::serve(socket, service));
                }
            });
        }
        println!("ready");
        std::future::pending().await
    }
}

fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = tokio::net::TcpSocket::new_v4().context("socket")?;
    socket.set_reuseaddr(true).context("SO_REUSEADDR")?;
    socket
        .bind(address)
        .with_context(|| format!("port {port}"))?;
    socket
        .listen(BACKLOG)
        .with_context(|| format!("port {port}"))
}
