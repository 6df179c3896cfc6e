//! How is a Vault? Its health as it tells it to everybody (`/v1/sys/health` of Vault and OpenBao), or whether it is sealed,
//! for servers that do not know that path.

use serde_json::Value;

use super::{Answer, GOOD};

/// What is asked for, one after the other until an answer says something.
pub const PATHS: [&str; 3] = ["/v1/sys/health", "/v1/sys/seal-status", "/v1/sys/init"];

/// What a listener with TLS says to whoever does not speak it.
const WITHOUT_TLS: &str = "HTTP request to an HTTPS server";

/// What an answer means; `None` where it says nothing about the Vault, so that the next path is asked for.
pub fn answer(path: &str, status: u16, body: &[u8]) -> Option<Answer> {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let (initialized, sealed) = (told["initialized"].as_bool(), told["sealed"].as_bool());
    match (initialized, sealed) {
        (Some(false), _) => Some(Answer::Bad(
            "not initialised: nobody has made its keys yet (`vault operator init`)".to_owned(),
        )),
        (_, Some(true)) => Some(Answer::Bad(
            "sealed: it runs, but tells nothing before it is unsealed (`vault operator unseal`)"
                .to_owned(),
        )),
        (_, Some(false)) if path == PATHS[0] => Some(open(status)),
        (_, Some(false)) => Some(GOOD),
        _ if status == 400 && String::from_utf8_lossy(body).contains(WITHOUT_TLS) => Some(
            Answer::Bad("it speaks TLS: add `tls: { ca: FILE }` to the check".to_owned()),
        ),
        _ => None,
    }
}

/// One that is not sealed says by the status which part it plays.
fn open(status: u16) -> Answer {
    match status {
        200 => GOOD,
        429 => Answer::Good("standby", b""),
        472 => Answer::Good("secondary for disaster recovery", b""),
        473 => Answer::Good("performance standby", b""),
        474 => Answer::Bad("standby that does not reach the active one".to_owned()),
        530 => Answer::Bad("removed from its cluster".to_owned()),
        other => Answer::Bad(format!("status {other}")),
    }
}
