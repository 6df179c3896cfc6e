//! How does a body get from one side to the other? One direction of an exchange or a tunnel.
//!
//! Promises: back-pressure (nothing is read that the other side has no room for, but for one piece), trailers pass,
//! the end of one side is the end said to the other. A direction knows nothing of the opposite one, so neither can
//! hold the other up. Does not: count, log or decide what a failure means.

pub(super) mod patience;

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};

use crate::exchange::flow::patience::Patience;
use crate::http1::body::{Decoder, Piece};
use crate::http1::head::BadHead;
use crate::http1::write;
use crate::io::Stream;
use crate::io::timer::{Expired, Slot};
use crate::message::Fields;

/// Small pieces are gathered up to this many bytes before they are written.
const GATHER: usize = 16 * 1024;

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

    /// Takes a piece; small ones are kept until [`Sink::flush`]. With the `last` one HTTP/2 says that the body is whole.
    async fn put(&mut self, data: Bytes, last: bool) -> Result<(), Cause> {
        debug_assert!(!data.is_empty(), "an empty chunk would end the body");
        match self {
            Sink::None => Ok(()),
            Sink::Http1 {
                stream,
                out,
                framing,
            } => {
                match framing {
                    Framing::Empty => return Ok(()),
                    Framing::Length(left) => {
                        *left = left.checked_sub(data.len() as u64).ok_or(Cause::TooLarge)?;
                    }
                    Framing::Chunked => write::chunk_size(out, data.len()),
                    Framing::Raw => {}
                }
                if out.len() + data.len() <= GATHER {
                    out.extend_from_slice(&data);
                } else {
                    if !out.is_empty() {
                        write_some(stream, &out.split()).await?;
                    }
                    write_some(stream, &data).await?;
                }
                if *framing == Framing::Chunked {
                    out.extend_from_slice(b"\r\n");
                }
                Ok(())
            }
            Sink::Http2 { send } => send_data(send, data, last).await,
        }
    }

    /// Writes what was kept.
    pub async fn flush(&mut self) -> Result<(), Cause> {
        if let Sink::Http1 { stream, out, .. } = self {
            if !out.is_empty() {
                write_some(stream, &out.split()).await?;
            }
            std::future::poll_fn(|cx| stream.poll_flush(cx))
                .await
                .map_err(Cause::Io)?;
        }
        Ok(())
    }

    /// Says that the body is whole, and writes all.
    async fn end(&mut self, trailers: Option<Fields>) -> Result<(), Cause> {
        match self {
            Sink::None => Ok(()),
            Sink::Http1 { out, framing, .. } => {
                match framing {
                    Framing::Empty => {}
                    Framing::Length(0) => {}
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
                    Framing::Raw => {
                        self.flush().await?;
                        let Sink::Http1 { stream, .. } = self else {
                            return Ok(());
                        };
                        // The other side may be gone already: then there is nobody to tell.
                        let _ = std::future::poll_fn(|cx| stream.poll_shutdown(cx)).await;
                        return Ok(());
                    }
                }
                self.flush().await
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

async fn write_some(stream: &Stream, data: &[u8]) -> Result<(), Cause> {
    let mut at = 0;
    std::future::poll_fn(|cx| {
        while at < data.len() {
            at += ready!(stream.poll_write(cx, &data[at..]))?;
        }
        Poll::Ready(Ok(()))
    })
    .await
    .map_err(Cause::Io)
}

async fn send_data(send: &mut SendStream<Bytes>, mut data: Bytes, last: bool) -> Result<(), Cause> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let room = if send.capacity() > 0 {
            send.capacity()
        } else {
            match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Err(Cause::of(&error)),
                None => return Err(Cause::Lost),
            }
        };
        let piece = data.split_to(room.min(data.len()));
        if !piece.is_empty() {
            let end = last && data.is_empty();
            send.send_data(piece, end).map_err(|e| Cause::of(&e))?;
        }
    }
    Ok(())
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

/// Moves the body from `from` to `to`; returns the bytes moved. `moved` counts along the way.
pub async fn pump(
    from: &mut (impl Pull + ?Sized),
    to: &mut Sink,
    pace: Pace,
    timer: &Slot,
    moved: &std::cell::Cell<u64>,
) -> Result<(), FlowError> {
    let mut for_source = Patience::new(pace.read, pace.read_rate_min);
    let mut for_sink = Patience::new(pace.write, pace.write_rate_min);
    let mut said = false;
    loop {
        let pulled = for_source
            .wait(timer, moved.get(), |cx| match from.poll_pull(cx) {
                Poll::Ready(Ok(frame)) => Poll::Ready(Ok(Some(frame))),
                Poll::Ready(Err(cause)) => Poll::Ready(Err(source(cause))),
                Poll::Pending if to.is_queued() => Poll::Ready(Ok(None)),
                Poll::Pending => to.poll_reset(cx).map(|cause| Err(sink(cause))),
            })
            .await;
        match pulled.unwrap_or(Err(source(Cause::Timeout)))? {
            None => timed(&mut for_sink, timer, moved, pin!(to.flush())).await?,
            Some(Frame::Data(data)) => {
                moved.set(moved.get() + data.len() as u64);
                if pace.bytes_max > 0 && moved.get() > pace.bytes_max {
                    return Err(source(Cause::TooLarge));
                }
                // Said with the last piece, the end costs no frame of its own.
                let last = from.is_last();
                timed(&mut for_sink, timer, moved, pin!(to.put(data, last))).await?;
                said = last && matches!(to, Sink::Http2 { .. });
            }
            Some(Frame::End(_)) if said => return Ok(()),
            Some(Frame::End(trailers)) => {
                return timed(&mut for_sink, timer, moved, pin!(to.end(trailers))).await;
            }
        }
    }
}

async fn timed(
    patience: &mut Patience,
    timer: &Slot,
    moved: &std::cell::Cell<u64>,
    // Pinned by the caller: what is given by value is held twice.
    mut work: Pin<&mut impl Future<Output = Result<(), Cause>>>,
) -> Result<(), FlowError> {
    let ended = patience
        .wait(timer, moved.get(), |cx| work.as_mut().poll(cx))
        .await;
    timer.clear();
    match ended {
        Ok(Ok(())) => Ok(()),
        // A body that is longer or shorter than its sender announced is the sender's fault.
        Ok(Err(cause @ (Cause::TooLarge | Cause::Truncated))) => Err(source(cause)),
        Ok(Err(cause)) => Err(sink(cause)),
        Err(Expired) => Err(sink(Cause::Timeout)),
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
}

impl<P: Pull + ?Sized> Pull for &mut P {
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Cause>> {
        (**self).poll_pull(cx)
    }

    fn is_last(&self) -> bool {
        (**self).is_last()
    }
}

impl Pull for Source {
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Cause>> {
        self.poll_next(cx)
    }

    fn is_last(&self) -> bool {
        self.is_done()
    }
}

#[cfg(test)]
mod tests;
