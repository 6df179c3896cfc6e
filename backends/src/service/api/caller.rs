//! Who calls, and with what? A person by token or by a browser's session, and the request as handlers want it.

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::Desk;
use super::ROWS_MAX;
use super::meant;
use super::named::named;
use super::package_order::window;
use super::refusal::{Answer, Mistakes, Refusal};
use super::view;
use crate::domain::person::{Person, Role};
use crate::domain::signature::{Parameters, parameters};
use crate::domain::{query::Query, token};
use crate::service::session_cookie::{cookie, digest_of, is_of_tls, is_ours, says_where_from};
use crate::store;
use crate::store::group::Timing;

/// The person whose token stands in `Authorization: Bearer`; None where there is no such field.
///
/// # Errors
///
/// The token is nobody's, or it cannot be told now.
pub async fn bearer(desk: &Desk, headers: &HeaderMap) -> Answer<Option<Person>> {
    let shown = headers.get(header::AUTHORIZATION);
    let Some(shown) = shown.and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let Some((scheme, shown)) = shown.split_once(' ') else {
        return Err(Refusal::nobody("Authorization is `Bearer` and a token"));
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::nobody("Authorization is `Bearer` and a token"));
    }
    let secret = desk.secrets.token_signing().await?;
    let void = || Refusal::nobody("the token is not valid, or no longer");
    let claims = token::verify(shown.trim(), &secret).ok_or_else(void)?;
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let known = store::person::by_id(&tx, claims.id).await?;
    match known {
        Some((person, mark)) if claims.iat >= mark && person.account_name == claims.acc => {
            Ok(Some(person))
        }
        _ => Err(void()),
    }
}

/// The person whose browser is signed in at the pages; None where no session is shown, or one that is over.
///
/// A browser shows it whoever lured it into asking. What changes something must be no GET, which a link can
/// be, and come from a page of ours.
///
/// # Errors
///
/// Another site asks for a change, or it cannot be told now.
pub async fn by_session(
    desk: &Desk,
    headers: &HeaderMap,
    change: Option<&Method>,
) -> Answer<Option<Person>> {
    let Some(cookie) = cookie(headers) else {
        return Ok(None);
    };
    let session = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        store::person::session(&tx, &digest_of(cookie)).await?
    };
    match (session, change) {
        (Some(_), Some(method))
            if matches!(*method, Method::GET | Method::HEAD)
                || !is_ours(headers)
                || !is_of_tls(headers) =>
        {
            Err(from_elsewhere())
        }
        (session, _) => Ok(session.map(|session| session.person)),
    }
}

/// Somebody else than a page of ours asks for a change with a session.
pub fn from_elsewhere() -> Refusal {
    let message = "with a session, a page of this site asks for changes, by POST";
    Refusal::new(StatusCode::FORBIDDEN, "Unauthorised", message)
}

/// A request of version 2.
pub struct Asked {
    /// Who asks.
    pub person: Person,
    /// They are known by their browser's session, and showed no token.
    by_session: bool,
    /// The query's parameters.
    pub query: Parameters,
    /// The body; null for a GET.
    pub body: Value,
    /// The URL up to the query, as the client sees it.
    url: String,
}

impl FromRequest<Desk> for Asked {
    type Rejection = Refusal;

    async fn from_request(request: Request, desk: &Desk) -> Answer<Self> {
        let (head, body) = request.into_parts();
        let changes = !matches!(head.method, Method::GET | Method::HEAD);
        let change = changes.then_some(&head.method);
        let (person, by_session) = match bearer(desk, &head.headers).await? {
            None => (by_session(desk, &head.headers, change).await?, true),
            person => (person, false),
        };
        let person = person.ok_or_else(|| Refusal::nobody("log in first"))?;
        // A `+` of a query is a space, as browsers and most libraries write it.
        let query = head.uri.query().unwrap_or_default().replace('+', "%20");
        let query = parameters(&query).map_err(|told| Refusal::argument("InvalidQuery", told))?;
        let most = desk.settings.intake.body_bytes_max;
        let body = match changes {
            false => Value::Null,
            true if by_session && !says_where_from(&head.headers) => {
                json_body(&head.headers, body, most).await?
            }
            true => body_or_none(&head.headers, body, most).await?,
        };
        let url = url(&head.headers, &head.extensions, head.uri.path());
        Ok(Self {
            person,
            by_session,
            query,
            body,
            url,
        })
    }
}

fn url(headers: &HeaderMap, extensions: &axum::http::Extensions, path: &str) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text("x-forwarded-proto").unwrap_or("https");
    let host = text("host").unwrap_or("localhost");
    // Below a nested router the path is what is left of it.
    let whole = extensions.get::<axum::extract::OriginalUri>();
    let path = whole.map_or(path, |uri| uri.0.path());
    format!("{scheme}://{host}{path}")
}

fn not_json() -> Refusal {
    let message = "Content-Type must be application/json";
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Refusal::new(status, "UnsupportedMediaType", message)
}

/// The JSON of a body as [`json_body`] reads it. Who sends none needs not say what it is, as clients do where
/// none is described.
///
/// # Errors
///
/// It is something else, or too much.
async fn body_or_none(headers: &HeaderMap, body: Body, most: usize) -> Answer<Value> {
    if headers.contains_key(header::CONTENT_TYPE) {
        return json_body(headers, body, most).await;
    }
    match to_bytes(body, 0).await {
        Ok(_) => Ok(json!({})),
        Err(_) => Err(not_json()),
    }
}

/// The JSON of a body that says it is JSON. Nothing at all is an empty object.
///
/// # Errors
///
/// It is something else, or too much.
pub async fn json_body(headers: &HeaderMap, body: Body, most: usize) -> Answer<Value> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(not_json());
    }
    let body = to_bytes(body, most).await.map_err(|_| {
        let message = format!("the body has more than {most} bytes, or did not arrive");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message)
    })?;
    if body.is_empty() {
        return Ok(json!({}));
    }
    let value = serde_json::from_slice(&body);
    let value: Value =
        value.map_err(|cause| Refusal::argument("InvalidJSON", cause.to_string()))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(Refusal::argument(
            "InvalidJSON",
            "the body must be an object",
        )),
    }
}

/// Which rows are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// From which on.
    pub offset: i64,
    /// How many.
    pub limit: i64,
}

impl Span {
    /// Reads `limit` and `offset`.
    ///
    /// # Errors
    ///
    /// One of them is no number, or out of its range.
    pub fn of(parameters: &Parameters) -> Answer<Self> {
        let number = |name: &str, least: i64, default: i64| {
            let Some(text) = parameters.get(name).filter(|text| !text.is_empty()) else {
                return Ok(default);
            };
            let number = text.parse::<i64>().ok().filter(|number| *number >= least);
            let told = || format!("`{name}` is a number of at least {least}, not `{text}`");
            number.ok_or_else(|| Refusal::argument("InvalidParameter", told()))
        };
        let mut mistakes = Mistakes::default();
        let span = Self {
            offset: mistakes.keep(number("offset", 0, 0)),
            limit: mistakes.keep(number("limit", 1, ROWS_MAX)).min(ROWS_MAX),
        };
        mistakes.none().map(|()| span)
    }
}

impl Asked {
    /// Refuses whoever has less than this role.
    ///
    /// # Errors
    ///
    /// The role is less.
    pub fn as_at_least(&self, role: Role) -> Answer<&Person> {
        at_least(&self.person, role)
    }

    /// Refuses whoever is known by a session alone: what is given here would outlive it.
    ///
    /// # Errors
    ///
    /// They showed no token.
    pub fn by_token(&self) -> Answer<&Person> {
        match self.by_session {
            true => Err(Refusal::nobody(
                "a session gets no token and no key: log in first",
            )),
            false => Ok(&self.person),
        }
    }

    /// Is a switch of the query on? None is off.
    ///
    /// # Errors
    ///
    /// It is neither on nor off.
    pub fn flag(&self, name: &str) -> Answer<bool> {
        Ok(self.choice(name)?.unwrap_or(false))
    }

    /// A switch of the query, where it is given.
    ///
    /// # Errors
    ///
    /// It is neither on nor off.
    pub fn choice(&self, name: &str) -> Answer<Option<bool>> {
        match self.query.get(name).map_or("", String::as_str) {
            "" => Ok(None),
            text if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            text if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            text => Err(wrong(name, &format!("true or false, not `{text}`"))),
        }
    }

    /// When an order is delivered: `deliver_after` and `deliver_delay_window` of the body, or of the URL.
    ///
    /// # Errors
    ///
    /// One of them is none.
    pub fn timing(&self) -> Answer<Timing> {
        let of_url = |name: &str| self.query.get(name).filter(|text| !text.is_empty());
        let mut mistakes = Mistakes::default();
        let after = mistakes.keep(self.text("deliver_after"));
        let after = after.or_else(|| of_url("deliver_after").map(String::as_str));
        let minutes = match mistakes.keep(self.number("deliver_delay_window")) {
            // No number is told as one that is out of its range.
            None => of_url("deliver_delay_window").map(|text| text.parse().unwrap_or(-1)),
            told => told,
        };
        let timing = Timing {
            after: mistakes.keep(after.map(view::time_of).transpose()),
            window: mistakes.keep(window(minutes)),
        };
        mistakes.none().map(|()| timing)
    }

    /// A list of the query: `name.1=a&name.2=b`, or `name=a,b`.
    pub fn list(&self, name: &str) -> Vec<String> {
        let whole = self.query.get(name).map_or("", String::as_str);
        let whole = whole.split(',').map(str::trim);
        let prefix = format!("{name}.");
        let single = self.query.iter();
        let single = single.filter(|(key, _)| key.starts_with(&prefix));
        let all = whole.chain(single.map(|(_, value)| value.as_str()));
        all.filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The computers that `query` of the URL means.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn computers(&self) -> Answer<Query> {
        Ok(Query::read(
            self.query.get("query").map_or("", String::as_str),
        )?)
    }

    /// A text of the body.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn text(&self, name: &str) -> Answer<Option<&str>> {
        text_of(&self.body, name)
    }

    /// A text of one name, of the body; an empty one is none.
    ///
    /// # Errors
    ///
    /// It is something else, or too long.
    pub fn name(&self, parameter: &str) -> Answer<Option<&str>> {
        named(parameter, self.text(parameter)?)
    }

    /// A text of the body that must be there.
    ///
    /// # Errors
    ///
    /// It is missing, or something else.
    pub fn needed(&self, name: &str) -> Answer<&str> {
        self.text(name)?.ok_or_else(|| Refusal::missing(name))
    }

    /// A list of texts of the body; none is empty.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn texts(&self, name: &str) -> Answer<Vec<String>> {
        let told = || wrong(name, "a list of texts");
        let list = match self.body.get(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(value) => value.as_array().ok_or_else(told)?,
        };
        let text = |value: &Value| {
            let text = value.as_str().filter(|text| !text.contains('\0'));
            text.map(str::to_owned).ok_or_else(told)
        };
        list.iter().map(text).collect()
    }

    /// A number of the body.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn number(&self, name: &str) -> Answer<Option<i64>> {
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(name, "a number")),
            },
        }
    }

    /// A switch of the body; none is off.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn truth(&self, name: &str) -> Answer<bool> {
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// A list of numbers of the body that must be there.
    ///
    /// # Errors
    ///
    /// It is missing, or something else.
    pub fn numbers(&self, name: &str) -> Answer<Vec<i64>> {
        let told = || wrong(name, "a list of numbers");
        match self.body.get(name) {
            None | Some(Value::Null) => Err(Refusal::missing(name)),
            Some(value) => {
                let list = value.as_array().ok_or_else(told)?;
                let numbers: Option<Vec<i64>> = list.iter().map(Value::as_i64).collect();
                numbers.ok_or_else(told)
            }
        }
    }

    /// The computers that `computer_ids` of the body names, each once; at least one.
    ///
    /// # Errors
    ///
    /// It is missing, or something else, or they are too many.
    pub fn computer_ids(&self) -> Answer<Vec<i64>> {
        match meant::each_once(self.numbers("computer_ids")?)? {
            ids if ids.is_empty() => Err(Refusal::missing("computer_ids")),
            ids => Ok(ids),
        }
    }

    /// A page of a list: how many there are, these, and where the next and the previous ones are.
    pub fn page(&self, span: Span, count: i64, results: Vec<Value>) -> Value {
        let next = span.offset.saturating_add(span.limit);
        let next = (next < count).then(|| self.turn(span, next));
        let previous =
            (span.offset > 0).then(|| self.turn(span, (span.offset - span.limit).max(0)));
        json!({"count": count, "results": results, "next": next, "previous": previous})
    }

    fn turn(&self, span: Span, offset: i64) -> String {
        let mut query: BTreeMap<_, _> = self.query.clone();
        query.insert("limit".to_owned(), span.limit.to_string());
        query.insert("offset".to_owned(), offset.to_string());
        let coded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs = query.iter().map(|(name, value)| match name.as_str() {
            // As they are: these are names of ours and numbers.
            "limit" | "offset" => format!("{name}={value}"),
            _ => format!("{}={}", coded(name), coded(value)),
        });
        format!("{}?{}", self.url, pairs.collect::<Vec<_>>().join("&"))
    }
}

fn wrong(name: &str, what: &str) -> Refusal {
    Refusal::argument("InvalidParameter", format!("`{name}` is {what}"))
}

/// A text of an object.
///
/// # Errors
///
/// It is something else.
pub fn text_of<'a>(body: &'a Value, name: &str) -> Answer<Option<&'a str>> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.contains('\0') => Ok(Some(text)),
        Some(_) => Err(wrong(name, "a text")),
    }
}

/// Refuses whoever has less than this role.
///
/// # Errors
///
/// The role is less.
pub fn at_least(person: &Person, role: Role) -> Answer<&Person> {
    match person.role >= role {
        true => Ok(person),
        false => Err(Refusal::not_theirs()),
    }
}
