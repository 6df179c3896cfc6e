//! What shall be told, and where to? The access log, the metrics and traces as `model` has them.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where it goes.
    pub to: LogTo,
    /// How a line is written.
    pub format: LogFormat,
    /// So many of the exchanges that ended well, in parts per million. Default: all.
    pub sample: u32,
    /// Lines per second and data thread about refusals that cost a stranger nothing. Default 100.
    pub refused_per_second: u32,
    /// With the client's `User-Agent`. Default: no.
    pub user_agent: bool,
}

impl Default for AccessLog {
    fn default() -> Self {
        AccessLog {
            to: LogTo::Stdout,
            format: LogFormat::Json,
            sample: 1_000_000,
            refused_per_second: 100,
            user_agent: false,
        }
    }
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object (the default).
    Json,
    /// HAProxy's HTTP log format.
    Haproxy,
    /// NCSA's combined log format.
    Combined,
}

/// A server that speaks syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogServer {
    /// A local socket.
    Local(PathBuf),
    /// By UDP.
    Udp(SocketAddr),
    /// By TCP.
    Tcp(SocketAddr),
}

/// Destination of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Standard output (the default).
    Stdout,
    /// Appended to this file.
    File(PathBuf),
    /// A log server, and the facility (RFC 5424 section 6.2.1).
    Syslog(LogServer, u8),
    /// The journal, at this socket or where it usually is.
    Journald(Option<PathBuf>),
    /// Not written.
    Off,
}

/// What the metrics tell besides what is always told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Series of each worker that listens. Default: no, ranges may have a thousand.
    pub per_worker: bool,
    /// The names of HAProxy's exporter as well. Default: no.
    pub haproxy_names: bool,
}

/// Traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Where a collector takes spans by OTLP over HTTP.
    pub url: String,
    /// So many traces are begun, in parts per million. Default 1%.
    pub sample: u32,
    /// The caller decides, where there is one. Default: yes.
    pub parent_based: bool,
    /// What the gateway is called there. Default `portcullis`.
    pub service: String,
}
