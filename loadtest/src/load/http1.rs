//! How is HTTP/1.1 asked? One exchange after the other on a connection.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Run;
use super::wire::{Choice, Io, Wire};
use crate::head::Head;

const BUFFER: usize = 64 * 1024;
/// Pause before a failed connection is tried again, so that a dead target is not hammered.
const PAUSE: Duration = Duration::from_millis(20);

/// What an exchange came to.
pub struct Answer {
    pub status: u16,
    pub closes: bool,
}

/// Reads answers; bodies are dropped.
pub struct Reader {
    buffer: Vec<u8>,
    filled: usize,
}

impl Reader {
    pub fn new() -> Reader {
        Reader {
            buffer: vec![0; BUFFER],
            filled: 0,
        }
    }

    /// Sends a request and reads its answer.
    pub async fn exchange(&mut self, run: &Run, io: &mut Io, wire: &Wire) -> io::Result<Answer> {
        io.write_all(&wire.first).await?;
        run.moved(wire.with_head);
        if wire.rest > 0 {
            let mut rest = wire.rest;
            let piece = [b'u'; 32 * 1024];
            while rest > 0 {
                let size = rest.min(piece.len() as u64) as usize;
                io.write_all(&piece[..size]).await?;
                run.moved(size as u64);
                rest -= size as u64;
            }
        }
        io.flush().await?;
        self.answer(run, io).await
    }

    async fn answer(&mut self, run: &Run, io: &mut Io) -> io::Result<Answer> {
        let head = loop {
            if let Some(head) = Head::read(&self.buffer[..self.filled]) {
                break head;
            }
            let got = io.read(&mut self.buffer[self.filled..]).await?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.filled += got;
        };
        let Some(length) = head.length else {
            return Err(io::Error::other(format!(
                "status {} without Content-Length",
                head.status
            )));
        };
        let here = ((self.filled - head.size) as u64).min(length);
        let used = head.size + here as usize;
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        run.moved(here);
        let mut missing = length - here;
        while missing > 0 {
            let room = missing.min(BUFFER as u64) as usize;
            let got = io.read(&mut self.buffer[..room]).await?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            run.moved(got as u64);
            missing -= got as u64;
        }
        Ok(Answer {
            status: head.status,
            closes: head.closes,
        })
    }
}

/// One connection of a closed loop, for ever; opened again when it ends.
pub async fn closed(run: Rc<Run>, me: usize) {
    let place = run.connection();
    let wires: Vec<Wire> = run
        .scenario
        .requests
        .iter()
        .map(|request| Wire::of(&run.scenario, request))
        .collect();
    let choice = Choice::of(&run.scenario);
    loop {
        if let Err(error) = kept(&run, me, place, &wires, &choice).await {
            run.fail(error);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn kept(
    run: &Run,
    me: usize,
    place: usize,
    wires: &[Wire],
    choice: &Choice,
) -> io::Result<()> {
    let mut io = Io::connect(run, me).await?;
    let mut reader = Reader::new();
    loop {
        let wire = match wires {
            [only] => only,
            many => &many[choice.pick(fastrand::f64())],
        };
        let began = Instant::now();
        let answer = reader.exchange(run, &mut io, wire).await?;
        match answer.status {
            200..=299 => run.count(place, began.elapsed()),
            status => run.fail(format!("status {status}")),
        }
        if answer.closes {
            return Ok(());
        }
    }
}

/// New connections one after the other, for ever, each with one exchange.
///
/// `tls` is its own: with a common store of sessions some would find it empty, and do a full handshake.
pub async fn handshakes(run: Rc<Run>, me: usize, tls: Option<Arc<ClientConfig>>) {
    let place = run.connection();
    let wire = Wire::of(&run.scenario, &run.scenario.requests[0]);
    let mut reader = Reader::new();
    let mut turn = me;
    loop {
        turn += 1;
        reader.filled = 0;
        let began = Instant::now();
        let exchange = async {
            let mut io = Io::connect_as(&run, turn, tls.as_ref()).await?;
            reader.exchange(&run, &mut io, &wire).await
        };
        match exchange.await {
            Ok(answer) if (200..300).contains(&answer.status) => {
                run.count(place, began.elapsed());
            }
            Ok(answer) => run.fail(format!("status {}", answer.status)),
            Err(error) => {
                run.fail(error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
