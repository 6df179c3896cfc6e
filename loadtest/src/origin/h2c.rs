//! How does a worker of gRPC answer? HTTP/2 in plain text with field blocks that are made once.
//!
//! [`Service::Echo`] sends each request's message back with `grpc-status: 0`. [`Service::Silent`]
//! opens each stream with a response head and never says anything more. The service is chosen by the
//! port, so request heads need not be decoded. Messages must fit a stream's first window.

use std::collections::{HashMap, VecDeque};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::frame::{self, Block, FIRST_WINDOW, Frame, PREFACE, flag, kind, setting};

/// Bytes read at once, at first: room grows with what comes.
const BUFFER: usize = 64 * 1024;
/// Streams of one connection.
const STREAMS_MAX: u32 = 1000;
/// Received bytes after which the connection's window is filled up again.
const REFILL: u32 = 1 << 29;

/// Largest frame that a peer takes before it has said anything else (RFC 9113 section 4.2).
const PIECE: usize = 16_384;

/// What is served on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Messages come back.
    Echo,
    /// Streams are opened.
    Silent,
}

/// Serves a connection until its end.
pub async fn serve(mut socket: TcpStream, service: Service) {
    // An error is the end of the connection, whoever caused it.
    let _ = frames(&mut socket, service).await;
}

async fn frames(socket: &mut TcpStream, service: Service) -> std::io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    socket.read_exact(&mut preface).await?;
    let mut session = Session::new(service);
    let (mut buffer, mut filled) = (vec![0; BUFFER], 0);
    loop {
        if !session.out.is_empty() {
            socket.write_all(&session.out).await?;
            session.out.clear();
        }
        let got = socket.read(&mut buffer[filled..]).await?;
        if got == 0 {
            return Ok(());
        }
        filled += got;
        let mut used = 0;
        while let Some(frame) = Frame::read(&buffer[used..filled]) {
            used += frame.size();
            session.take(&frame);
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

struct Session {
    service: Service,
    out: Vec<u8>,
    head: Vec<u8>,
    trailers: Vec<u8>,
    /// Messages that came in more than one frame.
    parts: HashMap<u32, Vec<u8>>,
    /// What the peer lets us send.
    window: i64,
    waiting: VecDeque<(u32, Vec<u8>)>,
    received: u32,
}

impl Session {
    fn new(service: Service) -> Session {
        let mut out = Vec::with_capacity(4096);
        frame::put_settings(&mut out, &[(setting::MAX_CONCURRENT_STREAMS, STREAMS_MAX)]);
        frame::put_window(&mut out, 0, frame::WINDOW_MAX - FIRST_WINDOW as u32);
        Session {
            service,
            out,
            head: Block::new()
                .indexed(8)
                .passing(31, "application/grpc")
                .bytes(),
            trailers: Block::new().passing_name("grpc-status", "0").bytes(),
            parts: HashMap::new(),
            window: FIRST_WINDOW,
            waiting: VecDeque::new(),
            received: 0,
        }
    }

    fn take(&mut self, frame: &Frame<'_>) {
        match frame.kind {
            kind::HEADERS if self.service == Service::Silent => {
                frame::put(
                    &mut self.out,
                    kind::HEADERS,
                    flag::END_HEADERS,
                    frame.stream,
                    &self.head,
                );
            }
            kind::HEADERS if frame.has(flag::END_STREAM) => self.answer(frame.stream, &[]),
            kind::DATA => self.data(frame),
            kind::SETTINGS if !frame.has(flag::ACK) => {
                frame::put(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
            }
            kind::PING if !frame.has(flag::ACK) => {
                frame::put(&mut self.out, kind::PING, flag::ACK, 0, frame.payload);
            }
            kind::WINDOW_UPDATE if frame.stream == 0 => {
                self.window += frame.increment();
                self.go_on();
            }
            kind::RST_STREAM => {
                self.parts.remove(&frame.stream);
            }
            _ => {}
        }
    }

    fn data(&mut self, frame: &Frame<'_>) {
        self.received += frame.payload.len() as u32;
        if self.received > REFILL {
            frame::put_window(&mut self.out, 0, self.received);
            self.received = 0;
        }
        if self.service == Service::Silent {
            return;
        }
        let ends = frame.has(flag::END_STREAM);
        match self.parts.remove(&frame.stream) {
            None if ends => self.answer(frame.stream, frame.content()),
            parts => {
                let mut message = parts.unwrap_or_default();
                message.extend_from_slice(frame.content());
                if ends {
                    self.answer(frame.stream, &message);
                } else {
                    self.parts.insert(frame.stream, message);
                }
            }
        }
    }

    fn answer(&mut self, stream: u32, message: &[u8]) {
        if self.window < message.len() as i64 {
            self.waiting.push_back((stream, message.to_vec()));
            return;
        }
        self.window -= message.len() as i64;
        frame::put(
            &mut self.out,
            kind::HEADERS,
            flag::END_HEADERS,
            stream,
            &self.head,
        );
        for piece in message.chunks(PIECE) {
            frame::put(&mut self.out, kind::DATA, 0, stream, piece);
        }
        let last = flag::END_HEADERS | flag::END_STREAM;
        frame::put(&mut self.out, kind::HEADERS, last, stream, &self.trailers);
    }

    fn go_on(&mut self) {
        while let Some((stream, message)) = self.waiting.pop_front() {
            if self.window < message.len() as i64 {
                self.waiting.push_front((stream, message));
                return;
            }
            self.answer(stream, &message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(out: &[u8]) -> Vec<(u8, u32, usize)> {
        let (mut at, mut all) = (0, Vec::new());
        while let Some(frame) = Frame::read(&out[at..]) {
            at += frame.size();
            all.push((frame.kind, frame.stream, frame.payload.len()));
        }
        all
    }

    fn told(
        session: &mut Session,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> Vec<(u8, u32, usize)> {
        session.out.clear();
        let frame = Frame {
            kind,
            flags,
            stream,
            payload,
        };
        session.take(&frame);
        frames(&session.out)
    }

    #[test]
    fn a_message_in_two_frames_comes_back_whole() {
        let mut session = Session::new(Service::Echo);
        assert_eq!(
            told(&mut session, kind::HEADERS, flag::END_HEADERS, 1, &[0x83]),
            []
        );
        assert_eq!(told(&mut session, kind::DATA, 0, 1, b"ab"), []);
        let all = told(&mut session, kind::DATA, flag::END_STREAM, 1, b"c");
        assert_eq!(
            all.iter().map(|frame| frame.0).collect::<Vec<_>>(),
            [1, 0, 1]
        );
        assert_eq!(all[1], (kind::DATA, 1, 3));
    }

    #[test]
    fn no_frame_is_larger_than_a_peer_takes() {
        let mut session = Session::new(Service::Echo);
        let all = told(&mut session, kind::DATA, flag::END_STREAM, 1, &[0; 20_000]);
        let pieces: Vec<_> = all.iter().filter(|frame| frame.0 == kind::DATA).collect();
        assert_eq!((pieces[0].2, pieces[1].2), (16_384, 3_616));
    }

    #[test]
    fn an_answer_waits_for_the_window() {
        let mut session = Session::new(Service::Echo);
        session.window = 2;
        assert_eq!(
            told(&mut session, kind::DATA, flag::END_STREAM, 1, b"abc"),
            []
        );
        let all = told(&mut session, kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 9]);
        assert_eq!(all[1], (kind::DATA, 1, 3));
        assert_eq!(session.window, 8);
    }

    #[test]
    fn a_silent_stream_has_a_head_and_nothing_more() {
        let mut session = Session::new(Service::Silent);
        let all = told(&mut session, kind::HEADERS, flag::END_HEADERS, 1, &[0x83]);
        assert_eq!(all.len(), 1);
        assert_eq!(
            told(&mut session, kind::DATA, flag::END_STREAM, 1, b"abc"),
            []
        );
    }
}
