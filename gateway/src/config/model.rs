//! What is wanted, after every check: typed, resolved and without doubt.
//!
//! `check.rs` is the only maker of these values, so nothing beyond `config/` parses text, looks up
//! a name or meets an impossible combination. Ids are positions in the vectors of [`Config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

pub use super::dependency::{Dependency, DependencyKind};
pub use super::logs::{AccessLog, LogFormat, LogServer, LogTo, Metrics, Traces};
pub use super::network::Trusted;

/// Position of a listener in [`Config::listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// Position of a pool in [`Config::pools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u16);

/// Position of a route in [`Config::routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u32);

/// A place in the configuration file, for problems that only show after parsing
/// (a certificate that has expired, a port that is taken). Lines and columns count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1; 0 when the value is a default that stands nowhere.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Length in characters of what is meant.
    pub length: u32,
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Data threads; 0 means one per core that the process may use.
    pub threads: usize,
    /// Where connections come in.
    pub listeners: Vec<Listener>,
    /// The named sets of workers.
    pub pools: Vec<Pool>,
    /// Where the ports of each pool stand in the file, by [`PoolId`], for problems that only show
    /// later. Kept apart from [`Pool`], so that a pool which only moved in the file is still equal.
    pub pool_places: Vec<Place>,
    /// Which request goes where. Order has no meaning.
    pub routes: Vec<Route>,
    /// What the services need besides workers; looked at and told, nothing else.
    pub dependencies: Vec<Dependency>,
    /// Where operators ask and act; `None` for nowhere.
    pub admin: Option<Admin>,
    /// When the file is read again without anybody asking.
    pub reload: ReloadOptions,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// What the metrics tell besides.
    pub metrics: Metrics,
    /// Who hears of traces; `None` for nobody (default).
    pub traces: Option<Traces>,
    /// How the process stops.
    pub drain: Drain,
    /// How the process is replaced by another.
    pub upgrade: Upgrade,
    /// Bytes of request bodies that are kept at once, by `buffer_request` and for retries (above 16 KiB each), all
    /// requests together. Default 256 MiB.
    pub buffers_bytes_max: usize,
    /// Above so much memory of its own the process takes no more requests.
    pub memory_max: MemoryMax,
    /// As whom the process runs, and what it may reach.
    pub process: Process,
    /// A request whose first or last path segment is one of these (lower case) is denied, in every
    /// spelling. Default `metrics`.
    pub deny_segments: Vec<String>,
    /// What is changed about responses that belong to no route. Routes have these defaults in their own changes.
    pub response_changes: Option<Box<Changes>>,
    /// What clients read of errors, where neither route nor listener says.
    pub errors: Option<Box<ErrorPages>>,
    /// Statuses of workers whose answers are replaced, where neither route nor listener says.
    pub intercept_errors: Option<Vec<Statuses>>,
}

/// When the configuration is read again without anybody asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadOptions {
    /// When the file changes. Default: no.
    pub on_change: bool,
}

/// As whom the process runs once its sockets are open, and what it may reach. Read at start only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// The user that it becomes; `None` to stay who it is (default).
    pub user: Option<String>,
    /// Its group; `None` for the user's own (default).
    pub group: Option<String>,
    /// The right to ports below 1024 is kept, for reloads that need one. Default: no.
    pub low_ports: bool,
    /// Whether the kernel holds it to the files that it needs.
    pub landlock: Landlock,
    /// Files and folders that it may read beside those that the configuration names.
    pub readable: Vec<PathBuf>,
    /// The same to read and write.
    pub writable: Vec<PathBuf>,
}

/// Whether the kernel holds the process to the files that it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Landlock {
    /// It does not (the default).
    #[default]
    Off,
    /// As far as it can; what it cannot is told.
    Try,
    /// It does, or nothing is served.
    Require,
}

/// How the process stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long a drain may take before what is left is cut. Default 30 s.
    pub deadline: Duration,
    /// Long streams are ended at moments spread over this time, so that their clients do not come back all at once: within
    /// the deadline, WebSockets from its beginning on, calls of gRPC towards its end. Default 10 s.
    pub spread: Duration,
}

/// How the process is replaced by another, which takes its sockets over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// How long what is in flight at the old process may live on; zero means as long as it likes. Default 1 h.
    pub deadline: Duration,
    /// How long the new process may take to build everything, before it is given up. Default 60 s.
    pub start_timeout: Duration,
    /// Where `portcullis upgrade` finds the running process.
    pub socket: UpgradeSocket,
}

/// Where `portcullis upgrade` finds the running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeSocket {
    /// `upgrade.sock` in the directory that the service manager made (`RUNTIME_DIRECTORY`), where it made one (the
    /// default).
    Runtime,
    /// Here; the directory is made where it is missing, for our user alone.
    At(PathBuf),
    /// Nowhere: SIGQUIT alone begins an upgrade.
    Off,
}

impl Default for Drain {
    fn default() -> Drain {
        Drain {
            deadline: Duration::from_secs(30),
            spread: Duration::from_secs(10),
        }
    }
}

impl Default for Upgrade {
    fn default() -> Upgrade {
        Upgrade {
            deadline: Duration::from_secs(3600),
            start_timeout: Duration::from_secs(60),
            socket: UpgradeSocket::Runtime,
        }
    }
}

/// Where operators ask and act.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The unix socket. Default [`AdminSocket::Usual`].
    pub socket: AdminSocket,
    /// Permissions of the socket's file: who may open it may change what runs. Default `0o660`.
    pub socket_mode: u32,
    /// The TCP address, loopback unless the operator insists; `None` for none. Default `127.0.0.1:9901`.
    pub bind: Option<SocketAddr>,
    /// What changes have to show, over the socket and over TCP. Default none: then changes are taken over the socket
    /// alone.
    pub token: Option<AdminToken>,
    /// Where the address stands in the file.
    pub place: Place,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin {
            socket: AdminSocket::Usual,
            socket_mode: 0o660,
            bind: Some(SocketAddr::from(([127, 0, 0, 1], 9901))),
            token: None,
            place: Place::default(),
        }
    }
}

/// The operators' unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminSocket {
    /// `admin.sock` in the service's own directory (`RUNTIME_DIRECTORY`), else in `/run/portcullis`. Where it cannot be
    /// had, that is told and there is none.
    Usual,
    /// At this path. Where it cannot be had, the gateway does not start.
    At(PathBuf),
    /// None.
    Off,
}

/// A word that only operators know.
#[derive(Clone, PartialEq, Eq)]
pub enum AdminToken {
    /// As written; 16 to 512 visible characters of ASCII.
    Text(String),
    /// The first line of this file, under the same rule. Read at start and at every reload.
    File(PathBuf, Place),
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AdminToken::Text(_) => f.write_str("Text(…)"),
            AdminToken::File(path, _) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// An address that accepts connections.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Unique name.
    pub name: String,
    /// What is listened on; at least one.
    pub bind: Vec<Bind>,
    /// What clients speak here.
    pub protocol: Protocol,
    /// TLS, or none for plain text.
    pub tls: Option<Tls>,
    /// What becomes of plain requests. Default for a plain `http` listener: `Default` where a TLS
    /// listener with protocol `http` exists, else `None`; always `None` for TLS and gRPC.
    pub redirect_https: RedirectHttps,
    /// Port named in such redirects; 443 is left out of the URL. Default: the port of the first
    /// TLS listener with protocol `http`, else 443. It is 0 where that listener's port is 0: then
    /// the port that the kernel gave it is meant.
    pub redirect_port: u16,
    /// Peers whose connections begin with a header of the PROXY protocol, which names the client.
    /// It is required from them, and not looked for from others. Default: none.
    pub proxy_protocol: Option<Trusted>,
    /// Peers whose `X-Forwarded-*` fields are believed, kept and continued. Default: none.
    pub forwarded: Option<Trusted>,
    /// `Forwarded` (RFC 7239) is sent to workers beside `X-Forwarded-*`. Default: no.
    pub forwarded_header: bool,
    /// Bounds on what strangers may do here.
    pub limits: ListenerLimits,
    /// Who may connect; `None` for everybody (default).
    pub networks: Option<Networks>,
    /// How often one client may ask here; `None` for any (default).
    pub rate: Option<Rate>,
    /// What clients read of errors, where the route does not say. Default `None`: what the top says.
    pub errors: Option<Box<ErrorPages>>,
    /// Statuses of workers whose answers are replaced, where the route does not say. Default `None`: what the top says.
    pub intercept_errors: Option<Vec<Statuses>>,
    /// Which responses are compressed, where the route does not say. Default `None`: none.
    pub compress: Option<Box<Compress>>,
}

/// How often one client may ask: a bucket of tokens per key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Who is one client.
    pub per: RateKey,
    /// So many requests, at least 1 ...
    pub requests: u32,
    /// ... in this time: a second, a minute or an hour.
    pub every: Duration,
    /// Requests at once after a rest. Default: what comes in a second, at least 1.
    pub burst: u32,
    /// Keys remembered, at about 64 bytes each; one more drives out the longest unused. Default 100 000.
    pub keys_max: u32,
}

impl Rate {
    /// Per address, with every default.
    pub fn new(requests: u32, every: Duration) -> Rate {
        let seconds = u32::try_from(every.as_secs()).unwrap_or(u32::MAX).max(1);
        Rate {
            per: RateKey::Address,
            requests,
            every,
            burst: (requests / seconds).max(1),
            keys_max: 100_000,
        }
    }
}

/// Who is one client, for rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    /// An IPv4 address or an IPv6 /64.
    Address,
    /// A value of this field, name in lower case. Requests without it are counted by address.
    Header(String),
    /// The certificate that the client has shown. Clients without one are counted by address.
    Certificate,
}

/// A network, or one address as a network of its own. The bits behind the prefix are zero, and IPv4 is never in the
/// form of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// First address.
    pub address: IpAddr,
    /// Length of the prefix in bits, at most 32 or 128.
    pub prefix: u8,
}

/// Who may come in. The longest prefix that holds an address decides; no network stands in both lists. An address that
/// is in neither may come in where `allow` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// May.
    pub allow: Vec<Network>,
    /// May not.
    pub deny: Vec<Network>,
}

/// An address to listen on. `":443"` has no host and means every address, IPv6 and IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// One address, or all.
    pub host: Option<IpAddr>,
    /// Port; 0 lets the kernel choose (tests).
    pub port: u16,
    /// Where it stands in the file.
    pub place: Place,
}

/// What clients speak on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/2 where TLS negotiates it.
    Http,
    /// HTTP/2 only; every answer of the gateway's own has the form of gRPC.
    Grpc,
}

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates with their keys; at least one. The first is the default.
    pub certificates: Vec<Certificate>,
    /// What a client gets that asks for a name none of them covers.
    pub unknown_names: UnknownNames,
    /// Oldest version spoken. Default 1.2.
    pub min_version: TlsVersion,
    /// Files that are replaced are picked up without a reload. Default: yes.
    pub watch: bool,
    /// What clients must show of themselves; `None` for nothing (default).
    pub client_certificates: Option<ClientCertificates>,
}

/// Certificates that clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// A client without one is refused; else it is served as any other.
    pub required: bool,
    /// PEM file with the authorities that may have issued them.
    pub ca: PathBuf,
    /// PEM files with lists of revoked certificates. Where there are any, each certificate of a client's chain must be
    /// covered by one.
    pub crls: Vec<PathBuf>,
    /// A list that has run out goes on being used; else clients that it is about are refused (default).
    pub expired_crl: bool,
    /// Where it stands in the file.
    pub place: Place,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file with the leaf first, then intermediates.
    pub chain: PathBuf,
    /// PEM file with the key; the same file as `chain` where only one is given.
    pub key: PathBuf,
    /// DER file with what the authority says of it (OCSP), shown to clients that ask.
    pub ocsp: Option<PathBuf>,
    /// Where it stands in the file.
    pub place: Place,
}

/// Policy for a server name that no certificate covers (also for clients that send none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownNames {
    /// The first certificate is shown (the default; what HAProxy and nginx do).
    DefaultCertificate,
    /// The handshake ends with a fatal alert. RFC 6066 section 3 names `unrecognized_name` for it;
    /// the TLS library sends `access_denied`.
    Refuse,
}

/// TLS versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2, with ECDHE and AEAD suites only.
    Tls12,
    /// 1.3.
    Tls13,
}

/// What a plain listener does with requests for routes that do not name it in `on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectHttps {
    /// Routes that name this listener are served, the rest is redirected.
    Default,
    /// Everything is redirected.
    All,
    /// Every route is served in plain text.
    None,
}

/// Bounds of a listener. Every one has a safe default.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerLimits {
    /// Open connections, all clients together. Default 50 000.
    pub connections_max: u32,
    /// Open connections of one client address (IPv4 address, IPv6 /64). Default 10 000: fleets
    /// come through NAT.
    pub connections_per_client_max: u32,
    /// From accept to the end of the TLS handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// From there to the first byte of the first request. Default 30 s.
    pub first_byte_timeout: Duration,
    /// From the first byte of a head to its last. Default 10 s.
    pub head_timeout: Duration,
    /// Between requests on a kept connection; for HTTP/2, without any open stream. Default 75 s.
    pub idle_timeout: Duration,
    /// Between two pieces of a request body, or two takes of a response by the client. Default 60 s.
    /// Does not apply to tunnels and gRPC.
    pub body_timeout: Duration,
    /// Bytes of a body that a client has to send, or take, for every second in which it was waited for, once those seconds
    /// are more than `body_timeout`; 0 means no such bound. Default 500. Does not apply to tunnels and gRPC.
    pub body_rate_min: u64,
    /// A WebSocket or TCP tunnel without a byte either way; zero means never. Default 0 (never).
    pub tunnel_timeout: Duration,
    /// Request head, bytes. Default 32 KiB.
    pub head_bytes_max: usize,
    /// Request target, bytes. Default 8 KiB.
    pub target_bytes_max: usize,
    /// Fields in a head. Default 100.
    pub fields_max: usize,
    /// Request body, bytes; 0 means no limit. Default 0.
    pub body_bytes_max: u64,
    /// Concurrent HTTP/2 streams of a connection. Default 128.
    pub streams_max: u32,
    /// One field of a request's head, name and value together, bytes. Default `None`: as long as the head may be.
    pub field_bytes_max: Option<usize>,
    /// Bounds that only HTTP/2 has.
    pub http2: Http2Limits,
}

/// Bounds of an HTTP/2 connection. Every one has a safe default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Limits {
    /// Streams that the client reset and that are not forgotten or not even served yet; one more ends the connection
    /// (ENHANCE_YOUR_CALM). Default 64.
    pub resets_max: usize,
    /// Streams that had to be reset for the client's errors, in the life of a connection; one more ends it. Default 256.
    pub errors_max: usize,
    /// Window of a stream, bytes: what a slow worker can make the gateway hold of one request. Default 64 KiB.
    pub stream_window: u32,
    /// Window of a connection, bytes; `None` (default) for all its streams' windows together, 1 MiB at least.
    pub connection_window: Option<u32>,
    /// Longest frame that is taken, bytes, 16 KiB to 16 MiB. Default 16 KiB.
    pub frame_bytes_max: u32,
    /// Bytes of a response that may wait for the client, per stream. Default 128 KiB.
    pub send_bytes_max: usize,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Http2Limits {
            resets_max: 64,
            errors_max: 256,
            stream_window: 64 * 1024,
            connection_window: None,
            frame_bytes_max: 16 * 1024,
            send_bytes_max: 128 * 1024,
        }
    }
}

impl Default for ListenerLimits {
    fn default() -> Self {
        ListenerLimits {
            connections_max: 50_000,
            connections_per_client_max: 10_000,
            handshake_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            body_rate_min: 500,
            tunnel_timeout: Duration::ZERO,
            head_bytes_max: 32 * 1024,
            target_bytes_max: 8 * 1024,
            fields_max: 100,
            body_bytes_max: 0,
            streams_max: 128,
            field_bytes_max: None,
            http2: Http2Limits::default(),
        }
    }
}

/// Memory that the process may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryMax {
    /// 85 % of what the machine or the control group has (default).
    #[default]
    Auto,
    /// No limit.
    Off,
    /// Bytes.
    Bytes(u64),
}

/// A named set of workers: hosts times port ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Unique name.
    pub name: String,
    /// Hosts; at least one. Default `127.0.0.1`, weight 100.
    pub hosts: Vec<Host>,
    /// Inclusive spans of ports; at least one, none overlapping another of the same host.
    pub ports: Vec<PortRange>,
    /// What the workers speak.
    pub protocol: WorkerProtocol,
    /// How one is chosen.
    pub balance: Balance,
    /// How live workers are found.
    pub discovery: Discovery,
    /// Active checks beyond finding the listener; none by default.
    pub health: Option<Health>,
    /// Passive checks.
    pub outlier: Outlier,
    /// What happens to requests while no worker is up.
    pub hold: Hold,
    /// What happens to requests while every worker is at its cap.
    pub queue: Queue,
    /// Exchanges one worker may have in flight; `None` for no cap (default).
    pub worker_in_flight_max: Option<u32>,
    /// Time over which a new worker's share grows from a tenth to the whole. Default 0 (at once).
    pub slow_start: Duration,
    /// Time for the connection to a worker, TLS included. Default 3 s.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of the response. Default 305 s.
    pub response_timeout: Duration,
    /// Between two pieces of a response body; does not apply to tunnels and gRPC. Default 305 s.
    pub body_timeout: Duration,
    /// A kept connection to a worker is closed after this long without use. Default 30 s.
    pub idle_timeout: Duration,
    /// Retries.
    pub retry: Retry,
    /// Response head of a worker, bytes. Default 64 KiB.
    pub head_bytes_max: usize,
    /// Streams per HTTP/2 connection to a worker. Default 100.
    pub streams_max: u32,
    /// Each connection to a worker begins with a header of the PROXY protocol that names the client.
    /// Such a connection serves one exchange. Default: none.
    pub send_proxy: Option<ProxyVersion>,
    /// A client comes back to the worker that served it. Default: none.
    pub sticky: Option<Sticky>,
    /// The pool takes no requests but those of some networks. Default: it takes all.
    pub maintenance: Option<Maintenance>,
    /// An HTTP/1 client that ends its side while it waits for the head of a response has left: its exchange is given up.
    /// Default: no, it is served (RFC 9112 section 9.6 lets it).
    pub abort_on_close: bool,
    /// Workers are spoken to over TLS; `None` for plain text (default).
    pub tls: Option<WorkerTls>,
}

/// How a client is brought back to the worker that served it: by a cookie of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// Name of the cookie.
    pub cookie: String,
    /// How long it lasts, from when it was set; `None` (default) until the browser is closed.
    pub ttl: Option<Duration>,
    /// `Secure`. Default: where the client came by TLS.
    pub secure: Secure,
    /// `HttpOnly`. Default: yes.
    pub http_only: bool,
    /// `SameSite`. Default `Lax`.
    pub same_site: SameSite,
    /// `Path`. Default `/`.
    pub path: String,
    /// The worker does not see the cookie. Default: no.
    pub hide: bool,
    /// What the value is keyed with; the same on every gateway that shares clients. Default: none, then the value is a
    /// plain hash of pool and address, the same everywhere, from which an address can be guessed by trying.
    pub secret: Option<Secret>,
}

/// Which of our cookies are for TLS alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// Those that were set over TLS.
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// `SameSite` of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Sent with links from elsewhere, too.
    Lax,
    /// Only from the same site.
    Strict,
    /// Always; browsers ask for `Secure` then.
    None,
}

/// A word that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is answered while nobody is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Seconds of `Retry-After`. Default 60.
    pub retry_after: u16,
    /// A sentence for the client. Default: `closed for maintenance`.
    pub text: String,
    /// Whose requests are served nevertheless. Default: nobody's.
    pub allow: Trusted,
}

impl Default for Maintenance {
    fn default() -> Self {
        Maintenance {
            retry_after: 60,
            text: "closed for maintenance".to_owned(),
            allow: Trusted::default(),
        }
    }
}

/// TLS towards the workers of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerTls {
    /// PEM file with the authorities that may have issued the workers' certificates. Default: the system's.
    pub ca: Option<PathBuf>,
    /// PEM files with a chain and a key of the gateway's own, for workers that ask for them.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The name that workers are asked for (SNI) and must prove. Default: their address.
    pub name: Option<String>,
    /// Workers must prove who they are. Default: yes.
    pub verify: bool,
    /// Oldest version spoken. Default 1.2.
    pub min_version: TlsVersion,
    /// Files that are replaced are picked up without a reload. Default: yes.
    pub watch: bool,
    /// Where it stands in the file.
    pub place: Aside,
}

impl WorkerTls {
    /// With every default.
    pub fn new(place: Place) -> WorkerTls {
        WorkerTls {
            ca: None,
            client_certificate: None,
            name: None,
            verify: true,
            min_version: TlsVersion::Tls12,
            watch: true,
            place: Aside(place),
        }
    }
}

/// A place that makes no difference: what only moved in the file is still equal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aside(pub Place);

impl PartialEq for Aside {
    fn eq(&self, _: &Aside) -> bool {
        true
    }
}

impl Eq for Aside {}

impl Pool {
    /// A pool on this machine with every default.
    pub fn new(name: &str, ports: Vec<PortRange>) -> Pool {
        Pool {
            name: name.to_owned(),
            hosts: vec![Host {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                weight: 100,
            }],
            ports,
            protocol: WorkerProtocol::Http1,
            balance: Balance::LeastLoaded,
            discovery: Discovery::Auto,
            health: None,
            outlier: Outlier::default(),
            hold: Hold::default(),
            queue: Queue::default(),
            worker_in_flight_max: None,
            slow_start: Duration::ZERO,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(305),
            body_timeout: Duration::from_secs(305),
            idle_timeout: Duration::from_secs(30),
            retry: Retry::default(),
            head_bytes_max: 64 * 1024,
            streams_max: 100,
            send_proxy: None,
            sticky: None,
            maintenance: None,
            abort_on_close: false,
            tls: None,
        }
    }
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// A host of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Address (names are not resolved yet).
    pub address: IpAddr,
    /// Share of each worker of this host, 1 to 1000. Default 100.
    pub weight: u16,
}

/// An inclusive span of ports, `first <= last`, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl PortRange {
    /// How many ports it spans.
    pub fn len(&self) -> usize {
        usize::from(self.last) - usize::from(self.first) + 1
    }

    /// Never: a range has at least one port.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// What workers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerProtocol {
    /// HTTP/1.1 (the default).
    Http1,
    /// HTTP/2: in plain text with prior knowledge (RFC 9113 section 3.3), or where the pool has TLS, as agreed by ALPN.
    H2c,
}

/// How a worker is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The less loaded of two random workers (the default).
    LeastLoaded,
    /// One after the other, smooth by weight.
    RoundRobin,
    /// The one with the fewest in flight of all.
    LeastConnections,
    /// The same key goes to the same worker while it is up.
    Hash(HashKey),
}

/// Where the key of consistent hashing comes from. A request without it is balanced by load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    Address,
    /// The first value of a field, name in lower case.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
}

/// How live workers are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The kernel's listen table for hosts that are this machine (if permitted), probing for others.
    Auto,
    /// Probing always.
    Probe,
    /// None: every port of the range is taken to be up.
    Static,
}

/// An active check.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// What is asked.
    pub check: Check,
    /// Between checks of a worker that is up. Default 5 s.
    pub interval: Duration,
    /// Between checks of a worker that is down. Default 1 s.
    pub interval_failing: Duration,
    /// For one check. Default 2 s.
    pub timeout: Duration,
    /// Good checks in a row that bring a worker up. Default 1.
    pub rise: u32,
    /// Failed checks in a row that take it down. Default 3.
    pub fall: u32,
}

impl Health {
    /// The check with every default.
    pub fn new(check: Check) -> Health {
        Health {
            check,
            interval: Duration::from_secs(5),
            interval_failing: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            rise: 1,
            fall: 3,
        }
    }
}

/// What an active check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A TCP connection.
    Tcp,
    /// A request; good when the status is within `expect`.
    Http {
        /// Method, `GET` by default.
        method: String,
        /// Target, `/` by default.
        path: String,
        /// `Host`, the worker's address by default.
        host: Option<String>,
        /// Inclusive span of good statuses, 200 to 399 by default.
        expect: (u16, u16),
    },
    /// `grpc.health.v1.Health/Check`, for a service or the whole server.
    Grpc {
        /// Service name, empty for the whole server.
        service: String,
    },
}

/// Passive outlier detection.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlier {
    /// Failures in a row (connection lost, timeout, 502, 503, 504) that eject; 0 turns it off.
    /// Default 5.
    pub consecutive_failures: u32,
    /// First rest; the n-th in a row is n times as long. Default 10 s.
    pub rest: Duration,
    /// Longest rest. Default 300 s.
    pub rest_max: Duration,
    /// Largest share of the live workers that may be ejected at once, percent. At least one worker
    /// always stays. Default 50.
    pub ejected_share_max: u8,
}

impl Default for Outlier {
    fn default() -> Self {
        Outlier {
            consecutive_failures: 5,
            rest: Duration::from_secs(10),
            rest_max: Duration::from_secs(300),
            ejected_share_max: 50,
        }
    }
}

/// Requests that wait because no worker is up.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Longest wait; zero turns holding off. Default 30 s.
    pub time: Duration,
    /// Requests held at once; one more is answered 503. Default 10 000.
    pub requests_max: u32,
}

impl Default for Hold {
    fn default() -> Self {
        Hold {
            time: Duration::from_secs(30),
            requests_max: 10_000,
        }
    }
}

/// Requests that wait because every worker is at its cap.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Longest wait. Default 30 s.
    pub time: Duration,
    /// Requests queued at once; one more is answered 503. Default 1 000.
    pub requests_max: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            time: Duration::from_secs(30),
            requests_max: 1_000,
        }
    }
}

/// When a request is tried again on another worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts after the first. Default 3.
    pub attempts_max: u32,
    /// Retries may be this share of the requests, percent. Connections refused before a byte was
    /// sent do not count. Default 20.
    pub budget_percent: u32,
    /// Retries per second that are always allowed. Default 10.
    pub budget_min_per_second: u32,
    /// Request body bytes kept for another attempt. Default 64 KiB.
    pub body_bytes_max: usize,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts_max: 3,
            budget_percent: 20,
            budget_min_per_second: 10,
            body_bytes_max: 64 * 1024,
        }
    }
}

/// Which request goes where.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Unique; `path -> pool` where the file gives none.
    pub name: String,
    /// Listeners it serves, in order of id; never empty. A plain listener that redirects is in here
    /// only when the file names it.
    pub on: Vec<ListenerId>,
    /// Host.
    pub host: HostMatch,
    /// Path.
    pub path: PathMatch,
    /// Methods in upper case; empty for all.
    pub methods: Vec<String>,
    /// All must match.
    pub headers: Vec<HeaderMatch>,
    /// What is done.
    pub action: Action,
    /// Whose requests are served; the others are refused with 403. `None` for everybody (default).
    pub networks: Option<Networks>,
    /// How often one client may ask for it, on all listeners together; `None` for any (default).
    pub rate: Option<Rate>,
    /// Exchanges at once, on all listeners together, those that wait for a worker and tunnels included; one more is
    /// answered 503. `None` for any number (default).
    pub in_flight_max: Option<u32>,
    /// Request body, bytes, in place of the listener's; 0 means no limit. Default `None`: the listener's.
    pub body_bytes_max: Option<u64>,
    /// What clients read of errors. Default `None`: what the listener or the top says, else the built-in forms.
    pub errors: Option<Box<ErrorPages>>,
    /// Statuses of workers whose answers are replaced by ours. Default `None`: what the listener or the top says, else none.
    pub intercept_errors: Option<Vec<Statuses>>,
    /// Which responses are compressed. Default `None`: what the listener says. Without algorithms: none.
    pub compress: Option<Box<Compress>>,
    /// What is changed about every response of the route, the defaults of the file's top included. `None` for nothing.
    pub response_changes: Option<Box<Changes>>,
    /// Where it stands in the file.
    pub place: Place,
}

/// Which hosts a route serves. Names are in lower case without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// Any.
    Any,
    /// `*.example.com`: any name below, at any depth; the suffix is kept without `*.`.
    Wildcard(String),
    /// One name.
    Exact(String),
}

/// Which paths a route serves: decoded and normalised, without a trailing slash unless it is `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// The path itself and everything below it, by whole segments.
    Prefix(String),
    /// The path itself, with or without a trailing slash.
    Exact(String),
}

/// A condition on a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderMatch {
    /// Field name in lower case.
    pub name: String,
    /// The exact value, or `None` for presence.
    pub value: Option<String>,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A worker of the pool answers.
    Forward(Forward),
    /// The gateway answers with this status (403, or UNAVAILABLE on gRPC listeners).
    Deny(u16),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The gateway answers with what the file says.
    Respond(Fixed),
    /// The gateway answers with a file of a folder.
    Static(Folder),
}

/// How a request is forwarded.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// To which pool.
    pub pool: PoolId,
    /// How the path is changed on its way to the worker; `None` for not at all (default).
    pub rewrite: Option<Rewrite>,
    /// What is changed about the request's fields.
    pub changes: Changes,
    /// Overrides the pool's `response_timeout`.
    pub response_timeout: Option<Duration>,
    /// Pools that stand in, in order: the route's own, or the pool's, and theirs in turn. Default: none.
    pub backups: Vec<Backup>,
    /// The whole body, up to so many bytes, is taken before a worker is reserved; a longer one streams on from there.
    /// Default: `None`, it streams.
    pub buffer_request: Option<usize>,
    /// Copies of some requests go to another pool, too. Default: none.
    pub mirror: Option<Mirror>,
}

/// A pool that stands in for the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Which.
    pub pool: PoolId,
    /// It does while fewer workers than this are up in the one before. Default 1: while none is.
    pub below: u32,
}

/// Copies of requests, whose answers are thrown away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where they go.
    pub pool: PoolId,
    /// How many of the requests, percent. Default 100.
    pub share: u8,
    /// A longer request body is not copied, bytes. Default 64 KiB.
    pub body_bytes_max: usize,
    /// Copies under way at once, all data threads together; one more is not made. Default 100.
    pub in_flight_max: u32,
}

/// How a path is changed. The query stays as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Rewrite {
    /// The path that the route matched is replaced by this one, which has no trailing slash: empty for none
    /// (`/upload/x` becomes `/x`).
    Prefix(String),
    /// What the pattern matches of the path is replaced.
    Pattern(Pattern),
}

/// A regular expression, matched in time linear in the path, and what takes the place of what it matches.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Compiled.
    pub regex: regex::Regex,
    /// With `$1`, `${name}` for what the groups matched.
    pub to: String,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.regex.as_str() == other.regex.as_str() && self.to == other.to
    }
}

/// What is changed about the fields of a head: first removed, then set, then added. Names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Fields that do not pass.
    pub remove: Vec<String>,
    /// Fields set, replacing those that came.
    pub set: Vec<(String, Template)>,
    /// Fields added to those that came.
    pub add: Vec<(String, Template)>,
}

impl Changes {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// Where a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `Location`: an absolute URL, or a path. What a client sends can stand in it behind the authority only.
    pub to: Template,
    /// 301, 302, 303, 307 or 308. Default 302.
    pub status: u16,
    /// The query of the request is put behind it. Default: where `to` has no query of its own.
    pub keep_query: bool,
}

/// An answer that is the same for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// 200 to 599. Default 200.
    pub status: u16,
    /// `Content-Type`, for a body that is not empty.
    pub content_type: String,
    /// The body.
    pub body: Content,
}

/// A folder whose files are served below the route's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it lies.
    pub root: PathBuf,
    /// The file that stands for a folder; `None` for none. Default `index.html`.
    pub index: Option<String>,
    /// `Cache-Control: max-age`, seconds; `None` for none (default).
    pub cache: Option<Duration>,
    /// A file beside it with `.zst`, `.br` or `.gz` is sent to who takes that. Default: no.
    pub precompressed: bool,
    /// Files and folders whose names begin with a dot are served. `.well-known` always is. Default: no.
    pub dotfiles: bool,
    /// Symbolic links that stay within the folder are followed. Default: no.
    pub symlinks: bool,
    /// Where it stands in the file.
    pub place: Place,
}

/// Bytes that the file names or holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Read from there when the plan is built; `None` where the configuration holds the text.
    pub file: Option<PathBuf>,
    /// The bytes; empty until the file is read.
    pub bytes: Bytes,
    /// Where it stands in the file.
    pub place: Place,
}

impl Content {
    /// Most bytes of a file that is read whole.
    pub const BYTES_MAX: u64 = 1024 * 1024;
}

/// What clients read when something went wrong, by status. The nearest span of statuses goes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages(pub Vec<ErrorPage>);

/// The pages of a status or a class of them. A form that is missing is the built-in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Which statuses.
    pub statuses: Statuses,
    /// For who asks for HTML by name.
    pub html: Option<Content>,
    /// For who asks for JSON by name, or sent some.
    pub json: Option<Content>,
    /// For everybody else.
    pub text: Option<Content>,
}

impl ErrorPage {
    /// Most bytes of a page's file: it is filled in for each answer.
    pub const BYTES_MAX: u64 = 64 * 1024;
}

/// An inclusive span of statuses, 400 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses(pub u16, pub u16);

impl Statuses {
    /// Whether a status is one of them.
    pub fn contains(&self, status: u16) -> bool {
        (self.0..=self.1).contains(&status)
    }
}

/// Which responses are compressed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// Media types in lower case: `text/html`, `text/*`, `*+json`. Default: [`Compress::TYPES`].
    pub types: Vec<String>,
    /// Shorter responses pass as they are, where their length is known; bytes. Default 1 KiB.
    pub min_bytes: u64,
    /// In our order of preference; the client's goes first. Empty: off. Default zstd, br, gzip.
    pub algorithms: Vec<Algorithm>,
    /// Time against size. Default balanced.
    pub effort: Effort,
}

impl Default for Compress {
    fn default() -> Self {
        Compress {
            types: Compress::TYPES.map(str::to_owned).to_vec(),
            min_bytes: 1024,
            algorithms: vec![Algorithm::Zstd, Algorithm::Brotli, Algorithm::Gzip],
            effort: Effort::Balanced,
        }
    }
}

impl Compress {
    /// What is text in disguise.
    pub const TYPES: [&'static str; 11] = [
        "text/html",
        "text/css",
        "text/plain",
        "text/xml",
        "text/javascript",
        "application/javascript",
        "application/json",
        "application/xml",
        "*+json",
        "*+xml",
        "application/wasm",
    ];

    /// Whether a `Content-Type` is one of these. Streams of events and calls never are: each of their pieces is waited for.
    pub fn covers(&self, content_type: &[u8]) -> bool {
        let kind = content_type.split(|c| *c == b';').next();
        let Ok(kind) = std::str::from_utf8(kind.unwrap_or_default().trim_ascii()) else {
            return false;
        };
        let kind = kind.to_ascii_lowercase();
        if kind == "text/event-stream" || kind.starts_with("application/grpc") {
            return false;
        }
        self.types.iter().any(|pattern| {
            match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
                (Some(begin), _) => kind.starts_with(begin),
                (_, Some(end)) => kind.ends_with(end),
                _ => kind == *pattern,
            }
        })
    }
}

/// Content codings (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Algorithm {
    /// As `Content-Encoding` and the configuration have it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Zstd => "zstd",
            Algorithm::Brotli => "br",
            Algorithm::Gzip => "gzip",
        }
    }
}

/// How hard an encoder tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The least time.
    Fast,
    /// In between.
    Balanced,
    /// The fewest bytes that still can be made on the way.
    Small,
}

/// A field value with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As written.
    Text(String),
    /// `{host}`: the request's host, with its port as the client sent it.
    Host,
    /// `{hostname}`: the same without the port.
    Hostname,
    /// `{client}`: the client's address.
    Client,
    /// `{request_id}`: the request's id.
    RequestId,
    /// `{method}`.
    Method,
    /// `{path}`: the request's path, normalised where that changes what it means.
    Path,
    /// `{rest}`: what of it lies below the route's path: empty, or with a slash in front; with `slash`, a slash at least.
    Rest {
        /// Never empty.
        slash: bool,
    },
    /// `{query}`: the query without its question mark.
    Query,
    /// `{scheme}`: `https` or `http`, as `X-Forwarded-Proto` says it.
    Scheme,
    /// `{port}`: the port that the client came to, as `X-Forwarded-Port` says it.
    Port,
    /// `{listener}`: the listener's name.
    Listener,
    /// `{route}`: the route's name; empty where no route was found.
    Route,
}
