//! Packages: found, installed, removed, upgraded.

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::super::package_order::{self, window};
use super::super::refusal::{Answer, Mistakes, Refusal};
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
    let mut mistakes = Mistakes::default();
    let query = mistakes.keep(arguments.query());
    let span = mistakes.keep(arguments.span());
    let names = mistakes.keep(arguments.list("names")).into_iter();
    let names = mistakes.keep(package_order::sought(names.map(str::to_owned).collect()));
    let text = mistakes.keep(arguments.name("search"));
    let account = asked.person.account;
    let mut choice = |name: &str| mistakes.keep(arguments.choice(name));
    let mut question = Question {
        account_id: account,
        computer_ids: None,
        text: text.map(str::to_owned),
        names,
        installed: choice("installed"),
        available: choice("available"),
        upgrade: choice("upgrade"),
        held: choice("held"),
        security: None,
        limit: span.limit,
        offset: span.offset,
        computers_max: None,
    };
    mistakes.none()?;
    question.computer_ids = asked.desk.scope(account, &query).await?;
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
    let mut mistakes = Mistakes::default();
    let query = mistakes.keep(arguments.query());
    let security_only = deed == Deed::Upgrade && mistakes.keep(arguments.flag("security_only"));
    let names = arguments.list("packages");
    let wanted = names.and_then(|names| {
        let names = names.into_iter().map(str::to_owned).collect();
        package_order::wanted(deed, names, security_only, None).map(Some)
    });
    let wanted = mistakes.keep(wanted);
    let minutes = arguments.number("deliver_delay_window");
    let timing = Timing {
        after: mistakes.keep(arguments.time("deliver_after")),
        window: mistakes.keep(minutes.and_then(window)),
    };
    mistakes.none()?;
    // None only beside a mistake.
    let wanted = wanted.ok_or_else(|| Refusal::missing("packages"))?;
    let person = &asked.person;
    let mut connection = asked.desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let computers = meant::by_query(&tx, person.account, &query).await?;
    let made = package_order::order(&tx, person, &computers, &wanted, timing).await?;
    store::commit(tx).await?;
    Ok(view::activity(&made))
}
