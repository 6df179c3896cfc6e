//! How does a caller get a token, and how does one become void?

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::super::Desk;
use super::super::caller::{Asked, json_body, text_of};
use super::super::refusal::{Answer, Mistakes, Refusal};
use crate::domain::person::{FIRST_ACCOUNT, Person, Role};
use crate::domain::token::{self, Claims};
use crate::secret::Name;
use crate::store;
use crate::store::person::Whose;

/// How long a token is good, minutes: a day, if nothing else is asked for, and at most a month.
const MINUTES: i64 = 24 * 60;
const MINUTES_MAX: i64 = 31 * 24 * 60;
/// Largest login, bytes.
const LOGIN_BYTES_MAX: usize = 64 * 1024;

/// A text of a body that must be there.
fn needed<'a>(body: &'a Value, name: &str) -> Answer<&'a str> {
    text_of(body, name)?.ok_or_else(|| Refusal::missing(name))
}

/// `POST /login`
pub async fn by_password(
    State(desk): State<Desk>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Value>> {
    let body = json_body(&headers, body, LOGIN_BYTES_MAX).await?;
    let email = text_of(&body, "email").and_then(|email| match email {
        Some(email) => Ok(email),
        None => text_of(&body, "identity")?.ok_or_else(|| Refusal::missing("email")),
    });
    let mut mistakes = Mistakes::default();
    let (email, password) = (
        mistakes.keep(email),
        mistakes.keep(needed(&body, "password")),
    );
    let account = mistakes.keep(text_of(&body, "account"));
    let minutes = mistakes.keep(minutes(&body));
    mistakes.none()?;
    let person = desk.judge.person(email, password).await?;
    of_account(&person, account)?;
    told(&desk, person, minutes).await
}

/// `POST /login/access-key`
pub async fn by_access_key(
    State(desk): State<Desk>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Value>> {
    let body = json_body(&headers, body, LOGIN_BYTES_MAX).await?;
    let mut mistakes = Mistakes::default();
    let key = mistakes.keep(needed(&body, "access_key"));
    let said = mistakes.keep(needed(&body, "secret_key"));
    let minutes = mistakes.keep(minutes(&body));
    mistakes.none()?;
    let wrong = || {
        let message = "wrong access key or secret key";
        Refusal::new(StatusCode::UNAUTHORIZED, "InvalidCredentials", message)
    };
    let person = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        store::person::by_access_key(&tx, key).await?
    };
    let person = person.ok_or_else(wrong)?;
    let secret = desk.secrets.get(Name::ApiKey(key)).await?;
    let right = secret.is_some_and(|secret| {
        let (secret, said) = (secret.as_bytes(), said.as_bytes());
        aws_lc_rs::constant_time::verify_slices_are_equal(secret, said).is_ok()
    });
    match right {
        true => told(&desk, person, minutes).await,
        false => Err(wrong()),
    }
}

/// `POST /switch-account`
pub async fn switch_account(State(desk): State<Desk>, asked: Asked) -> Answer<Json<Value>> {
    let account = asked.text("account").and_then(|account| match account {
        Some(account) => Ok(account),
        None => asked.needed("account_name"),
    });
    let mut mistakes = Mistakes::default();
    let account = mistakes.keep(account);
    let minutes = mistakes.keep(minutes(&asked.body));
    mistakes.none()?;
    of_account(asked.by_token()?, Some(account))?;
    told(&desk, asked.person, minutes).await
}

/// A person belongs to one account.
fn of_account(person: &Person, account: Option<&str>) -> Answer<()> {
    match account {
        Some(account) if account != person.account_name => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "Unauthorised",
            format!("you are not of the account `{account}`"),
        )),
        _ => Ok(()),
    }
}

fn minutes(body: &Value) -> Answer<i64> {
    let told = || format!("`expiry_minutes` is a number from 1 to {MINUTES_MAX}");
    match body.get("expiry_minutes") {
        None | Some(Value::Null) => Ok(MINUTES),
        Some(value) => value
            .as_i64()
            .filter(|minutes| (1..=MINUTES_MAX).contains(minutes))
            .ok_or_else(|| Refusal::argument("InvalidParameter", told())),
    }
}

/// A token for a person, and who that is.
async fn told(desk: &Desk, person: Person, minutes: i64) -> Answer<Json<Value>> {
    let mark = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let known = store::person::by_id(&tx, person.id).await?;
        known.map_or(0, |(_, mark)| mark)
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    // Whoever voided the old ones in this very second has a new one that counts.
    let iat = now.max(mark);
    let claims = Claims {
        exp: now.saturating_add(minutes.saturating_mul(60)),
        iat,
        sub: person.email.clone(),
        acc: person.account_name.clone(),
        id: person.id,
    };
    let secret = desk.secrets.token_signing().await?;
    let token = token::sign(&claims, &secret);
    let token = token.ok_or_else(|| Refusal::later("no token can be made"))?;
    let account = json!({
        "name": person.account_name,
        "title": person.account_title,
        "default": true,
    });
    Ok(Json(json!({
        "token": token,
        "email": person.email,
        "name": person.name,
        "accounts": [account],
        "current_account": person.account_name,
        "self_hosted": true,
    })))
}

/// `POST /tokens/invalidate-me`
pub async fn invalidate_me(State(desk): State<Desk>, asked: Asked) -> Answer<StatusCode> {
    void(&desk, Whose::Person(asked.person.id)).await
}

/// `POST /tokens/invalidate-account`
pub async fn invalidate_account(State(desk): State<Desk>, asked: Asked) -> Answer<StatusCode> {
    let person = asked.as_at_least(Role::Administrator)?;
    void(&desk, Whose::Account(person.account)).await
}

/// `POST /tokens/invalidate-system`: also those of other accounts, so that not every account's
/// administrators may.
pub async fn invalidate_system(State(desk): State<Desk>, asked: Asked) -> Answer<StatusCode> {
    let person = asked.as_at_least(Role::Administrator)?;
    if person.account_name != FIRST_ACCOUNT {
        return Err(Refusal::not_theirs());
    }
    void(&desk, Whose::All).await
}

async fn void(desk: &Desk, whose: Whose) -> Answer<StatusCode> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    store::person::void_tokens(&tx, whose).await?;
    store::commit(tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
