//! Who gives a worker TLS? A front that ends it and passes the bytes on.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certs::{Authority, Issued};

/// What it saw of a handshake.
#[derive(Clone, Debug, Default)]
pub struct Shaken {
    /// The name that was asked for (SNI).
    pub name: Option<String>,
    /// What ALPN chose.
    pub alpn: Option<String>,
    /// An earlier session was resumed.
    pub resumed: bool,
    /// The client's own certificate, DER.
    pub certificate: Option<Vec<u8>>,
    /// The line that came before TLS.
    pub preface: Option<String>,
}

/// TLS in front of a worker; ends when dropped.
pub struct TlsFront {
    port: u16,
    seen: Arc<Mutex<Vec<Shaken>>>,
    failed: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// How a front behaves.
#[derive(Clone, Copy, Default)]
pub struct Front<'a> {
    /// Protocols that it speaks (ALPN); none for no ALPN.
    pub alpn: &'a [&'a str],
    /// Clients must show a certificate of this authority.
    pub clients: Option<&'a Authority>,
    /// A line of the PROXY protocol comes before TLS.
    pub preface: bool,
}

impl TlsFront {
    /// In front of a worker's port, showing this certificate.
    pub async fn start(worker: u16, shown: &Issued, front: Front<'_>) -> TlsFront {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks both versions");
        let verifier = match front.clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(clients) => WebPkiClientVerifier::builder_with_provider(clients.roots(), provider)
                .build()
                .expect("our own CA is well-formed"),
        };
        let chain = vec![shown.der.clone()];
        let mut config = builder
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, shown.key_der())
            .expect("our own key belongs to its certificate");
        config.alpn_protocols = front.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (seen, failed) = (Arc::default(), Arc::default());
        let serving = serve(
            listener,
            TlsAcceptor::from(Arc::new(config)),
            worker,
            front.preface,
            Arc::clone(&seen),
            Arc::clone(&failed),
        );
        TlsFront {
            port,
            seen,
            failed,
            task: tokio::spawn(serving),
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The handshakes that were done.
    pub fn seen(&self) -> Vec<Shaken> {
        let seen = self.seen.lock();
        seen.expect("nobody panics while holding this lock").clone()
    }

    /// Why handshakes failed.
    pub fn failed(&self) -> Vec<String> {
        let failed = self.failed.lock();
        failed
            .expect("nobody panics while holding this lock")
            .clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    worker: u16,
    preface: bool,
    seen: Arc<Mutex<Vec<Shaken>>>,
    failed: Arc<Mutex<Vec<String>>>,
) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, seen, failed) = (acceptor.clone(), seen.clone(), failed.clone());
        tokio::spawn(async move {
            let mut tcp = BufReader::new(tcp);
            let mut line = String::new();
            if preface && tcp.read_line(&mut line).await.is_err() {
                return;
            }
            let mut tls = match acceptor.accept(tcp).await {
                Ok(tls) => tls,
                Err(error) => {
                    let mut failed = failed
                        .lock()
                        .expect("nobody panics while holding this lock");
                    return failed.push(error.to_string());
                }
            };
            let (_, session) = tls.get_ref();
            let shown = session.peer_certificates().and_then(|chain| chain.first());
            let shaken = Shaken {
                name: session.server_name().map(str::to_owned),
                alpn: session
                    .alpn_protocol()
                    .map(|p| String::from_utf8_lossy(p).into_owned()),
                resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
                certificate: shown.map(|der: &CertificateDer<'_>| der.to_vec()),
                preface: preface.then(|| line.trim_end().to_owned()),
            };
            seen.lock()
                .expect("nobody panics while holding this lock")
                .push(shaken);
            if let Ok(mut worker) = TcpStream::connect((Ipv4Addr::LOCALHOST, worker)).await {
                let _ = tokio::io::copy_bidirectional(&mut tls, &mut worker).await;
            }
        });
    }
}
