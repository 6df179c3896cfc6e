//! The older API: one path, an `action`, and a signature over all of it.
//!
//! A call is a GET or a POST of a form. Who calls is known by access key and signature, by a token, or by the
//! session of a browser.
//! A call that changes something counts once: its signature is remembered for as long as its time is
//! taken.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode};
use futures_util::future::BoxFuture;
use serde_json::Value;

use self::arguments::Arguments;
use super::Desk;
use super::caller::{at_least, bearer, by_session, from_elsewhere};
use super::refusal::{Answer, Mistakes, Refusal};
use crate::domain::person::{Person, Role};
use crate::domain::signature::{Call, Parameters, parameters, seconds};
use crate::secret::Name;
use crate::service::session_cookie::says_where_from;
use crate::store;

mod activities;
mod arguments;
mod computers;
mod packages;
mod scripts;

/// A call whose caller is known.
struct Asked {
    desk: Desk,
    person: Person,
    arguments: Arguments,
}

/// What a call may name.
struct Action {
    /// Who may.
    role: Role,
    run: fn(Asked) -> BoxFuture<'static, Answer<Value>>,
}

impl Action {
    /// For whoever may look.
    fn look(run: fn(Asked) -> BoxFuture<'static, Answer<Value>>) -> Option<Self> {
        let role = Role::Viewer;
        Some(Self { role, run })
    }

    /// For whoever may change computers.
    fn change(run: fn(Asked) -> BoxFuture<'static, Answer<Value>>) -> Option<Self> {
        let role = Role::Operator;
        Some(Self { role, run })
    }

    /// For whoever may decide who is let in.
    fn decide(run: fn(Asked) -> BoxFuture<'static, Answer<Value>>) -> Option<Self> {
        let role = Role::Administrator;
        Some(Self { role, run })
    }
}

fn action(name: &str) -> Option<Action> {
    computers::action(name)
        .or_else(|| scripts::action(name))
        .or_else(|| activities::action(name))
        .or_else(|| packages::action(name))
}

/// `GET` and `POST /api/`
pub async fn call(
    State(desk): State<Desk>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Value>> {
    let malformed = |told: String| Refusal::argument("InvalidParameter", told);
    let mut told = uri.query().unwrap_or_default().to_owned();
    if method == Method::POST {
        let most = desk.settings.intake.body_bytes_max;
        let body = to_bytes(body, most).await.map_err(|_| {
            let message = format!("the body has more than {most} bytes, or did not arrive");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message)
        })?;
        let body = std::str::from_utf8(&body);
        let body = body.map_err(|_| malformed("the body is not UTF-8".to_owned()))?;
        told.push('&');
        told.push_str(body.trim_end());
    }
    let parameters = parameters(&told).map_err(malformed)?;
    let mut mistakes = Mistakes::default();
    let name = parameters.get("action").map(String::as_str);
    let name = mistakes.keep(name.ok_or_else(|| Refusal::missing("action")));
    mistakes.keep(versioned(&parameters));
    mistakes.none()?;
    let action = action(name);
    let changes = action
        .as_ref()
        .is_none_or(|action| action.role > Role::Viewer);
    let mut person = bearer(&desk, &headers).await?;
    if person.is_none() && !parameters.contains_key("signature") {
        person = by_session(&desk, &headers, changes.then_some(&method)).await?;
        // In browsers of old a form of another site says as little as a program, and looks the same here.
        if person.is_some() && changes && !says_where_from(&headers) {
            return Err(from_elsewhere());
        }
    }
    let person = match person {
        Some(person) => person,
        None => {
            let host = headers.get("host").and_then(|host| host.to_str().ok());
            let call = Call {
                method: method.as_str(),
                host: host.unwrap_or_default(),
                path: uri.path(),
                parameters: &parameters,
            };
            signed(&desk, &call, changes).await?
        }
    };
    let action = action.ok_or_else(|| {
        let message = format!("there is no action `{name}`");
        Refusal::argument("UnknownAction", message)
    })?;
    at_least(&person, action.role)?;
    let asked = Asked {
        desk,
        person,
        arguments: Arguments::new(parameters),
    };
    (action.run)(asked).await.map(Json)
}

/// Any version that has the shape of a date.
fn versioned(parameters: &Parameters) -> Answer<()> {
    let version = parameters.get("version");
    let version = version.ok_or_else(|| Refusal::missing("version"))?;
    let shaped = version.len() == 10
        && version.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    match shaped {
        true => Ok(()),
        false => Err(Refusal::argument(
            "InvalidParameter",
            format!("`version` is a date like 2011-08-01, not `{version}`"),
        )),
    }
}

/// Who signed a call.
async fn signed(desk: &Desk, call: &Call<'_>, changes: bool) -> Answer<Person> {
    let needed = |name: &str| {
        let told = call.parameters.get(name).map(String::as_str);
        told.ok_or_else(|| Refusal::missing(name))
    };
    let mut mistakes = Mistakes::default();
    let key = mistakes.keep(needed("access_key_id"));
    let signature = mistakes.keep(needed("signature"));
    let timestamp = mistakes.keep(needed("timestamp"));
    for (name, value) in [
        ("signature_method", "HmacSHA256"),
        ("signature_version", "2"),
    ] {
        mistakes.keep(needed(name).and_then(|told| match told == value {
            true => Ok(()),
            false => {
                let message = format!("`{name}` is `{value}` here, not `{told}`");
                Err(Refusal::argument("InvalidParameter", message))
            }
        }));
    }
    mistakes.none()?;
    let failed = |message: String| Refusal::new(StatusCode::FORBIDDEN, "AuthFailure", message);
    let at = seconds(timestamp);
    let at = at.ok_or_else(|| {
        failed(format!(
            "`{timestamp}` is no time like 2026-11-23T04:04:51Z"
        ))
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let skew = desk.settings.clock_skew.as_secs();
    if now.abs_diff(at) > skew {
        let message = format!("the timestamp is more than {skew} s from the time here");
        return Err(failed(message));
    }

    let person = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        store::person::by_access_key(&tx, key).await?
    };
    let secret = match person {
        Some(_) => desk.secrets.get(Name::ApiKey(key)).await?,
        None => None,
    };
    // Also for nobody: the time of the answer does not tell which keys there are.
    let right = call.is_signed(secret.as_deref().unwrap_or("-"), signature);
    let (Some(person), Some(_)) = (person, secret) else {
        let message = "there is no such access key";
        let status = StatusCode::FORBIDDEN;
        return Err(Refusal::new(status, "InvalidCredentials", message));
    };
    if !right {
        let message = "the signature is not the one that this call has with your secret key";
        let status = StatusCode::FORBIDDEN;
        return Err(Refusal::new(status, "SignatureDoesNotMatch", message));
    }
    if changes {
        once(desk, key, signature).await?;
    }
    Ok(person)
}

/// Refuses a call that changes something and was seen before.
async fn once(desk: &Desk, key: &str, signature: &str) -> Answer<()> {
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        format!("{key}\n{signature}").as_bytes(),
    );
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let span = desk.settings.clock_skew.as_secs_f64() * 2.0 + 1.0;
    let first = store::person::first_seen(&tx, digest.as_ref(), span).await?;
    store::commit(tx).await?;
    match first {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "AuthFailure",
            "this very call was made before: sign it again with another time",
        )),
    }
}
