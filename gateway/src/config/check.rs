//! Does the whole make sense?
//!
//! Tree -> [`Config`]. Each kind of thing has its own file below; this one reads the keys at the
//! top and calls them in order: listeners and pools first, then routes, which name both, then the
//! questions that need everything. A draft that failed is left out but its name is kept, so that a
//! route which names it is not told off for that as well.

mod access_log;
mod actions;
mod admin;
mod answers;
mod balance;
mod binds;
mod changes;
mod compress;
mod conditions;
mod dependencies;
mod errors;
mod folders;
mod health;
mod limits;
mod listeners;
mod metrics;
mod mirror;
mod names;
pub mod networks;
mod paths;
mod patience;
mod pools;
mod ports;
mod process;
mod rate;
mod reach;
mod rewrites;
mod routes;
mod same;
mod secure;
pub mod standby;
mod sticky;
mod stop;
mod templates;
mod tokens;
mod traces;
mod trusted;

use std::path::PathBuf;

use super::model::{
    AccessLog, Admin, Config, Dependency, ErrorPages, MemoryMax, Metrics, Place, Process,
    ReloadOptions, Statuses, Traces,
};
use super::problem::quoted;
use super::read::{Field, Keys, Reader};
use super::tree::{Node, Value};

/// The configuration as far as it could be read; the caller drops it when an error was told.
pub(super) fn check(root: &Node, reader: &mut Reader) -> Option<Config> {
    let top = Field {
        path: String::new(),
        key: Place {
            line: 1,
            column: 1,
            length: 0,
        },
        node: root,
    };
    let Value::Map(_) = &root.value else {
        reader.error(
            root.place,
            "the file must be a map of keys",
            "it needs at least `listeners:`, `pools:` and `routes:`",
        );
        return None;
    };
    let mut keys = reader.keys(&top, "a map of keys")?;
    let mut globals = Globals::default();
    globals.read(&mut keys, reader);
    let listeners = keys
        .need(reader, "listeners")
        .map(|field| listeners::read(&field, reader));
    let pools = keys
        .need(reader, "pools")
        .map(|field| pools::read(&field, reader));
    let routes = keys.need(reader, "routes");
    keys.done(reader);

    let (listeners, pools, routes) = (listeners?, pools?, routes?);
    ports::check(&listeners, &pools, globals.admin.as_ref(), reader);
    let routes = routes::read(
        &routes,
        &names::Known {
            listeners: &listeners,
            pools: &pools,
            deny_segments: &globals.deny_segments,
            request_changes: &globals.changes.request,
            response_changes: &globals.changes.response,
        },
        reader,
    );
    same::check(&routes, reader);
    Some(Config {
        threads: globals.threads,
        listeners: listeners
            .into_iter()
            .filter_map(|draft| draft.listener)
            .collect(),
        pool_places: pools.iter().map(|draft| draft.ports_place).collect(),
        pools: pools.into_iter().filter_map(|draft| draft.pool).collect(),
        routes: routes.into_iter().map(|draft| draft.route).collect(),
        dependencies: globals.dependencies,
        admin: globals.admin,
        reload: globals.reload,
        access_log: globals.access_log,
        metrics: globals.metrics,
        traces: globals.traces,
        drain: globals.stop.drain,
        upgrade: globals.stop.upgrade,
        buffers_bytes_max: globals.buffers_bytes_max,
        memory_max: globals.memory_max,
        process: globals.process,
        deny_segments: globals.deny_segments,
        response_changes: Some(Box::new(globals.changes.response))
            .filter(|changes| !changes.is_empty()),
        errors: globals.errors,
        intercept_errors: globals.intercept_errors,
    })
}

/// Reads `admin` alone.
pub(super) fn admin_alone(root: &Node, reader: &mut Reader) -> Option<Option<Admin>> {
    let Value::Map(entries) = &root.value else {
        return None;
    };
    match entries.iter().find(|(key, _)| key.text == "admin") {
        None => Some(Some(Admin::default())),
        Some((key, node)) => admin::read(
            reader,
            &Field {
                path: key.text.clone(),
                key: key.place,
                node,
            },
        ),
    }
}

/// The keys at the top that are not about listeners, pools and routes.
struct Globals {
    threads: usize,
    buffers_bytes_max: usize,
    memory_max: MemoryMax,
    deny_segments: Vec<String>,
    admin: Option<Admin>,
    reload: ReloadOptions,
    access_log: AccessLog,
    metrics: Metrics,
    traces: Option<Traces>,
    stop: stop::Stop,
    process: Process,
    changes: changes::Both,
    errors: Option<Box<ErrorPages>>,
    intercept_errors: Option<Vec<Statuses>>,
    dependencies: Vec<Dependency>,
}

impl Default for Globals {
    fn default() -> Self {
        Globals {
            threads: 0,
            buffers_bytes_max: 256 << 20,
            memory_max: MemoryMax::default(),
            deny_segments: vec!["metrics".to_owned()],
            admin: Some(Admin::default()),
            access_log: AccessLog::default(),
            metrics: Metrics::default(),
            traces: None,
            reload: ReloadOptions::default(),
            stop: stop::Stop::default(),
            process: Process::default(),
            changes: changes::Both::default(),
            errors: None,
            intercept_errors: None,
            dependencies: Vec::new(),
        }
    }
}

impl Globals {
    fn read(&mut self, keys: &mut Keys<'_>, reader: &mut Reader) {
        keys.set(reader, "threads", &mut self.threads, threads);
        keys.set(
            reader,
            "buffers_bytes_max",
            &mut self.buffers_bytes_max,
            |r, f| r.bytes(f, 0..=1 << 40),
        );
        keys.set(reader, "memory_max", &mut self.memory_max, memory_max);
        keys.set(
            reader,
            "deny_segments",
            &mut self.deny_segments,
            deny_segments,
        );
        keys.set(reader, "admin", &mut self.admin, admin::read);
        keys.set(reader, "access_log", &mut self.access_log, |r, f| {
            access_log::access_log(f, r)
        });
        keys.set(reader, "metrics", &mut self.metrics, |r, f| {
            metrics::metrics(f, r)
        });
        keys.set(reader, "traces", &mut self.traces, |r, f| {
            traces::traces(f, r)
        });
        if let Some(field) = keys.take("reload")
            && let Some(mut reload) = reader.keys(&field, "`{ on_change: on }`")
        {
            reload.set(reader, "on_change", &mut self.reload.on_change, |r, f| {
                r.word(f, &[("on", true), ("off", false)])
            });
            reload.done(reader);
        }
        self.stop.read(keys, reader);
        self.process = process::read(keys, reader);
        self.changes = changes::both(keys, reader);
        (self.errors, self.intercept_errors) = errors::both(keys, reader);
        keys.set(
            reader,
            "checks",
            &mut self.dependencies,
            dependencies::dependencies,
        );
    }
}

fn threads(reader: &mut Reader, field: &Field<'_>) -> Option<usize> {
    if matches!(&field.node.value, Value::Text(text) if text == "auto") {
        return Some(0);
    }
    reader.number(field, 1..=1024)
}

fn memory_max(reader: &mut Reader, field: &Field<'_>) -> Option<MemoryMax> {
    match &field.node.value {
        Value::Text(text) if text.trim() == "auto" => Some(MemoryMax::Auto),
        Value::Text(text) if text.trim() == "off" => Some(MemoryMax::Off),
        _ => reader.size(field, 1 << 20..=1 << 50).map(MemoryMax::Bytes),
    }
}

fn deny_segments(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for item in reader.list(field) {
        let Some(text) = reader.text(&item, "a path segment such as `metrics`") else {
            continue;
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
        if text.is_empty() || !text.bytes().all(plain) || text.bytes().all(|b| b == b'.') {
            let what = format!("`{}`: {} is not a path segment", item.path, quoted(text));
            reader.error(
                item.node.place,
                what,
                "letters, digits, `-`, `_`, `.` and `~`; no slash, every spelling is covered",
            );
        } else {
            words.push(text.to_ascii_lowercase());
        }
    }
    Some(words)
}

/// The path of a file, as written: relative ones count from the current directory.
fn path(reader: &mut Reader, field: &Field<'_>) -> Option<PathBuf> {
    let text = reader.text(field, "the path of a file")?;
    if text.is_empty() || text.contains('\0') {
        reader.error(
            field.node.place,
            format!(
                "`{}`: {} is not the path of a file",
                field.path,
                quoted(text)
            ),
            "name a file",
        );
        return None;
    }
    Some(PathBuf::from(text))
}

/// Names end up in metrics and logs, so they are plain words.
fn name_is_plain(name: &str) -> bool {
    const LENGTH_MAX: usize = 64;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=LENGTH_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// Tells a name that is not plain.
fn check_name(reader: &mut Reader, of: &str, name: &str, place: Place) -> bool {
    let plain = name_is_plain(name);
    if !plain {
        let what = format!("{} is not a name for a {of}", quoted(name));
        reader.error(place, what, "1 to 64 letters, digits, `-`, `_` and `.`");
    }
    plain
}
