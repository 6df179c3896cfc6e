//! What does the gateway answer by itself on a route?
//!
//! Reads `redirect:` and `respond:`. Where a client is sent must not be for the client to say: what it sends can stand in
//! the URL behind the authority only.

use super::templates;
use crate::config::model::{Content, Fixed, Piece, Redirect, Template};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;
use crate::config::units::Wrong;

/// `URL`, or `{ to: URL, status: 301, keep_query: false }`.
pub(super) fn redirect(field: &Field<'_>, reader: &mut Reader) -> Option<Redirect> {
    if matches!(&field.node.value, Value::Text(_)) {
        let to = to(field, reader)?;
        let keep_query = !has_query(&to);
        return Some(Redirect {
            to,
            status: 302,
            keep_query,
        });
    }
    let mut keys = reader.keys(field, "a URL, or `{ to: URL, status: 301 }`")?;
    let to_field = keys.need(reader, "to");
    let mut status: u16 = 302;
    keys.set(reader, "status", &mut status, redirect_status);
    let keep = keys.take("keep_query");
    keys.done(reader);
    let to = to(&to_field?, reader)?;
    let keeps = keep.as_ref().and_then(|field| reader.flag(field));
    if let (Some(true), Some(field)) = (keeps, &keep)
        && has_query(&to)
    {
        reader.error(
            field.node.place,
            "`to` has a query or a fragment of its own",
            "write `?{query}` where the query of the request shall stand, without `keep_query`",
        );
    }
    Some(Redirect {
        keep_query: keeps.unwrap_or(!has_query(&to)),
        to,
        status,
    })
}

fn redirect_status(reader: &mut Reader, field: &Field<'_>) -> Option<u16> {
    let status: u16 = reader.number(field, 300..=399)?;
    if [301, 302, 303, 307, 308].contains(&status) {
        return Some(status);
    }
    reader.error(
        field.node.place,
        format!("{status} sends nobody anywhere"),
        "301 and 308 are for good, 302 and 307 for now, 303 after a form; 307 and 308 keep the method",
    );
    None
}

fn has_query(to: &Template) -> bool {
    to.0.iter().any(|piece| match piece {
        Piece::Text(text) => text.contains(['?', '#']),
        Piece::Query => true,
        _ => false,
    })
}

fn to(field: &Field<'_>, reader: &mut Reader) -> Option<Template> {
    let text = reader.text(field, "a URL such as `https://{host}/new{rest}`")?;
    let template = reader.or_tell(field, templates::template(text))?;
    reader.or_tell(field, safe(template, text))
}

/// Only the operator, and the host that the client came to, say which host comes next.
fn safe(template: Template, text: &str) -> Result<Template, Wrong> {
    let wrong = |why: &str, hint: &str| Err((format!("{} {why}", quoted(text)), hint.to_owned()));
    if text.contains(' ') {
        return wrong("has a blank", "write it as `%20`");
    }
    let mut pieces = template.0;
    // A path of this host.
    if text.starts_with('/') || matches!(pieces.first(), Some(Piece::Path)) {
        let doubtful = text.starts_with("//")
            || text.starts_with("/\\")
            || matches!((&pieces[..], pieces.len()), ([Piece::Text(first), ..], 2..) if first == "/");
        if doubtful {
            return wrong(
                "could begin with two slashes, which browsers read as another host",
                "write `/x{rest}`, or `{path}`, which begins with a slash",
            );
        }
        return query_behind_mark(Template(pieces), text);
    }
    let begins = match pieces.first() {
        Some(Piece::Text(first)) => first.starts_with("https://") || first.starts_with("http://"),
        Some(Piece::Scheme) => {
            matches!(pieces.get(1), Some(Piece::Text(second)) if second.starts_with("://"))
        }
        _ => false,
    };
    if !begins {
        return wrong(
            "is neither a URL nor a path",
            "begin with `https://`, `{scheme}://` or `/`",
        );
    }
    // Up to the end of the authority.
    let mut at = 0;
    let mut slashes = false;
    while let Some(piece) = pieces.get_mut(at) {
        match piece {
            Piece::Text(text) => {
                let from = match text.find("://").filter(|_| !slashes) {
                    Some(from) => from + 3,
                    None => 0,
                };
                slashes = true;
                if text[from..].contains(['/', '?', '#']) {
                    break;
                }
            }
            Piece::Scheme if at == 0 => {}
            Piece::Host | Piece::Hostname | Piece::Port => {}
            Piece::Path => break,
            Piece::Rest { slash } => {
                *slash = true;
                break;
            }
            _ => {
                return wrong(
                    "lets a client choose the host",
                    "in front of the path only `{host}`, `{hostname}` and `{port}` can stand",
                );
            }
        }
        at += 1;
    }
    query_behind_mark(Template(pieces), text)
}

/// A query anywhere else would be read as a part of the path.
fn query_behind_mark(template: Template, text: &str) -> Result<Template, Wrong> {
    let query = template.0.iter().position(|piece| *piece == Piece::Query);
    let marked = query.is_none_or(|at| {
        template.0[..at]
            .iter()
            .any(|piece| matches!(piece, Piece::Text(text) if text.contains(['?', '#'])))
    });
    if marked {
        return Ok(template);
    }
    Err((
        format!("{} has the query without its question mark", quoted(text)),
        "write `?{query}`, or leave it out: the query is kept by itself".to_owned(),
    ))
}

/// `STATUS`, or `{ status: 200, body: TEXT, content_type: text/plain }`, or with `file: PATH` in place of `body`.
pub(super) fn respond(field: &Field<'_>, reader: &mut Reader) -> Option<Fixed> {
    if matches!(&field.node.value, Value::Text(_)) {
        return Some(Fixed {
            status: reader.number(field, 200..=599)?,
            content_type: String::new(),
            body: Content::default(),
        });
    }
    let mut keys = reader.keys(field, "a status, or `{ status: 200, body: TEXT }`")?;
    let mut status = 200;
    let status_field = keys.take("status");
    if let Some(field) = &status_field {
        status = reader.number(field, 200..=599)?;
    }
    let (body, file) = (keys.take("body"), keys.take("file"));
    let mut content_type = None;
    keys.set(reader, "content_type", &mut content_type, |r, f| {
        let text = r.text(f, "a type such as `application/json`")?;
        r.or_tell(f, media_type(text)).map(Some)
    });
    keys.done(reader);
    let content = match (body, file) {
        (Some(body), None) => Content {
            place: body.node.place,
            bytes: raw_text(&body, reader)?.into(),
            file: None,
        },
        (None, Some(file)) => Content {
            place: file.node.place,
            file: Some(super::path(reader, &file)?),
            bytes: bytes::Bytes::new(),
        },
        (Some(_), Some(file)) => {
            reader.error(
                file.key,
                "an answer has one of `body` and `file`",
                "remove one of them",
            );
            return None;
        }
        (None, None) => Content::default(),
    };
    let empty = content.file.is_none() && content.bytes.is_empty();
    if [204, 205, 304].contains(&status) && !empty {
        reader.error(
            status_field.map_or(field.key, |field| field.node.place),
            format!("an answer {status} has no body"),
            "remove the body, or choose another status",
        );
    }
    let content_type = content_type.unwrap_or_else(|| match &content.file {
        Some(path) => type_of(path).to_owned(),
        None => "text/plain; charset=utf-8".to_owned(),
    });
    Some(Fixed {
        status,
        content_type: if empty { String::new() } else { content_type },
        body: content,
    })
}

/// A scalar as it stands, blanks and ends of lines included.
pub(super) fn raw_text(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    match &field.node.value {
        Value::Text(text) => Some(text.clone()),
        _ => reader.text(field, "a text").map(str::to_owned),
    }
}

/// What the ending of a file's name says of it.
pub(super) fn type_of(path: &std::path::Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("txt" | "md" | "asc") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn media_type(text: &str) -> Result<String, Wrong> {
    let kind = text.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| super::tokens::is_token(part);
    let good = kind
        .split_once('/')
        .is_some_and(|(a, b)| token(a) && token(b))
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if good {
        return Ok(text.to_owned());
    }
    Err((
        format!("{} is not a media type", quoted(text)),
        "write `text/html; charset=utf-8`, `application/json`".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Template, Wrong> {
        safe(templates::template(text).expect(text), text)
    }

    #[test]
    fn a_client_does_not_say_which_host_comes_next() {
        for text in [
            "https://{host}/new{rest}",
            "https://{hostname}:8443{path}",
            "https://new.example{path}?{query}",
            "{scheme}://new.example/x?from={route}&{query}",
            "http://new.example",
            "https://new.example:{port}/",
            "/new{rest}",
            "/new",
            "/",
            "{path}/",
            "https://new.example?u={path}",
        ] {
            assert!(check(text).is_ok(), "{text}: {:?}", check(text));
        }
        for (text, what) in [
            ("https://{query}", "choose the host"),
            ("https://{request_id}.example/", "choose the host"),
            ("https://new.example{query}", "choose the host"),
            ("https://new.example{method}", "choose the host"),
            ("https://a.example/{query}", "question mark"),
            ("/{rest}", "two slashes"),
            ("/{query}", "two slashes"),
            ("//evil.example", "two slashes"),
            ("/\\evil.example", "two slashes"),
            ("{rest}", "neither"),
            ("{query}", "neither"),
            ("javascript:alert(1)", "neither"),
            ("new.example/x", "neither"),
            ("{scheme}{host}", "neither"),
            ("/a b", "blank"),
        ] {
            let (told, _) = check(text).expect_err(text);
            assert!(told.contains(what), "{text}: {told}");
        }
    }

    #[test]
    fn a_rest_behind_the_host_begins_with_a_slash() {
        let rest = |text| check(text).unwrap().0.pop();
        assert_eq!(
            rest("https://a.example{rest}"),
            Some(Piece::Rest { slash: true })
        );
        assert_eq!(
            rest("https://a.example/x{rest}"),
            Some(Piece::Rest { slash: false })
        );
    }
}
