//! For whom does a trusted balancer speak? Its header of the PROXY protocol is taken off the connection.
//!
//! Promises: not a byte behind the header is taken, so that TLS or HTTP begins as if there had been none. Does not:
//! time anything, or decide who is trusted.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::listener::proxy_protocol::{Header, Malformed, V2_BYTES_MAX, parse};

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum NoHeader {
    /// The connection broke or ended before it was whole.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// What came is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Reads the header. What has arrived is looked at first and taken when it is known to belong to the header.
pub async fn read(tcp: &mut TcpStream) -> Result<Header, NoHeader> {
    let mut bytes = vec![0; V2_BYTES_MAX];
    let mut taken = 0;
    loop {
        let seen = taken + tcp.peek(&mut bytes[taken..]).await?;
        if seen == taken {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match parse(&bytes[..seen])? {
            None => {
                // Taken, or the next look would find the same and never wait.
                tcp.read_exact(&mut bytes[taken..seen]).await?;
                taken = seen;
            }
            Some((header, length)) => {
                tcp.read_exact(&mut bytes[taken..length]).await?;
                return Ok(header);
            }
        }
    }
}
