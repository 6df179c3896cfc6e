//! Who stands before the gateway with full control over every byte? A raw client, TCP or TLS.
//!
//! Every read has patience and panics, with what was read so far, when it ends; so a test reads as a
//! straight line.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, HandshakeKind, SupportedCipherSuite, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certs::{Certs, Issued};
use crate::eventually::within;
use crate::message::Message;
use crate::wire::{Io, Wire};
use crate::worker::Gate;

/// How a client speaks TLS.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    sni: bool,
    name: String,
}

impl Tls {
    /// Trusts the gateway's CA, asks for `edge.test` and offers no ALPN.
    pub fn trusting(certs: &Certs) -> Tls {
        Tls::versions(certs, rustls::ALL_VERSIONS)
    }

    /// As [`Tls::trusting`], with these versions only.
    pub fn versions(certs: &Certs, versions: &[&'static SupportedProtocolVersion]) -> Tls {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider speaks both versions")
            .with_root_certificates(certs.roots.clone())
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(16);
        Tls {
            config: Arc::new(config),
            sni: true,
            name: "edge.test".into(),
        }
    }

    /// As [`Tls::trusting`], with TLS 1.2 and these suites only.
    pub fn suites(certs: &Certs, suites: &[SupportedCipherSuite]) -> Tls {
        let mut tls = Tls::trusting(certs);
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = suites.to_vec();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("the suites are of this version");
        tls.config = Arc::new(
            config
                .with_root_certificates(certs.roots.clone())
                .with_no_client_auth(),
        );
        tls
    }

    /// As [`Tls::trusting`], to a client whose clock shows this time, in seconds since 1970.
    pub fn at(certs: &Certs, seconds: u64) -> Tls {
        let mut tls = Tls::trusting(certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(Stopped(seconds)))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks both versions");
        tls.config = Arc::new(
            config
                .with_root_certificates(certs.roots.clone())
                .with_no_client_auth(),
        );
        tls
    }

    /// Asks for another name (and checks the certificate against it).
    pub fn name(mut self, name: &str) -> Tls {
        self.name = name.into();
        self
    }

    /// Shows this certificate where one is asked for.
    pub fn showing(mut self, shown: &Issued) -> Tls {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(shown.key_der());
        let key = key.expect("our own key can be used");
        let shown = CertifiedKey::new(vec![shown.der.clone()], key);
        Arc::make_mut(&mut self.config).client_auth_cert_resolver =
            Arc::new(SingleCertAndKey::from(shown));
        self
    }

    /// Sends no SNI (the certificate is still checked against the name).
    pub fn without_sni(mut self) -> Tls {
        Arc::make_mut(&mut self.config).enable_sni = false;
        self.sni = false;
        self
    }

    /// Offers these protocols, in this order.
    pub fn alpn(mut self, protocols: &[&str]) -> Tls {
        let wanted = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::make_mut(&mut self.config).alpn_protocols = wanted;
        self
    }

    /// Connects; the error is the handshake's.
    pub async fn connect(&self, port: u16) -> io::Result<TlsStream<TcpStream>> {
        self.connect_over(tcp(port).await).await
    }

    /// As [`Tls::connect`], over a connection of the test's making.
    pub async fn connect_over<S: Io>(&self, io: S) -> io::Result<TlsStream<S>> {
        let name = ServerName::try_from(self.name.clone()).expect("a test's server name is valid");
        within(
            "a TLS handshake ends",
            TlsConnector::from(self.config.clone()).connect(name, io),
        )
        .await
    }
}

impl Tls {
    /// As [`Tls::connect`], with `first` in the same segment as the end of the client's handshake,
    /// as a busy network may deliver them.
    pub async fn connect_sending(&self, port: u16, first: &[u8]) -> TlsStream<DuplexStream> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (tcp, gate) = (tcp(port).await, Gate::new());
        let (mut from_gateway, mut to_gateway) = tcp.into_split();
        let (mut from_client, mut to_client) = tokio::io::split(far);
        let opened = gate.clone();
        tokio::spawn(async move {
            let mut flight = vec![0; 64 * 1024];
            let hello = from_client.read(&mut flight).await?;
            to_gateway.write_all(&flight[..hello]).await?;
            opened.passed().await;
            // All that was written meanwhile lies in the duplex and is read as one.
            let rest = from_client.read(&mut flight).await?;
            to_gateway.write_all(&flight[..rest]).await?;
            tokio::io::copy(&mut from_client, &mut to_gateway).await
        });
        tokio::spawn(async move { tokio::io::copy(&mut from_gateway, &mut to_client).await });
        let name = ServerName::try_from(self.name.clone()).expect("a test's server name is valid");
        let connect = TlsConnector::from(self.config.clone()).connect(name, near);
        let mut stream = within("a TLS handshake ends", connect)
            .await
            .expect("the handshake");
        stream.write_all(first).await.expect("the duplex has room");
        stream.flush().await.expect("the duplex has room");
        gate.open();
        stream
    }
}

/// A clock that stands still.
#[derive(Debug)]
struct Stopped(u64);

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

/// Facts of an established TLS session.
#[derive(Clone, Debug)]
pub struct Session {
    /// What ALPN chose.
    pub alpn: Option<String>,
    /// Whether the handshake resumed an older one.
    pub resumed: bool,
    /// `TLSv1_2`, `TLSv1_3`.
    pub version: String,
    /// The server's leaf certificate, DER.
    pub leaf: Vec<u8>,
}

impl Session {
    /// Reads them off a connection.
    pub fn of(stream: &TlsStream<TcpStream>) -> Session {
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        Session {
            alpn: session
                .alpn_protocol()
                .map(|p| String::from_utf8_lossy(p).into_owned()),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            version: format!(
                "{:?}",
                session.protocol_version().expect("the handshake is done")
            ),
            leaf: leaf.map(|der| der.to_vec()).unwrap_or_default(),
        }
    }
}

/// A raw client connection.
pub struct Raw {
    wire: Wire,
}

/// A TCP connection to a port of 127.0.0.1.
pub async fn tcp(port: u16) -> TcpStream {
    let connect = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    let stream = within("a TCP connection", connect).await;
    let stream = stream.unwrap_or_else(|error| panic!("connecting to 127.0.0.1:{port}: {error}"));
    // Tests that send a head byte by byte mean it.
    stream
        .set_nodelay(true)
        .expect("a fresh TCP socket takes TCP_NODELAY");
    stream
}

/// A TCP connection from a given address of this machine, such as 127.0.0.2.
pub async fn tcp_from(from: Ipv4Addr, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket
        .bind((from, 0).into())
        .unwrap_or_else(|error| panic!("{from} is no address of this machine: {error}"));
    let connect = socket.connect((Ipv4Addr::LOCALHOST, port).into());
    let stream = within("a TCP connection", connect).await;
    stream.unwrap_or_else(|error| panic!("connecting from {from} to port {port}: {error}"))
}

impl Raw {
    /// Over TCP.
    pub async fn tcp(port: u16) -> Raw {
        Raw::over(tcp(port).await)
    }

    /// Over TLS; panics when the handshake fails.
    pub async fn tls(port: u16, tls: &Tls) -> Raw {
        Raw::over(tls.connect(port).await.expect("the handshake succeeds"))
    }

    /// Over anything.
    pub fn over(io: impl Io + 'static) -> Raw {
        Raw {
            wire: Wire::new(io),
        }
    }

    /// Sends bytes as they are; panics when the gateway does not take them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = within("the gateway takes bytes", self.wire.write(bytes)).await;
        sent.expect("the gateway takes bytes");
    }

    /// Sends bytes, not minding when the gateway has closed already.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("the gateway takes bytes or closes", self.wire.write(bytes)).await;
    }

    /// Ends the sending direction.
    pub async fn half_close(&mut self) {
        within("a half-close", self.wire.half_close())
            .await
            .expect("a half-close");
    }

    /// The next response, 1xx included, to a request that was not HEAD.
    pub async fn reply(&mut self) -> Message {
        self.reply_to("GET").await
    }

    /// The next response, 1xx included, to a request with this method.
    pub async fn reply_to(&mut self, method: &str) -> Message {
        let reply = within("a response", self.wire.reply(method)).await;
        reply
            .expect("a whole response")
            .expect("a response before the end of the connection")
    }

    /// The next response that is not 1xx.
    pub async fn final_reply_to(&mut self, method: &str) -> Message {
        loop {
            let reply = self.reply_to(method).await;
            if reply.status() >= 200 {
                return reply;
            }
        }
    }

    /// The next response, `None` when the connection ends instead (cleanly or not).
    pub async fn reply_or_end(&mut self) -> Option<Message> {
        within("a response or the end", self.wire.reply("GET"))
            .await
            .ok()
            .flatten()
    }

    /// The head of the next response; its body is the caller's to read.
    pub async fn head(&mut self) -> Message {
        let head = within("a head", self.wire.head()).await;
        head.expect("a whole head")
            .expect("a head before the end of the connection")
    }

    /// The next chunk of a chunked body, `None` for the last.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        within("a chunk", self.wire.chunk())
            .await
            .expect("a whole chunk")
    }

    /// Exactly so many bytes.
    pub async fn exact(&mut self, count: usize) -> Vec<u8> {
        within("bytes", self.wire.exact(count))
            .await
            .expect("as many bytes as wanted")
    }

    /// Whatever comes until the connection ends, however it ends.
    pub async fn to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match within("the end of the connection", self.wire.some()).await {
                Ok(some) if !some.is_empty() => all.extend(some),
                _ => return all,
            }
        }
    }

    /// Whether the gateway ends the connection, without a further byte.
    pub async fn ended(&mut self) -> bool {
        self.to_end().await.is_empty()
    }

    /// Sends a request and reads its final response. `fields` are whole lines without CRLF.
    pub async fn ask(
        &mut self,
        method: &str,
        target: &str,
        fields: &[&str],
        body: &[u8],
    ) -> Message {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: edge.test\r\n").into_bytes();
        for field in fields {
            bytes.extend_from_slice(format!("{field}\r\n").as_bytes());
        }
        if !body.is_empty() || method == "POST" || method == "PUT" {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.send(bytes).await;
        self.final_reply_to(method).await
    }

    /// Sends all of this and reads the response to it at the same time, as a peer must that neither
    /// side can make wait for the other. Ends the use of this connection.
    pub async fn exchange(self, method: &str, bytes: Vec<u8>) -> Message {
        let (io, _) = self.wire.into_parts();
        let (read, mut write) = tokio::io::split(io);
        let sending = async {
            // An early answer may end the sending; then the answer is what counts.
            let _ = write.write_all(&bytes).await;
            let _ = write.flush().await;
            // Not dropped before the answer is there: a half-close is another test.
            write
        };
        let mut answers = Raw::over(tokio::io::join(read, tokio::io::sink()));
        let (write, reply) = tokio::join!(sending, answers.final_reply_to(method));
        drop(write);
        reply
    }

    /// A GET.
    pub async fn get(&mut self, target: &str) -> Message {
        self.ask("GET", target, &[], b"").await
    }

    /// The bare connection.
    pub fn into_wire(self) -> Wire {
        self.wire
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    #[tokio::test]
    async fn a_client_chooses_name_alpn_and_version() {
        let dir = crate::TempDir::new();
        let certs = Certs::write(dir.path());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = CertificateDer::pem_file_iter(dir.path().join("edge.pem")).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(dir.path().join("edge.key")).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let stream = acceptor.accept(tcp).await?;
                    let (mut read, mut write) = tokio::io::split(stream);
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let tls = Tls::versions(&certs, &[&rustls::version::TLS12]).alpn(&["http/1.1"]);
        let session = Session::of(&tls.connect(port).await.unwrap());
        assert_eq!(
            (session.alpn.as_deref(), session.version.as_str()),
            (Some("http/1.1"), "TLSv1_2")
        );
        let stream = tls.connect_sending(port, b"hello").await;
        assert_eq!(Raw::over(stream).exact(5).await, b"hello");
        assert!(
            tls.name("stranger.test").connect(port).await.is_err(),
            "not in the certificate"
        );
    }
}
