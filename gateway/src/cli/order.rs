//! How are workers taken out and let back? `drain`, `undrain`, `weight`.
//!
//! Promises: shows what still goes on at the workers that were meant; `--wait` returns when nothing does.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ask::{Failed, Gateway, REFUSED};
use super::show::{list, text, worker_table};

/// Between two looks at what is still in flight.
const LOOK: Duration = Duration::from_millis(250);

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
