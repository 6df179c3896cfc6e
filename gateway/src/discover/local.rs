//! Which workers of this machine listen?
//!
//! Compares the kernel's listen table with the workers of all pools, in one pass. When the table
//! is the same as before, nothing else is looked at. The gateway's own listeners are left out: one
//! that stands inside a range must never be taken for a worker.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::listen_table::{ListenTable, Listening};
use crate::pool::{Pool, Transition, WorkerId};

/// Whether this machine has the address: a loopback address, or one that a socket can be bound to.
/// Nothing is sent. (Where the system allows binding to foreign addresses, `ip_nonlocal_bind`,
/// every address looks like one of ours; pools with `discovery: probe` do not ask.)
pub fn is_local(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Whether a connection to `addr`, an address of this machine, would reach the gateway itself.
pub(super) fn is_own(addr: SocketAddr, own: &[SocketAddr]) -> bool {
    own.iter().any(|own| {
        // A wildcard of IPv6 is taken for dual stack.
        Listening {
            port: own.port(),
            ip: own.ip().to_canonical(),
            v6_only: false,
        }
        .covers(addr)
    })
}

/// A worker of this machine.
#[derive(Clone, Copy, Debug)]
struct Place {
    addr: SocketAddr,
    pool: usize,
    worker: WorkerId,
}

/// Watches the workers of this machine.
#[derive(Debug)]
pub(super) struct Watch {
    /// Missing after an error, until it was opened again.
    table: Option<ListenTable>,
    /// By port.
    places: Vec<Place>,
    own: Vec<SocketAddr>,
    before: Vec<Listening>,
    found: Vec<Listening>,
}

impl Watch {
    /// A watch over these workers, `(pool, worker)`; pools are given by position.
    pub(super) fn new(
        table: ListenTable,
        pools: &[Arc<Pool>],
        workers: &[(usize, WorkerId)],
        own: &[SocketAddr],
    ) -> Watch {
        let place = |&(pool, worker): &(usize, WorkerId)| {
            let addr = pools.get(pool)?.worker(worker)?.addr();
            Some(Place { addr, pool, worker })
        };
        let mut places: Vec<Place> = workers.iter().filter_map(place).collect();
        places.sort_unstable_by_key(|place| place.addr.port());
        Watch {
            table: Some(table),
            places,
            own: own.to_vec(),
            before: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Looks once and tells the pools what changed. `thorough` also compares with the pools when
    /// the table is as it was, because a refused connection may have changed them.
    pub(super) fn look(
        &mut self,
        pools: &[Arc<Pool>],
        thorough: bool,
        now: Instant,
    ) -> io::Result<Vec<Transition>> {
        let result = self.read();
        if result.is_err() {
            // The rest of a broken answer may still be on the line.
            self.table = None;
            result?;
        }
        for pool in pools {
            pool.stats().scans.fetch_add(1, Ordering::Relaxed);
        }
        if self.found == self.before && !thorough {
            return Ok(Vec::new());
        }
        std::mem::swap(&mut self.found, &mut self.before);
        let listens = self.listens();
        let mut changes = vec![Vec::new(); pools.len()];
        for (place, listens) in self.places.iter().zip(listens) {
            let known = pools[place.pool]
                .worker(place.worker)
                .is_some_and(|worker| worker.is_listening());
            if known != listens {
                changes[place.pool].push((place.worker, listens));
            }
        }
        let told = pools
            .iter()
            .zip(&changes)
            .filter(|(_, changes)| !changes.is_empty());
        Ok(told
            .flat_map(|(pool, changes)| pool.set_listening_all(changes, now))
            .collect())
    }

    fn read(&mut self) -> io::Result<()> {
        let table = match &mut self.table {
            Some(table) => table,
            none => none.insert(ListenTable::open()?),
        };
        table.read(&mut self.found)
    }

    /// For each place, whether somebody other than the gateway listens there.
    fn listens(&self) -> Vec<bool> {
        let mut listens = vec![false; self.places.len()];
        let is_own = |l: &Listening| {
            self.own
                .iter()
                .any(|own| own.port() == l.port && own.ip().to_canonical() == l.ip)
        };
        for listening in self.before.iter().filter(|l| !is_own(l)) {
            let first = self
                .places
                .partition_point(|place| place.addr.port() < listening.port);
            let here = self.places[first..]
                .iter()
                .take_while(|place| place.addr.port() == listening.port);
            for (place, listens) in here.zip(&mut listens[first..]) {
                *listens |= listening.covers(place.addr);
            }
        }
        listens
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::Port;
    use super::*;
    use crate::config::model::PortRange;
    use crate::pool::testing::model;

    fn pool_of(ports: &[&Port]) -> Arc<Pool> {
        let mut model = model(1);
        let range = |port: &&Port| PortRange {
            first: port.addr.port(),
            last: port.addr.port(),
        };
        model.ports = ports.iter().map(range).collect();
        Pool::new(model, Instant::now())
    }

    fn watch(pool: &Arc<Pool>, own: &[SocketAddr]) -> Watch {
        let workers: Vec<_> = (0..pool.workers().len())
            .map(|i| (0, WorkerId(i as u32)))
            .collect();
        Watch::new(
            ListenTable::open().unwrap(),
            std::slice::from_ref(pool),
            &workers,
            own,
        )
    }

    #[test]
    fn a_listener_that_appears_is_found_and_one_that_closes_is_gone() {
        let (one, other) = (Port::at("127.0.0.1"), Port::at("0.0.0.0"));
        let pool = pool_of(&[&one, &other]);
        let pools = [Arc::clone(&pool)];
        let mut watch = watch(&pool, &[]);
        let mut look = || {
            watch.look(&pools, false, Instant::now()).unwrap();
            pool.workers()
                .iter()
                .map(|worker| worker.is_listening())
                .collect::<Vec<_>>()
        };
        let one = one.listen();
        assert_eq!(look(), [true, false]);
        let other = other.listen();
        assert_eq!(look(), [true, true]);
        drop(one);
        assert_eq!(look(), [false, true]);
        drop(other);
        assert_eq!(look(), [false, false]);
    }

    #[test]
    fn a_listener_of_our_own_is_no_worker() {
        for host in ["127.0.0.1", "0.0.0.0", "::"] {
            let (own, worker) = (Port::at(host), Port::at("127.0.0.1"));
            let _listening = (own.listen(), worker.listen());
            let pool = pool_of(&[&own, &worker]);
            let mut watch = watch(&pool, &[own.addr]);
            watch
                .look(&[Arc::clone(&pool)], false, Instant::now())
                .unwrap();
            let listening: Vec<_> = pool
                .workers()
                .iter()
                .map(|worker| worker.is_listening())
                .collect();
            assert_eq!(listening, [false, true], "{host}");
            assert!(
                is_own(
                    SocketAddr::from(([127, 0, 0, 1], own.addr.port())),
                    &[own.addr]
                ),
                "{host}"
            );
        }
    }

    #[test]
    fn a_worker_that_refused_but_listens_is_back_after_a_thorough_look() {
        let port = Port::at("127.0.0.1");
        let _listening = port.listen();
        let pool = pool_of(&[&port]);
        let pools = [Arc::clone(&pool)];
        pool.workers()[0].set_local(true);
        let mut watch = watch(&pool, &[]);
        watch.look(&pools, false, Instant::now()).unwrap();
        pool.report(
            WorkerId(0),
            crate::pool::Outcome::ConnectRefused,
            Instant::now(),
        );
        assert_eq!(pool.live(), 0);
        assert_eq!(watch.look(&pools, true, Instant::now()).unwrap().len(), 1);
        assert_eq!(pool.live(), 1);
    }

    #[test]
    fn loopback_is_local_and_a_documentation_address_is_not() {
        for (ip, local) in [
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("::1", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_local(ip.parse().unwrap()), local, "{ip}");
        }
    }
}
