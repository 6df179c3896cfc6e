//! How does an agent ask? One POST on a connection of its own, as the published one does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::head::Head;

/// Largest answer, bytes.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Where agents ask, over TLS or not.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub host: String,
    pub tls: Option<Arc<ClientConfig>>,
    pub timeout: Duration,
}

/// Why there is no answer, in one word, or the status where it is not 200.
pub type Failure = String;

impl Target {
    /// The body of the answer to a POST, where its status is 200.
    pub async fn post(&self, path: &str, fields: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nUser-Agent: loadtest/0.1\r\n\
             {fields}Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.host,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let asked = tokio::time::timeout(self.timeout, self.ask(&request)).await;
        asked.unwrap_or_else(|_| Err("timeout".to_owned()))
    }

    async fn ask(&self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        let tcp = TcpStream::connect(self.address).await;
        let tcp = tcp.map_err(|_| "connect".to_owned())?;
        let _ = tcp.set_nodelay(true);
        let Some(config) = &self.tls else {
            return exchange(tcp, request).await;
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|_| "tls".to_owned())?;
        let tls = TlsConnector::from(config.clone()).connect(name, tcp).await;
        exchange(tls.map_err(|_| "tls".to_owned())?, request).await
    }
}

async fn exchange(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> Result<Vec<u8>, Failure> {
    let cut = |_| "cut".to_owned();
    io.write_all(request).await.map_err(cut)?;
    io.flush().await.map_err(cut)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let head = Head::read(&buffer);
        let whole = head.map(|head| (head, head.length.map(|body| head.size + body as usize)));
        if let Some((head, Some(end))) = whole
            && buffer.len() >= end
        {
            buffer.truncate(end);
            return done(head, buffer);
        }
        let read = io.read_buf(&mut buffer).await;
        match (read, whole) {
            // An answer without a length ends with its connection.
            (Ok(0), Some((head, None))) => return done(head, buffer),
            (Ok(0), _) | (Err(_), _) => return Err("cut".to_owned()),
            _ if buffer.len() > ANSWER_BYTES_MAX => return Err("long".to_owned()),
            _ => {}
        }
    }
}

fn done(head: Head, mut buffer: Vec<u8>) -> Result<Vec<u8>, Failure> {
    match head.status {
        200 => Ok(buffer.split_off(head.size)),
        status => Err(format!("status {status}")),
    }
}
