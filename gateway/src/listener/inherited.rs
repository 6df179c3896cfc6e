//! Which sockets were open before we came? Those of the process before this one, and those of the service manager.
//!
//! Promises: a socket goes to the listener that is bound to its address, whatever it was called before; what nobody
//! wants is closed. Does not: open anything.

use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::config::model::Bind;
use crate::listener::socket;

/// From whom a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The process that this one replaces; the number is the socket's place in what it offered.
    Predecessor(usize),
    /// The service manager, which keeps it open after us.
    ServiceManager,
}

/// A socket that was opened by somebody else.
#[derive(Debug)]
pub struct Inherited {
    /// Whose it is.
    pub from: From,
    /// The listener it belonged to; `None` where any may have it.
    pub name: Option<String>,
    /// The address that was asked for, where that is known.
    pub asked: Option<(Option<IpAddr>, u16)>,
    /// The socket.
    pub socket: TcpListener,
}

/// Sockets that are there to be taken.
#[derive(Debug, Default)]
pub struct Inheritance(Vec<Inherited>);

impl Inheritance {
    /// All of these.
    pub fn new(sockets: Vec<Inherited>) -> Inheritance {
        Inheritance(sockets)
    }

    /// Adds the sockets that the service manager passes (`LISTEN_FDS`). What is none of TCP stays where it is.
    pub fn add_passed(&mut self) -> std::io::Result<()> {
        let mut passed = listenfd::ListenFd::from_env();
        for index in 0..passed.len() {
            match passed.take_tcp_listener(index) {
                Ok(Some(socket)) => self.0.push(Inherited {
                    from: From::ServiceManager,
                    name: None,
                    asked: None,
                    socket: socket::adopt(socket)?,
                }),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(index, %error, "a socket of the service manager is none of TCP");
                }
            }
        }
        Ok(())
    }

    /// The socket that listens where `bind` says: the one that this listener had, or else any at the address. A port that
    /// the kernel chose says nothing to another listener.
    pub fn take(&mut self, listener: &str, bind: &Bind) -> Option<Inherited> {
        let wanted = (bind.host, bind.port);
        let its_own =
            |one: &Inherited| one.name.as_deref() == Some(listener) && one.asked == Some(wanted);
        let same_place = |one: &Inherited| {
            one.socket
                .local_addr()
                .is_ok_and(|address| covers(bind, address))
        };
        let at = self
            .0
            .iter()
            .position(its_own)
            .or_else(|| self.0.iter().position(same_place))?;
        Some(self.0.swap_remove(at))
    }

    /// Where the sockets listen that nobody took.
    pub fn left(&self) -> Vec<SocketAddr> {
        self.0
            .iter()
            .filter_map(|one| one.socket.local_addr().ok())
            .collect()
    }
}

/// Whether a socket at `address` is what `bind` asks for.
fn covers(bind: &Bind, address: SocketAddr) -> bool {
    bind.port != 0
        && bind.port == address.port()
        && match bind.host {
            Some(host) => host == address.ip(),
            None => address.ip().is_unspecified(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Place;

    fn bind(host: Option<&str>, port: u16) -> Bind {
        Bind {
            host: host.map(|host| host.parse().unwrap()),
            port,
            place: Place::default(),
        }
    }

    fn open(name: Option<&str>, asked: Option<(&str, u16)>, at: usize) -> Inherited {
        Inherited {
            from: From::Predecessor(at),
            name: name.map(str::to_owned),
            asked: asked.map(|(host, port)| (Some(host.parse().unwrap()), port)),
            socket: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    #[test]
    fn a_listener_keeps_its_own_socket_also_where_the_kernel_chose_the_port() {
        let any = Some(("127.0.0.1", 0));
        let mut all = Inheritance::new(vec![open(Some("a"), any, 0), open(Some("b"), any, 1)]);
        let wanted = bind(Some("127.0.0.1"), 0);
        assert_eq!(all.take("b", &wanted).unwrap().from, From::Predecessor(1));
        assert!(all.take("c", &wanted).is_none(), "never another's");
        assert_eq!(all.take("a", &wanted).unwrap().from, From::Predecessor(0));
        assert!(all.left().is_empty());
    }

    #[test]
    fn a_socket_follows_its_address_to_a_listener_of_another_name() {
        let socket = open(Some("old"), None, 0);
        let port = socket.socket.local_addr().unwrap().port();
        let mut all = Inheritance::new(vec![socket]);
        assert!(all.take("new", &bind(Some("127.0.0.2"), port)).is_none());
        assert!(all.take("new", &bind(None, port)).is_none());
        assert_eq!(all.left().len(), 1);
        assert!(all.take("new", &bind(Some("127.0.0.1"), port)).is_some());
    }

    #[test]
    fn a_bind_without_host_is_the_socket_of_every_address() {
        let every = |text: &str| covers(&bind(None, 443), text.parse().unwrap());
        assert!(every("[::]:443") && every("0.0.0.0:443"));
        assert!(!every("127.0.0.1:443") && !every("0.0.0.0:80"));
    }
}
