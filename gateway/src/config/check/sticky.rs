//! How does a client come back to its worker?
//!
//! Reads `sticky:`.

use super::tokens::token;
use crate::config::model::{SameSite, Secret, Secure, Sticky};
use crate::config::read::{Field, Reader, Zero};
use crate::config::tree::Value;

/// Shorter secrets can be found by trying.
const SECRET_BYTES_MIN: usize = 16;

/// `off`, or the keys of a cookie.
pub(super) fn sticky(field: &Field<'_>, reader: &mut Reader) -> Option<Option<Sticky>> {
    if matches!(&field.node.value, Value::Text(text) if text.trim() == "off") {
        return Some(None);
    }
    let mut keys = reader.keys(field, "`{ cookie: NAME }` or `off`")?;
    let cookie = keys.need(reader, "cookie");
    let cookie = cookie.and_then(|field| token(&field, reader).map(str::to_owned));
    let mut sticky = Sticky {
        cookie: String::new(),
        ttl: None,
        secure: Secure::Auto,
        http_only: true,
        same_site: SameSite::Lax,
        path: "/".to_owned(),
        hide: false,
        secret: None,
    };
    keys.set(reader, "ttl", &mut sticky.ttl, |r, f| match &f.node.value {
        Value::Text(text) if text.trim() == "session" => Some(None),
        _ => r.duration(f, Zero::Senseless).map(Some),
    });
    let words = [
        ("auto", Secure::Auto),
        ("on", Secure::Always),
        ("off", Secure::Never),
    ];
    keys.set(reader, "secure", &mut sticky.secure, |r, f| {
        r.word(f, &words)
    });
    let switch = [("on", true), ("off", false)];
    keys.set(reader, "httponly", &mut sticky.http_only, |r, f| {
        r.word(f, &switch)
    });
    let sites = [
        ("lax", SameSite::Lax),
        ("strict", SameSite::Strict),
        ("none", SameSite::None),
    ];
    let site = keys.take("samesite");
    if let Some(read) = site.as_ref().and_then(|field| reader.word(field, &sites)) {
        sticky.same_site = read;
    }
    keys.set(reader, "path", &mut sticky.path, |r, f| path(r, f));
    keys.set(reader, "hide", &mut sticky.hide, |r, f| r.word(f, &switch));
    keys.set(reader, "secret", &mut sticky.secret, |r, f| secret(r, f));
    keys.done(reader);
    if let Some(field) = site
        && sticky.same_site == SameSite::None
        && sticky.secure == Secure::Never
    {
        reader.error(
            field.node.place,
            format!(
                "`{}`: browsers drop such a cookie without `Secure`",
                field.path
            ),
            "write `secure: on`, or `samesite: lax`",
        );
    }
    sticky.cookie = cookie?;
    Some(Some(sticky))
}

/// RFC 6265 section 4.1.1: what a path of a cookie may be made of.
fn path(reader: &mut Reader, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field, "a path such as `/`")?;
    let may = |b: u8| b.is_ascii_graphic() && b != b';';
    if text.starts_with('/') && text.len() <= 1024 && text.bytes().all(may) {
        return Some(text.to_owned());
    }
    reader.error(
        field.node.place,
        format!("`{}` is not the path of a cookie", field.path),
        "it begins with `/` and has no blank and no `;`",
    );
    None
}

fn secret(reader: &mut Reader, field: &Field<'_>) -> Option<Option<Secret>> {
    let text = reader.text(field, "a secret, from the environment: `${STICKY_SECRET}`")?;
    if text.len() >= SECRET_BYTES_MIN {
        return Some(Some(Secret(text.to_owned())));
    }
    reader.error(
        field.node.place,
        format!("`{}` is shorter than {SECRET_BYTES_MIN} bytes", field.path),
        "`openssl rand -hex 16` makes one",
    );
    None
}
