//! How does each page look? Templates over what the store found; maud escapes all of it.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use serde::{Deserialize, Deserializer};

use super::PAGE_ROWS;
use super::guard::{FORM_TOKEN, SURE};
use crate::domain::fields::NAME_CHARS_MAX;
use crate::domain::person::Role;
use crate::store::person::Session;

/// The one script: pages work without it.
pub const LIVE: &str = "/static/live.js";
/// How all of it looks.
pub const STYLE: &str = "/static/style.css";
/// The picture beside the name.
pub const ICON: &str = "/static/icon.svg";

/// Where in the house a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Computers that count.
    Computers,
    /// Those that wait.
    Pending,
    /// What was ordered.
    Activities,
    /// What is installed.
    Packages,
    /// Windows machines.
    Hosts,
}

/// What stands around every page.
pub struct Frame<'a> {
    /// Computers that are accepted, and those that wait.
    pub counts: (i64, i64),
    /// Who looks.
    pub session: &'a Session,
}

impl Frame<'_> {
    /// What every form holds.
    pub fn token(&self) -> Markup {
        token(self.session)
    }

    /// May whoever looks do what this role is needed for?
    pub fn may(&self, role: Role) -> bool {
        self.session.person.role >= role
    }
}

/// A page of somebody who is signed in.
pub fn page(frame: &Frame<'_>, here: Section, title: &str, body: &Markup) -> Html<String> {
    let nav = html! {
        (sections(Some(here), Some(frame.counts)))
        (sign_out(frame.session))
    };
    whole(title, &nav, body, Fresh::Told)
}

/// Who somebody is to whom something is refused.
pub enum Refused<'a> {
    /// Signed in.
    Known(&'a Session),
    /// They show a session, and whether it holds cannot be told now.
    Shown,
    /// Nobody.
    Stranger,
}

/// A page that tells of a refusal. It asks the database for nothing.
pub fn refusal(who: &Refused<'_>, title: &str, body: &Markup, again: Option<u32>) -> Html<String> {
    let nav = html! {
        @match who {
            Refused::Known(session) => { (sections(None, None)) (sign_out(session)) }
            Refused::Shown => { (sections(None, None)) }
            Refused::Stranger => {}
        }
    };
    whole(title, &nav, body, again.map_or(Fresh::Never, Fresh::After))
}

/// The sections of the house, with how many computers are accepted and how many wait, where that is known.
fn sections(here: Option<Section>, counts: Option<(i64, i64)>) -> Markup {
    let (accepted, waiting) = counts.unzip();
    let sections = [
        (Section::Computers, "/computers", "Computers", accepted),
        (Section::Pending, "/pending", "Pending", waiting),
        (Section::Activities, "/activities", "Activities", None),
        (Section::Packages, "/packages", "Packages", None),
        (Section::Hosts, "/hosts", "WSL hosts", None),
    ];
    html! {
        @for (section, path, name, count) in sections {
            a href=(path) aria-current=[(Some(section) == here).then_some("page")] {
                (name) @if let Some(count) = count { " " span class="count" { (count) } }
            }
        }
    }
}

fn sign_out(session: &Session) -> Markup {
    html! {
        form method="post" action="/logout" {
            (token(session))
            span { (session.person.name) }
            button { "Sign out" }
        }
    }
}

fn token(session: &Session) -> Markup {
    html! { input type="hidden" name=(FORM_TOKEN) value=(session.form_token); }
}

/// The page to sign in on, with what was wrong.
pub fn login(next: &str, email: &str, wrong: Option<&str>) -> Html<String> {
    let body = html! {
        form method="post" action="/login" class="card login" {
            @if let Some(wrong) = wrong { p class="wrong" role="alert" { (wrong) } }
            input type="hidden" name="next" value=(next);
            label { "E-mail address"
                input type="text" name="email" value=(email) inputmode="email" autocomplete="username" required; }
            label { "Password"
                input type="password" name="password" autocomplete="current-password" required; }
            button class="first" { "Sign in" }
        }
    };
    whole("Sign in", &html! {}, &body, Fresh::Never)
}

/// How does a page learn that it is old?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fresh {
    /// Its script is told; who is not signed in is told nothing.
    Told,
    /// It is asked for again after so many seconds.
    After(u32),
    /// It does not.
    Never,
}

fn whole(title: &str, nav: &Markup, body: &Markup, fresh: Fresh) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Fresh::After(seconds) = fresh { meta http-equiv="refresh" content=(seconds); }
                title { (title) }
                link rel="icon" type="image/svg+xml" href=(ICON);
                link rel="stylesheet" href=(of(STYLE, super::STYLE));
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                nav aria-label="Portcullis" {
                    a class="brand" href="/" { img src=(ICON) alt="" width="24" height="24"; "Portcullis" }
                    (nav)
                }
                main id="main" tabindex="-1" { h1 { (title) } (body) }
                footer { span { "Times are UTC." } span id="live" {} }
                @if fresh == Fresh::Told { script src=(of(LIVE, super::SCRIPT)) defer {} }
            }
        }
    };
    Html(page.into_string())
}

/// The path of a file with this content: another content has another, so that a browser that keeps files for a while
/// does not show a new page in an old style.
fn of(path: &str, content: &str) -> String {
    // FNV-1a.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = content.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    format!("{path}?{hash:016x}")
}

/// Longest text that is searched for, characters: as long as the longest name.
const TEXT_CHARS_MAX: usize = NAME_CHARS_MAX;

/// A form that searches a list: what stands before the words, the words, and what they are looked for in.
pub fn search(path: &str, before: &Markup, text: &str, among: &str) -> Markup {
    html! {
        form class="search" method="get" action=(path) role="search" {
            (before)
            input type="search" name="text" value=(text) maxlength=(TEXT_CHARS_MAX) placeholder=(among) aria-label=(among);
            button class="first" { "Search" }
        }
    }
}

/// Reads a text by which a list is searched: at most [`TEXT_CHARS_MAX`] characters, which stand in every link of the page.
///
/// # Errors
///
/// It is longer, or no text.
pub fn sought<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.chars().nth(TEXT_CHARS_MAX) {
        None => Ok(text),
        Some(_) => Err(serde::de::Error::custom(format!(
            "more than {TEXT_CHARS_MAX} characters"
        ))),
    }
}

/// In place of a table without rows.
pub fn empty(text: &str) -> Markup {
    html! { p class="card empty" { (text) } }
}

/// How something stands, in a word that the style knows: `succeeded`, `failed`, `in_progress`.
pub fn state(word: &str) -> Markup {
    html! { span class={ "state " (word) } { (word.replace('_', " ")) } }
}

/// The head of a table. The last column may hold what can be pressed, which needs no name to be seen.
pub fn head(columns: &[&str]) -> Markup {
    html! {
        thead { tr { @for name in columns {
            @match name.strip_prefix('(').and_then(|name| name.strip_suffix(')')) {
                Some(name) => { th scope="col" { span class="unseen" { (name) } } }
                None => { th scope="col" { (name) } }
            }
        } } }
    }
}

/// A list that is shown in parts: where it is, what it is asked for, and which part this is.
pub struct Part<'a> {
    /// The path of its page.
    pub path: &'a str,
    /// What else the page is asked for, which all parts are; an empty value is left out.
    pub asked: &'a [(&'a str, &'a str)],
    /// Rows before this part.
    pub from: i64,
    /// Most rows of a part.
    pub most: i64,
    /// There are rows after it.
    pub more: bool,
}

impl<'a> Part<'a> {
    /// The part of a page's usual length that begins after `from` rows.
    pub fn new(path: &'a str, asked: &'a [(&'a str, &'a str)], from: u32) -> Self {
        Part {
            path,
            asked,
            from: from.into(),
            most: PAGE_ROWS,
            more: false,
        }
    }

    /// As many rows as tell whether there are more than the part has.
    pub fn fetched(&self) -> i64 {
        self.most + 1
    }

    /// Cuts off the one row that was fetched beyond the part, and knows from it whether there is more.
    pub fn cut<T>(&mut self, rows: &mut Vec<T>) {
        let most = usize::try_from(self.most).unwrap_or(usize::MAX);
        self.more = rows.len() > most;
        rows.truncate(most);
    }

    /// To the part before this one and the next, where there are such.
    pub fn turns(&self) -> Markup {
        let to = |from: i64| {
            let from = from.to_string();
            let mut asked = self.asked.to_vec();
            asked.push(("from", &from));
            path(self.path, &asked)
        };
        html! {
            @if self.from > 0 || self.more { nav class="turns" aria-label="Pages" {
                @if self.from > 0 { a rel="prev" href=(to((self.from - self.most).max(0))) { "Back" } " " }
                @if self.more { a rel="next" href=(to(self.from + self.most)) { "More" } }
            } }
        }
    }

    /// In place of a table without rows: this text, but where the list ends before this part.
    pub fn empty(&self, text: &str) -> Markup {
        empty(if self.from > 0 {
            "Here is nothing any more."
        } else {
            text
        })
    }
}

/// A path of ours with what is asked; what is empty is left out.
pub fn path(path: &str, asked: &[(&str, &str)]) -> String {
    let mut whole = path.to_owned();
    for (name, value) in asked.iter().filter(|(_, value)| !value.is_empty()) {
        whole.push(if whole.contains('?') { '&' } else { '?' });
        let value = utf8_percent_encode(value, QUERY);
        whole.push_str(&format!("{name}={value}"));
    }
    whole
}

/// All but the unreserved characters (RFC 3986 section 2.3).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is asked before something is done that cannot be undone.
pub struct Doubt<'a> {
    /// What will be, in a sentence or two.
    pub what: &'a str,
    /// Where the form goes.
    pub action: &'a str,
    /// Its fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// What stands on the button.
    pub yes: &'a str,
    /// Where somebody goes who would rather not.
    pub no: &'a str,
}

/// Asks whether whoever pressed a button is sure; the form says that they are.
pub fn doubt(frame: &Frame<'_>, doubt: &Doubt<'_>) -> Markup {
    html! {
        form method="post" action=(doubt.action) class="card doubt" {
            p { (doubt.what) }
            (frame.token())
            @for (name, value) in doubt.fields { input type="hidden" name=(name) value=(value); }
            div class="orders" {
                button class="grave" name=(SURE) value="yes" { (doubt.yes) }
                a class="button" href=(doubt.no) { "Leave it" }
            }
        }
    }
}

/// A time as programs write it, `2026-11-30T11:34:45Z`, as people read it.
pub fn moment(text: &str) -> String {
    text.trim_end_matches('Z').replacen('T', " ", 1)
}

/// The text, or a dash for none.
pub fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("\u{2013}")
}

/// An administrator of this name, for tests of pages.
#[cfg(test)]
pub(super) fn session_of(name: &str) -> Session {
    Session {
        person: crate::domain::person::Person {
            id: 1,
            email: "a@b".to_owned(),
            name: name.to_owned(),
            role: Role::Administrator,
            account: 1,
            account_name: "standalone".to_owned(),
            account_title: "Standalone".to_owned(),
        },
        form_token: "word".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_has_another_path() {
        assert_eq!(of("/a", ""), "/a?cbf29ce484222325");
        assert_eq!(of("/a", "a"), "/a?af63dc4c8601ec8c");
    }

    #[test]
    fn what_was_asked_is_asked_of_every_part() {
        let mut part = Part {
            most: 2,
            ..Part::new("/a", &[("tag", "b&c d"), ("text", "")], 2)
        };
        let mut rows = vec![1, 2, 3];
        part.cut(&mut rows);
        assert_eq!(rows, [1, 2]);
        let text = part.turns().into_string();
        for href in ["/a?tag=b%26c%20d&amp;from=0", "/a?tag=b%26c%20d&amp;from=4"] {
            assert!(text.contains(&format!("href=\"{href}\"")), "{text}");
        }
        part.cut(&mut vec![1]);
        assert!(!part.turns().into_string().contains("More"));
    }

    #[test]
    fn a_text_that_is_searched_for_is_at_most_as_long_as_a_name() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};
        for (letters, read) in [(0, true), (255, true), (256, false)] {
            let text = "\u{e9}".repeat(letters);
            let from: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
            assert_eq!(sought(from).is_ok(), read, "{letters}");
        }
    }

    #[test]
    fn what_somebody_wrote_into_the_login_is_escaped() {
        let hostile = "<script>alert('\"&')</script>";
        let Html(text) = login(hostile, hostile, Some(hostile));
        assert!(!text.contains("<script>"), "{text}");
    }
}
