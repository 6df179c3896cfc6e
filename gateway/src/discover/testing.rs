//! Ports for tests.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// A port that nobody else on the machine is given while this lives, listened on or not.
pub(super) struct Port {
    _reserved: Socket,
    pub(super) addr: SocketAddr,
}

impl Port {
    /// Reserves a port at this host.
    pub(super) fn at(host: &str) -> Port {
        let reserved = bound(SocketAddr::new(host.parse().expect("an address"), 0));
        let addr = reserved
            .local_addr()
            .expect("a bound socket has an address");
        Port {
            _reserved: reserved,
            addr: addr.as_socket().expect("an internet address"),
        }
    }

    /// Listens there until dropped.
    pub(super) fn listen(&self) -> TcpListener {
        let socket = bound(self.addr);
        socket.listen(16).expect("the port is ours");
        socket.into()
    }

    /// The same for tokio.
    pub(super) fn listen_async(&self) -> tokio::net::TcpListener {
        let listener = self.listen();
        listener
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        tokio::net::TcpListener::from_std(listener).expect("within a runtime")
    }
}

fn bound(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("ports can be shared");
    socket.bind(&addr.into()).expect("the port is free or ours");
    socket
}
