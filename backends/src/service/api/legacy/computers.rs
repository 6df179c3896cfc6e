//! Computers: found, changed, let in.

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::super::refusal::{Answer, Refusal};
use super::super::script_text::titled;
use super::super::{ROWS_MAX, view};
use super::{Action, Asked};
use crate::domain::order::Order;
use crate::service::admission;
use crate::store::{self, Tx, listing};

/// Longest tag, note and name of a note, characters.
const CHARS_MAX: usize = 255;
/// Computers that one call may change.
const CHANGED_MAX: i64 = 100_000;

pub(super) fn action(name: &str) -> Option<Action> {
    match name {
        "GetComputers" => Action::look(|asked| get(asked).boxed()),
        "AddTagsToComputers" => Action::change(|asked| tag(asked, true).boxed()),
        "RemoveTagsFromComputers" => Action::change(|asked| tag(asked, false).boxed()),
        "ChangeComputersAccessGroup" => Action::change(|asked| move_to(asked).boxed()),
        "RenameComputers" => Action::change(|asked| rename(asked).boxed()),
        "AddAnnotationToComputers" => Action::change(|asked| annotate(asked, true).boxed()),
        "RemoveAnnotationFromComputers" => Action::change(|asked| annotate(asked, false).boxed()),
        "RemoveComputers" => Action::change(|asked| remove(asked).boxed()),
        "RebootComputers" => Action::change(|asked| tell(asked, Order::Restart).boxed()),
        "ShutdownComputers" => Action::change(|asked| tell(asked, Order::Shutdown).boxed()),
        "GetPendingComputers" => Action::look(|asked| pending(asked).boxed()),
        "AcceptPendingComputers" => Action::decide(|asked| accept(asked).boxed()),
        "RejectPendingComputers" => Action::decide(|asked| reject(asked).boxed()),
        _ => None,
    }
}

async fn get(asked: Asked) -> Answer<Value> {
    let (arguments, person) = (&asked.arguments, &asked.person);
    let (query, span) = (arguments.query_or_all()?, arguments.span()?);
    let with = view::With {
        network: arguments.flag("with_network")?,
        annotations: arguments.flag("with_annotations")?,
        hardware: arguments.flag("with_hardware")?,
    };
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = store::search::ids(&tx, person.account, &query, span.offset, span.limit).await?;
    Ok(view::computers(&tx, person, &ids, with, false)
        .await?
        .into())
}

/// The computers that a call's query means.
async fn meant(tx: &Tx<'_>, asked: &Asked) -> Answer<Vec<i64>> {
    let query = asked.arguments.query()?;
    Ok(store::search::ids(tx, asked.person.account, &query, 0, CHANGED_MAX).await?)
}

/// The answer of a call that changed these.
async fn changed(tx: &Tx<'_>, asked: &Asked, ids: &[i64]) -> Answer<Value> {
    let shown = usize::try_from(ROWS_MAX)
        .unwrap_or(usize::MAX)
        .min(ids.len());
    let with = view::With::default();
    Ok(
        view::computers(tx, &asked.person, &ids[..shown], with, false)
            .await?
            .into(),
    )
}

async fn tag(asked: Asked, add: bool) -> Answer<Value> {
    let mut tags = Vec::new();
    for tag in asked.arguments.needed_list("tags")? {
        let fits = (1..=CHARS_MAX).contains(&tag.chars().count());
        if !fits || tag.contains([',', ' ', '\t', '\n']) {
            let message = format!("`{tag}` is no tag: one word of at most {CHARS_MAX} characters");
            return Err(Refusal::argument("InvalidTag", message));
        }
        tags.push(tag.to_owned());
    }
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = meant(&tx, &asked).await?;
    match add {
        true => listing::add_tags(&tx, &ids, &tags).await?,
        false => listing::remove_tags(&tx, &ids, &tags).await?,
    }
    let view = changed(&tx, &asked, &ids).await?;
    store::commit(tx).await?;
    Ok(view)
}

async fn move_to(asked: Asked) -> Answer<Value> {
    let group = asked.arguments.needed("access_group")?;
    if group.chars().count() > CHARS_MAX {
        let message = format!("an access group has at most {CHARS_MAX} characters");
        return Err(Refusal::argument("UnknownAccessGroup", message));
    }
    let group = if group == "global" { "" } else { group };
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = meant(&tx, &asked).await?;
    listing::set_access_group(&tx, &ids, group).await?;
    let view = changed(&tx, &asked, &ids).await?;
    store::commit(tx).await?;
    Ok(view)
}

async fn rename(asked: Asked) -> Answer<Value> {
    let titles = asked.arguments.map("computer_titles")?;
    if titles.is_empty() {
        return Err(Refusal::missing("computer_titles"));
    }
    let ids: Vec<i64> = titles.keys().copied().collect();
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    all_known(&tx, &asked, &ids, true).await?;
    for (id, title) in titles {
        listing::rename(&tx, id, &titled(title)?).await?;
    }
    let view = changed(&tx, &asked, &ids).await?;
    store::commit(tx).await?;
    Ok(view)
}

async fn annotate(asked: Asked, add: bool) -> Answer<Value> {
    let key = asked.arguments.needed("key")?;
    let value = asked.arguments.text("value").unwrap_or_default();
    if key.chars().count() > CHARS_MAX || value.len() > 64 * 1024 {
        let message = "the annotation is too long";
        return Err(Refusal::argument("InvalidParameter", message));
    }
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = meant(&tx, &asked).await?;
    match add {
        true => listing::annotate(&tx, &ids, key, value).await?,
        false => listing::unannotate(&tx, &ids, key).await?,
    }
    let view = changed(&tx, &asked, &ids).await?;
    store::commit(tx).await?;
    Ok(view)
}

/// Refuses where one of these is not there.
async fn all_known(tx: &Tx<'_>, asked: &Asked, ids: &[i64], accepted: bool) -> Answer<()> {
    let known = listing::known(tx, asked.person.account, ids, accepted).await?;
    match ids.iter().find(|id| !known.contains(id)) {
        Some(id) => Err(not_there(*id)),
        None => Ok(()),
    }
}

fn not_there(id: i64) -> Refusal {
    Refusal::unknown("UnknownComputers", format!("there is no computer {id}"))
}

async fn remove(asked: Asked) -> Answer<Value> {
    let ids = asked.arguments.needed_numbers("computer_ids")?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    all_known(&tx, &asked, &ids, true).await?;
    listing::remove(&tx, &asked.person, &ids).await?;
    store::commit(tx).await?;
    tracing::info!(person = asked.person.id, ?ids, "computers removed");
    Ok(Value::Null)
}

async fn tell(asked: Asked, order: Order) -> Answer<Value> {
    let ids = asked.arguments.needed_numbers("computer_ids")?;
    let after = asked.arguments.time("deliver_after")?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    all_known(&tx, &asked, &ids, true).await?;
    let view = ordered(&tx, &asked, &ids, &order, after).await?;
    store::commit(tx).await?;
    Ok(view)
}

/// Orders something, and tells of the group.
pub(super) async fn ordered(
    tx: &Tx<'_>,
    asked: &Asked,
    ids: &[i64],
    order: &Order,
    after: Option<std::time::SystemTime>,
) -> Answer<Value> {
    let group = store::group::order(tx, &asked.person, ids, order, after).await?;
    let made = store::group::get(tx, asked.person.account, group).await?;
    let made = made.ok_or_else(|| Refusal::later("the order was not kept"))?;
    Ok(view::activity(&made))
}

async fn pending(asked: Asked) -> Answer<Value> {
    let span = asked.arguments.span()?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let account = asked.person.account;
    let (_, found) = listing::pending(&tx, account, span.offset, span.limit).await?;
    Ok(found.iter().map(view::pending).collect())
}

async fn accept(asked: Asked) -> Answer<Value> {
    let ids = asked.arguments.needed_numbers("computer_ids")?;
    let mut existing = std::collections::BTreeMap::new();
    for (waiting, known) in asked.arguments.map("existing_ids")? {
        let known = known.parse().map_err(|_| {
            let message = "`existing_ids` is a map of numbers";
            Refusal::argument("InvalidParameter", message)
        })?;
        existing.insert(waiting, known);
    }
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let group = asked.arguments.text("access_group");
    let done = admission::accept(&tx, &asked.person, &ids, &existing, group).await?;
    let accepted = done.map_err(not_there)?;
    let view = changed(&tx, &asked, &accepted).await?;
    store::commit(tx).await?;
    Ok(view)
}

async fn reject(asked: Asked) -> Answer<Value> {
    let ids = asked.arguments.needed_numbers("computer_ids")?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let done = admission::reject(&tx, &asked.person, &ids).await?;
    done.map_err(not_there)?;
    store::commit(tx).await?;
    Ok(json!(null))
}
