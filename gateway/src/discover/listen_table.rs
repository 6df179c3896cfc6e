//! Which addresses of this machine are listened on?
//!
//! Asked of the kernel by sock_diag (netlink, see sock_diag(7)): a request lists every TCP socket in the state LISTEN,
//! without any right beyond the default. The older form of it tells of both address families in one walk through the
//! kernel's table, which is most of what a look costs; where there is none, each family is asked for. The messages
//! are read here byte by byte: two fixed structures and one attribute are all there is to them.
//!
//! Reads are bounded. A message that is cut short or makes no sense is an error, never a panic.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listening {
    /// Its port.
    pub port: u16,
    /// Its address; IPv4 also where the kernel writes it as mapped into IPv6.
    pub ip: IpAddr,
    /// Whether an IPv6 socket leaves IPv4 alone (`IPV6_V6ONLY`).
    pub v6_only: bool,
}

impl Listening {
    /// Whether a connection to this address of the same machine would arrive here.
    pub fn covers(&self, addr: SocketAddr) -> bool {
        let ip = addr.ip().to_canonical();
        self.port == addr.port()
            && match self.ip {
                IpAddr::V4(any) if any.is_unspecified() => ip.is_ipv4(),
                IpAddr::V6(any) if any.is_unspecified() => ip.is_ipv6() || !self.v6_only,
                exact => exact == ip,
            }
    }
}

/// An open line to the kernel.
#[derive(Debug)]
pub struct ListenTable {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
    /// The kernel answers for both families at once.
    at_once: bool,
}

/// Room for one datagram; the kernel makes none that is larger than what is offered.
const BUFFER_BYTES: usize = 32 * 1024;

/// Datagrams of one answer. Each holds hundreds of sockets.
const DATAGRAMS_MAX: usize = 1024;

impl ListenTable {
    /// Opens the line. Fails where the process may not (a container's filter of system calls).
    pub fn open() -> io::Result<ListenTable> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        // From here on only the kernel is heard.
        socket.connect(&NetlinkAddr::new(0, 0))?;
        // An answer is ready when the request has been sent: reading never waits.
        socket.set_non_blocking(true)?;
        Ok(ListenTable {
            socket,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            sequence: 0,
            at_once: true,
        })
    }

    /// Replaces `found` by every listening socket, ordered by port, each once.
    pub fn read(&mut self, found: &mut Vec<Listening>) -> io::Result<()> {
        found.clear();
        self.at_once = self.at_once && self.ask(&request_for_both, found).is_ok();
        if !self.at_once {
            found.clear();
            self.ask(&|sequence| request(AF_INET, sequence), found)?;
            match self.ask(&|sequence| request(AF_INET6, sequence), found) {
                // A kernel without IPv6 knows no such family.
                Err(e) if matches!(e.raw_os_error(), Some(ENOENT | EAFNOSUPPORT)) => {}
                other => other?,
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(())
    }

    fn ask<const BYTES: usize>(
        &mut self,
        request: &dyn Fn(u32) -> [u8; BYTES],
        found: &mut Vec<Listening>,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(self.sequence), 0)?;
        for _ in 0..DATAGRAMS_MAX {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            if parse(&self.buffer, self.sequence, found)? == Progress::Complete {
                return Ok(());
            }
        }
        Err(malformed("the listen table has no end"))
    }
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u8 = 10;
const ENOENT: i32 = 2;
const EAFNOSUPPORT: i32 = 97;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Of TCP sockets of every family (`linux/inet_diag.h`).
const TCPDIAG_GETSOCK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP: u16 = 0x300;
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// `struct inet_diag_req`.
const REQUEST_FOR_BOTH_BYTES: usize = 60;
/// `struct inet_diag_msg`.
const ANSWER_BYTES: usize = 72;
/// The attribute that tells `IPV6_V6ONLY`.
const INET_DIAG_SKV6ONLY: u16 = 11;

fn request(family: u8, sequence: u32) -> [u8; HEADER_BYTES + REQUEST_BYTES] {
    let mut message = dump(SOCK_DIAG_BY_FAMILY, sequence);
    message[16] = family;
    message[17] = IPPROTO_TCP;
    message[20..24].copy_from_slice(&(1u32 << TCP_LISTEN).to_ne_bytes());
    message
}

fn request_for_both(sequence: u32) -> [u8; HEADER_BYTES + REQUEST_FOR_BOTH_BYTES] {
    let mut message = dump(TCPDIAG_GETSOCK, sequence);
    message[16] = AF_INET;
    // Behind the family, three more bytes and the identity of a socket, which is not asked for.
    message[68..72].copy_from_slice(&(1u32 << TCP_LISTEN).to_ne_bytes());
    message
}

fn dump<const BYTES: usize>(kind: u16, sequence: u32) -> [u8; BYTES] {
    let mut message = [0; BYTES];
    message[0..4].copy_from_slice(&(BYTES as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
    message
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Complete,
}

/// Reads the messages of a datagram.
fn parse(mut datagram: &[u8], sequence: u32, found: &mut Vec<Listening>) -> io::Result<Progress> {
    if datagram.is_empty() {
        return Err(malformed("an empty datagram"));
    }
    while !datagram.is_empty() {
        let header = datagram
            .get(..HEADER_BYTES)
            .ok_or_else(|| malformed("a header cut short"))?;
        let length = u32_at(header, 0) as usize;
        let body = datagram
            .get(HEADER_BYTES..length)
            .ok_or_else(|| malformed("a message cut short"))?;
        // An answer to an earlier question that was given up is passed over.
        if u32_at(header, 8) == sequence {
            match u16_at(header, 4) {
                NLMSG_DONE => return refusal(body).map(|()| Progress::Complete),
                NLMSG_ERROR => {
                    refusal(body)?;
                    return Err(malformed("an acknowledgement nobody asked for"));
                }
                SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK => found.extend(listening(body)?),
                _ => {}
            }
        }
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(Progress::More)
}

/// The error number at the start of a message, if it is one.
fn refusal(body: &[u8]) -> io::Result<()> {
    match body
        .first_chunk::<4>()
        .map(|code| i32::from_ne_bytes(*code))
    {
        Some(code) if code < 0 => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Ok(()),
    }
}

fn listening(body: &[u8]) -> io::Result<Option<Listening>> {
    let fixed = body
        .get(..ANSWER_BYTES)
        .ok_or_else(|| malformed("a socket cut short"))?;
    let ip = match (
        fixed[0],
        fixed[8..].first_chunk::<4>(),
        fixed[8..].first_chunk::<16>(),
    ) {
        (AF_INET, Some(octets), _) => IpAddr::V4(Ipv4Addr::from(*octets)),
        (AF_INET6, _, Some(octets)) => IpAddr::V6(Ipv6Addr::from(*octets)).to_canonical(),
        _ => return Ok(None),
    };
    if fixed[1] != TCP_LISTEN {
        return Ok(None);
    }
    let port = u16::from_be_bytes([fixed[4], fixed[5]]);
    let v6_only = ip.is_ipv6() && v6_only(&body[ANSWER_BYTES..]);
    Ok(Some(Listening { port, ip, v6_only }))
}

/// Looks through the attributes: length, kind, value, each aligned to four bytes.
fn v6_only(mut attributes: &[u8]) -> bool {
    while let Some(head) = attributes.first_chunk::<4>() {
        let length = usize::from(u16_at(head, 0));
        if u16_at(head, 2) == INET_DIAG_SKV6ONLY {
            return length > 4 && attributes.get(4).is_some_and(|&value| value != 0);
        }
        attributes = attributes
            .get(length.max(4).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    false
}

/// Of a slice that is known to be long enough.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::Port;
    use super::*;

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut message = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 2]);
        message.extend(sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn socket(family: u8, state: u8, port: u16, ip: &[u8], attributes: &[u8]) -> Vec<u8> {
        let mut body = vec![0; ANSWER_BYTES];
        body[0] = family;
        body[1] = state;
        body[4..6].copy_from_slice(&port.to_be_bytes());
        body[8..8 + ip.len()].copy_from_slice(ip);
        body.extend(attributes);
        message(SOCK_DIAG_BY_FAMILY, 1, &body)
    }

    fn v6_only_attribute(value: u8) -> Vec<u8> {
        // Another attribute first, of an odd length.
        let mut attributes = vec![5, 0, 8, 0, 1, 0, 0, 0];
        attributes[0..2].copy_from_slice(&5u16.to_ne_bytes());
        attributes[2..4].copy_from_slice(&8u16.to_ne_bytes());
        attributes.extend(5u16.to_ne_bytes());
        attributes.extend(INET_DIAG_SKV6ONLY.to_ne_bytes());
        attributes.extend([value, 0, 0, 0]);
        attributes
    }

    fn sample() -> Vec<u8> {
        let mut datagram = socket(AF_INET, TCP_LISTEN, 8080, &[127, 0, 0, 1], &[]);
        datagram.extend(socket(AF_INET, 1, 8081, &[127, 0, 0, 1], &[]));
        datagram.extend(socket(
            AF_INET6,
            TCP_LISTEN,
            8082,
            &[0; 16],
            &v6_only_attribute(1),
        ));
        datagram.extend(socket(
            AF_INET6,
            TCP_LISTEN,
            8083,
            &[0; 16],
            &v6_only_attribute(0),
        ));
        datagram.extend(socket(77, TCP_LISTEN, 8084, &[0; 16], &[]));
        datagram.extend(message(NLMSG_DONE, 1, &[0; 4]));
        datagram
    }

    #[test]
    fn listening_sockets_are_read_and_others_passed_over() {
        let mut found = Vec::new();
        assert_eq!(parse(&sample(), 1, &mut found).unwrap(), Progress::Complete);
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        assert_eq!(
            found,
            [
                Listening {
                    port: 8080,
                    ip: [127, 0, 0, 1].into(),
                    v6_only: false
                },
                Listening {
                    port: 8082,
                    ip: any,
                    v6_only: true
                },
                Listening {
                    port: 8083,
                    ip: any,
                    v6_only: false
                },
            ]
        );
    }

    #[test]
    fn answers_to_another_question_are_passed_over() {
        let mut found = Vec::new();
        assert_eq!(parse(&sample(), 2, &mut found).unwrap(), Progress::More);
        assert_eq!(found, []);
    }

    #[test]
    fn errors_of_the_kernel_are_told() {
        for kind in [NLMSG_ERROR, NLMSG_DONE] {
            let error = parse(
                &message(kind, 1, &(-13i32).to_ne_bytes()),
                1,
                &mut Vec::new(),
            )
            .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        }
        assert!(
            parse(
                &message(NLMSG_ERROR, 1, &i32::MIN.to_ne_bytes()),
                1,
                &mut Vec::new()
            )
            .is_err()
        );
        assert!(parse(&message(NLMSG_ERROR, 1, &[]), 1, &mut Vec::new()).is_err());
        assert!(parse(&[], 1, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_wildcard_covers_its_family_and_a_dual_stack_one_both() {
        for (ip, v6_only, addr, covers) in [
            ("127.0.0.1", false, "127.0.0.1:80", true),
            ("127.0.0.1", false, "127.0.0.1:81", false),
            ("127.0.0.1", false, "127.0.0.2:80", false),
            ("0.0.0.0", false, "127.0.0.2:80", true),
            ("0.0.0.0", false, "[::1]:80", false),
            ("::", false, "[::1]:80", true),
            ("::", false, "127.0.0.1:80", true),
            ("::", true, "127.0.0.1:80", false),
            ("::", true, "[::1]:80", true),
            ("::1", false, "127.0.0.1:80", false),
            ("::ffff:127.0.0.1", false, "127.0.0.1:80", true),
            ("127.0.0.1", false, "[::ffff:127.0.0.1]:80", true),
        ] {
            let ip = ip.parse::<IpAddr>().unwrap().to_canonical();
            let listening = Listening {
                port: 80,
                ip,
                v6_only,
            };
            assert_eq!(
                listening.covers(addr.parse().unwrap()),
                covers,
                "{listening:?} {addr}"
            );
        }
    }

    #[test]
    fn a_socket_is_in_the_table_while_it_listens() {
        let at_once = [true, false];
        let hosts = ["127.0.0.1", "0.0.0.0", "::1", "::"];
        let cases = at_once
            .iter()
            .flat_map(|way| hosts.map(|host| (*way, host)));
        for (at_once, host) in cases {
            let mut table = ListenTable::open().expect("sock_diag needs no rights");
            table.at_once = at_once;
            let mut found = Vec::new();
            let port = Port::at(host);
            let addr = port.addr;
            table.read(&mut found).unwrap();
            assert!(!found.iter().any(|l| l.covers(addr)), "{addr}");
            let listener = port.listen();
            table.read(&mut found).unwrap();
            assert!(found.iter().any(|l| l.covers(addr)), "{addr}");
            drop(listener);
            table.read(&mut found).unwrap();
            assert!(!found.iter().any(|l| l.covers(addr)), "{addr}");
            assert_eq!(table.at_once, at_once, "this kernel knows both forms");
        }
    }

    #[test]
    fn a_dual_stack_socket_is_told_from_one_for_ipv6_only() {
        let ways = [(true, false), (true, true), (false, false), (false, true)];
        for (at_once, only) in ways {
            let mut table = ListenTable::open().unwrap();
            table.at_once = at_once;
            let socket =
                socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
            socket.set_only_v6(only).unwrap();
            socket
                .bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())
                .unwrap();
            socket.listen(1).unwrap();
            let port = socket.local_addr().unwrap().as_socket().unwrap().port();
            let mut found = Vec::new();
            table.read(&mut found).unwrap();
            let here = found
                .iter()
                .find(|l| l.port == port && l.ip.is_ipv6())
                .unwrap();
            assert_eq!(here.v6_only, only);
        }
    }

    proptest! {
        #[test]
        fn no_datagram_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes, 1, &mut Vec::new());
        }

        #[test]
        fn no_damage_panics(cut in 0usize..600, hits in prop::collection::vec((0usize..600, any::<u8>()), 0..8)) {
            let mut datagram = sample();
            for (at, byte) in hits {
                if let Some(place) = datagram.get_mut(at) {
                    *place = byte;
                }
            }
            datagram.truncate(cut);
            let _ = parse(&datagram, 1, &mut Vec::new());
        }
    }
}
