//! How are workers reached where the way to them is not trusted? The settings of TLS towards the workers of a pool.
//!
//! Promises: made once, shared by all connections, which resume each other's sessions. Does not: read files or decide what
//! is trusted (the `tls` room does).

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

/// TLS towards the workers of a pool.
#[derive(Debug)]
pub struct Secure {
    /// Tells it from others; never 0. Connections are shared by those that are alike.
    pub id: u64,
    /// Settings of the TLS library.
    pub config: Arc<ClientConfig>,
    /// When the gateway's own certificate ends, where it has one, seconds since 1970.
    pub own_ends: Option<i64>,
    /// Workers must agree to HTTP/2 (ALPN).
    pub h2: bool,
    /// What workers are asked for and must prove; their address where there is none.
    pub name: Option<ServerName<'static>>,
}

impl Secure {
    /// The same without a protocol in the handshake (ALPN).
    pub fn without_alpn(self: Arc<Secure>) -> Arc<Secure> {
        if self.config.alpn_protocols.is_empty() {
            return self;
        }
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols.clear();
        Arc::new(Secure {
            id: self.id,
            config: Arc::new(config),
            own_ends: self.own_ends,
            h2: false,
            name: self.name.clone(),
        })
    }

    /// The name that a worker is asked for and must prove.
    pub fn name_of(&self, worker: SocketAddr) -> ServerName<'static> {
        let address = || ServerName::IpAddress(worker.ip().into());
        self.name.clone().unwrap_or_else(address)
    }
}
