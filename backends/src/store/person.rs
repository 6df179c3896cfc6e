//! Who may ask, and by what are they known? Persons, access keys, sessions of browsers.

use super::{Result, Tx, find, iso, one, rows, run};
use crate::domain::person::{Person, Role};

const PERSON: &str = "person.id, email, person.name, role, account.id, account.name, account.title";

fn person(row: &tokio_postgres::Row) -> Result<Person> {
    let role: &str = row.try_get(3)?;
    Ok(Person {
        id: row.try_get(0)?,
        email: row.try_get(1)?,
        name: row.try_get(2)?,
        // The table takes no other; whoever had one would look and no more.
        role: Role::of(role).unwrap_or(Role::Viewer),
        account: row.try_get(4)?,
        account_name: row.try_get(5)?,
        account_title: row.try_get(6)?,
    })
}

/// What is needed to judge a password.
#[derive(Clone, Debug)]
pub struct Known {
    /// Who.
    pub person: Person,
    /// The kept hash.
    pub hash: Option<String>,
}

/// A person by e-mail address, with what a password is judged by. The case does not matter.
///
/// # Errors
///
/// The database's.
pub async fn by_email(tx: &Tx<'_>, email: &str) -> Result<Option<Known>> {
    let sql = format!(
        "select {PERSON}, password_hash from person join account on account.id = account_id \
         where lower(email) = lower($1) and not disabled"
    );
    let Some(row) = find(tx, &sql, &[&email]).await? else {
        return Ok(None);
    };
    Ok(Some(Known {
        person: person(&row)?,
        hash: row.try_get(7)?,
    }))
}

/// Wrong passwords for an address after which whoever tries it waits.
const WRONG_MAX: i32 = 10;

/// What wrong passwords for the address `$1` are counted under; the case does not matter.
const ADDRESS: &str = "sha256(convert_to(lower($1::text), 'UTF8'))";

/// Were there too many wrong passwords for this address, the last of them within a minute? Asked and answered
/// alike whether anybody has it.
///
/// # Errors
///
/// The database's.
pub async fn is_locked(tx: &Tx<'_>, email: &str) -> Result<bool> {
    let sql = format!(
        "select exists (select from sign_in_try where address = {ADDRESS} and wrong >= $2 \
             and wrong_at > now() - interval '1 minute')"
    );
    Ok(one(tx, &sql, &[&email, &WRONG_MAX]).await?.try_get(0)?)
}

/// Counts a wrong password for an address, whether anybody has it or not. What nobody tried for a quarter of an hour is
/// forgotten, and passwords are judged slowly, which bounds how many addresses are kept.
///
/// # Errors
///
/// The database's.
pub async fn guessed_wrong(tx: &Tx<'_>, email: &str) -> Result<()> {
    let sql = format!(
        "insert into sign_in_try (address, wrong) values ({ADDRESS}, 1) \
         on conflict (address) do update set wrong_at = now(), \
             wrong = case when sign_in_try.wrong_at > now() - interval '15 minutes' \
                 then sign_in_try.wrong else 0 end + 1"
    );
    run(tx, &sql, &[&email]).await?;
    // After its own row, and without waiting for others', so that two never wait for each other.
    let sql = "delete from sign_in_try where address in ( \
               select address from sign_in_try where wrong_at < now() - interval '15 minutes' \
               limit 100 for update skip locked)";
    run(tx, sql, &[]).await?;
    Ok(())
}

/// Somebody showed their password: wrong ones before are forgotten.
///
/// # Errors
///
/// The database's.
pub async fn let_in(tx: &Tx<'_>, person: &Person) -> Result<()> {
    forget_guesses(tx, &person.email).await?;
    let sql = "update person set last_login_at = now() where id = $1";
    run(tx, sql, &[&person.id]).await?;
    Ok(())
}

async fn forget_guesses(tx: &Tx<'_>, email: &str) -> Result<()> {
    let sql = format!("delete from sign_in_try where address = {ADDRESS}");
    run(tx, &sql, &[&email]).await?;
    Ok(())
}

/// From when on a token of this person counts, seconds since 1970, rounded up; None for somebody who
/// is gone.
///
/// # Errors
///
/// The database's.
pub async fn by_id(tx: &Tx<'_>, id: i64) -> Result<Option<(Person, i64)>> {
    let sql = format!(
        "select {PERSON}, ceil(extract(epoch from greatest(person.tokens_after, \
             account.tokens_after, server_identity.tokens_after, '1970-01-01')))::bigint \
         from person join account on account.id = account_id cross join server_identity \
         where person.id = $1 and not disabled"
    );
    match find(tx, &sql, &[&id]).await? {
        Some(row) => Ok(Some((person(&row)?, row.try_get(7)?))),
        None => Ok(None),
    }
}

/// A person by access key.
///
/// # Errors
///
/// The database's.
pub async fn by_access_key(tx: &Tx<'_>, key: &str) -> Result<Option<Person>> {
    let sql = format!(
        "select {PERSON} from api_credential join person on person.id = person_id \
         join account on account.id = account_id where access_key = $1 and not disabled"
    );
    let row = find(tx, &sql, &[&key]).await?;
    row.as_ref().map(person).transpose()
}

/// Whose tokens are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of a person.
    Person(i64),
    /// Of everybody in an account.
    Account(i64),
    /// Of everybody.
    All,
}

/// Tokens made before now are void. Tokens tell their time in whole seconds, and one that was made after
/// an earlier voiding in this very second tells the next: the mark always moves on by one at least.
///
/// # Errors
///
/// The database's.
pub async fn void_tokens(tx: &Tx<'_>, whose: Whose) -> Result<()> {
    match whose {
        Whose::Person(id) => {
            let sql = "update person set tokens_after = greatest(now(), interval '1 second' + \
                       greatest(tokens_after, (select max(account.tokens_after) from account \
                           where account.id = person.account_id), \
                           (select max(server_identity.tokens_after) from server_identity))) \
                       where id = $1";
            run(tx, sql, &[&id]).await?;
            run(tx, "delete from web_session where person_id = $1", &[&id]).await?;
        }
        Whose::Account(id) => {
            let sql = "update account set tokens_after = greatest(now(), interval '1 second' + \
                       greatest(tokens_after, (select max(person.tokens_after) from person \
                           where person.account_id = account.id), \
                           (select max(server_identity.tokens_after) from server_identity))) \
                       where id = $1";
            run(tx, sql, &[&id]).await?;
            let sql = "delete from web_session using person \
                       where person.id = person_id and account_id = $1";
            run(tx, sql, &[&id]).await?;
        }
        Whose::All => {
            let sql = "update server_identity set tokens_after = greatest(now(), \
                       interval '1 second' + greatest(tokens_after, \
                           (select max(account.tokens_after) from account), \
                           (select max(person.tokens_after) from person)))";
            run(tx, sql, &[]).await?;
            run(tx, "delete from web_session", &[]).await?;
        }
    }
    Ok(())
}

/// Makes a person of an account. None where there is no such account; the number otherwise.
///
/// # Errors
///
/// The database's; that the address is taken among them.
pub async fn make(
    tx: &Tx<'_>,
    account: &str,
    email: &str,
    name: &str,
    role: Role,
    hash: Option<&str>,
) -> Result<Option<i64>> {
    let sql = "insert into person (account_id, email, name, role, password_hash) \
               select id, $2, $3, $4, $5 from account where name = $1 returning id";
    let row = find(tx, sql, &[&account, &email, &name, &role.name(), &hash]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Sets a password, and voids every token and session made by the one before.
///
/// # Errors
///
/// The database's.
pub async fn set_password(tx: &Tx<'_>, person: &Person, hash: &str) -> Result<()> {
    let sql = "update person set password_hash = $2 where id = $1";
    run(tx, sql, &[&person.id, &hash]).await?;
    forget_guesses(tx, &person.email).await?;
    void_tokens(tx, Whose::Person(person.id)).await
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The half that is shown.
    pub access_key: String,
    /// For people.
    pub title: String,
    /// When it was made, ISO 8601.
    pub created: String,
}

/// Most access keys of a person.
pub const CREDENTIALS_MAX: i64 = 50;

/// Notes an access key of a person; its secret half is kept elsewhere, before.
///
/// # Errors
///
/// The database's.
pub async fn add_credential(tx: &Tx<'_>, person: i64, key: &str, title: &str) -> Result<()> {
    let sql = "insert into api_credential (access_key, person_id, title) values ($1, $2, $3)";
    run(tx, sql, &[&key, &person, &title]).await?;
    Ok(())
}

/// The access keys of a person.
///
/// # Errors
///
/// The database's.
pub async fn credentials(tx: &Tx<'_>, person: i64) -> Result<Vec<Credential>> {
    let sql = format!(
        "select access_key, title, {} \
         from api_credential where person_id = $1 order by created_at, access_key",
        iso("created_at")
    );
    let mut credentials = Vec::new();
    for row in rows(tx, &sql, &[&person]).await? {
        credentials.push(Credential {
            access_key: row.try_get(0)?,
            title: row.try_get(1)?,
            created: row.try_get(2)?,
        });
    }
    Ok(credentials)
}

/// Forgets an access key of a person. True where it was one.
///
/// # Errors
///
/// The database's.
pub async fn remove_credential(tx: &Tx<'_>, person: i64, key: &str) -> Result<bool> {
    let sql = "delete from api_credential where person_id = $1 and access_key = $2";
    Ok(run(tx, sql, &[&person, &key]).await? == 1)
}

/// Notes a signed call until it is too old to count. False where it was seen before.
///
/// # Errors
///
/// The database's.
pub async fn first_seen(tx: &Tx<'_>, signature: &[u8], seconds: f64) -> Result<bool> {
    let sql = "delete from api_call_seen where signature in ( \
               select signature from api_call_seen where until < now() limit 100 \
               for update skip locked)";
    run(tx, sql, &[]).await?;
    let sql = "insert into api_call_seen values ($1, now() + make_interval(secs => $2)) \
               on conflict do nothing";
    Ok(run(tx, sql, &[&signature, &seconds]).await? == 1)
}

/// A browser that is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who.
    pub person: Person,
    /// What every form of theirs must hold.
    pub form_token: String,
}

/// Sessions of one person; the oldest makes room.
const SESSIONS_MAX: i64 = 20;

/// Begins a session of 12 hours; those that are over go.
///
/// # Errors
///
/// The database's.
pub async fn begin_session(
    tx: &Tx<'_>,
    person: i64,
    digest: &[u8],
    form_token: &str,
) -> Result<()> {
    run(tx, "delete from web_session where expires_at < now()", &[]).await?;
    let sql = "insert into web_session (digest, person_id, form_token, expires_at) \
               values ($1, $2, $3, now() + interval '12 hours')";
    run(tx, sql, &[&digest, &person, &form_token]).await?;
    let sql = "delete from web_session where person_id = $1 and digest not in ( \
               select digest from web_session where person_id = $1 \
               order by created_at desc limit $2)";
    run(tx, sql, &[&person, &SESSIONS_MAX]).await?;
    Ok(())
}

/// The session of a cookie's digest.
///
/// # Errors
///
/// The database's.
pub async fn session(tx: &Tx<'_>, digest: &[u8]) -> Result<Option<Session>> {
    let sql = format!(
        "select {PERSON}, form_token from web_session join person on person.id = person_id \
         join account on account.id = account_id \
         where digest = $1 and expires_at > now() and not disabled"
    );
    match find(tx, &sql, &[&digest]).await? {
        Some(row) => Ok(Some(Session {
            person: person(&row)?,
            form_token: row.try_get(7)?,
        })),
        None => Ok(None),
    }
}

/// Ends a session.
///
/// # Errors
///
/// The database's.
pub async fn end_session(tx: &Tx<'_>, digest: &[u8]) -> Result<()> {
    run(tx, "delete from web_session where digest = $1", &[&digest]).await?;
    Ok(())
}
