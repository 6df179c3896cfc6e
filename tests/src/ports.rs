//! Which ports are free side by side?
//!
//! Below the range from which the kernel takes ports for outgoing connections, so that a worker that
//! was stopped finds its port free when it comes back. No block is given out twice in one run.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

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

/// The standard library binds with `SO_REUSEADDR` on Unix: a port whose old connections still
/// linger counts as free, as it does for the worker that will bind it.
fn all_free(ports: Range<u16>) -> bool {
    let held: Vec<_> = ports
        .clone()
        .map(|port| TcpListener::bind(("127.0.0.1", port)))
        .collect();
    held.iter().all(Result::is_ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_never_overlap() {
        let (a, b) = (free_range(10), free_range(10));
        assert!(a.abs_diff(b) >= 10, "{a} and {b}");
    }
}
