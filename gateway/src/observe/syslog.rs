//! How does a log server hear of it? Syslog by RFC 5424, over a local socket, UDP (RFC 5426) or TCP (RFC 6587 section
//! 3.4.1, octets counted).
//!
//! Promises: a server that is away costs a bounded wait and is tried again, with pauses; what it missed is counted. Does
//! not: keep lines for later, or encrypt.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::access_log::Destination;
use super::time::Moment;

/// For a connection to a server, and for it to take what was sent.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries to reach a server: at first, and at the most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// `informational` (RFC 5424 section 6.2.1).
const SEVERITY: u8 = 6;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// A local socket, such as `/dev/log`.
    Local(PathBuf),
    /// UDP; each line a datagram.
    Udp(SocketAddr),
    /// TCP.
    Tcp(SocketAddr),
}

enum Link {
    Local(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A log server.
pub struct Syslog {
    server: Server,
    /// Facility and severity.
    priority: u8,
    /// Our name, and the number of the process.
    host: String,
    pid: u32,
    link: Option<Link>,
    pause: Duration,
    /// Not tried again before.
    again: Option<Instant>,
    message: Vec<u8>,
}

impl Syslog {
    /// The server with this facility (0 to 23). It need not be there yet.
    pub fn new(server: Server, facility: u8) -> Syslog {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Syslog {
            server,
            priority: facility.min(23) * 8 + SEVERITY,
            host: header_word(host.trim()),
            pid: std::process::id(),
            link: None,
            pause: PAUSE,
            again: None,
            message: Vec::new(),
        }
    }

    fn connect(&self) -> io::Result<Link> {
        Ok(match &self.server {
            Server::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(PATIENCE))?;
                socket.connect(path)?;
                Link::Local(socket)
            }
            Server::Udp(server) => {
                let any = match server {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(server)?;
                Link::Udp(socket)
            }
            Server::Tcp(server) => {
                let stream = TcpStream::connect_timeout(server, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Link::Tcp(stream)
            }
        })
    }

    /// Whether there is a link, made anew where it is time to try.
    fn is_linked(&mut self, now: Instant) -> bool {
        if self.link.is_some() {
            return true;
        }
        if self.again.is_some_and(|again| now < again) {
            return false;
        }
        match self.connect() {
            Ok(link) => {
                self.link = Some(link);
                self.pause = PAUSE;
                self.again = None;
                true
            }
            Err(error) => {
                tracing::warn!(%error, server = ?self.server, "the log server cannot be reached");
                self.lose(now);
                false
            }
        }
    }

    fn lose(&mut self, now: Instant) {
        self.link = None;
        self.again = Some(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Puts a line into its message.
    fn frame(&mut self, line: &[u8], stamp: &str) {
        self.message.clear();
        let Syslog {
            priority,
            host,
            pid,
            message,
            ..
        } = self;
        // HEADER, no structured data, MSG (RFC 5424 section 6).
        let _ = write!(
            message,
            "<{priority}>1 {stamp} {host} portcullis {pid} access - "
        );
        message.extend_from_slice(line);
    }
}

/// A word of the header: printable ASCII, never empty (RFC 5424 section 6).
fn header_word(text: &str) -> String {
    let word: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    if word.is_empty() {
        "-".to_owned()
    } else {
        word
    }
}

impl Destination for Syslog {
    fn write(&mut self, block: &[u8]) -> u64 {
        let lines = || block.split(|c| *c == b'\n').filter(|line| !line.is_empty());
        let now = Instant::now();
        if !self.is_linked(now) {
            return lines().count() as u64;
        }
        let stamp = Moment::now().rfc3339();
        let stamp = std::str::from_utf8(&stamp).unwrap_or("-");
        let mut counted = Vec::new();
        let mut lost = 0;
        for line in lines() {
            self.frame(line, stamp);
            let sent = match &self.link {
                Some(Link::Local(socket)) => socket.send(&self.message).map(drop),
                Some(Link::Udp(socket)) => socket.send(&self.message).map(drop),
                Some(Link::Tcp(_)) => {
                    let _ = write!(counted, "{} ", self.message.len());
                    counted.extend_from_slice(&self.message);
                    Ok(())
                }
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            if let Err(error) = sent {
                lost += 1;
                // A datagram that is too long, or that nobody took just now, says nothing of the next one.
                if matches!(self.server, Server::Local(_)) && error.raw_os_error() != Some(90) {
                    self.link = self.connect().ok();
                }
            }
        }
        if let Some(Link::Tcp(stream)) = &mut self.link
            && stream.write_all(&counted).is_err()
        {
            self.lose(now);
            lost = lines().count() as u64;
        } else if self.link.is_none() {
            self.lose(now);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    const BLOCK: &[u8] = b"first line\nsecond\n";

    fn is_message(text: &str, line: &str) {
        // local0.info
        assert!(text.starts_with("<134>1 20"), "{text}");
        assert!(text.contains(" portcullis "), "{text}");
        assert!(text.ends_with(&format!(" access - {line}")), "{text}");
        assert_eq!(text.split(' ').nth(6), Some("-"), "{text}");
    }

    #[test]
    fn lines_go_as_datagrams() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut syslog = Syslog::new(Server::Udp(server.local_addr().unwrap()), 16);
        assert_eq!(syslog.write(BLOCK), 0);
        let mut buf = [0; 1024];
        for line in ["first line", "second"] {
            let n = server.recv(&mut buf).unwrap();
            is_message(std::str::from_utf8(&buf[..n]).unwrap(), line);
        }
    }

    #[test]
    fn over_tcp_each_message_tells_its_length() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut syslog = Syslog::new(Server::Tcp(server.local_addr().unwrap()), 16);
        assert_eq!(syslog.write(BLOCK), 0);
        let (mut stream, _) = server.accept().unwrap();
        drop(syslog);
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        let mut rest = all.as_str();
        for line in ["first line", "second"] {
            let (length, after) = rest.split_once(' ').unwrap();
            let (message, after) = after.split_at(length.parse().unwrap());
            is_message(message, line);
            rest = after;
        }
        assert_eq!(rest, "");
    }

    #[test]
    fn a_server_that_is_away_costs_its_lines_and_is_not_asked_at_once_again() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        drop(server);
        let mut syslog = Syslog::new(Server::Tcp(address), 16);
        assert_eq!(syslog.write(BLOCK), 2);
        assert!(syslog.again.is_some());
        assert_eq!(syslog.write(BLOCK), 2);
        // It is back, and it is time to try.
        let server = TcpListener::bind(address).unwrap();
        syslog.again = None;
        assert_eq!(syslog.write(BLOCK), 0);
        drop(server);
    }

    #[test]
    fn a_name_of_the_header_is_never_empty() {
        assert_eq!(header_word(""), "-");
        assert_eq!(header_word("a b\u{e9}c"), "abc");
    }
}
