//! Who am I, and which access keys do I have?

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::Desk;
use super::super::caller::Asked;
use super::super::refusal::{Answer, Refusal};
use crate::service::access_key;
use crate::store;

/// `GET /person`
pub async fn person(asked: Asked) -> Json<Value> {
    let person = &asked.person;
    Json(json!({
        "id": person.id,
        "email": person.email,
        "name": person.name,
        "role": person.role.name(),
        "account": person.account_name,
    }))
}

/// `GET /credentials`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let found = store::person::credentials(&tx, asked.person.id).await?;
    let view = |one: &store::person::Credential| {
        json!({
            "access_key": one.access_key,
            "title": one.title,
            "created_at": one.created,
        })
    };
    let results: Vec<Value> = found.iter().map(view).collect();
    Ok(Json(json!({"count": results.len(), "results": results})))
}

/// `POST /credentials`: the only time that the secret half is told.
pub async fn make(State(desk): State<Desk>, asked: Asked) -> Answer<(StatusCode, Json<Value>)> {
    let title = asked.name("title")?.unwrap_or_default();
    let person = asked.by_token()?.id;
    let made = access_key::make(&desk.store, &desk.secrets, person, title).await?;
    let made = made.ok_or_else(|| {
        Refusal::argument(
            "TooManyCredentials",
            "you have too many access keys already",
        )
    })?;
    let view = json!({
        "access_key": made.access_key,
        "secret_key": made.secret_key,
        "title": title,
    });
    Ok((StatusCode::CREATED, Json(view)))
}

/// `DELETE /credentials/{access_key}`
pub async fn remove(
    State(desk): State<Desk>,
    Path(key): Path<String>,
    asked: Asked,
) -> Answer<StatusCode> {
    // No text of the database has it.
    let done = !key.contains('\0')
        && access_key::remove(&desk.store, &desk.secrets, asked.person.id, &key).await?;
    match done {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::unknown(
            "UnknownCredential",
            "you have no such access key",
        )),
    }
}
