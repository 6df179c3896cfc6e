//! Which scripts are kept for computers to run?

use std::collections::BTreeMap;

use super::{Result, Tx, find, iso, one, rows, run};
use crate::domain::order;

/// A script that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its number.
    pub id: i64,
    /// For people; unique in its account.
    pub title: String,
    /// An absolute path.
    pub interpreter: String,
    /// What it reads; empty in a list.
    pub code: String,
    /// Who runs it by default.
    pub username: String,
    /// Seconds.
    pub time_limit: i32,
    /// Whose it is.
    pub access_group: String,
    /// Who made it: number, name, e-mail address.
    pub creator: Option<(i64, String, String)>,
    /// When, ISO 8601.
    pub created: String,
    /// When it was changed last, ISO 8601.
    pub modified: String,
    /// Numbers of attachments by file name.
    pub attachments: BTreeMap<String, i64>,
}

/// A script that is to be kept.
#[derive(Clone, Debug)]
pub struct New<'a> {
    /// For people.
    pub title: &'a str,
    /// An absolute path.
    pub interpreter: &'a str,
    /// What it reads.
    pub code: &'a str,
    /// Who runs it by default.
    pub username: &'a str,
    /// Seconds.
    pub time_limit: i32,
    /// Whose it is.
    pub access_group: &'a str,
}

fn sql(condition: &str) -> String {
    format!(
        "select script.id, title, interpreter, code, username, time_limit, access_group, \
             person.id, person.name, person.email, \
             {created}, {modified}, \
             array(select name from script_attachment where script_id = script.id order by name), \
             array(select attachment_id from script_attachment where script_id = script.id \
                   order by name) \
         from script left join person on person.id = creator_id \
         where script.account_id = $1 and {condition}",
        created = iso("script.created_at"),
        modified = iso("script.modified_at"),
    )
}

fn script(row: &tokio_postgres::Row) -> Result<Script> {
    let creator = match row.try_get::<_, Option<i64>>(7)? {
        Some(id) => Some((id, row.try_get(8)?, row.try_get(9)?)),
        None => None,
    };
    let (names, ids): (Vec<String>, Vec<i64>) = (row.try_get(12)?, row.try_get(13)?);
    Ok(Script {
        id: row.try_get(0)?,
        title: row.try_get(1)?,
        interpreter: row.try_get(2)?,
        code: row.try_get(3)?,
        username: row.try_get(4)?,
        time_limit: row.try_get(5)?,
        access_group: row.try_get(6)?,
        creator,
        created: row.try_get(10)?,
        modified: row.try_get(11)?,
        attachments: names.into_iter().zip(ids).collect(),
    })
}

impl Script {
    /// As computers get it, run by this user where one is named.
    pub fn to_order(&self, username: Option<&str>) -> order::Script {
        order::Script {
            title: self.title.clone(),
            interpreter: self.interpreter.clone(),
            code: self.code.clone(),
            username: username.unwrap_or(&self.username).to_owned(),
            time_limit: self.time_limit,
            attachments: self.attachments.clone(),
        }
    }
}

/// A script of an account.
///
/// # Errors
///
/// The database's.
pub async fn get(tx: &Tx<'_>, account: i64, id: i64) -> Result<Option<Script>> {
    let found = find(tx, &sql("script.id = $2"), &[&account, &id]).await?;
    found.as_ref().map(script).transpose()
}

/// Scripts of an account by title, `most` from `offset`, and how many there are. Without their code: a thousand
/// long ones would be a gigabyte.
///
/// # Errors
///
/// The database's.
pub async fn list(tx: &Tx<'_>, account: i64, offset: i64, most: i64) -> Result<(i64, Vec<Script>)> {
    let count = "select count(*) from script where account_id = $1";
    let count = one(tx, count, &[&account]).await?.try_get(0)?;
    let sql = format!(
        "with script as (select id, account_id, title, interpreter, '' as code, username, time_limit, \
             access_group, creator_id, created_at, modified_at from script) {}",
        sql("true order by title, script.id offset $2 limit $3")
    );
    let found = rows(tx, &sql, &[&account, &offset, &most]).await?;
    let scripts = found.iter().map(script).collect::<Result<_>>()?;
    Ok((count, scripts))
}

/// Numbers and titles of scripts of an account by title, `most` of them: what a list to choose from needs.
///
/// # Errors
///
/// The database's.
pub async fn titles(tx: &Tx<'_>, account: i64, most: i64) -> Result<Vec<(i64, String)>> {
    let sql = "select id, title from script where account_id = $1 order by title, id limit $2";
    let found = rows(tx, sql, &[&account, &most]).await?;
    let titles = found
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    titles.collect()
}

/// Keeps a script. None where its title is taken.
///
/// # Errors
///
/// The database's.
pub async fn make(tx: &Tx<'_>, account: i64, creator: i64, new: &New<'_>) -> Result<Option<i64>> {
    let sql = "insert into script (account_id, title, interpreter, code, username, time_limit, \
                   access_group, creator_id) values ($1, $2, $3, $4, $5, $6, $7, $8) \
               on conflict (account_id, title) do nothing returning id";
    let values: super::Values<'_> = &[
        &account,
        &new.title,
        &new.interpreter,
        &new.code,
        &new.username,
        &new.time_limit,
        &new.access_group,
        &creator,
    ];
    let row = find(tx, sql, values).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Changes a script. False where its title is taken by another.
///
/// # Errors
///
/// The database's.
pub async fn change(tx: &Tx<'_>, account: i64, id: i64, new: &New<'_>) -> Result<bool> {
    let sql = "update script set title = $3, interpreter = $4, code = $5, username = $6, \
                   time_limit = $7, access_group = $8, modified_at = now() \
               where account_id = $1 and id = $2 and not exists ( \
                   select from script other where other.account_id = $1 and other.title = $3 \
                   and other.id <> $2)";
    let values: super::Values<'_> = &[
        &account,
        &id,
        &new.title,
        &new.interpreter,
        &new.code,
        &new.username,
        &new.time_limit,
        &new.access_group,
    ];
    Ok(run(tx, sql, values).await? == 1)
}

/// Forgets a script. Activities that run it keep their code. True where there was one.
///
/// # Errors
///
/// The database's.
pub async fn remove(tx: &Tx<'_>, account: i64, id: i64) -> Result<bool> {
    let sql = "delete from script where account_id = $1 and id = $2";
    Ok(run(tx, sql, &[&account, &id]).await? == 1)
}

/// Attaches a file to a script, in place of one of the same name.
///
/// # Errors
///
/// The database's.
pub async fn attach(tx: &Tx<'_>, script: i64, name: &str, content: &[u8]) -> Result<()> {
    let sql = "insert into attachment (name, content) values ($1, $2) returning id";
    let id: i64 = one(tx, sql, &[&name, &content]).await?.try_get(0)?;
    let sql = "insert into script_attachment values ($1, $2, $3) \
               on conflict (script_id, name) do update set attachment_id = excluded.attachment_id";
    run(tx, sql, &[&script, &name, &id]).await?;
    Ok(())
}

/// Takes a file from a script. True where it had one of the name.
///
/// # Errors
///
/// The database's.
pub async fn detach(tx: &Tx<'_>, script: i64, name: &str) -> Result<bool> {
    let sql = "delete from script_attachment where script_id = $1 and name = $2";
    Ok(run(tx, sql, &[&script, &name]).await? == 1)
}

/// Gives another script the same attachments.
///
/// # Errors
///
/// The database's.
pub async fn copy_attachments(tx: &Tx<'_>, from: i64, to: i64) -> Result<()> {
    let sql = "insert into script_attachment select $2, name, attachment_id \
               from script_attachment where script_id = $1";
    run(tx, sql, &[&from, &to]).await?;
    Ok(())
}
