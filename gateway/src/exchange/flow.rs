//! How does a body get from one side to the other? One direction of an exchange or a tunnel.
//!
//! Promises: back-pressure (nothing is read that the other side has no room for, but for one piece), trailers pass,
//! the end of one side is the end said to the other. A direction knows nothing of the opposite one, so neither can
//! hold the other up. Does not: count, log or decide what a failure means.

pub(super) mod patience;

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};

use crate::exchange::flow::patience::Patience;
use crate::http1::body::{Decoder, Piece};
use crate::http1::head::BadHead;
use crate::http1::write;
use crate::io::Stream;
use crate::io::pipe::{self, Pipe};
use crate::io::timer::Slot;
use crate::message::Fields;

/// Small pieces are gathered up to this many bytes before they are written.
const GATHER: usize = 16 * 1024;
/// A body of which this much is left goes through a pipe where nobody has to look at it.
const PIPE_MIN: u64 = 64 * 1024;

/// Where a body comes from.
pub enum Source {
    /// There is no body.
    Empty,
    /// HTTP/1 framing on a connection; `buf` holds what was read ahead.
    Http1 {
        /// The connection.
        stream: Rc<Stream>,
        /// Read and not yet taken.
        buf: BytesMut,
        /// Where the body ends.
        decoder: Decoder,
    },
    /// All that comes on a connection, until it ends.
    Raw {
        /// The connection.
        stream: Rc<Stream>,
        /// Read and not yet taken.
        buf: BytesMut,
    },
    /// An HTTP/2 stream.
    Http2 {
        /// The stream.
        recv: RecvStream,
        /// Bytes handed out whose window was not given back yet.
        lent: usize,
    },
}

/// The rest of a body that nobody has to look at.
pub struct Straight<'a> {
    stream: &'a Rc<Stream>,
    decoder: &'a mut Decoder,
}

impl Straight<'_> {
    /// Moves some of it into `pipe`.
    fn poll_fill(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<Result<u64, Cause>> {
        let left = usize::try_from(self.decoder.plain_left()).unwrap_or(usize::MAX);
        let filled = self.stream.poll_fill_pipe(cx, pipe, left.min(pipe::SIZE));
        match ready!(filled).map_err(Cause::Io)? as u64 {
            0 => Poll::Ready(Err(Cause::Truncated)),
            n => {
                self.decoder.pass(n);
                Poll::Ready(Ok(n))
            }
        }
    }
}

/// A piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Data.
    Data(Bytes),
    /// The end, with trailers where there were some.
    End(Option<Fields>),
}

/// Where a body goes.
pub enum Sink {
    /// Nowhere: a response that has no body, already written.
    None,
    /// HTTP/1 framing on a connection; `out` holds what was not written yet, the head first.
    Http1 {
        /// The connection.
        stream: Rc<Stream>,
        /// Not yet written.
        out: BytesMut,
        /// How the body is framed.
        framing: Framing,
    },
    /// An HTTP/2 stream.
    Http2 {
        /// The stream.
        send: SendStream<Bytes>,
    },
}

/// How a body is framed in HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    Empty,
    /// So many bytes are still to come.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// Bytes as they are; the connection's end is the end.
    Raw,
}

impl Framing {
    /// What stands behind a piece.
    fn end_piece(self, out: &mut BytesMut) {
        if self == Framing::Chunked {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Why a direction ended before its end.
#[derive(Debug)]
pub struct FlowError {
    /// Which side caused it.
    pub side: Side,
    /// What happened.
    pub cause: Cause,
}

/// A side of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that sends.
    Source,
    /// The one that receives.
    Sink,
}

/// What ended a direction.
#[derive(Debug)]
pub enum Cause {
    /// The connection broke.
    Io(io::Error),
    /// The connection ended within the body.
    Truncated,
    /// The framing is wrong.
    Framing(BadHead),
    /// The peer reset the stream.
    Reset(Reason),
    /// The stream's connection failed.
    Lost,
    /// Nothing moved in time.
    Timeout,
    /// The body is longer than allowed.
    TooLarge,
    /// The gateway stops, and the stream's time is over.
    Stopping,
}

impl Cause {
    /// The h2 error as a cause.
    pub fn of(error: &h2::Error) -> Cause {
        match error.reason() {
            Some(reason) if error.is_reset() && error.is_remote() => Cause::Reset(reason),
            _ => Cause::Lost,
        }
    }
}

fn source(cause: Cause) -> FlowError {
    FlowError {
        side: Side::Source,
        cause,
    }
}

fn sink(cause: Cause) -> FlowError {
    FlowError {
        side: Side::Sink,
        cause,
    }
}

impl Source {
    /// A body of an HTTP/2 stream.
    pub fn http2(recv: RecvStream) -> Source {
        if recv.is_end_stream() {
            Source::Empty
        } else {
            Source::Http2 { recv, lent: 0 }
        }
    }

    /// The next piece.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Cause>> {
        match self {
            Source::Empty => Poll::Ready(Ok(Frame::End(None))),
            Source::Http1 {
                stream,
                buf,
                decoder,
            } => loop {
                match decoder.decode(buf).map_err(Cause::Framing)? {
                    Piece::Data(data) => return Poll::Ready(Ok(Frame::Data(data))),
                    Piece::End(trailers) => {
                        return Poll::Ready(Ok(Frame::End(trailers.map(Fields::Http1))));
                    }
                    Piece::More => {
                        if ready!(stream.poll_fill(cx, buf)).map_err(Cause::Io)? == 0 {
                            return Poll::Ready(if decoder.ends_with_connection() {
                                Ok(Frame::End(None))
                            } else {
                                Err(Cause::Truncated)
                            });
                        }
                    }
                }
            },
            Source::Raw { stream, buf } => {
                if buf.is_empty() {
                    let Poll::Ready(filled) = stream.poll_fill(cx, buf) else {
                        // Tunnels are silent for days: none keeps a block for what may come.
                        *buf = BytesMut::new();
                        return Poll::Pending;
                    };
                    if filled.map_err(Cause::Io)? == 0 {
                        return Poll::Ready(Ok(Frame::End(None)));
                    }
                }
                Poll::Ready(Ok(Frame::Data(buf.split().freeze())))
            }
            Source::Http2 { recv, lent } => {
                if *lent > 0 {
                    // The sink has taken the last piece: the peer may send as much again.
                    let _ = recv.flow_control().release_capacity(std::mem::take(lent));
                }
                loop {
                    return match ready!(recv.poll_data(cx)) {
                        // An empty DATA frame says nothing; as a chunk it would say that the body has ended.
                        Some(Ok(data)) if data.is_empty() => continue,
                        Some(Ok(data)) => {
                            *lent = data.len();
                            Poll::Ready(Ok(Frame::Data(data)))
                        }
                        Some(Err(error)) => Poll::Ready(Err(Cause::of(&error))),
                        None => match ready!(recv.poll_trailers(cx)) {
                            Ok(trailers) => {
                                Poll::Ready(Ok(Frame::End(trailers.map(Fields::Http2))))
                            }
                            Err(error) => Poll::Ready(Err(Cause::of(&error))),
                        },
                    };
                }
            }
        }
    }

    /// Where the rest of the body comes from as it is, with nothing of it read ahead: plain HTTP/1 of a known length.
    pub fn straight(&mut self) -> Option<Straight<'_>> {
        match self {
            Source::Http1 {
                stream,
                buf,
                decoder,
            } if buf.is_empty() && decoder.plain_left() > 0 && !stream.is_tls() => {
                Some(Straight { stream, decoder })
            }
            _ => None,
        }
    }

    /// Whether the whole body was taken.
    pub fn is_done(&self) -> bool {
        match self {
            Source::Empty => true,
            Source::Http1 { decoder, .. } => decoder.is_done(),
            Source::Raw { .. } => false,
            Source::Http2 { recv, .. } => recv.is_end_stream(),
        }
    }

    /// What was read beyond the body.
    pub fn into_buf(self) -> BytesMut {
        match self {
            Source::Http1 { buf, .. } | Source::Raw { buf, .. } => buf,
            Source::Empty | Source::Http2 { .. } => BytesMut::new(),
        }
    }
}

impl Sink {
    /// Whether something waits to be written.
    fn is_queued(&self) -> bool {
        matches!(self, Sink::Http1 { out, .. } if !out.is_empty())
    }

    /// Takes a piece; says what is left to do for it. Small ones are kept until [`Sink::poll_flush`]. With the `last` one
    /// HTTP/2 says that the body is whole.
    fn put(&mut self, data: Bytes, last: bool) -> Result<Work, Cause> {
        debug_assert!(!data.is_empty(), "an empty chunk would end the body");
        match self {
            Sink::None => Ok(Work::None),
            Sink::Http1 { out, framing, .. } => {
                match framing {
                    Framing::Empty => return Ok(Work::None),
                    Framing::Length(left) => {
                        *left = left.checked_sub(data.len() as u64).ok_or(Cause::TooLarge)?;
                    }
                    Framing::Chunked => write::chunk_size(out, data.len()),
                    Framing::Raw => {}
                }
                if out.len() + data.len() > GATHER {
                    return Ok(Work::Piece { data, last });
                }
                out.extend_from_slice(&data);
                framing.end_piece(out);
                Ok(Work::None)
            }
            Sink::Http2 { .. } => Ok(Work::Piece { data, last }),
        }
    }

    /// The bytes that are still to come, where they may come through a pipe: plain HTTP/1 of a known length.
    fn straight(&mut self) -> Option<&mut u64> {
        match self {
            Sink::Http1 {
                stream,
                framing: Framing::Length(left),
                ..
            } if !stream.is_tls() => Some(left),
            _ => None,
        }
    }

    /// Writes all that is in `pipe`.
    fn poll_pipe(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<Result<(), Cause>> {
        match self {
            Sink::Http1 { stream, .. } => stream.poll_drain_pipe(cx, pipe).map_err(Cause::Io),
            Sink::None | Sink::Http2 { .. } => Poll::Ready(Ok(())),
        }
    }

    /// Goes on with a piece that [`Sink::put`] could not just keep.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        last: bool,
    ) -> Poll<Result<(), Cause>> {
        match self {
            Sink::None => {}
            Sink::Http1 {
                stream,
                out,
                framing,
            } => {
                ready!(poll_drain(stream, cx, out))?;
                ready!(poll_drain(stream, cx, data))?;
                framing.end_piece(out);
            }
            Sink::Http2 { send } => ready!(poll_send(send, cx, data, last))?,
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what was kept.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        if let Sink::Http1 {
            stream,
            out,
            framing,
        } = self
        {
            ready!(poll_drain(stream, cx, out))?;
            if *framing == Framing::Raw {
                // Tunnels are silent for days: none keeps a block for what it may have to write.
                *out = BytesMut::new();
            }
            ready!(stream.poll_flush(cx)).map_err(Cause::Io)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what was kept.
    pub async fn flush(&mut self) -> Result<(), Cause> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Says that the body is whole; the rest of it is [`Sink::poll_end`].
    fn end(&mut self, trailers: Option<Fields>) -> Result<(), Cause> {
        match self {
            Sink::None => Ok(()),
            Sink::Http1 { out, framing, .. } => {
                match framing {
                    Framing::Empty | Framing::Length(0) | Framing::Raw => {}
                    Framing::Length(_) => return Err(Cause::Truncated),
                    Framing::Chunked => {
                        out.extend_from_slice(b"0\r\n");
                        if let Some(trailers) = trailers {
                            trailers.for_each(|known, name, value| {
                                if known.may_trail() {
                                    write::field(out, name, value);
                                }
                            });
                        }
                        out.extend_from_slice(b"\r\n");
                    }
                }
                Ok(())
            }
            Sink::Http2 { send } => match trailers {
                Some(trailers) if !trailers.is_empty() => send
                    .send_trailers(trailers.into_map())
                    .map_err(|e| Cause::of(&e)),
                _ => send
                    .send_data(Bytes::new(), true)
                    .map_err(|e| Cause::of(&e)),
            },
        }
    }

    /// Writes all that there is, behind the end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        ready!(self.poll_flush(cx))?;
        if let Sink::Http1 {
            stream,
            framing: Framing::Raw,
            ..
        } = self
        {
            // The other side may be gone already: then there is nobody to tell.
            let _ = ready!(stream.poll_shutdown(cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the receiver has reset the stream.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        match self {
            Sink::Http2 { send } => match ready!(send.poll_reset(cx)) {
                Ok(reason) => Poll::Ready(Cause::Reset(reason)),
                Err(error) => Poll::Ready(Cause::of(&error)),
            },
            Sink::None | Sink::Http1 { .. } => Poll::Pending,
        }
    }

    /// Ends an HTTP/2 stream with an error; HTTP/1 has only the closing of the connection for that.
    pub fn reset(&mut self, reason: Reason) {
        if let Sink::Http2 { send } = self {
            send.send_reset(reason);
        }
    }
}

/// Writes all of `data`.
fn poll_drain(
    stream: &Stream,
    cx: &mut Context<'_>,
    data: &mut impl Buf,
) -> Poll<Result<(), Cause>> {
    while data.has_remaining() {
        let written = ready!(stream.poll_write(cx, data.chunk())).map_err(Cause::Io)?;
        data.advance(written);
    }
    Poll::Ready(Ok(()))
}

/// Sends all of `data`, as the receiver's window allows.
fn poll_send(
    send: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    data: &mut Bytes,
    last: bool,
) -> Poll<Result<(), Cause>> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let room = if send.capacity() > 0 {
            send.capacity()
        } else {
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(Cause::of(&error))),
                None => return Poll::Ready(Err(Cause::Lost)),
            }
        };
        let piece = data.split_to(room.min(data.len()));
        if !piece.is_empty() {
            let end = last && data.is_empty();
            send.send_data(piece, end).map_err(|e| Cause::of(&e))?;
        }
    }
    Poll::Ready(Ok(()))
}

/// Bounds of a direction. Zero durations mean never.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two pieces from the source.
    pub read: Duration,
    /// For the sink to take a piece.
    pub write: Duration,
    /// Bytes at the most; 0 means no limit.
    pub bytes_max: u64,
    /// Bytes that come for every second in which the source was waited for, once it was for longer than `read`; 0 means
    /// no such bound.
    pub read_rate_min: u64,
    /// The same of the sink, and `write`.
    pub write_rate_min: u64,
}

/// Moves the body from `from` to `to`. `moved` counts its bytes along the way.
pub fn pump<'a, P: Pull + ?Sized>(
    from: &'a mut P,
    to: &'a mut Sink,
    pace: Pace,
    timer: &'a Slot,
    moved: &'a Cell<u64>,
) -> Pump<'a, P> {
    Pump {
        for_source: Patience::new(pace.read, pace.read_rate_min),
        for_sink: Patience::new(pace.write, pace.write_rate_min),
        bytes_max: pace.bytes_max,
        unflushed: to.is_queued(),
        said: false,
        work: Work::None,
        pipe: None,
        from,
        to,
        timer,
        moved,
    }
}

/// See [`pump`]. Written out, because a stream holds two of them for as long as it is open, and an `async fn` holds a
/// piece beside each of the ways that it may go.
pub struct Pump<'a, P: ?Sized> {
    from: &'a mut P,
    to: &'a mut Sink,
    timer: &'a Slot,
    moved: &'a Cell<u64>,
    bytes_max: u64,
    for_source: Patience,
    for_sink: Patience,
    work: Work,
    /// For a body that nobody has to look at.
    pipe: Option<Box<Pipe>>,
    /// The sink has taken something that it was not asked to flush yet.
    unflushed: bool,
    /// The sink has said with the last piece that the body is whole.
    said: bool,
}

/// What the sink is busy with, before the source is asked again.
enum Work {
    None,
    Piece {
        data: Bytes,
        last: bool,
    },
    Flush,
    /// What is in the pipe.
    Pipe,
    /// The last thing to be done.
    End,
}

/// What came of asking the source.
enum Pulled {
    Frame(Frame),
    /// So many bytes went into the pipe.
    Piped(u64),
}

impl<P: Pull + ?Sized> Pump<'_, P> {
    /// Goes on with what the sink is busy with.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        match &mut self.work {
            Work::None => Poll::Ready(Ok(())),
            Work::Piece { data, last } => self.to.poll_piece(cx, data, *last),
            Work::Flush => self.to.poll_flush(cx),
            Work::Pipe => match &mut self.pipe {
                Some(pipe) => self.to.poll_pipe(cx, pipe),
                None => Poll::Ready(Ok(())),
            },
            Work::End => self.to.poll_end(cx),
        }
    }

    /// Asks the source for the next piece; a long body comes through a pipe, from its first byte that is not here yet.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Pulled, Cause>> {
        // An end within a body is told of like any other: by whoever reads it.
        if let Some(left) = self.to.straight()
            && let Some(mut straight) = self.from.straight()
            && (self.pipe.is_some() || straight.decoder.plain_left() >= PIPE_MIN)
            && straight.decoder.plain_left() <= *left
            && (self.bytes_max == 0 || self.moved.get().saturating_add(*left) <= self.bytes_max)
        {
            if self.unflushed {
                return Poll::Pending;
            }
            if self.pipe.is_none() {
                self.pipe = straight.stream.pipe().map(Box::new);
            }
            if let Some(pipe) = &mut self.pipe {
                let n = ready!(straight.poll_fill(cx, pipe))?;
                *left -= n;
                return Poll::Ready(Ok(Pulled::Piped(n)));
            }
        }
        self.from
            .poll_pull(cx)
            .map(|pulled| pulled.map(Pulled::Frame))
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FlowError>> {
        loop {
            if !matches!(self.work, Work::None) {
                let worked = self.poll_work(cx);
                let worked = self.for_sink.poll(cx, self.timer, self.moved.get(), worked);
                ready!(worked)
                    .unwrap_or(Err(Cause::Timeout))
                    .map_err(sinks_fault)?;
                match std::mem::replace(&mut self.work, Work::None) {
                    Work::End => return Poll::Ready(Ok(())),
                    Work::Flush => self.unflushed = false,
                    Work::None | Work::Piece { .. } | Work::Pipe => {}
                }
            }
            let pulled = self.poll_source(cx);
            if pulled.is_pending() {
                if self.unflushed {
                    self.work = Work::Flush;
                    continue;
                }
                if let Poll::Ready(cause) = self.to.poll_reset(cx) {
                    return Poll::Ready(Err(sink(cause)));
                }
            }
            let pulled = self
                .for_source
                .poll(cx, self.timer, self.moved.get(), pulled);
            match ready!(pulled)
                .unwrap_or(Err(Cause::Timeout))
                .map_err(source)?
            {
                Pulled::Piped(n) => {
                    self.moved.set(self.moved.get() + n);
                    self.work = Work::Pipe;
                }
                Pulled::Frame(Frame::Data(data)) => {
                    self.moved.set(self.moved.get() + data.len() as u64);
                    if self.bytes_max > 0 && self.moved.get() > self.bytes_max {
                        return Poll::Ready(Err(source(Cause::TooLarge)));
                    }
                    // Said with the last piece, the end costs no frame of its own.
                    let last = self.from.is_last();
                    self.said = last && matches!(self.to, Sink::Http2 { .. });
                    self.work = self.to.put(data, last).map_err(sinks_fault)?;
                    self.unflushed = matches!(self.to, Sink::Http1 { .. });
                }
                Pulled::Frame(Frame::End(_)) if self.said => return Poll::Ready(Ok(())),
                Pulled::Frame(Frame::End(trailers)) => {
                    self.to.end(trailers).map_err(sinks_fault)?;
                    self.work = Work::End;
                }
            }
        }
    }
}

impl<P: Pull + ?Sized> Future for Pump<'_, P> {
    type Output = Result<(), FlowError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(self.poll_all(cx));
        self.timer.clear();
        Poll::Ready(ended)
    }
}

/// A body that is longer or shorter than its sender announced is the sender's fault; all else is not.
fn sinks_fault(cause: Cause) -> FlowError {
    match cause {
        Cause::TooLarge | Cause::Truncated => source(cause),
        cause => sink(cause),
    }
}

/// Something that pieces can be pulled from.
pub trait Pull {
    /// The next piece.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Cause>>;

    /// Whether what was pulled was the last piece, and the end comes without trailers. Not every source knows before it
    /// is asked for the end.
    fn is_last(&self) -> bool {
        false
    }

    /// The rest of the body, where nobody has to look at it on its way.
    fn straight(&mut self) -> Option<Straight<'_>> {
        None
    }
}

impl<P: Pull + ?Sized> Pull for &mut P {
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Cause>> {
        (**self).poll_pull(cx)
    }

    fn is_last(&self) -> bool {
        (**self).is_last()
    }

    fn straight(&mut self) -> Option<Straight<'_>> {
        (**self).straight()
    }
}

impl Pull for Source {
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Cause>> {
        self.poll_next(cx)
    }

    fn is_last(&self) -> bool {
        self.is_done()
    }

    fn straight(&mut self) -> Option<Straight<'_>> {
        Source::straight(self)
    }
}

#[cfg(test)]
mod tests;
