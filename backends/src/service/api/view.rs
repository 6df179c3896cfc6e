//! How does a thing look in an answer? Computers, activities and scripts as JSON, in the fields that
//! both forms of the API share and those that the newer one adds.

use std::collections::HashMap;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::refusal::{Answer, Refusal};
use crate::domain::order::api_type;
use crate::domain::person::Person;
use crate::store::group::Activity;
use crate::store::listing::{self, Computer, Interface, Pending};
use crate::store::script::Script;
use crate::store::{Result, Tx};

/// What is told of computers beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct With {
    /// Their interfaces.
    pub network: bool,
    /// Their annotations.
    pub annotations: bool,
    /// What they are made of.
    pub hardware: bool,
}

/// These computers as JSON; `newer` adds the fields of version 2.
///
/// # Errors
///
/// The database's.
pub async fn computers(
    tx: &Tx<'_>,
    person: &Person,
    ids: &[i64],
    with: With,
    newer: bool,
) -> Result<Vec<Value>> {
    let found = listing::computers(tx, person.account, ids, with.hardware).await?;
    let mut interfaces = HashMap::new();
    if with.network {
        interfaces = listing::interfaces(tx, ids).await?;
    }
    let mut annotations = HashMap::new();
    if with.annotations {
        annotations = listing::annotations(tx, ids).await?;
    }
    let whole = |one: &Computer| {
        let mut view = computer(one);
        if newer {
            add_newer(&mut view, one);
        }
        if with.network {
            let own = interfaces.get(&one.id).map_or(&[][..], Vec::as_slice);
            let devices: Vec<Value> = own.iter().map(interface).collect();
            view.insert("network_devices".to_owned(), devices.into());
        }
        if with.annotations {
            let own = annotations.get(&one.id).map_or(&[][..], Vec::as_slice);
            let notes: Map<String, Value> = own
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect();
            view.insert("annotations".to_owned(), notes.into());
        }
        if with.hardware {
            view.insert("hardware".to_owned(), json!(one.hardware));
        }
        Value::Object(view)
    };
    Ok(found.iter().map(whole).collect())
}

/// The access group's name for clients.
pub fn access_group(name: &str) -> &str {
    if name.is_empty() { "global" } else { name }
}

fn computer(one: &Computer) -> Map<String, Value> {
    let [_, description, release, _] = &one.distribution;
    let view = json!({
        "id": one.id,
        "title": one.title,
        "comment": one.comment,
        "hostname": one.hostname,
        "total_memory": one.total_memory,
        "total_swap": one.total_swap,
        "reboot_required_flag": one.reboot_required,
        "update_manager_prompt": null,
        "last_ping_time": one.last_ping,
        "last_exchange_time": one.last_exchange,
        "tags": one.tags,
        "access_group": access_group(&one.access_group),
        "distribution": release.as_ref().or(description.as_ref()),
        "cloud_instance_metadata": {},
        "vm_info": one.vm_info,
        "container_info": one.container_info,
    });
    match view {
        Value::Object(view) => view,
        _ => Map::new(),
    }
}

fn add_newer(view: &mut Map<String, Value>, one: &Computer) {
    let pro = one.ubuntu_pro_info.as_deref();
    let pro: Option<Value> = pro.and_then(|text| serde_json::from_str(text).ok());
    for (name, value) in [
        ("clone_id", json!(one.clone_of)),
        ("children", json!([])),
        ("parent", Value::Null),
        ("is_wsl_instance", json!(one.is_wsl)),
        ("default_child", Value::Null),
        ("is_default_child", Value::Null),
        ("ubuntu_pro_info", pro.unwrap_or(Value::Null)),
        ("registered_at", json!(one.registered)),
    ] {
        view.insert(name.to_owned(), value);
    }
}

/// What one computer alone tells beyond a list.
pub fn add_single(view: &mut Value, one: &Computer) {
    let [distributor, description, release, code_name] = &one.distribution;
    let distribution = json!({
        "distributor": distributor,
        "description": description,
        "release": release,
        "code_name": code_name,
    });
    if let Value::Object(view) = view {
        for (name, value) in [
            ("archived", json!(false)),
            ("cloud_init", json!({})),
            ("distribution_info", distribution),
            ("employee_id", Value::Null),
            ("livepatch_info", Value::Null),
            ("num_child", json!(0)),
            ("profiles", json!([])),
        ] {
            view.insert(name.to_owned(), value);
        }
    }
}

fn interface(one: &Interface) -> Value {
    json!({
        "interface": one.name,
        "ip_address": one.ip_address,
        "mac_address": one.mac_address,
        "broadcast_address": one.broadcast_address,
        "netmask": one.netmask,
    })
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

/// A group with how its children stand.
pub fn parent(one: &Activity) -> Value {
    let mut view = activity(one);
    let total: i64 = one.children.iter().map(|(_, count)| *count).sum();
    let statuses: Map<String, Value> = one
        .children
        .iter()
        .map(|(status, count)| (status.clone(), json!(count)))
        .collect();
    view["children_count"] = json!(total);
    view["children_statuses"] = statuses.into();
    view["computer_count"] = json!(total);
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

/// A time as clients write it: ISO 8601, in UTC where no zone is named.
///
/// # Errors
///
/// It is none.
pub fn time_of(text: &str) -> Answer<SystemTime> {
    let read = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let time = read(text).or_else(|| read(&format!("{text}Z")));
    let told = || format!("`{text}` is no time like 2026-11-23T04:04:51Z");
    let time = time.ok_or_else(|| Refusal::argument("InvalidTime", told()))?;
    // Beyond these years a database has no times.
    match time.year() {
        1970..=9999 => Ok(time.into()),
        _ => Err(Refusal::argument("InvalidTime", told())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_zone() {
        let minute = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(60);
        for text in [
            "1970-01-01T00:01:00Z",
            "1970-01-01T00:01:00",
            "1970-01-01T01:01:00+01:00",
        ] {
            assert_eq!(time_of(text).expect(text), minute);
        }
        for text in ["", "now", "1970-01-01", "1969-12-31T00:00:00Z"] {
            assert_eq!(time_of(text).expect_err(text).code, "InvalidTime");
        }
    }
}
