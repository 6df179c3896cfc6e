//! Scripts: kept, changed, run.

use futures_util::FutureExt;
use serde_json::Value;

use super::super::refusal::{Answer, Mistakes, Refusal};
use super::super::script_text::{self, TIME_LIMIT, Text, USERNAME};
use super::super::{meant, named, view};
use super::arguments::Arguments;
use super::{Action, Asked};
use crate::domain::order::Order;
use crate::store::group::Timing;
use crate::store::script::Script;
use crate::store::{self, Tx};

/// Attachments of a script.
const ATTACHMENTS_MAX: usize = 20;

pub(super) fn action(name: &str) -> Option<Action> {
    match name {
        "GetScripts" => Action::look(|asked| list(asked).boxed()),
        "GetScriptCode" => Action::look(|asked| code(asked).boxed()),
        "CreateScript" => Action::change(|asked| create(asked).boxed()),
        "EditScript" => Action::change(|asked| edit(asked).boxed()),
        "CopyScript" => Action::change(|asked| copy(asked).boxed()),
        "RemoveScript" => Action::change(|asked| remove(asked).boxed()),
        "CreateScriptAttachment" => Action::change(|asked| attach(asked).boxed()),
        "RemoveScriptAttachment" => Action::change(|asked| detach(asked).boxed()),
        "ExecuteScript" => Action::change(|asked| execute(asked).boxed()),
        _ => None,
    }
}

async fn list(asked: Asked) -> Answer<Value> {
    let span = asked.arguments.span()?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let account = asked.person.account;
    let (_, found) = store::script::list(&tx, account, span.offset, span.limit).await?;
    Ok(found.iter().map(view::script).collect())
}

async fn get(tx: &Tx<'_>, asked: &Asked) -> Answer<Script> {
    let id = asked.arguments.needed_number("script_id")?;
    let found = store::script::get(tx, asked.person.account, id).await?;
    let unknown = || Refusal::unknown("UnknownScript", format!("there is no script {id}"));
    found.ok_or_else(unknown)
}

async fn code(asked: Asked) -> Answer<Value> {
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let script = get(&tx, &asked).await?;
    Ok(format!("#!{}\n{}", script.interpreter, script.code).into())
}

/// The text of `code`, which is base64 of UTF-8.
fn decoded(code: &str) -> Answer<String> {
    let bytes = view::bytes_of(code);
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.filter(|text| !text.contains('\0'));
    text.ok_or_else(|| Refusal::argument("ScriptEncoding", "`code` is base64 of UTF-8"))
}

fn time_limit(arguments: &Arguments, default: i32) -> Answer<i32> {
    script_text::time_limit(arguments.number("time_limit")?, default)
}

async fn create(asked: Asked) -> Answer<Value> {
    let arguments = &asked.arguments;
    let mut mistakes = Mistakes::default();
    let title = mistakes.keep(arguments.needed("title"));
    let code = mistakes.keep(decoded(arguments.text("code").unwrap_or_default()));
    let time_limit = mistakes.keep(time_limit(arguments, TIME_LIMIT));
    let username = mistakes.keep(arguments.name("username"));
    let group = arguments.text("access_group").unwrap_or_default();
    let group = mistakes.keep(named::access_group(group));
    mistakes.none()?;
    let text = Text::read(title, &code)?;
    let new = text.to_keep(username.unwrap_or(USERNAME), time_limit, group);
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let (account, person) = (asked.person.account, asked.person.id);
    let id = store::script::make(&tx, account, person, &new).await?;
    let id = id.ok_or_else(|| script_text::taken(&text.title))?;
    told(tx, account, id).await
}

/// Commits, and tells of the script.
async fn told(tx: Tx<'_>, account: i64, id: i64) -> Answer<Value> {
    let script = store::script::get(&tx, account, id).await?;
    store::commit(tx).await?;
    let script = script.ok_or_else(|| Refusal::later("the script was not kept"))?;
    Ok(view::script(&script))
}

async fn edit(asked: Asked) -> Answer<Value> {
    let arguments = &asked.arguments;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let old = get(&tx, &asked).await?;
    let title = arguments.text("title").unwrap_or(&old.title);
    let text = match arguments.text("code") {
        Some(code) => Text::read(title, &decoded(code)?)?,
        None => Text::kept(title, &old)?,
    };
    let username = arguments.name("username")?.unwrap_or(&old.username);
    let time_limit = time_limit(arguments, old.time_limit)?;
    let new = text.to_keep(username, time_limit, &old.access_group);
    let account = asked.person.account;
    if !store::script::change(&tx, account, old.id, &new).await? {
        return Err(script_text::taken(&text.title));
    }
    told(tx, account, old.id).await
}

async fn copy(asked: Asked) -> Answer<Value> {
    let arguments = &asked.arguments;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let old = get(&tx, &asked).await?;
    let title = match arguments.text("destination_title") {
        Some(title) => title,
        None => arguments.needed("title")?,
    };
    let text = Text::kept(title, &old)?;
    let group = match arguments.text("access_group") {
        Some(group) => named::access_group(group)?,
        None => &old.access_group,
    };
    let new = text.to_keep(&old.username, old.time_limit, group);
    let account = asked.person.account;
    let id = store::script::make(&tx, account, asked.person.id, &new).await?;
    let id = id.ok_or_else(|| script_text::taken(&text.title))?;
    store::script::copy_attachments(&tx, old.id, id).await?;
    told(tx, account, id).await
}

async fn remove(asked: Asked) -> Answer<Value> {
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let script = get(&tx, &asked).await?;
    store::script::remove(&tx, asked.person.account, script.id).await?;
    store::commit(tx).await?;
    Ok(Value::Null)
}

async fn attach(asked: Asked) -> Answer<Value> {
    let (name, content) = asked.arguments.needed_file("file")?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let script = get(&tx, &asked).await?;
    if script.attachments.len() >= ATTACHMENTS_MAX && !script.attachments.contains_key(name) {
        let message = format!("a script has at most {ATTACHMENTS_MAX} attachments");
        return Err(Refusal::argument("InvalidParameter", message));
    }
    store::script::attach(&tx, script.id, name, &content).await?;
    store::commit(tx).await?;
    Ok(name.into())
}

async fn detach(asked: Asked) -> Answer<Value> {
    let name = asked.arguments.needed("filename")?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let script = get(&tx, &asked).await?;
    if !store::script::detach(&tx, script.id, name).await? {
        let message = format!("the script has no attachment `{name}`");
        return Err(Refusal::unknown("UnknownScriptAttachment", message));
    }
    store::commit(tx).await?;
    Ok(Value::Null)
}

async fn execute(asked: Asked) -> Answer<Value> {
    let arguments = &asked.arguments;
    let mut mistakes = Mistakes::default();
    let query = mistakes.keep(arguments.query());
    let after = mistakes.keep(arguments.time("deliver_after"));
    let username = mistakes.keep(arguments.name("username"));
    mistakes.keep(arguments.needed_number("script_id"));
    mistakes.none()?;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let script = get(&tx, &asked).await?;
    let account = asked.person.account;
    let ids = meant::by_query(&tx, account, &query).await?;
    let order = Order::Script(script.to_order(username));
    let timing = Timing { after, window: 0 };
    let made = meant::order(&tx, &asked.person, &ids, &order, timing).await?;
    store::commit(tx).await?;
    Ok(view::activity(&made))
}
