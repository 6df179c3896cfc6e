//! Which events are told? The filter of the log of events, which can be set while the gateway runs.
//!
//! Promises: a filter that cannot be read changes nothing. Does not: touch the access log.

use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

/// The words for plain levels.
pub const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What libraries tell is of use to who names them alone.
const LIBRARIES: &str = "pingora_core=warn,h2=warn,rustls=warn";

type Set = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// The filter that holds.
pub struct LogLevel {
    set: Set,
    at_start: String,
    now: Mutex<String>,
}

impl LogLevel {
    /// The filter at start is `written`, else `info`; one that cannot be read counts as none.
    pub fn at_start(written: Option<String>) -> (EnvFilter, String) {
        let written = written.unwrap_or_default();
        match EnvFilter::builder().parse(&written) {
            Ok(filter) if !written.trim().is_empty() => (filter, written),
            _ => (filter_of("info").unwrap_or_default(), "info".to_owned()),
        }
    }

    /// With the filter at start, and the way to set another.
    pub fn new(
        at_start: String,
        set: impl Fn(EnvFilter) -> Result<(), String> + Send + Sync + 'static,
    ) -> LogLevel {
        LogLevel {
            set: Box::new(set),
            now: Mutex::new(at_start.clone()),
            at_start,
        }
    }

    /// What holds.
    pub fn now(&self) -> String {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    /// Sets a level, a filter (`info,gateway::discover=debug`), or `default` for what held at start. The error is a
    /// sentence.
    pub fn set(&self, wanted: &str) -> Result<(), String> {
        let wanted = match wanted.trim() {
            "default" => &self.at_start,
            wanted => wanted,
        };
        let filter = filter_of(wanted)?;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        (self.set)(filter)?;
        wanted.clone_into(&mut now);
        Ok(())
    }
}

fn filter_of(wanted: &str) -> Result<EnvFilter, String> {
    let bad = || format!("`{wanted}` is neither a level nor a filter");
    if wanted.is_empty() || wanted.len() > 1024 {
        return Err(bad());
    }
    let whole = if LEVELS.contains(&wanted) && wanted != "off" {
        format!("{wanted},{LIBRARIES}")
    } else if wanted.contains('=') || wanted.contains(',') || wanted == "off" {
        wanted.to_owned()
    } else {
        // A lone word that is no level would be taken for the name of a module, and silence everything else.
        return Err(bad());
    };
    EnvFilter::builder().parse(whole).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_a_filter_or_what_held_at_start() {
        let (_, start) = LogLevel::at_start(Some("warn".into()));
        let level = LogLevel::new(start, |_| Ok(()));
        assert_eq!(level.now(), "warn");
        for good in ["debug", "info,gateway::discover=trace", "off"] {
            assert_eq!(level.set(good), Ok(()), "{good}");
            assert_eq!(level.now(), good);
        }
        for bad in ["", "loud", "gateway=loud"] {
            assert!(level.set(bad).is_err(), "{bad}");
            assert_eq!(level.now(), "off");
        }
        assert_eq!(level.set("default"), Ok(()));
        assert_eq!(level.now(), "warn");
        assert_eq!(LogLevel::at_start(None).1, "info");
        assert_eq!(LogLevel::at_start(Some("a=b=c".into())).1, "info");
    }
}
