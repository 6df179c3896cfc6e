//! Computers: found, changed, let in.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::super::machine::{self, With};
use super::super::refusal::{Answer, Mistakes, Refusal};
use super::super::script_text::titled;
use super::super::{ROWS_MAX, meant, view};
use super::{Action, Asked};
use crate::domain::order::Order;
use crate::domain::query::Query;
use crate::service::admission;
use crate::store::group::Timing;
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
    let mut mistakes = Mistakes::default();
    let query = mistakes.keep(arguments.query_or_all());
    let span = mistakes.keep(arguments.span());
    let mut flag = |name: &str| mistakes.keep(arguments.flag(name));
    let with = With {
        network: flag("with_network"),
        annotations: flag("with_annotations"),
        hardware: flag("with_hardware"),
        ..With::default()
    };
    mistakes.none()?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = store::search::ids(&tx, person.account, &query, span.offset, span.limit).await?;
    Ok(machine::computers(&tx, person, &ids, with).await?.into())
}

/// The computers that a call's query means.
async fn those(tx: &Tx<'_>, asked: &Asked, query: &Query) -> Answer<Vec<i64>> {
    Ok(store::search::ids(tx, asked.person.account, query, 0, CHANGED_MAX).await?)
}

/// The answer of a call that changed these.
async fn changed(tx: &Tx<'_>, asked: &Asked, ids: &[i64]) -> Answer<Value> {
    let shown = usize::try_from(ROWS_MAX)
        .unwrap_or(usize::MAX)
        .min(ids.len());
    let views = machine::computers(tx, &asked.person, &ids[..shown], With::default());
    Ok(views.await?.into())
}

async fn tag(asked: Asked, add: bool) -> Answer<Value> {
    let mut mistakes = Mistakes::default();
    let query = mistakes.keep(asked.arguments.query());
    let mut tags = Vec::new();
    for tag in mistakes.keep(asked.arguments.needed_list("tags")) {
        let fits = (1..=CHARS_MAX).contains(&tag.chars().count());
        if !fits || tag.contains([',', ' ', '\t', '\n']) {
            let message = format!("`{tag}` is no tag: one word of at most {CHARS_MAX} characters");
            mistakes.keep::<()>(Err(Refusal::argument("InvalidTag", message)));
        }
        tags.push(tag.to_owned());
    }
    mistakes.none()?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = those(&tx, &asked, &query).await?;
    match add {
        true => listing::add_tags(&tx, &ids, &tags).await?,
        false => listing::remove_tags(&tx, &ids, &tags).await?,
    }
    let view = changed(&tx, &asked, &ids).await?;
    store::commit(tx).await?;
    Ok(view)
}

async fn move_to(asked: Asked) -> Answer<Value> {
    let mut mistakes = Mistakes::default();
    let query = mistakes.keep(asked.arguments.query());
    let group = mistakes.keep(asked.arguments.needed("access_group"));
    mistakes.none()?;
    if group.chars().count() > CHARS_MAX {
        let message = format!("an access group has at most {CHARS_MAX} characters");
        return Err(Refusal::argument("UnknownAccessGroup", message));
    }
    let group = if group == "global" { "" } else { group };
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = those(&tx, &asked, &query).await?;
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
    let mut mistakes = Mistakes::default();
    let query = mistakes.keep(asked.arguments.query());
    let key = mistakes.keep(asked.arguments.needed("key"));
    mistakes.none()?;
    let value = asked.arguments.text("value").unwrap_or_default();
    if key.chars().count() > CHARS_MAX || value.len() > 64 * 1024 {
        let message = "the annotation is too long";
        return Err(Refusal::argument("InvalidParameter", message));
    }
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let ids = those(&tx, &asked, &query).await?;
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
    let mut mistakes = Mistakes::default();
    let ids = mistakes.keep(asked.arguments.needed_numbers("computer_ids"));
    let after = mistakes.keep(asked.arguments.time("deliver_after"));
    mistakes.none()?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    all_known(&tx, &asked, &ids, true).await?;
    let timing = Timing { after, window: 0 };
    let made = meant::order(&tx, &asked.person, &ids, &order, timing).await?;
    store::commit(tx).await?;
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
    let mut mistakes = Mistakes::default();
    let ids = mistakes.keep(asked.arguments.needed_numbers("computer_ids"));
    let existing = mistakes.keep(existing(&asked).and_then(meant::places));
    mistakes.none()?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let group = asked.arguments.text("access_group");
    let done = admission::accept(&tx, &asked.person, &ids, &existing, group).await?;
    let accepted = done.map_err(not_there)?;
    let view = changed(&tx, &asked, &accepted).await?;
    store::commit(tx).await?;
    Ok(view)
}

/// Which computer each of those who wait takes the place of.
fn existing(asked: &Asked) -> Answer<BTreeMap<i64, i64>> {
    let told = asked.arguments.map("existing_ids")?.into_iter();
    let numbers = told.map(|(waiting, known)| Some((waiting, known.parse().ok()?)));
    let numbers: Option<BTreeMap<i64, i64>> = numbers.collect();
    numbers.ok_or_else(|| {
        let message = "`existing_ids` is a map of numbers";
        Refusal::argument("InvalidParameter", message)
    })
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
