//! How is HTTP/2 asked? So many streams at once on a connection, each followed by the next.
//!
//! As a usual client does, the first request teaches the proxy's table its fields and the others name
//! them by index. Answers that came together provoke requests that are sent together. An answer counts
//! when its status is 200, its bytes are as many as the probe's (the first answer) and its stream ended.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Run;
use super::wire::Io;
use crate::frame::{self, Block, FIRST_WINDOW, Frame, PREFACE, flag, kind, setting};
use crate::scenario::{Protocol, Scenario};

const BUFFER: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(20);
/// Window of each stream of ours.
const STREAM_WINDOW: u32 = 16 << 20;
/// Received bytes after which the connection's window is filled up again.
const REFILL: u32 = 1 << 29;

/// One connection of a closed loop, for ever; opened again when it ends.
pub async fn closed(run: Rc<Run>, me: usize, streams: usize) {
    let place = run.connection();
    loop {
        if let Err(error) = kept(&run, me, place, streams).await {
            run.fail(error);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn kept(run: &Run, me: usize, place: usize, streams: usize) -> io::Result<()> {
    let mut io = Io::connect(run, me).await?;
    let mut session = Session::new(&run.scenario);
    for _ in 0..streams {
        session.ask();
    }
    session
        .talk(&mut io, |session, event| {
            match event {
                Event::Done { took, bytes } => {
                    run.moved(bytes);
                    run.count(place, took);
                }
                Event::Failed(what) => run.fail(what),
            }
            session.ask();
            true
        })
        .await
}

/// What became of a stream.
pub enum Event {
    /// The answer is whole.
    Done {
        /// Since it was asked for.
        took: Duration,
        /// Of the answer's body.
        bytes: u64,
    },
    /// There is no such answer.
    Failed(String),
}

struct Stream {
    id: u32,
    began: Instant,
    status: Option<u16>,
    bytes: u64,
}

/// A client's connection.
pub struct Session {
    out: Vec<u8>,
    first: Vec<u8>,
    later: Vec<u8>,
    body: Vec<u8>,
    asked: bool,
    /// Whether streams are left open after the first message.
    opens: bool,
    grpc: bool,
    next: u32,
    streams: Vec<Stream>,
    window: i64,
    /// Requests that wait for the window.
    waiting: usize,
    received: u32,
}

impl Session {
    /// Not connected yet.
    pub fn new(scenario: &Scenario) -> Session {
        let request = &scenario.requests[0];
        let grpc = scenario.protocol == Protocol::Grpc;
        let (first, later) = blocks(scenario);
        let mut out = PREFACE.to_vec();
        frame::put_settings(
            &mut out,
            &[
                (setting::ENABLE_PUSH, 0),
                (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            ],
        );
        frame::put_window(&mut out, 0, frame::WINDOW_MAX - FIRST_WINDOW as u32);
        let mut body = Vec::new();
        if grpc {
            body.push(0);
            body.extend_from_slice(&(request.body as u32).to_be_bytes());
        }
        body.resize(body.len() + request.body as usize, b'm');
        Session {
            out,
            first,
            later,
            body,
            asked: false,
            opens: false,
            grpc,
            next: 1,
            streams: Vec::new(),
            window: FIRST_WINDOW,
            waiting: 0,
            received: 0,
        }
    }

    /// Streams stay open, and are done with the head of their answer.
    pub fn opening(self) -> Session {
        Session {
            opens: true,
            ..self
        }
    }

    /// Begins a stream, as soon as the window allows.
    pub fn ask(&mut self) {
        if self.window < self.body.len() as i64 {
            self.waiting += 1;
            return;
        }
        self.window -= self.body.len() as i64;
        let id = self.next;
        self.next += 2;
        let block = if self.asked { &self.later } else { &self.first };
        self.asked = true;
        let ends = if self.body.is_empty() {
            flag::END_STREAM
        } else {
            0
        };
        frame::put(
            &mut self.out,
            kind::HEADERS,
            flag::END_HEADERS | ends,
            id,
            block,
        );
        if !self.body.is_empty() {
            let ends = if self.opens { 0 } else { flag::END_STREAM };
            frame::put(&mut self.out, kind::DATA, ends, id, &self.body);
        }
        self.streams.push(Stream {
            id,
            began: Instant::now(),
            status: None,
            bytes: 0,
        });
    }

    /// Sends and receives until `on` answers `false` or the connection fails.
    pub async fn talk(
        &mut self,
        io: &mut Io,
        mut on: impl FnMut(&mut Session, Event) -> bool,
    ) -> io::Result<()> {
        let (mut buffer, mut filled) = (vec![0; BUFFER], 0);
        loop {
            if !self.out.is_empty() {
                io.write_all(&self.out).await?;
                io.flush().await?;
                self.out.clear();
            }
            let got = io.read(&mut buffer[filled..]).await?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += got;
            let mut used = 0;
            let mut goes_on = true;
            while let Some(frame) = Frame::read(&buffer[used..filled]) {
                used += frame.size();
                if let Some(event) = self.take(&frame)? {
                    goes_on &= on(self, event);
                }
            }
            buffer.copy_within(used..filled, 0);
            filled -= used;
            if !goes_on {
                io.write_all(&self.out).await?;
                io.flush().await?;
                self.out.clear();
                return Ok(());
            }
        }
    }

    fn take(&mut self, frame: &Frame<'_>) -> io::Result<Option<Event>> {
        match frame.kind {
            kind::HEADERS | kind::DATA => return Ok(self.progress(frame)),
            kind::RST_STREAM => {
                let known = self.take_stream(frame.stream);
                return Ok(
                    known.map(|_| Event::Failed(format!("stream reset {:?}", frame.payload)))
                );
            }
            kind::SETTINGS if !frame.has(flag::ACK) => {
                frame::put(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
            }
            kind::PING if !frame.has(flag::ACK) => {
                frame::put(&mut self.out, kind::PING, flag::ACK, 0, frame.payload);
            }
            kind::WINDOW_UPDATE if frame.stream == 0 => {
                self.window += frame.increment();
                for _ in 0..std::mem::take(&mut self.waiting) {
                    self.ask();
                }
            }
            kind::GOAWAY => return Err(io::Error::other(format!("GOAWAY {:?}", frame.payload))),
            _ => {}
        }
        Ok(None)
    }

    fn progress(&mut self, frame: &Frame<'_>) -> Option<Event> {
        if frame.kind == kind::DATA {
            self.received += frame.payload.len() as u32;
            if self.received > REFILL {
                frame::put_window(&mut self.out, 0, self.received);
                self.received = 0;
            }
        }
        let at = self
            .streams
            .iter()
            .position(|stream| stream.id == frame.stream)?;
        let stream = &mut self.streams[at];
        if frame.kind == kind::DATA {
            stream.bytes += frame.content().len() as u64;
        } else if stream.status.is_none() {
            let status = frame::status_of(frame.content()).unwrap_or(0);
            stream.status = (status >= 200 || status == 0).then_some(status);
        }
        let opened = self.opens && stream.status.is_some();
        if !frame.has(flag::END_STREAM) && !opened {
            return None;
        }
        let stream = self.streams.swap_remove(at);
        let status = stream.status.unwrap_or(0);
        // The echo proves that it was the worker who answered.
        let whole = !self.grpc || self.opens || stream.bytes == self.body.len() as u64;
        let open = !self.opens || !frame.has(flag::END_STREAM);
        Some(if (200..300).contains(&status) && whole && open {
            Event::Done {
                took: stream.began.elapsed(),
                bytes: stream.bytes,
            }
        } else {
            Event::Failed(format!("status {status} with {} bytes", stream.bytes))
        })
    }

    fn take_stream(&mut self, id: u32) -> Option<Stream> {
        let at = self.streams.iter().position(|stream| stream.id == id)?;
        Some(self.streams.swap_remove(at))
    }
}

/// Field blocks of the first request and of all others. Fields that the first one teaches stand at 62
/// and after, the last one first (RFC 7541 section 2.3.3).
fn blocks(scenario: &Scenario) -> (Vec<u8>, Vec<u8>) {
    let request = &scenario.requests[0];
    let grpc = scenario.protocol == Protocol::Grpc;
    let get = request.method == "GET" && !grpc;
    let start = || {
        let method = Block::new().indexed(if get { 2 } else { 3 });
        method.indexed(if scenario.tls { 7 } else { 6 })
    };
    let mut first = start()
        .learned(1, &scenario.host)
        .learned(4, &request.path)
        .learned(58, "loadtest/0.1");
    let mut later = start().indexed(64).indexed(63).indexed(62);
    if grpc {
        first = first
            .learned(31, "application/grpc")
            .learned_name("te", "trailers");
        later = start()
            .indexed(66)
            .indexed(65)
            .indexed(64)
            .indexed(63)
            .indexed(62);
    } else if request.body > 0 {
        let length = request.body.to_string();
        first = first.learned(28, &length);
        later = start().indexed(65).indexed(64).indexed(63).indexed(62);
    }
    (first.bytes(), later.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Load;

    fn session(protocol: Protocol, body: u64) -> Session {
        let load = Load::Closed {
            connections: 1,
            streams: 1,
        };
        let mut scenario = Scenario::new(([127, 0, 0, 1], 1).into(), protocol, load);
        scenario.requests[0].body = body;
        let mut session = Session::new(&scenario);
        session.out.clear();
        session
    }

    fn told(
        session: &mut Session,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> Option<Event> {
        session
            .take(&Frame {
                kind,
                flags,
                stream,
                payload,
            })
            .unwrap()
    }

    #[test]
    fn only_the_first_request_spells_its_fields() {
        let mut session = session(Protocol::Http2, 0);
        session.ask();
        let first = session.out.len();
        session.ask();
        assert_eq!(
            &session.out[first + frame::HEAD..],
            [0x82, 0x86, 0xc0, 0xbf, 0xbe]
        );
    }

    #[test]
    fn an_answer_is_done_with_its_stream() {
        let mut session = session(Protocol::Http2, 0);
        session.ask();
        assert!(told(&mut session, kind::HEADERS, flag::END_HEADERS, 1, &[0x88]).is_none());
        let event = told(&mut session, kind::DATA, flag::END_STREAM, 1, b"abc");
        assert!(matches!(event, Some(Event::Done { bytes: 3, .. })));
        assert!(
            told(&mut session, kind::DATA, flag::END_STREAM, 1, b"abc").is_none(),
            "it is over"
        );
    }

    #[test]
    fn a_grpc_answer_without_the_message_is_a_failure() {
        let mut session = session(Protocol::Grpc, 10);
        session.ask();
        let flags = flag::END_HEADERS | flag::END_STREAM;
        let event = told(&mut session, kind::HEADERS, flags, 1, &[0x88]);
        assert!(matches!(event, Some(Event::Failed(_))), "trailers-only");
    }

    #[test]
    fn requests_wait_for_the_window() {
        let mut session = session(Protocol::Grpc, 10);
        session.window = 20;
        session.ask();
        session.ask();
        assert_eq!((session.streams.len(), session.waiting), (1, 1));
        told(&mut session, kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]);
        assert_eq!((session.streams.len(), session.waiting), (2, 0));
    }
}
