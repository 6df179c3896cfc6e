//! What do people see of the gateway's answers?

use std::process::ExitCode;

use serde_json::Value;

use super::ask::{Failed, Gateway};
use super::table::{age, table};
use crate::explain::Question;

/// A value as a word.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The items of a list; none where it is none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn seconds(value: &Value) -> String {
    age(value.as_u64().unwrap_or(0))
}

/// `portcullis status`.
pub fn status(gateway: &Gateway) -> Result<ExitCode, Failed> {
    let Some(told) = gateway.get("/v1/status")? else {
        return Ok(ExitCode::SUCCESS);
    };
    say!(
        "{} for {}, version {}, {} exchanges in flight\n",
        text(&told["state"]),
        seconds(&told["seconds"]),
        text(&told["version"]),
        text(&told["exchanges_in_flight"])
    );
    let listeners: Vec<_> = list(&told["listeners"])
        .iter()
        .map(|listener| {
            let addresses: Vec<_> = list(&listener["addresses"]).iter().map(text).collect();
            let addresses = match addresses.is_empty() {
                true => "closed, connections are ending".to_owned(),
                false => addresses.join(" "),
            };
            vec![
                text(&listener["name"]),
                text(&listener["connections"]),
                addresses,
            ]
        })
        .collect();
    say!(
        "{}",
        table(&["LISTENER", "CONNECTIONS", "ADDRESSES"], &listeners)
    );
    let pools: Vec<_> = list(&told["pools"])
        .iter()
        .map(|pool| {
            let workers = list(&pool["workers"]);
            let sum = |name: &str| -> u64 {
                workers
                    .iter()
                    .filter_map(|worker| worker[name].as_u64())
                    .sum()
            };
            let mut out: Vec<_> = workers
                .iter()
                .filter(|worker| worker["state"] != "up")
                .map(|worker| format!("{} {}", text(&worker["address"]), text(&worker["state"])))
                .collect();
            if let Some(closed) = maintenance(&pool["maintenance"]) {
                out.insert(0, closed);
            }
            let more = out.len().saturating_sub(3);
            out.truncate(3);
            if more > 0 {
                out.push(format!("and {more} more"));
            }
            vec![
                text(&pool["name"]),
                text(&pool["live"]),
                text(&pool["slots"]),
                sum("requests").to_string(),
                sum("streams").to_string(),
                text(&pool["held"]),
                text(&pool["queued"]),
                out.join(", "),
            ]
        })
        .collect();
    let head = [
        "POOL", "UP", "PORTS", "REQUESTS", "STREAMS", "HELD", "QUEUED", "NOT UP",
    ];
    say_text!("{}", table(&head, &pools));
    let dependencies: Vec<_> = list(&told["dependencies"])
        .iter()
        .map(|dependency| {
            let names = ["name", "kind", "address", "state"];
            let mut row: Vec<_> = names.iter().map(|name| text(&dependency[*name])).collect();
            row.extend([
                seconds(&dependency["seconds"]),
                dependency["check_milliseconds"]
                    .as_f64()
                    .map_or_else(String::new, |took| format!("{took:.1} ms")),
                text(&dependency["reason"]),
            ]);
            row
        })
        .collect();
    if !dependencies.is_empty() {
        let head = [
            "DEPENDENCY",
            "KIND",
            "ADDRESS",
            "STATE",
            "SINCE",
            "CHECK",
            "REASON",
        ];
        say_text!("\n{}", table(&head, &dependencies));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be said of a pool's maintenance, if anything is.
pub fn maintenance(told: &Value) -> Option<String> {
    match (told["closed"].as_bool()?, told["order"].as_str()?) {
        (true, "on") => Some("in maintenance by an operator".to_owned()),
        (true, _) => Some("in maintenance".to_owned()),
        (false, "off") => Some("kept open by an operator".to_owned()),
        (false, _) => None,
    }
}

/// `portcullis workers`.
pub fn workers(gateway: &Gateway, pool: Option<&str>, all: bool) -> Result<ExitCode, Failed> {
    let mut path = "/v1/workers?".to_owned();
    if all {
        path.push_str("all&");
    }
    if let Some(pool) = pool {
        path.push_str(&format!("pool={}", escaped(pool)));
    }
    if let Some(told) = gateway.get(&path)? {
        say_text!("{}", worker_table(&told["workers"]));
    }
    Ok(ExitCode::SUCCESS)
}

/// The workers of an answer.
pub fn worker_table(workers: &Value) -> String {
    let rows: Vec<_> = list(workers)
        .iter()
        .map(|worker| {
            vec![
                text(&worker["pool"]),
                text(&worker["address"]),
                text(&worker["state"]),
                seconds(&worker["seconds"]),
                text(&worker["requests"]),
                text(&worker["streams"]),
                weight(worker),
                text(&worker["reason"]),
            ]
        })
        .collect();
    let head = [
        "POOL", "WORKER", "STATE", "SINCE", "REQUESTS", "STREAMS", "WEIGHT", "REASON",
    ];
    table(&head, &rows)
}

/// What holds, and what is configured where an operator said otherwise.
fn weight(worker: &Value) -> String {
    let (weight, configured) = (&worker["weight"], &worker["weight_configured"]);
    if weight == configured {
        text(weight)
    } else {
        format!("{} ({})", text(weight), text(configured))
    }
}

/// `portcullis explain --running`.
pub fn explain(gateway: &Gateway, question: &Question) -> Result<ExitCode, Failed> {
    let mut path = format!(
        "/v1/explain?method={}&url={}&from={}",
        escaped(&question.method),
        escaped(&question.url),
        question.from
    );
    if let Some(name) = &question.tls_name {
        path.push_str(&format!("&tls={}", escaped(name)));
    }
    for field in &question.fields {
        path.push_str(&format!("&header={}", escaped(field)));
    }
    if let Some(told) = gateway.get(&path)? {
        print!("{}", text(&told["text"]));
    }
    Ok(ExitCode::SUCCESS)
}

/// `portcullis connections`.
pub fn connections(gateway: &Gateway, limit: u32) -> Result<ExitCode, Failed> {
    let Some(told) = gateway.get(&format!("/v1/connections?limit={limit}"))? else {
        return Ok(ExitCode::SUCCESS);
    };
    let row = |of: &Value, names: &[&str]| names.iter().map(|name| text(&of[*name])).collect();
    let names = [
        "name",
        "connections",
        "http1_requests",
        "http2_streams",
        "tunnels",
    ];
    let listeners: Vec<_> = list(&told["listeners"])
        .iter()
        .map(|it| row(it, &names))
        .collect();
    let head = [
        "LISTENER",
        "CONNECTIONS",
        "HTTP/1 REQUESTS",
        "HTTP/2 STREAMS",
        "TUNNELS",
    ];
    say_text!("{}", table(&head, &listeners));
    let names = ["kind", "client", "route", "worker", "bytes_in", "bytes_out"];
    let oldest: Vec<_> = list(&told["oldest"])
        .iter()
        .map(|stream| {
            let mut cells: Vec<String> = row(stream, &names);
            cells.insert(0, seconds(&stream["seconds"]));
            cells
        })
        .collect();
    if !oldest.is_empty() {
        let head = [
            "OPEN FOR",
            "KIND",
            "CLIENT",
            "ROUTE",
            "WORKER",
            "BYTES IN",
            "BYTES OUT",
        ];
        say_text!("\n{}", table(&head, &oldest));
    }
    Ok(ExitCode::SUCCESS)
}

/// `portcullis log-level`.
pub fn log_level(gateway: &Gateway, level: Option<&str>) -> Result<ExitCode, Failed> {
    let told = match level {
        Some(level) => gateway.post("/v1/log-level", &serde_json::json!({ "level": level }))?,
        None => gateway.get("/v1/log-level")?,
    };
    if let Some(told) = told {
        say!("{}", text(&told["level"]));
    }
    Ok(ExitCode::SUCCESS)
}

/// `portcullis reload`.
pub fn reload(gateway: &Gateway) -> Result<ExitCode, Failed> {
    let Some(told) = gateway.post("/v1/reload", &Value::Null)? else {
        return Ok(ExitCode::SUCCESS);
    };
    for problem in list(&told["problems"]) {
        eprintln!(
            "warning: line {}: {}",
            text(&problem["line"]),
            text(&problem["what"])
        );
        if let Some(fix) = problem["fix"].as_str() {
            eprintln!("  help: {fix}");
        }
    }
    for key in list(&told["restart"]) {
        eprintln!(
            "warning: `{}` is read at start only; restart to change it",
            text(key)
        );
    }
    say!(
        "reloaded: {} routes, {} pools kept, {} built, {} addresses opened, {} closed",
        text(&told["routes"]),
        text(&told["pools_kept"]),
        text(&told["pools_built"]),
        text(&told["opened"]),
        text(&told["closed"])
    );
    Ok(ExitCode::SUCCESS)
}

/// A word fit for a query.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
