//! Where does what is told of exchanges go? To the access log, and as traces.

use anyhow::Context as _;

use crate::config::model::{self, Config, LogFormat, LogServer, LogTo};
use crate::confine;
use crate::observe::access_log::{AccessLog, Destination, Settings};
use crate::observe::file::{LogFile, Stdout};
use crate::observe::format::Format;
use crate::observe::journal::{self, Journal};
use crate::observe::syslog::{self, Syslog};
use crate::observe::trace::{self, Tracer};

/// Where the access log goes, opened while everything may be.
pub(super) fn log_destination(config: &Config) -> anyhow::Result<Option<Box<dyn Destination>>> {
    Ok(Some(match &config.access_log.to {
        LogTo::Off => return Ok(None),
        LogTo::Stdout => Box::new(Stdout),
        LogTo::File(path) => {
            let is_new = !path.exists();
            let file = LogFile::open(path.clone())
                .with_context(|| format!("access log {} cannot be written", path.display()))?;
            if is_new {
                confine::give(&config.process, file.as_file()).context("access log")?;
            }
            Box::new(file)
        }
        LogTo::Syslog(server, facility) => {
            let server = match server {
                LogServer::Local(path) => syslog::Server::Local(path.clone()),
                LogServer::Udp(address) => syslog::Server::Udp(*address),
                LogServer::Tcp(address) => syslog::Server::Tcp(*address),
            };
            Box::new(Syslog::new(server, *facility))
        }
        LogTo::Journald(socket) => {
            let path = socket.clone().unwrap_or_else(|| journal::SOCKET.into());
            Box::new(Journal::new(path))
        }
    }))
}

pub(super) fn start_log(
    log: &model::AccessLog,
    to: Option<Box<dyn Destination>>,
) -> anyhow::Result<AccessLog> {
    let Some(to) = to else {
        return Ok(AccessLog::off());
    };
    let settings = Settings {
        format: match log.format {
            LogFormat::Json => Format::Json,
            LogFormat::Haproxy => Format::Haproxy,
            LogFormat::Combined => Format::Combined,
        },
        journal: matches!(log.to, LogTo::Journald(_)),
        sample: log.sample,
        refused_per_second: log.refused_per_second,
        user_agent: log.user_agent,
    };
    Ok(AccessLog::to(to, settings)?)
}

pub(super) fn start_traces(traces: Option<&model::Traces>) -> anyhow::Result<Option<Tracer>> {
    let Some(traces) = traces else {
        return Ok(None);
    };
    let settings = trace::Settings {
        url: traces.url.clone(),
        service: traces.service.clone(),
        sample: traces.sample,
        parent_based: traces.parent_based,
    };
    Ok(Some(Tracer::start(settings).context("traces")?))
}
