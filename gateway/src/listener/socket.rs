//! Which sockets are listened on? Opening them, before anything runs, so that a taken port is told at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use crate::config::model::Bind;
use crate::io::keepalive;

/// Connections that may wait for the accept loop.
const BACKLOG: i32 = 4096;

/// Opens a listening socket. An address without host means all: IPv6 and IPv4 on one socket, or IPv4 alone where the
/// machine has no IPv6.
pub fn open(bind: &Bind) -> io::Result<TcpListener> {
    match bind.host {
        Some(host) => listen(SocketAddr::new(host, bind.port)),
        None => listen(SocketAddr::new(
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            bind.port,
        ))
        .or_else(|error| {
            if error.kind() == io::ErrorKind::AddrInUse
                || error.kind() == io::ErrorKind::PermissionDenied
            {
                return Err(error);
            }
            listen(SocketAddr::new(
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                bind.port,
            ))
        }),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of an earlier process in TIME_WAIT must not keep the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    prepare(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes a socket that somebody else opened one like ours.
pub fn adopt(socket: TcpListener) -> io::Result<TcpListener> {
    let socket = Socket::from(socket);
    socket.set_cloexec(true)?;
    prepare(&socket)?;
    // Said again, it only changes the length of the queue.
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn prepare(socket: &Socket) -> io::Result<()> {
    // Accepted connections inherit it. Streams that live for days have no deadline: a client that lost its network
    // would stay in the books, and at its worker, for ever.
    socket.set_tcp_keepalive(&keepalive())?;
    // Also inherited: small writes do not wait for one another.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)
}

/// Lets nobody begin a connection any more: who tries is told nothing, tries again a second later, and finds the port
/// closed. Connections that have begun are completed, so that a socket can be emptied and then closed without cutting
/// off anybody. It holds for every process that has the socket.
pub fn turn_away(socket: &impl AsFd) -> io::Result<()> {
    // The byte with the flags of the TCP header; a segment with SYN is dropped, any other is taken whole.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    let program = [
        SockFilter::new(bpf::LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(bpf::JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(bpf::RETURN, 0, 0, 0),
        SockFilter::new(bpf::RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(socket).attach_filter(&program)
}

/// Instructions of the kernel's classic packet filter (`linux/filter.h`).
mod bpf {
    /// `BPF_LD | BPF_B | BPF_ABS`
    pub const LOAD_BYTE: u16 = 0x30;
    /// `BPF_JMP | BPF_JSET | BPF_K`
    pub const JUMP_IF_SET: u16 = 0x45;
    /// `BPF_RET | BPF_K`
    pub const RETURN: u16 = 0x06;
}

/// What to say of an address that cannot be listened on.
pub fn explain(bind: &Bind, error: &io::Error) -> (String, Option<String>) {
    let address = match bind.host {
        Some(host) => SocketAddr::new(host, bind.port).to_string(),
        None => format!(":{}", bind.port),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => (
            format!("{address} is taken by another process"),
            Some(format!(
                "`ss -ltnp 'sport = :{}'` names it; stop it or choose another port",
                bind.port
            )),
        ),
        io::ErrorKind::PermissionDenied => (
            format!("listening on {address} is not permitted"),
            Some("ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()),
        ),
        io::ErrorKind::AddrNotAvailable => (
            format!("{address} is no address of this machine"),
            Some("use `:PORT` for all addresses".to_owned()),
        ),
        _ => (format!("listening on {address} failed: {error}"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Place;
    use std::time::Duration;

    #[test]
    fn a_client_that_lost_its_network_is_found_out() {
        let bind = Bind {
            host: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: 0,
            place: Place::default(),
        };
        let listener = open(&bind).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        assert!(accepted.keepalive().unwrap(), "inherited from the listener");
        assert!(accepted.tcp_keepalive_time().unwrap() <= Duration::from_secs(60));
        assert!(accepted.tcp_nodelay().unwrap(), "inherited as well");
    }

    #[test]
    fn a_socket_that_turns_away_still_gives_out_who_had_come() {
        let bind = Bind {
            host: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: 0,
            place: Place::default(),
        };
        let listener = open(&bind).unwrap();
        let address = listener.local_addr().unwrap();
        let came = std::net::TcpStream::connect(address).unwrap();
        turn_away(&listener).unwrap();
        let patience = Duration::from_millis(300);
        let late = std::net::TcpStream::connect_timeout(&address, patience);
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, came.local_addr().unwrap());
        assert!(listener.accept().is_err(), "nobody else");
    }

    #[test]
    fn a_taken_port_is_told_with_a_way_to_find_who_has_it() {
        let bind = |port| Bind {
            host: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port,
            place: Place::default(),
        };
        let first = open(&bind(0)).unwrap();
        let taken = bind(first.local_addr().unwrap().port());
        let error = open(&taken).unwrap_err();
        let (what, hint) = explain(&taken, &error);
        assert!(what.contains("is taken"), "{what}");
        assert!(hint.unwrap().contains("ss -ltnp"));
    }
}
