//! What does somebody have to look at, of all computers?

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::super::Desk;
use super::super::caller::Asked;
use super::super::refusal::Answer;
use crate::domain::alert::Alert;
use crate::store;

async fn counted(desk: &Desk, asked: &Asked) -> Answer<Vec<(Alert, i64)>> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    Ok(store::listing::alerted(&tx, asked.person.account).await?)
}

/// `GET /alerts`: every alert there is. They are of all computers, and nobody is written to about them.
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let view = |(alert, computers): &(Alert, i64)| {
        json!({
            "alert_type": alert.kind(),
            "description": alert.description(),
            "label": alert.word(),
            "scope": "computer",
            "all_computers": true,
            "tags": [],
            "subscribed": false,
            "status": if *computers > 0 { "Alerted" } else { "OK" },
        })
    };
    let counted = counted(&desk, &asked).await?;
    Ok(Json(counted.iter().map(view).collect()))
}

/// `GET /alerts/summary`: those that some computers have, and how many these are.
pub async fn summary(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let view = |(alert, computers): &(Alert, i64)| {
        json!({
            "alert_type": alert.kind(),
            "summary": format!("{computers} computers: {}", alert.summary()),
            "severity": alert.severity(),
            "computer_count": computers,
        })
    };
    let counted = counted(&desk, &asked).await?;
    let active = counted.iter().filter(|(_, computers)| *computers > 0);
    let all: Vec<Value> = active.map(view).collect();
    Ok(Json(json!({"alerts_summary": all})))
}
