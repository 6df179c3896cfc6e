//! What does a connection cost that does nothing? Connections are opened, used once and held.
//!
//! The memory of the first few is not counted: it holds what is made once. After all are open the
//! proxy has some time to come to rest; then its memory and, over the scenario's `time`, its CPU
//! time are read.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::http1::Reader;
use super::http2::{Event, Session};
use super::wire::{Io, Wire};
use super::{Outcome, Run};
use crate::scenario::Protocol;

/// Connections that are there before the first reading.
const FIRST: usize = 200;
/// Connections that are opened at once.
const AT_ONCE: usize = 32;
/// For a connection to be answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time to come to rest.
const REST: Duration = Duration::from_secs(3);

/// Opens and holds all of them.
pub async fn hold(run: &Rc<Run>, connections: usize) -> anyhow::Result<Outcome> {
    let mut held = Vec::with_capacity(connections + FIRST);
    open(run, FIRST, &mut held).await?;
    tokio::time::sleep(REST).await;
    let before = run.processes()?.memory()?;
    open(run, connections, &mut held).await?;
    tokio::time::sleep(REST).await;
    let after = run.processes()?.memory()?;
    let begin = run.begin()?;
    tokio::time::sleep(Duration::from_secs_f64(run.scenario.time)).await;
    let mut outcome = run.end(begin)?;
    outcome.requests = connections as u64;
    outcome.bytes_per_connection = Some((after as f64 - before as f64) / connections as f64);
    Ok(outcome)
}

async fn open(run: &Rc<Run>, count: usize, held: &mut Vec<Io>) -> anyhow::Result<()> {
    let begun = Rc::new(Cell::new(0));
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (run, begun) = (run.clone(), begun.clone());
            tokio::task::spawn_local(async move {
                let mut mine = Vec::new();
                while begun.get() < count {
                    let me = begun.get();
                    begun.set(me + 1);
                    let opened = tokio::time::timeout(PATIENCE, one(&run, me)).await;
                    mine.push(opened.context("no answer")??);
                }
                anyhow::Ok(mine)
            })
        })
        .collect();
    for task in tasks {
        held.extend(task.await.context("task")?.context("an idle connection")?);
    }
    Ok(())
}

async fn one(run: &Run, me: usize) -> anyhow::Result<Io> {
    let mut io = Io::connect(run, me).await.context("connect")?;
    match run.scenario.protocol {
        Protocol::Http1 | Protocol::WebSocket => {
            let wire = Wire::of(&run.scenario, &run.scenario.requests[0]);
            let answer = Reader::new()
                .exchange(run, &mut io, &wire)
                .await
                .context("exchange")?;
            let wanted = match run.scenario.protocol {
                Protocol::WebSocket => 101,
                _ => 200,
            };
            if answer.status != wanted {
                bail!("status {} instead of {wanted}", answer.status);
            }
        }
        Protocol::Http2 | Protocol::Grpc => {
            let mut session = Session::new(&run.scenario);
            if run.scenario.protocol == Protocol::Grpc {
                session = session.opening();
            }
            session.ask();
            let mut failed = None;
            let talk = session.talk(&mut io, |_, event| {
                if let Event::Failed(what) = event {
                    failed = Some(what);
                }
                false
            });
            talk.await.context("stream")?;
            if let Some(what) = failed {
                bail!(what);
            }
        }
    }
    Ok(io)
}
