//! Windows machines with WSL instances: which are there, and what shall they do?
//!
//! A host is the root of a family of computers: it has a number as they have, besides its own identity, a
//! UUID; paths take either. What is ordered from a host is no activity: it goes down the host's stream, in
//! the order in which it was given, and its state is that of the order.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::caller::{Asked, Span};
use super::super::machine::{self, With, iso};
use super::super::refusal::{Answer, Refusal};
use super::super::{Desk, view};
use crate::domain::person::{Person, Role};
use crate::domain::wsl::{CLOUDINIT_BYTES_MAX, Order};
use crate::store::wsl_page::{self, Instance, Listed, Numbered, Ordered};
use crate::store::{self, Tx, wsl};

/// Orders that one call may give.
const ORDERS_MAX: usize = 100;

fn no_host(id: &str) -> Refusal {
    Refusal::unknown("UnknownComputer", format!("there is no WSL host {id}"))
}

/// The identity of the host that a path names by it, or by its number.
async fn identity(tx: &Tx<'_>, person: &Person, id: &str) -> Answer<Uuid> {
    let uid = match (Uuid::try_parse(id), id.parse()) {
        (Ok(uid), _) => Some(uid),
        (Err(_), Ok(number)) => wsl_page::numbered(tx, person.account, number).await?,
        _ => None,
    };
    uid.ok_or_else(|| no_host(id))
}

/// What a host tells beyond a computer.
fn add_host(view: &mut Map<String, Value>, one: &Listed) {
    let (instances, running) = one.instances;
    for (name, value) in [
        ("uid", json!(one.uid.to_string())),
        ("accepted", json!(one.accepted)),
        ("connected", json!(one.connected)),
        (
            "connection_changed_at",
            json!(one.since.as_deref().map(iso)),
        ),
        ("last_info_time", json!(one.last_info.as_deref().map(iso))),
        ("num_child", json!(instances)),
        ("num_running", json!(running)),
    ] {
        view.insert(name.to_owned(), value);
    }
}

/// These hosts with the computers that live on them.
async fn views(tx: &Tx<'_>, person: &Person, uids: &[Uuid]) -> Answer<Vec<Map<String, Value>>> {
    let found = machine::hosts(tx, person, uids, With::default()).await?;
    let whole = |(one, mut view): (Numbered, Map<String, Value>)| {
        add_host(&mut view, &one.listed);
        view
    };
    Ok(found.into_iter().map(whole).collect())
}

fn child(host: &Listed, one: &Instance) -> Value {
    json!({
        "name": one.id,
        "title": one.name,
        "computer_id": one.computer.as_ref().map(|computer| computer.id),
        "version_id": one.version_id,
        "is_running": one.running,
        "installed": true,
        "registered": one.computer.is_some(),
        "managed": one.managed,
        "default": host.default_instance.as_deref() == Some(one.id.as_str()),
        "changed_at": iso(&one.since),
    })
}

fn ordered(one: &Ordered) -> Value {
    json!({
        "request_id": one.request_id.to_string(),
        "order": one.kind,
        "instance": one.instance,
        "state": one.state,
        "error": one.error,
        "creation_time": iso(&one.created),
        "modification_time": iso(&one.changed),
    })
}

/// `GET /computers/wsl-hosts`
pub async fn list(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let span = Span::of(&asked.query)?;
    let account = asked.person.account;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let count = wsl_page::count(&tx, account).await?;
    let found = wsl_page::hosts(&tx, account, "", span.offset, span.limit).await?;
    let uids: Vec<Uuid> = found.iter().map(|one| one.uid).collect();
    let views = views(&tx, &asked.person, &uids).await?;
    let results = views.into_iter().map(Value::Object).collect();
    Ok(Json(asked.page(span, count, results)))
}

/// A host of the account.
async fn get(tx: &Tx<'_>, asked: &Asked, id: &str) -> Answer<Listed> {
    let uid = identity(tx, &asked.person, id).await?;
    let found = wsl_page::host(tx, asked.person.account, uid).await?;
    found.ok_or_else(|| no_host(id))
}

/// `GET /computers/wsl-hosts/{id}`: with its instances.
pub async fn one(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let found = get(&tx, &asked, &id).await?;
    let instances = wsl_page::instances(&tx, found.uid).await?;
    let views = views(&tx, &asked.person, &[found.uid]).await?;
    let mut view = views.into_iter().next().ok_or_else(|| no_host(&id))?;
    let instances = instances.iter().map(|one| child(&found, one)).collect();
    view.insert("instances".to_owned(), instances);
    Ok(Json(view.into()))
}

/// `GET /computers/{id}/children`
pub async fn children(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let found = get(&tx, &asked, &id).await?;
    let instances = wsl_page::instances(&tx, found.uid).await?;
    let children: Vec<Value> = instances.iter().map(|one| child(&found, one)).collect();
    Ok(Json(json!({"children": children})))
}

/// `GET /computers/wsl-hosts/{id}/orders`: the latest ones.
pub async fn orders(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let span = Span::of(&asked.query)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let found = get(&tx, &asked, &id).await?;
    let count = wsl_page::order_count(&tx, found.uid).await?;
    let orders = wsl_page::ordered(&tx, found.uid, span.offset, span.limit).await?;
    let results = orders.iter().map(ordered).collect();
    Ok(Json(asked.page(span, count, results)))
}

/// `POST /computers/wsl-hosts/{id}/accept`
pub async fn accept(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<StatusCode> {
    let person = asked.as_at_least(Role::Administrator)?;
    decide(&desk, person, &id, true).await
}

/// `DELETE /computers/wsl-hosts/{id}`
pub async fn forget(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<StatusCode> {
    let person = asked.as_at_least(Role::Administrator)?;
    decide(&desk, person, &id, false).await
}

async fn decide(desk: &Desk, person: &Person, id: &str, accept: bool) -> Answer<StatusCode> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let uid = identity(&tx, person, id).await?;
    let known = wsl::known(&tx, person.account, uid).await?;
    known.ok_or_else(|| no_host(id))?;
    match accept {
        true => wsl::accept(&tx, uid).await?,
        false => wsl::remove(&tx, uid).await?,
    };
    store::commit(tx).await?;
    tracing::info!(person = person.id, host = %uid, accept, "decided");
    Ok(StatusCode::NO_CONTENT)
}

/// The first configuration of an instance, which comes as base64 of UTF-8.
fn cloud_init(asked: &Asked) -> Answer<Option<String>> {
    let Some(coded) = asked.text("cloud_init")? else {
        return Ok(None);
    };
    let text = view::bytes_of(coded);
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.filter(|text| !text.contains('\0') && text.len() <= CLOUDINIT_BYTES_MAX);
    let told = || format!("`cloud_init` is base64 of at most {CLOUDINIT_BYTES_MAX} bytes of UTF-8");
    let text = text.ok_or_else(|| Refusal::argument("InvalidParameter", told()))?;
    Ok(Some(text))
}

fn order_of(asked: &Asked, kind: &str, instance: &str) -> Answer<Order> {
    let rootfs_url = asked.text("rootfs_url")?.map(str::to_owned);
    let order = Order::of(kind, instance.trim(), cloud_init(asked)?, rootfs_url);
    order.ok_or_else(|| {
        let message = "an order is start, stop, install, uninstall or set_default with the name of an \
                       instance, or shutdown_host";
        Refusal::argument("InvalidParameter", message)
    })
}

/// `POST /computers/wsl-hosts/{id}/orders`
pub async fn order(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<(StatusCode, Json<Value>)> {
    let person = asked.as_at_least(Role::Operator)?;
    let instance = asked.text("instance")?.unwrap_or_default();
    let order = order_of(&asked, asked.needed("order")?, instance)?;
    let given = give(&desk, person, &id, &[order]).await?;
    first(given)
}

/// `POST /computers/{id}/children`: installs an instance.
pub async fn install(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<(StatusCode, Json<Value>)> {
    let person = asked.as_at_least(Role::Operator)?;
    let order = order_of(&asked, "install", asked.needed("computer_name")?)?;
    let given = give(&desk, person, &id, &[order]).await?;
    first(given)
}

/// `POST /computers/{id}/delete-children`: uninstalls instances.
pub async fn uninstall(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Value>> {
    let person = asked.as_at_least(Role::Operator)?;
    let names = asked.texts("computer_names")?;
    if names.is_empty() {
        return Err(Refusal::missing("computer_names"));
    }
    if names.len() > ORDERS_MAX {
        let message = format!("at most {ORDERS_MAX} instances at once");
        return Err(Refusal::argument("InvalidParameter", message));
    }
    let orders: Answer<Vec<Order>> = names
        .iter()
        .map(|name| order_of(&asked, "uninstall", name))
        .collect();
    let given = give(&desk, person, &id, &orders?).await?;
    Ok(Json(json!({"count": given.len(), "results": given})))
}

/// The answer to an order alone.
fn first(given: Vec<Value>) -> Answer<(StatusCode, Json<Value>)> {
    let one = given.into_iter().next();
    let one = one.ok_or_else(|| Refusal::later("the order was not kept"))?;
    Ok((StatusCode::CREATED, Json(one)))
}

/// Gives orders to a host, all or none; as they stand then, in the same order.
async fn give(desk: &Desk, person: &Person, id: &str, orders: &[Order]) -> Answer<Vec<Value>> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let uid = identity(&tx, person, id).await?;
    let known = wsl::known(&tx, person.account, uid).await?;
    if !known.ok_or_else(|| no_host(id))?.accepted {
        let message = "the host waits to be accepted";
        return Err(Refusal::argument("InvalidActivityStatusChange", message));
    }
    for order in orders {
        let given = wsl::order(&tx, uid, order).await?;
        given.ok_or_else(|| no_host(id))?;
    }
    let most = i64::try_from(orders.len()).unwrap_or(i64::MAX);
    let latest = wsl_page::ordered(&tx, uid, 0, most).await?;
    store::commit(tx).await?;
    for order in orders {
        let (what, instance) = (order.kind(), order.instance());
        tracing::info!(person = person.id, host = %uid, what, instance, "ordered");
    }
    Ok(latest.iter().rev().map(ordered).collect())
}
