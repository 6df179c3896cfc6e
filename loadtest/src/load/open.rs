//! How does load come that does not wait? At a fixed rate, from the intended times.
//!
//! Intended times are evenly spread. A request that finds no free connection waits in line, and that
//! wait is in its latency: a slow proxy cannot slow down the clock it is measured by. A request that is not
//! answered within the deadline is an error, and its connection is closed, as a client that gives up does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Run;
use super::http1::Reader;
use super::wire::{Choice, Io, Wire};

struct Line {
    jobs: RefCell<VecDeque<(Instant, usize)>>,
    more: Notify,
}

/// Starts the clock and the connections.
pub fn start(run: &Rc<Run>, rate: f64, connections: usize, deadline: Duration) {
    let line = Rc::new(Line {
        jobs: RefCell::default(),
        more: Notify::new(),
    });
    let wires: Vec<Wire> = run
        .scenario
        .requests
        .iter()
        .map(|request| Wire::of(&run.scenario, request))
        .collect();
    let wires = Rc::new(wires);
    for me in 0..connections {
        tokio::task::spawn_local(connection(
            run.clone(),
            line.clone(),
            wires.clone(),
            me,
            deadline,
        ));
    }
    tokio::task::spawn_local(clock(Choice::of(&run.scenario), line, rate));
}

async fn clock(choice: Choice, line: Rc<Line>, rate: f64) {
    let began = Instant::now();
    let mut sent = 0_u64;
    loop {
        let due = (began.elapsed().as_secs_f64() * rate) as u64;
        while sent < due {
            let intended = began + Duration::from_secs_f64(sent as f64 / rate);
            let kind = choice.pick(fastrand::f64());
            line.jobs.borrow_mut().push_back((intended, kind));
            line.more.notify_one();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn connection(
    run: Rc<Run>,
    line: Rc<Line>,
    wires: Rc<Vec<Wire>>,
    me: usize,
    deadline: Duration,
) {
    let place = run.connection();
    let mut reader = Reader::new();
    let mut io = None;
    loop {
        let job = line.jobs.borrow_mut().pop_front();
        let Some((intended, kind)) = job else {
            line.more.notified().await;
            continue;
        };
        if intended.elapsed() >= deadline {
            run.fail("deadline in line");
            continue;
        }
        let exchange = async {
            let mut open = match io.take() {
                Some(open) => open,
                None => {
                    reader = Reader::new();
                    Io::connect(&run, me).await?
                }
            };
            let answer = reader.exchange(&run, &mut open, &wires[kind]).await?;
            if !answer.closes {
                io = Some(open);
            }
            std::io::Result::Ok(answer)
        };
        match tokio::time::timeout_at((intended + deadline).into(), exchange).await {
            Ok(Ok(answer)) if (200..300).contains(&answer.status) => {
                run.count(place, intended.elapsed());
            }
            Ok(Ok(answer)) => run.fail(format!("status {}", answer.status)),
            Ok(Err(error)) => run.fail(error),
            Err(_) => run.fail("deadline"),
        }
    }
}
