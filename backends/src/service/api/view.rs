//! How does a thing look in an answer? Activities, scripts and those who wait as JSON, in the fields that
//! both forms of the API share and those that the newer one adds. Computers are in `machine`.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::refusal::{Answer, Refusal};
use crate::domain::order::api_type;
use crate::store::group::Activity;
use crate::store::listing::Pending;
use crate::store::script::Script;

/// The access group's name for clients.
pub fn access_group(name: &str) -> &str {
    if name.is_empty() { "global" } else { name }
}

/// A computer that waits.
pub fn pending(one: &Pending) -> Value {
    json!({
        "id": one.id,
        "title": one.title,
        "hostname": one.hostname,
        "creation_time": one.created,
        "vm_info": one.vm_info,
        "client_tags": one.tags,
    })
}

fn creator(creator: Option<&(i64, String, String)>) -> Value {
    match creator {
        Some((id, name, email)) => json!({"id": id, "name": name, "email": email}),
        None => Value::Null,
    }
}

/// An activity, or a group.
pub fn activity(one: &Activity) -> Value {
    let group = one.computer.is_none();
    let kind = match group {
        true => "ActivityGroup",
        false => api_type(&one.message_type, &one.summary),
    };
    let mut view = json!({
        "id": one.id,
        "creation_time": one.created,
        "creator": creator(one.creator.as_ref()),
        "type": kind,
        "summary": one.summary,
        "computer_id": one.computer,
        "parent_id": one.parent,
        "activity_status": one.status,
        "result_text": one.result_text,
        "result_code": one.result_code,
        "approval_time": null,
        "delivery_time": one.delivered,
        "deliver_after_time": one.deliver_after,
        "completion_time": one.completed,
        "modification_time": one.modified,
    });
    if group {
        view["deliver_delay_window"] = json!(one.delay_window);
    }
    view
}

/// An activity with how many children it has, and how these stand: none where it is no group.
pub fn whole(one: &Activity) -> Value {
    let mut view = activity(one);
    let total: i64 = one.children.iter().map(|(_, count)| *count).sum();
    let statuses: Map<String, Value> = one
        .children
        .iter()
        .map(|(status, count)| (status.clone(), json!(count)))
        .collect();
    view["children_count"] = json!(total);
    view["children_statuses"] = statuses.into();
    view
}

/// A group with how its children stand; each is of a computer of its own.
pub fn parent(one: &Activity) -> Value {
    let mut view = whole(one);
    view["computer_count"] = view["children_count"].clone();
    view
}

/// A script, without its code.
pub fn script(one: &Script) -> Value {
    json!({
        "id": one.id,
        "title": one.title,
        "time_limit": one.time_limit,
        "username": one.username,
        "access_group": access_group(&one.access_group),
        "creator": creator(one.creator.as_ref()),
        "attachments": one.attachments.keys().collect::<Vec<_>>(),
    })
}

/// A script with its code and times.
pub fn whole_script(one: &Script) -> Value {
    let mut view = script(one);
    view["interpreter"] = json!(one.interpreter);
    view["code"] = json!(one.code);
    view["created_at"] = json!(one.created);
    view["last_edited_at"] = json!(one.modified);
    view
}

/// A time as clients write it: ISO 8601, in UTC where no zone is named, on the minute where no seconds are.
///
/// # Errors
///
/// It is none.
pub fn time_of(text: &str) -> Answer<SystemTime> {
    /// `YYYY-MM-DDTHH:MM`
    const MINUTE: usize = 16;
    let read = |text: &str| {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok();
        time.or_else(|| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339).ok())
    };
    let on_the_minute = || {
        let (minute, zone) = text.split_at_checked(MINUTE)?;
        read(&format!("{minute}:00{zone}"))
    };
    let time = read(text).or_else(on_the_minute);
    let told = || format!("`{text}` is no time like 2026-11-23T04:04:51Z");
    let time = time.ok_or_else(|| Refusal::argument("InvalidTime", told()))?;
    // Beyond these years a database has no times.
    match time.year() {
        1970..=9999 => Ok(time.into()),
        _ => Err(Refusal::argument("InvalidTime", told())),
    }
}

/// Bytes as clients write them: base64, also in lines, as the program of that name makes them. None for anything else.
pub fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let whole: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(whole).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_base64_in_lines_or_not() {
        for text in ["aGVsbG8=", "aGVs\nbG8=\n", " aGVs\r\nbG8= "] {
            assert_eq!(bytes_of(text), Some(b"hello".to_vec()), "{text:?}");
        }
        assert_eq!(bytes_of(""), Some(Vec::new()));
        for wrong in ["aGVsbG8", "!", "aGVs\u{a0}bG8="] {
            assert_eq!(bytes_of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn times_are_read_with_and_without_a_zone() {
        let minute = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(60);
        for text in [
            "1970-01-01T00:01:00Z",
            "1970-01-01T00:01:00",
            "1970-01-01T01:01:00+01:00",
            "1970-01-01T00:01:00.000Z",
            "1970-01-01T00:01",
            "1970-01-01T00:01Z",
            "1970-01-01T02:01+02:00",
        ] {
            assert_eq!(time_of(text).expect(text), minute);
        }
        for text in [
            "",
            "now",
            "1970-01-01",
            "1970-01-01T00:01:",
            "1970-01-01T00:61",
            "1970-01-01T00:01é",
            "1969-12-31T00:00:00Z",
        ] {
            assert_eq!(time_of(text).expect_err(text).code, "InvalidTime");
        }
    }
}
