//! Computers: found, changed, let in.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::super::machine::{self, With};
use super::super::named::{self, CHARS_MAX, titled};
use super::super::refusal::{Answer, Mistakes, Refusal};
use super::super::{ROWS_MAX, meant, view};
use super::{Action, Asked};
use crate::domain::order::Order;
use crate::domain::query::Query;
use crate::service::admission;
use crate::store::group::Timing;
use crate::store::{self, Tx, listing};

/// Most bytes of hardware in one answer.
const HARDWARE_BYTES_MAX: i64 = 64 << 20;
/// Tags that one call may put on computers, or take off them.
const TAGS_MAX: usize = 100;
/// Longest note, bytes.
const NOTE_BYTES_MAX: usize = 64 * 1024;
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
    // Nothing in a list tells that it goes on, so that it is not cut off where more was asked for.
    if with.hardware
        && store::listing::hardware_bytes(&tx, person.account, &ids).await? > HARDWARE_BYTES_MAX
    {
        let message = format!(
            "their hardware is more than {} MiB: give a smaller `limit`, and the rest by `offset`",
            HARDWARE_BYTES_MAX >> 20
        );
        return Err(Refusal::argument("InvalidParameter", message));
    }
    Ok(machine::computers(&tx, person, &ids, with).await?.into())
}

/// The computers that a call's query means.
async fn those(tx: &Tx<'_>, asked: &Asked, query: &Query) -> Answer<Vec<i64>> {
    let ids = store::search::ids(tx, asked.person.account, query, 0, CHANGED_MAX + 1).await?;
    match i64::try_from(ids.len()).is_ok_and(|count| count <= CHANGED_MAX) {
        true => Ok(ids),
        false => {
            let message = format!("at most {CHANGED_MAX} computers at once: ask for fewer");
            Err(Refusal::argument("InvalidQuery", message))
        }
    }
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
    let told = mistakes.keep(asked.arguments.needed_list("tags"));
    if told.len() > TAGS_MAX {
        let message = format!("at most {TAGS_MAX} tags at once");
        mistakes.keep::<()>(Err(Refusal::argument("InvalidParameter", message)));
    }
    let mut tags = Vec::new();
    for tag in told.into_iter().take(TAGS_MAX) {
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
    let group = asked.arguments.needed("access_group");
    let group = mistakes.keep(group.and_then(named::access_group));
    mistakes.none()?;
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
    let ids = meant::each_once(titles.keys().copied().collect())?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    all_known(&tx, &asked, &ids).await?;
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
    if key.chars().count() > CHARS_MAX || value.len() > NOTE_BYTES_MAX {
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
async fn all_known(tx: &Tx<'_>, asked: &Asked, ids: &[i64]) -> Answer<()> {
    let missing = meant::missing(tx, asked.person.account, ids).await?;
    missing.map_or(Ok(()), |id| Err(not_there(id)))
}

/// The computers that `computer_ids` names, each once.
fn named_ids(asked: &Asked) -> Answer<Vec<i64>> {
    meant::each_once(asked.arguments.needed_numbers("computer_ids")?)
}

fn not_there(id: i64) -> Refusal {
    Refusal::unknown("UnknownComputers", format!("there is no computer {id}"))
}

async fn remove(asked: Asked) -> Answer<Value> {
    let ids = named_ids(&asked)?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    all_known(&tx, &asked, &ids).await?;
    listing::remove(&tx, &asked.person, &ids).await?;
    store::commit(tx).await?;
    tracing::info!(person = asked.person.id, ?ids, "computers removed");
    Ok(Value::Null)
}

async fn tell(asked: Asked, order: Order) -> Answer<Value> {
    let mut mistakes = Mistakes::default();
    let ids = mistakes.keep(named_ids(&asked));
    let after = mistakes.keep(asked.arguments.time("deliver_after"));
    mistakes.none()?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    all_known(&tx, &asked, &ids).await?;
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
    let ids = mistakes.keep(named_ids(&asked));
    let existing = mistakes.keep(existing(&asked));
    let group = asked.arguments.text("access_group");
    let group = mistakes.keep(group.map(named::access_group).transpose());
    mistakes.none()?;
    let existing = meant::places(&ids, existing)?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
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
    let ids = named_ids(&asked)?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let done = admission::reject(&tx, &asked.person, &ids).await?;
    done.map_err(not_there)?;
    store::commit(tx).await?;
    Ok(json!(null))
}
