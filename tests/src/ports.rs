//! Which ports are free side by side?
//!
//! Below the range from which the kernel takes ports for outgoing connections, so that a worker that
//! was stopped finds its port free when it comes back. No block is given out twice in one run.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, Socket, Type};

const FROM: Range<u16> = 20_000..30_000;
const TRIES: usize = 1_000;

static GIVEN: Mutex<Vec<Range<u16>>> = Mutex::new(Vec::new());

/// The first of `count` consecutive free ports of 127.0.0.1.
pub fn free_range(count: u16) -> u16 {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..TRIES {
        let first = fastrand::u16(FROM.start..FROM.end - count);
        let range = first..first + count;
        let taken = given
            .iter()
            .any(|other| other.start < range.end && range.start < other.end);
        if !taken && all_free(range.clone()) {
            given.push(range);
            return first;
        }
    }
    panic!(
        "no {count} consecutive free ports found between {} and {}",
        FROM.start, FROM.end
    );
}

/// A port whose old connections still linger counts as free (`SO_REUSEADDR`), as it does for the worker that will bind it.
/// Nothing listens meanwhile: a test of another run whose worker is down just then must go on being refused there.
fn all_free(ports: Range<u16>) -> bool {
    let held: Vec<_> = ports.clone().map(hold).collect();
    held.iter().all(Result::is_ok)
}

fn hold(port: u16) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_listened_on_is_not_free() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(!all_free(port..port + 1));
        drop(taken);
        assert!(all_free(port..port + 1));
    }

    #[test]
    fn two_blocks_never_overlap() {
        let (a, b) = (free_range(10), free_range(10));
        assert!(a.abs_diff(b) >= 10, "{a} and {b}");
    }
}
