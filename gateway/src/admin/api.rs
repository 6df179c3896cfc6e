//! What can be asked, and who answers? The paths of the operators' doors.
//!
//! Every path stands in [`PATHS`]; docs/admin-api.md has a chapter for each. Answers below `/v1/` are JSON; one that
//! refuses has `error` and `fix`.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use http::Method;
use serde_json::{Value, json};

use super::access::{self, Via};
use super::http::Answer;
use super::maintenance;
use super::status;
use super::workers::{self, Order};
use crate::config::model::AdminToken;
use crate::config::{Problem, Severity, Source};
use crate::explain::{self, Question};
use crate::message::Request;
use crate::observe::level::LogLevel;
use crate::observe::metrics::Metrics;
use crate::reload::{Changes, Refused, Reload, Way};
use crate::scrape;
use crate::shard::Shared;

/// Methods and paths that are answered. GET ones answer HEAD, too.
pub const PATHS: [(&str, &str); 17] = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/status"),
    ("GET", "/v1/status"),
    ("GET", "/v1/pools"),
    ("GET", "/v1/workers"),
    ("GET", "/v1/log-level"),
    ("POST", "/v1/log-level"),
    ("GET", "/v1/explain"),
    ("POST", "/v1/diff"),
    ("GET", "/v1/connections"),
    ("POST", "/v1/reload"),
    ("POST", "/v1/workers/drain"),
    ("POST", "/v1/workers/undrain"),
    ("POST", "/v1/workers/weight"),
    ("POST", "/v1/pools/maintenance"),
];

/// Streams that are told one by one, unless asked otherwise, and at most.
const STREAMS_TOLD: usize = 20;
const STREAMS_TOLD_MAX: usize = 1000;

/// What the operators' doors tell of.
pub struct Admin {
    /// What the data threads share.
    pub shared: Arc<Shared>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// When the process began to serve.
    pub since: Instant,
    /// Takes a new configuration over.
    pub reload: Arc<Reload>,
    /// Which events are told.
    pub level: LogLevel,
}

impl Admin {
    /// The answer that refuses a request by its head, if it is refused.
    pub fn refuses(&self, via: Via, request: &Request) -> Option<Answer> {
        let plan = self.shared.plan.load();
        let admin = plan.config.admin.as_ref();
        let token = match admin.and_then(|admin| admin.token.as_ref()) {
            Some(AdminToken::Text(token)) => Some(token.as_str()),
            // A file was read when the configuration was taken over.
            Some(AdminToken::File(..)) | None => None,
        };
        let (path, _) = split(request);
        let monitoring = matches!(path.as_str(), "/healthz" | "/readyz" | "/metrics");
        access::refuses(via, request, !monitoring, token).or_else(|| unknown(request, &path))
    }

    /// Answers a request that was not refused.
    pub async fn answer(&self, request: &Request, body: Vec<u8>) -> Answer {
        let (path, query) = split(request);
        let query = Query(&query);
        match path.as_str() {
            "/healthz" => Answer::text(200, "alive\n"),
            "/readyz" if self.shared.is_draining() => Answer::text(503, "draining\n"),
            "/readyz" => Answer::text(200, "ready\n"),
            "/metrics" => {
                let text = scrape::text(&self.shared, &self.metrics);
                Answer::of(200, "text/plain; version=0.0.4", text)
            }
            "/status" | "/v1/status" => {
                Answer::json(200, &status::status(&self.shared, self.since))
            }
            "/v1/pools" => Answer::json(200, &status::pools(&self.shared)),
            "/v1/workers" => self.workers(query),
            "/v1/reload" => match self.reload.reload(Way::Operator) {
                Ok(changes) => Answer::json(200, &changed(&changes)),
                Err(refused) => Answer::json(422, &not_changed(&refused)),
            },
            "/v1/connections" => self.connections(query).await,
            "/v1/log-level" if request.method == Method::POST => self.set_level(&body),
            "/v1/log-level" => Answer::json(200, &json!({ "level": self.level.now() })),
            "/v1/explain" => self.explain(query).await,
            "/v1/diff" => self.diff(query, body),
            "/v1/workers/drain" => self.order(Order::Drain, &body),
            "/v1/workers/undrain" => self.order(Order::Undrain, &body),
            "/v1/workers/weight" => self.order(Order::Weight, &body),
            "/v1/pools/maintenance" => {
                // As with the orders about workers.
                let alone = self.reload.alone.lock();
                let _alone = alone.unwrap_or_else(PoisonError::into_inner);
                maintenance::carry_out(&self.shared, &body)
            }
            _ => not_found(),
        }
    }

    async fn connections(&self, query: Query<'_>) -> Answer {
        let limit = match query.get("limit").map(|limit| limit.parse::<usize>()) {
            None => STREAMS_TOLD,
            Some(Ok(limit)) if limit <= STREAMS_TOLD_MAX => limit,
            Some(_) => {
                let fix = format!("0 to {STREAMS_TOLD_MAX}");
                return Answer::refused(400, "`limit` is no number of streams", &fix);
            }
        };
        let oldest = self.shared.long_streams(limit).await;
        Answer::json(200, &status::connections(&self.shared, &oldest))
    }

    /// What would become of a request now.
    async fn explain(&self, query: Query<'_>) -> Answer {
        let from = query.get("from").unwrap_or_else(|| "127.0.0.1".to_owned());
        let (Some(url), Ok(from)) = (query.get("url"), from.parse()) else {
            return Answer::refused(
                400,
                "`url` is missing, or `from` is no address",
                "ask for /v1/explain?method=GET&url=https://host/path&from=192.0.2.7",
            );
        };
        let question = Question {
            from,
            tls_name: query.get("tls"),
            method: query.get("method").unwrap_or_else(|| "GET".to_owned()),
            url,
            fields: query.all("header").collect(),
        };
        let shared = self.shared.clone();
        // It asks one route after the other: with many of them nobody else shall wait.
        let asked = tokio::task::spawn_blocking(move || {
            let plan = shared.plan.load_full();
            explain::running(&plan, &|listener| shared.listening(listener), &question)
        });
        match asked.await {
            Ok(Ok(lines)) => {
                let told: Vec<_> = lines
                    .iter()
                    .map(|(word, text)| json!({ "word": word, "text": text }))
                    .collect();
                let text = explain::text(&lines);
                Answer::json(200, &json!({ "lines": told, "text": text }))
            }
            Ok(Err(error)) => {
                let fix = "`url` is absolute, such as https://host/path; `header` is `Name: value`";
                Answer::refused(400, &error, fix)
            }
            Err(_) => Answer::refused(500, "it could not be told", "look at the log"),
        }
    }

    fn set_level(&self, body: &[u8]) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(level) = body["level"].as_str() else {
            return Answer::refused(
                400,
                "`level` is missing",
                "send JSON: {\"level\": \"debug\"}",
            );
        };
        let before = self.level.now();
        match self.level.set(level) {
            Ok(()) => {
                let now = self.level.now();
                tracing::info!(%before, %now, "log level set by an operator");
                Answer::json(200, &json!({ "level": now, "before": before }))
            }
            Err(error) => Answer::refused(
                400,
                &error,
                "off, error, warn, info, debug, trace, default, or a filter such as info,gateway::discover=debug",
            ),
        }
    }

    fn diff(&self, query: Query<'_>, body: Vec<u8>) -> Answer {
        let name = query.get("name").unwrap_or_else(|| "the body".to_owned());
        let told = Source::from_bytes(&name, body)
            .map_err(|bad| Refused::of(&bad.0, vec![bad.1]))
            .and_then(|source| self.reload.diff(&source));
        match told {
            Ok((diff, doubts)) => {
                let mut told = status::with_traffic(&self.shared, &diff);
                told["differs"] = (!diff.is_empty()).into();
                told["problems"] = problems(&doubts).into();
                Answer::json(200, &told)
            }
            Err(refused) => {
                let mut told = not_changed(&refused);
                told["error"] = "a reload with this file would be refused".into();
                Answer::json(422, &told)
            }
        }
    }

    fn order(&self, order: Order, body: &[u8]) -> Answer {
        // A reload at this moment would hand on what was known before the order.
        let alone = self.reload.alone.lock();
        let _alone = alone.unwrap_or_else(PoisonError::into_inner);
        workers::carry_out(&self.shared, order, body, Instant::now())
    }

    fn workers(&self, query: Query<'_>) -> Answer {
        let all = query.get("all").is_some_and(|all| all != "false");
        let pool = query.get("pool");
        match status::workers(&self.shared, pool.as_deref(), all) {
            Some(workers) => Answer::json(200, &workers),
            None => self.no_pool(&pool.unwrap_or_default()),
        }
    }

    fn no_pool(&self, name: &str) -> Answer {
        let plan = self.shared.plan.load();
        let names: Vec<_> = plan.pools.iter().map(|pool| pool.name()).collect();
        Answer::refused(
            404,
            &format!("there is no pool `{name}`"),
            &format!("pools are {}", names.join(", ")),
        )
    }
}

fn split(request: &Request) -> (String, String) {
    let target = String::from_utf8_lossy(&request.target);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    (path.to_owned(), query.to_owned())
}

/// The answer for a path or a method that nobody answers.
fn unknown(request: &Request, path: &str) -> Option<Answer> {
    let method = match request.method {
        Method::HEAD => "GET",
        ref method => method.as_str(),
    };
    let mut methods = PATHS.iter().filter(|(_, known)| *known == path).peekable();
    if methods.peek().is_none() {
        return Some(not_found());
    }
    let methods: Vec<&'static str> = methods.map(|(method, _)| *method).collect();
    if methods.contains(&method) {
        return None;
    }
    let (allow, fix) = match methods[..] {
        ["GET"] => ("GET, HEAD", "ask with GET"),
        ["POST"] => ("POST", "ask with POST"),
        _ => ("GET, HEAD, POST", "ask with GET or POST"),
    };
    Some(Answer {
        field: Some(("allow", allow)),
        ..Answer::refused(405, "this path is not asked with this method", fix)
    })
}

fn not_found() -> Answer {
    let mut paths: Vec<_> = PATHS.iter().map(|(_, path)| *path).collect();
    paths.dedup();
    let fix = format!("paths are {}", paths.join(", "));
    Answer::refused(404, "there is no such path", &fix)
}

fn changed(changes: &Changes) -> Value {
    json!({
        "reloaded": true,
        "opened": changes.opened,
        "closed": changes.closed,
        "pools_kept": changes.pools_kept,
        "pools_built": changes.pools_built,
        "routes": changes.routes,
        "problems": problems(&changes.doubts),
        "restart": changes.restart,
    })
}

fn not_changed(refused: &Refused) -> Value {
    json!({
        "reloaded": false,
        "error": "the configuration is refused, nothing changed",
        "fix": "see `text`",
        "text": refused.text,
        "problems": problems(&refused.problems),
    })
}

/// Problems for programs.
fn problems(problems: &[Problem]) -> Vec<Value> {
    let told = problems.iter().map(|problem| {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        json!({
            "severity": severity,
            "line": problem.place.line,
            "column": problem.place.column,
            "what": problem.what,
            "fix": problem.hint,
        })
    });
    told.collect()
}

/// What follows the `?`.
#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl Query<'_> {
    /// The first value of a name; empty where it has none.
    fn get(&self, name: &str) -> Option<String> {
        self.all(name).next()
    }

    /// Every value of a name.
    fn all(&self, name: &str) -> impl Iterator<Item = String> {
        let pair = move |pair: &str| {
            let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
            (found == name).then(|| decoded(value))
        };
        self.0.split('&').filter_map(pair)
    }
}

/// Percent-decoded; what is no escape stays as it is.
fn decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let escape = bytes.get(at + 1..at + 3).filter(|_| byte == b'%');
        let read = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(match (read, byte) {
            (Some(read), _) => read,
            (None, b'+') => b' ',
            (None, byte) => byte,
        });
        at += if read.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_stands_in_the_documentation() {
        let docs = include_str!("../../../docs/admin-api.md");
        let chapters: Vec<_> = docs
            .lines()
            .filter(|line| line.starts_with("### "))
            .collect();
        for (method, path) in PATHS {
            let name = format!("`{method} {path}`");
            assert!(
                chapters.iter().any(|chapter| chapter.contains(&name)),
                "docs/admin-api.md has no chapter for {name}"
            );
        }
    }

    #[test]
    fn a_query_is_decoded() {
        let query = Query("pool=a%2Fb+c&all&pool=second&bad=%zz%4");
        let get = |name: &str| query.get(name);
        assert_eq!(get("pool").as_deref(), Some("a/b c"));
        assert_eq!(get("all").as_deref(), Some(""));
        assert_eq!(get("bad").as_deref(), Some("%zz%4"));
        assert_eq!(get("none"), None);
    }
}
