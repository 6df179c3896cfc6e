//! How are HTTP/1 bytes read and written, one at a time if need be?
//!
//! Used by both ends: the fake workers and the raw client. Anything out of order is an error that
//! says what was read so far.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::message::{Framing, Message};

/// What a connection can do, TLS or not.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection with what was read ahead.
pub struct Wire {
    io: Box<dyn Io>,
    ahead: Vec<u8>,
    tap: Option<Arc<Mutex<Vec<u8>>>>,
}

/// No test sends larger heads or lines; a larger one is a fault of the peer.
const LINE_BYTES_MAX: usize = 1 << 20;

impl Wire {
    /// Wraps a connection.
    pub fn new(io: impl Io + 'static) -> Wire {
        Wire {
            io: Box::new(io),
            ahead: Vec::new(),
            tap: None,
        }
    }

    /// Copies every byte received into `tap`, too.
    pub fn tapped(mut self, tap: Arc<Mutex<Vec<u8>>>) -> Wire {
        self.tap = Some(tap);
        self
    }

    /// The bare connection and what was read ahead.
    pub fn into_parts(self) -> (Box<dyn Io>, Vec<u8>) {
        (self.io, self.ahead)
    }

    /// The bare connection, on which what was read ahead comes first.
    pub fn into_io(self) -> impl Io {
        let (read, write) = tokio::io::split(self.io);
        tokio::io::join(io::Cursor::new(self.ahead).chain(read), write)
    }

    /// Writes all of it.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.io.write_all(bytes.as_ref()).await?;
        self.io.flush().await
    }

    /// Says that nothing more will be written (FIN, after TLS `close_notify`).
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }

    /// What is there, at least a byte; empty at the end.
    pub async fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Exactly so many bytes.
    pub async fn exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < count {
            if self.fill().await? == 0 {
                return Err(self.ended(&format!("{count} bytes")));
            }
        }
        let rest = self.ahead.split_off(count);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// All bytes to the end of the connection.
    pub async fn to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill().await? != 0 {}
        Ok(std::mem::take(&mut self.ahead))
    }

    /// The next head, without its body; `None` when the connection ends before its first byte.
    pub async fn head(&mut self) -> io::Result<Option<Message>> {
        match self.until(b"\r\n\r\n").await? {
            None => Ok(None),
            Some(bytes) => Ok(Some(Message {
                head: latin1(&bytes),
                ..Message::default()
            })),
        }
    }

    /// The next request with its body; `None` when the connection ends before its first byte.
    pub async fn request(&mut self) -> io::Result<Option<Message>> {
        let Some(mut request) = self.head().await? else {
            return Ok(None);
        };
        self.body(request.request_framing(), &mut request).await?;
        Ok(Some(request))
    }

    /// The next response to `method` with its body, 1xx included; `None` as above.
    pub async fn reply(&mut self, method: &str) -> io::Result<Option<Message>> {
        let Some(mut reply) = self.head().await? else {
            return Ok(None);
        };
        self.body(reply.reply_framing(method), &mut reply).await?;
        Ok(Some(reply))
    }

    /// Reads a body into `message`.
    pub async fn body(&mut self, framing: Framing, message: &mut Message) -> io::Result<()> {
        match framing {
            Framing::None => {}
            Framing::Length(length) => message.body = self.exact(length).await?,
            Framing::UntilClose => message.body = self.to_end().await?,
            Framing::Chunked => {
                while let Some(chunk) = self.chunk().await? {
                    message.body.extend_from_slice(&chunk);
                }
                message.trailers = self.trailers().await?;
            }
        }
        Ok(())
    }

    /// The next chunk; `None` for the last one, after which [`Wire::trailers`] follow.
    pub async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line().await?;
        let digits = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16)
            .map_err(|_| io::Error::other(format!("not a chunk size: {line:?}")))?;
        if size == 0 {
            return Ok(None);
        }
        let mut chunk = self.exact(size + 2).await?;
        if !chunk.ends_with(b"\r\n") {
            return Err(io::Error::other("a chunk without CRLF at its end"));
        }
        chunk.truncate(size);
        Ok(Some(chunk))
    }

    /// Trailer fields up to the empty line.
    pub async fn trailers(&mut self) -> io::Result<String> {
        let mut trailers = String::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.push_str(&line);
            trailers.push_str("\r\n");
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let bytes = self
            .until(b"\r\n")
            .await?
            .ok_or_else(|| self.ended("a line"))?;
        Ok(latin1(&bytes[..bytes.len() - 2]))
    }

    async fn until(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut seen = 0;
        loop {
            let from = seen.min(self.ahead.len());
            let found = self.ahead[from..]
                .windows(mark.len())
                .position(|bytes| bytes == mark);
            if let Some(at) = found {
                return self.exact(from + at + mark.len()).await.map(Some);
            }
            seen = self.ahead.len().saturating_sub(mark.len() - 1);
            if self.ahead.len() > LINE_BYTES_MAX {
                return Err(io::Error::other("a head or line of more than 1 MiB"));
            }
            if self.fill().await? == 0 {
                return if self.ahead.is_empty() {
                    Ok(None)
                } else {
                    Err(self.ended("a head"))
                };
            }
        }
    }

    /// Reads once; 0 at the end. Cancel-safe: bytes are kept as soon as they are read.
    async fn fill(&mut self) -> io::Result<usize> {
        let before = self.ahead.len();
        self.ahead.reserve(16 * 1024);
        let count = self.io.read_buf(&mut self.ahead).await?;
        if let Some(tap) = &self.tap {
            let mut tap = tap.lock().expect("nobody panics while holding this lock");
            tap.extend_from_slice(&self.ahead[before..]);
        }
        Ok(count)
    }

    fn ended(&self, wanted: &str) -> io::Error {
        let got = String::from_utf8_lossy(&self.ahead[..self.ahead.len().min(400)]).into_owned();
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("wanted {wanted}, got {got:?} and the end"),
        )
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_and_trailers_are_taken_apart() {
        let (near, mut far) = tokio::io::duplex(1024);
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: 1\r\n\r\nHTTP";
        far.write_all(bytes).await.unwrap();
        let mut wire = Wire::new(near);
        let reply = wire.reply("GET").await.unwrap().unwrap();
        assert_eq!(reply.text(), "abcde");
        assert_eq!(reply.trailer("x"), Some("1"));
        assert_eq!(wire.exact(4).await.unwrap(), b"HTTP");
    }

    #[tokio::test]
    async fn a_torn_head_is_an_error_and_a_clean_end_is_not() {
        let (near, far) = tokio::io::duplex(1024);
        drop(far);
        assert!(Wire::new(near).head().await.unwrap().is_none());
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(b"HTTP/1.1 200").await.unwrap();
        drop(far);
        assert!(Wire::new(near).head().await.is_err());
    }
}
