//! What does a range of 990 ports cost that nobody uses, and how soon is a new worker in it found?

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::account::Processes;
use crate::peer::{Process, Setup};

/// Until checked servers that do not listen are down.
const SETTLE: Duration = Duration::from_secs(15);
/// Over which the CPU time is read.
const WATCH: Duration = Duration::from_secs(10);
/// For a new worker to get a request.
const FOUND_MAX: Duration = Duration::from_secs(60);
/// Between two requests that look for it.
const TURN: Duration = Duration::from_millis(5);

/// Milliseconds of CPU time per second without a request, and milliseconds from a new worker's start to its
/// first request. `begin` starts a worker on a port and comes back when it listens.
pub fn watch(
    setup: &Setup,
    proxy: u32,
    begin: impl FnOnce(u16) -> anyhow::Result<Process>,
) -> anyhow::Result<(f64, f64)> {
    std::thread::sleep(SETTLE);
    ask(setup.plain).context("before")?;
    let account = Processes::below(&[proxy])?;
    let before = account.read()?;
    std::thread::sleep(WATCH);
    let used = account.read()?.since(&before).total();
    let idle = used.as_secs_f64() * 1000.0 / WATCH.as_secs_f64();
    let pool = setup.pools.first().context("pool")?;
    let port = pool.ports.0 + 500;
    let _worker = begin(port)?;
    let began = Instant::now();
    let name = format!("worker {port} ");
    while !ask(setup.plain).context("after")?.contains(&name) {
        ensure!(
            began.elapsed() < FOUND_MAX,
            "the new worker was not found in {} s",
            FOUND_MAX.as_secs()
        );
        std::thread::sleep(TURN);
    }
    Ok((idle, began.elapsed().as_secs_f64() * 1000.0))
}

fn ask(port: u16) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    ensure!(
        text.contains(" 200 "),
        "answered {}",
        text.lines().next().unwrap_or("nothing")
    );
    Ok(text)
}
