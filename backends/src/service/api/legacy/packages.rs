//! Packages: found, installed, removed, upgraded.

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::super::package_order::{self, window};
use super::super::refusal::Answer;
use super::super::{meant, view};
use super::{Action, Asked};
use crate::domain::package_order::Deed;
use crate::domain::package_search::{Found, Question};
use crate::store;
use crate::store::group::Timing;

pub(super) fn action(name: &str) -> Option<Action> {
    match name {
        "GetPackages" => Action::look(|asked| get(asked).boxed()),
        "InstallPackages" => Action::change(|asked| order(asked, Deed::Install).boxed()),
        "RemovePackages" => Action::change(|asked| order(asked, Deed::Remove).boxed()),
        "UpgradePackages" => Action::change(|asked| order(asked, Deed::Upgrade).boxed()),
        _ => None,
    }
}

async fn get(asked: Asked) -> Answer<Value> {
    let arguments = &asked.arguments;
    let (query, span) = (arguments.query()?, arguments.span()?);
    let names: Vec<String> = arguments
        .list("names")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let account = asked.person.account;
    let question = Question {
        account_id: account,
        computer_ids: asked.desk.scope(account, &query).await?,
        text: arguments.text("search").map(str::to_owned),
        names: (!names.is_empty()).then_some(names),
        installed: arguments.choice("installed")?,
        available: arguments.choice("available")?,
        upgrade: arguments.choice("upgrade")?,
        held: arguments.choice("held")?,
        security: None,
        limit: span.limit,
        offset: span.offset,
    };
    let answer = asked.desk.packages.ask(&question).await?;
    let view = |one: &Found| {
        json!({
            "name": one.name,
            "version": one.version,
            "summary": one.summary,
            "computers": one.computers,
        })
    };
    Ok(answer.packages.iter().map(view).collect())
}

async fn order(asked: Asked, deed: Deed) -> Answer<Value> {
    let arguments = &asked.arguments;
    let names = arguments.list("packages");
    let names = names.into_iter().map(str::to_owned).collect();
    let security_only = deed == Deed::Upgrade && arguments.flag("security_only")?;
    let wanted = package_order::wanted(deed, names, security_only, None)?;
    let timing = Timing {
        after: arguments.time("deliver_after")?,
        window: window(arguments.number("deliver_delay_window")?)?,
    };
    let query = arguments.query()?;
    let person = &asked.person;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let computers = meant::by_query(&tx, person.account, &query).await?;
    let made = package_order::order(&tx, person, &computers, &wanted, timing).await?;
    store::commit(tx).await?;
    Ok(view::activity(&made))
}
