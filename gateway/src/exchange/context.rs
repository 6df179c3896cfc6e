//! What does an exchange know of the connection it came on?

use std::net::SocketAddr;
use std::rc::Rc;

use crate::config::model::ListenerId;
use crate::shard::Shard;
use crate::tls::identity::Identity;

/// What an exchange knows of the connection it came on.
pub struct Context {
    /// The data thread.
    pub shard: Rc<Shard>,
    /// The listener.
    pub listener: ListenerId,
    /// The client's address.
    pub client: SocketAddr,
    /// The same as text, without the port.
    pub client_text: String,
    /// Where the client came to.
    pub came_to: SocketAddr,
    /// TLS version, empty on plain connections.
    pub tls: &'static str,
    /// The name that the client asked for by TLS (SNI); of its own, because what the TLS library keeps is not shown.
    pub tls_name: Option<Box<str>>,
    /// What the client's certificate says, where it has shown one.
    pub certificate: Option<Box<Identity>>,
}

impl Context {
    /// Whether the connection should end after what it is doing: the gateway stops, or a reload took its listener away.
    pub fn is_ending(&self) -> bool {
        self.shard.shared.is_draining() || self.shard.shared.plan.load().is_gone(self.listener)
    }
}
