//! Is a pool open? What an operator says about its maintenance, and what is told of it.
//!
//! Promises: an order is carried out whole or refused with the fix; one that changes nothing says so. Open exchanges and
//! streams go on. Does not: touch the configuration.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::http::Answer;
use super::status::pool_line;
use crate::config::model::{Maintenance, Network, Trusted};
use crate::config::{SENTENCE, is_sentence, network_of};
use crate::pool::{Order, Pool};
use crate::shard::Shared;

const FORM: &str = "send JSON such as {\"pool\": \"api\", \"state\": \"on\"}; `state` is on, off or as-configured; with on there may be `retry_after` (seconds), `text` and `allow`";
/// Most networks of an order.
const NETWORKS_MAX: usize = 1_000;

/// Carries an order out, or refuses it.
pub fn carry_out(shared: &Shared, body: &[u8]) -> Answer {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else {
        return Answer::refused(400, "the body is no JSON", FORM);
    };
    let Some(name) = asked["pool"].as_str() else {
        return Answer::refused(400, "`pool` is missing", FORM);
    };
    let plan = shared.plan.load();
    let Some(pool) = plan.pools.iter().find(|pool| pool.name() == name) else {
        let names: Vec<_> = plan.pools.iter().map(|pool| pool.name()).collect();
        let fix = format!("pools are {}", names.join(", "));
        return Answer::refused(404, &format!("there is no pool `{name}`"), &fix);
    };
    let order = match order(&asked, pool.model().maintenance.as_ref()) {
        Ok(order) => order,
        Err((error, fix)) => return Answer::refused(400, &error, &fix),
    };
    let changed = pool.maintenance_order() != order;
    pool.set_maintenance(order);
    if changed {
        let (state, closed) = (word(&pool.maintenance_order()), pool.is_closed());
        tracing::info!(pool = name, state, closed, "maintenance set by an operator");
    }
    Answer::json(200, &json!({ "changed": changed, "pool": pool_line(pool) }))
}

/// What is asked for; what is not said about a closed pool is as configured, or the default.
fn order(asked: &Value, configured: Option<&Maintenance>) -> Result<Order, (String, String)> {
    let wrong = |error: &str, fix: &str| Err((error.to_owned(), fix.to_owned()));
    let order = match asked["state"].as_str() {
        Some("on") => return closed(asked, configured).map(Order::Closed),
        Some("off") => Order::Open,
        Some("as-configured") => Order::AsConfigured,
        Some(other) => return wrong(&format!("`{other}` is no state"), FORM),
        None => return wrong("`state` is missing", FORM),
    };
    let idle = ["retry_after", "text", "allow"];
    match idle.into_iter().find(|key| !asked[*key].is_null()) {
        None => Ok(order),
        Some(key) => wrong(&format!("`{key}` is for the state on alone"), FORM),
    }
}

fn closed(
    asked: &Value,
    configured: Option<&Maintenance>,
) -> Result<Maintenance, (String, String)> {
    let mut closed = configured.cloned().unwrap_or_default();
    match &asked["retry_after"] {
        Value::Null => {}
        given => {
            let seconds = given.as_u64().and_then(|it| u16::try_from(it).ok());
            let wrong = "`retry_after` is no time for `Retry-After`";
            let fix = "whole seconds, 1 to 65535";
            let seconds = seconds.filter(|seconds| *seconds > 0);
            closed.retry_after = seconds.ok_or((wrong.to_owned(), fix.to_owned()))?;
        }
    }
    match &asked["text"] {
        Value::Null => {}
        Value::String(text) if is_sentence(text) => closed.text.clone_from(text),
        _ => {
            let wrong = "`text` cannot be sent to every client";
            return Err((wrong.to_owned(), SENTENCE.to_owned()));
        }
    }
    match &asked["allow"] {
        Value::Null => {}
        Value::Array(networks) if networks.len() <= NETWORKS_MAX => {
            let read = |it: &Value| network_of(it.as_str().unwrap_or_default());
            let networks: Result<_, _> = networks.iter().map(read).collect();
            closed.allow = Trusted(networks?);
        }
        _ => {
            let fix = format!("a list of up to {NETWORKS_MAX}, such as [\"10.0.0.0/8\"]");
            return Err(("`allow` is no list of networks".to_owned(), fix));
        }
    }
    Ok(closed)
}

fn word(order: &Order) -> &'static str {
    match order {
        Order::AsConfigured => "as-configured",
        Order::Open => "off",
        Order::Closed(_) => "on",
    }
}

/// A pool's maintenance as it is told everywhere.
pub fn told(pool: &Pool) -> Value {
    let closed = pool.maintenance();
    let networks = |it: &Maintenance| -> Vec<String> { it.allow.0.iter().map(text).collect() };
    json!({
        "closed": closed.is_some(),
        "order": word(&pool.maintenance_order()),
        "retry_after": closed.as_ref().map(|it| it.retry_after),
        "text": closed.as_ref().map(|it| &it.text),
        "allow": closed.as_ref().map(networks),
    })
}

fn text(network: &Network) -> String {
    let mut out = network.address.to_string();
    let _ = write!(out, "/{}", network.prefix);
    out
}

/// Takes over what operators said in the process before us, as its `GET /v1/pools` tells it.
pub fn take_over(pools: &[Arc<Pool>], told: &Value) {
    for line in told["pools"].as_array().into_iter().flatten() {
        let Some(pool) = pools.iter().find(|pool| line["name"] == pool.name()) else {
            continue;
        };
        let mut said = line["maintenance"].clone();
        said["state"] = said["order"].clone();
        if said["state"] != "on" {
            said = json!({ "state": said["state"] });
        }
        match order(&said, None) {
            Ok(Order::AsConfigured) | Err(_) => {}
            Ok(order) => {
                let (name, state) = (pool.name(), word(&order));
                tracing::info!(
                    pool = name,
                    state,
                    "maintenance that an operator set is taken over"
                );
                pool.set_maintenance(order);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_configured() {
        let configured = Maintenance {
            retry_after: 5,
            text: "back at noon".to_owned(),
            allow: Trusted::default(),
        };
        let said = json!({ "state": "on", "retry_after": 9, "allow": ["10.0.0.0/8", "::1"] });
        let Order::Closed(closed) = order(&said, Some(&configured)).unwrap() else {
            panic!("it is closed");
        };
        assert_eq!((closed.retry_after, &closed.text[..]), (9, "back at noon"));
        let networks: Vec<_> = closed.allow.0.iter().map(text).collect();
        assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
        let on = order(&json!({ "state": "on" }), None);
        assert_eq!(on, Ok(Order::Closed(Maintenance::default())));
    }

    #[test]
    fn an_order_that_cannot_be_meant_is_refused() {
        for (said, error) in [
            (json!({}), "`state` is missing"),
            (json!({ "state": "shut" }), "`shut` is no state"),
            (
                json!({ "state": "off", "text": "x" }),
                "for the state on alone",
            ),
            (json!({ "state": "on", "retry_after": 0 }), "Retry-After"),
            (
                json!({ "state": "on", "retry_after": 65536 }),
                "Retry-After",
            ),
            (json!({ "state": "on", "text": "a\r\nb" }), "every client"),
            (json!({ "state": "on", "text": "" }), "every client"),
            (json!({ "state": "on", "allow": "10.0.0.0/8" }), "no list"),
            (
                json!({ "state": "on", "allow": ["10.0.0.1/8"] }),
                "behind its first 8",
            ),
            (json!({ "state": "on", "allow": [7] }), "not a network"),
        ] {
            let (told, _) = order(&said, None).unwrap_err();
            assert!(told.contains(error), "{said}: {told}");
        }
    }
}
