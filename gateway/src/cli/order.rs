//! How are workers taken out and let back, and pools closed? `drain`, `undrain`, `weight`, `maintenance`.
//!
//! Promises: shows what still goes on at the workers that were meant; `--wait` returns when nothing does.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::ask::{Failed, Gateway, REFUSED};
use super::show::{self, list, text, worker_table};

/// Between two looks at what is still in flight.
const LOOK: Duration = Duration::from_millis(250);

/// An order about a pool.
#[derive(Args, Debug)]
pub struct PoolOrder {
    /// The pool.
    pool: String,
    /// on: closed; off: open, whatever the configuration says; as-configured: as it says.
    #[arg(value_parser = ["on", "off", "as-configured"])]
    state: String,
    /// With on, when clients may come back, in seconds; as configured by default, else 60.
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u16>,
    /// With on, a sentence for clients; as configured by default.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// With on, a network that is served nevertheless; may be repeated.
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<String>,
}

/// The order for these workers.
pub fn body(worker: &str, pool: Option<&str>, weight: Option<&str>) -> Value {
    let mut body = json!({ "worker": worker });
    if let Some(pool) = pool {
        body["pool"] = pool.into();
    }
    if let Some(weight) = weight {
        body["weight"] = weight.into();
    }
    body
}

/// `portcullis undrain` and `portcullis weight`.
pub fn carry_out(gateway: &Gateway, verb: &str, body: &Value) -> Result<ExitCode, Failed> {
    if let Some(told) = gateway.post(&format!("/v1/workers/{verb}"), body)? {
        show(&told);
    }
    Ok(ExitCode::SUCCESS)
}

/// `portcullis maintenance`.
pub fn maintenance(gateway: &Gateway, order: &PoolOrder) -> Result<ExitCode, Failed> {
    let mut body = json!({ "pool": order.pool, "state": order.state });
    if let Some(seconds) = order.retry_after {
        body["retry_after"] = seconds.into();
    }
    if let Some(text) = &order.text {
        body["text"] = text.as_str().into();
    }
    if !order.allow.is_empty() {
        body["allow"] = order.allow.clone().into();
    }
    if let Some(told) = gateway.post("/v1/pools/maintenance", &body)? {
        let changed = match told["changed"] == true {
            true => "",
            false => ", as before",
        };
        let state = show::maintenance(&told["pool"]["maintenance"]);
        let state = state.unwrap_or_else(|| "open".to_owned());
        println!("pool `{}` is {state}{changed}", order.pool);
    }
    Ok(ExitCode::SUCCESS)
}

/// `portcullis drain`.
pub fn drain(
    gateway: &Gateway,
    body: &Value,
    wait: bool,
    timeout: Option<Duration>,
) -> Result<ExitCode, Failed> {
    let began = Instant::now();
    let mut told = gateway.ask("/v1/workers/drain", body)?;
    for pool in list(&told["emptied"]) {
        eprintln!(
            "warning: pool `{}` has no worker left: requests are held, then answered 503",
            text(pool)
        );
    }
    while wait && in_flight(&told) > 0 {
        if timeout.is_some_and(|timeout| began.elapsed() >= timeout) {
            gateway.tell(&told, show);
            let why = format!("{} still in flight", in_flight(&told));
            return Err(Failed::say(REFUSED, why));
        }
        std::thread::sleep(LOOK);
        // An order that is carried out already changes nothing, and tells what is left.
        told = gateway.ask("/v1/workers/drain", body)?;
    }
    gateway.tell(&told, show);
    Ok(ExitCode::SUCCESS)
}

fn in_flight(told: &Value) -> u64 {
    let counts = list(&told["workers"])
        .iter()
        .flat_map(|worker| [&worker["requests"], &worker["streams"]]);
    counts.filter_map(Value::as_u64).sum()
}

fn show(told: &Value) {
    let (ordered, changed) = (text(&told["ordered"]), text(&told["changed"]));
    let shown = list(&told["workers"]).len();
    say!("{changed} of {ordered} changed; {shown} with a worker:");
    say_text!("{}", worker_table(&told["workers"]));
}
