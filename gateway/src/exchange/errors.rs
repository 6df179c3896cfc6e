//! In which words is a client told that something went wrong? Browsers get a page, programs that speak JSON get JSON,
//! everybody else a short text.
//!
//! Promises: what a client did not ask for by name it does not get, so that agents read what they always read; what is
//! filled in is escaped. Does not: speak to gRPC clients, which have their own form. Pure.

use std::fmt::Write as _;

use bytes::Bytes;
use http::StatusCode;

use crate::config::model::{Content, ErrorPage, ErrorPages, ListenerId, RouteId};
use crate::exchange::accept::quality;
use crate::exchange::failure::Answer;
use crate::message::{Fields, Known, Request};
use crate::plan::Plan;

/// The page that browsers get where the configuration has none.
const HTML: &str = include_str!("errors/page.html");
/// The same for programs.
const JSON: &str = concat!(
    r#"{"status":{status},"title":"{reason}","detail":"{message}","#,
    r#""request_id":"{request_id}","retry_after":{retry_after}}"#,
    "\n"
);

/// The forms of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Html,
    /// For programs.
    Json,
    /// For whoever did not say.
    Text,
}

impl Form {
    /// `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Html => "text/html; charset=utf-8",
            Form::Json => "application/json",
            Form::Text => "text/plain; charset=utf-8",
        }
    }
}

/// A page in the client's form; `None` where the short text says all.
pub fn page(
    plan: &Plan,
    on: ListenerId,
    route: Option<RouteId>,
    request: &Request,
    answer: Answer,
    request_id: &str,
) -> Option<(Form, Bytes)> {
    let form = form_of(&request.fields);
    let of_route = route.and_then(|route| plan.route(route).errors.as_deref());
    let of_listener = plan.listener(on).errors.as_deref();
    let levels = [of_route, of_listener, plan.config.errors.as_deref()];
    let own = levels
        .into_iter()
        .flatten()
        .find_map(|pages| of_status(pages, answer.status, form));
    let template = match (own, form) {
        (Some(own), _) => std::str::from_utf8(own).unwrap_or(HTML),
        (None, Form::Html) => HTML,
        (None, Form::Json) => JSON,
        (None, Form::Text) => return None,
    };
    Some((form, filled(template, form, answer, request_id).into()))
}

/// The page of one level: the status itself goes before its class.
fn of_status(pages: &ErrorPages, status: u16, form: Form) -> Option<&[u8]> {
    let fits = |page: &&ErrorPage| page.statuses.contains(status);
    let nearest = pages
        .0
        .iter()
        .filter(fits)
        .filter(|page| page_of(page, form).is_some())
        .min_by_key(|page| page.statuses.1 - page.statuses.0)?;
    page_of(nearest, form).map(|content| &content.bytes[..])
}

fn page_of(page: &ErrorPage, form: Form) -> Option<&Content> {
    match form {
        Form::Html => page.html.as_ref(),
        Form::Json => page.json.as_ref(),
        Form::Text => page.text.as_ref(),
    }
}

/// What the client asks for by name (RFC 9110 section 12.5.1), else the form of what it sent.
pub fn form_of(fields: &Fields) -> Form {
    let mut best: Option<(Form, u16)> = None;
    fields.for_each(|_, name, value| {
        if !name.eq_ignore_ascii_case(b"accept") {
            return;
        }
        for range in value.split(|c| *c == b',') {
            let mut parts = range.split(|c| *c == b';').map(<[u8]>::trim_ascii);
            let kind = parts.next().unwrap_or_default();
            let quality = parts.find_map(quality).unwrap_or(1000);
            if let Some(form) = named(kind)
                && quality > 0
                && best.is_none_or(|(_, other)| quality > other)
            {
                best = Some((form, quality));
            }
        }
    });
    if let Some((form, _)) = best {
        return form;
    }
    let sent = fields.known(Known::ContentType).unwrap_or_default();
    let sent = sent.split(|c| *c == b';').next().unwrap_or_default();
    match named(sent.trim_ascii()) {
        Some(Form::Json) => Form::Json,
        _ => Form::Text,
    }
}

fn named(kind: &[u8]) -> Option<Form> {
    let is = |text: &[u8]| kind.eq_ignore_ascii_case(text);
    let ends = |text: &[u8]| {
        kind.len() > text.len() && kind[kind.len() - text.len()..].eq_ignore_ascii_case(text)
    };
    if is(b"text/html") || is(b"application/xhtml+xml") {
        Some(Form::Html)
    } else if is(b"application/json") || ends(b"+json") {
        Some(Form::Json)
    } else if is(b"text/plain") {
        Some(Form::Text)
    } else {
        None
    }
}

/// The template with its placeholders filled in; any other brace stands for itself.
fn filled(template: &str, form: Form, answer: Answer, request_id: &str) -> String {
    let reason = StatusCode::from_u16(answer.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let mut out = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest[1..].split_once('}').map(|(name, _)| name);
        let known = match name {
            Some("status") => {
                let _ = write!(out, "{}", answer.status);
                true
            }
            Some("reason") => escape(&mut out, form, reason),
            Some("message") => escape(&mut out, form, answer.text),
            Some("request_id") => escape(&mut out, form, request_id),
            Some("retry_after") => {
                match (answer.retry_after, form) {
                    (Some(seconds), _) => {
                        let _ = write!(out, "{seconds}");
                    }
                    (None, Form::Json) => out.push_str("null"),
                    (None, _) => {}
                }
                true
            }
            Some("again") => {
                if answer.retry_after.is_some() {
                    out.push_str(" Please try again in a moment.");
                }
                true
            }
            _ => false,
        };
        match name.filter(|_| known) {
            Some(name) => rest = &rest[name.len() + 2..],
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Always true: the placeholder was known.
fn escape(out: &mut String, form: Form, text: &str) -> bool {
    for c in text.chars() {
        match (form, c) {
            (Form::Html, '&') => out.push_str("&amp;"),
            (Form::Html, '<') => out.push_str("&lt;"),
            (Form::Html, '>') => out.push_str("&gt;"),
            (Form::Html, '"') => out.push_str("&quot;"),
            (Form::Html, '\'') => out.push_str("&#39;"),
            (Form::Json, '"' | '\\') => {
                out.push('\\');
                out.push(c);
            }
            (Form::Json, c) if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            (_, c) => out.push(c),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::config::model::Statuses;
    use crate::exchange::failure::Failure;

    fn fields(fields: &[(&'static str, &str)]) -> Fields {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        Fields::Http2(map)
    }

    #[test]
    fn a_form_is_given_to_who_names_it() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (sent, form) in [
            (&[][..], Form::Text),
            (&[("accept", "*/*")], Form::Text),
            (&[("accept", browser)], Form::Html),
            (&[("accept", "application/json")], Form::Json),
            (&[("accept", "application/vnd.api+json")], Form::Json),
            (
                &[("accept", "application/json, text/plain, */*")],
                Form::Json,
            ),
            (&[("accept", "text/plain, application/json")], Form::Text),
            (
                &[("accept", "text/html;q=0.5, application/json;q=0.9")],
                Form::Json,
            ),
            (&[("accept", "text/html;q=0, */*")], Form::Text),
            (
                &[("accept", "image/png"), ("accept", "Text/HTML")],
                Form::Html,
            ),
            (
                &[("content-type", "application/json; charset=utf-8")],
                Form::Json,
            ),
            (&[("content-type", "text/html")], Form::Text),
            (
                &[("accept", "*/*"), ("content-type", "application/json")],
                Form::Json,
            ),
            (&[("accept", "text/*")], Form::Text),
            (&[("accept", ",;q=,q=1;text/html")], Form::Text),
        ] {
            assert_eq!(form_of(&fields(sent)), form, "{sent:?}");
        }
    }

    #[test]
    fn the_nearest_page_of_a_level_is_taken() {
        let text = |text: &'static str| {
            Some(Content {
                bytes: Bytes::from_static(text.as_bytes()),
                ..Content::default()
            })
        };
        let pages = ErrorPages(vec![
            ErrorPage {
                statuses: Statuses(500, 599),
                html: text("class"),
                json: text("{}"),
                text: None,
            },
            ErrorPage {
                statuses: Statuses(503, 503),
                html: text("one"),
                json: None,
                text: None,
            },
        ]);
        for (status, form, want) in [
            (503, Form::Html, Some("one")),
            (502, Form::Html, Some("class")),
            (503, Form::Json, Some("{}")),
            (503, Form::Text, None),
            (404, Form::Html, None),
        ] {
            let found = of_status(&pages, status, form);
            assert_eq!(found, want.map(str::as_bytes), "{status} {form:?}");
        }
    }

    #[test]
    fn what_is_filled_in_is_escaped_and_other_braces_stand() {
        let answer = Failure::NoWorker.answer();
        let fill = |template, form| filled(template, form, answer, "a\"<b>&\\");
        assert_eq!(
            fill("{status} {reason} {retry_after} {x} { } {", Form::Text),
            "503 Service Unavailable 5 {x} { } {"
        );
        assert_eq!(
            fill("<p title=\"{request_id}\">", Form::Html),
            "<p title=\"a&quot;&lt;b&gt;&amp;\\\">"
        );
        assert_eq!(fill("{request_id}", Form::Json), "a\\\"<b>&\\\\");
        assert_eq!(
            fill("p { color: red }{status}", Form::Html),
            "p { color: red }503"
        );
    }

    #[test]
    fn the_built_in_forms_are_whole() {
        for failure in [Failure::NoWorker, Failure::Denied(403)] {
            let answer = failure.answer();
            let json = filled(JSON, Form::Json, answer, "id-1");
            let json: serde_json::Value = serde_json::from_str(&json).expect(&json);
            assert_eq!(json["status"], answer.status);
            assert_eq!(json["request_id"], "id-1");
            assert_eq!(
                json["retry_after"].as_u64(),
                answer.retry_after.map(u64::from)
            );
            let html = filled(HTML, Form::Html, answer, "id-1");
            assert!(html.contains("<code>id-1</code>"), "{html}");
            for left in ["{status}", "{reason}", "{message}", "{again}"] {
                assert!(!html.contains(left), "{html}");
            }
        }
    }
}
