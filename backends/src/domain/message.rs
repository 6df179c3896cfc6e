//! What does an agent's message say? Its type decides how it is read.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::fields::{Fields, Invalid, Rows, bounded, float, int, name, text, truth};
use super::network::{self, Interface, Traffic};
use super::package::{self, AddPackages, Reported, ReporterResult, UnknownHashes};
use super::report::{
    self, ComputerInfo, Distribution, Mount, OperationResult, Processes, Processor, Users, tags,
};
use crate::bpickle::Value;

/// A message of an accepted computer: one variant for each type of [`super::types::ACCEPTED`] (two
/// types tell how an operation ended).
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// All interfaces that there are now.
    NetworkDevice(Vec<Interface>),
    /// Traffic on them.
    NetworkActivity(Traffic),
    /// Names and sizes.
    ComputerInfo(ComputerInfo),
    /// The operating system.
    Distribution(Distribution),
    /// All processors, by number.
    Processors(BTreeMap<i64, Processor>),
    /// Free memory and swap, MiB.
    Memory(BTreeMap<SystemTime, (i64, i64)>),
    /// Load.
    Load(BTreeMap<SystemTime, f64>),
    /// What changed among the processes.
    Processes(Processes),
    /// File systems, by mount point; those not named stay.
    Mounts(BTreeMap<String, Mount>),
    /// Free space by mount point and time, MiB.
    FreeSpace(BTreeMap<(String, SystemTime), i64>),
    /// What changed among users and groups.
    Users(Users),
    /// How an operation ended.
    OperationResult(OperationResult),
    /// What changed among its packages.
    Packages(Reported),
    /// It wants to know numbers of packages.
    UnknownHashes(UnknownHashes),
    /// It describes packages and wants to know their numbers.
    AddPackages(AddPackages),
    /// How its look at its packages ended.
    ReporterResult(ReporterResult),
    /// How an order to change packages ended, and what it would have needed to install and remove.
    PackagesChanged(OperationResult, Vec<i64>, Vec<i64>),
    /// The agent begins anew; with a number, because we asked for it.
    Resynchronize(Option<i64>),
    /// JSON about the subscription, at most 1 MiB.
    UbuntuPro(String),
    /// All its tags.
    Tags(Vec<String>),
    /// Does it wait for a restart, and for which packages? Only what has changed.
    RebootRequired(Option<bool>, Option<Vec<String>>),
    /// What it is made of, in XML, at most 1 MiB.
    Hardware(String),
}

impl Message {
    /// May the computer have other packages after it?
    pub fn changes_packages(&self) -> bool {
        matches!(self, Self::Packages(_) | Self::Resynchronize(_))
    }
}

/// Why a message is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody asked for messages of this type.
    #[error("messages of this type are not taken")]
    Type,
    /// It is not what its type promises.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// The type of a message; empty where there is none.
pub fn type_of(value: &Value) -> &str {
    value
        .at("type")
        .and_then(Value::as_text)
        .unwrap_or_default()
}

/// Reads a message of an accepted computer. Of lists whose rows stand each for itself those that do not fit are left out, and
/// counted in `rows`.
///
/// # Errors
///
/// A type that is not taken, a field that does not fit, or rows none of which does.
pub fn read(value: &Value, rows: &mut Rows) -> Result<Message, Refusal> {
    let fields = Fields::of(value)?;
    let message_type = fields.get("type", name)?;
    // What stands in every message; its value counts for no more than when it was made.
    fields.optional("timestamp", float)?;
    fields.optional("api", text)?;
    let message = match message_type.as_str() {
        "network-device" => Message::NetworkDevice(network::interfaces(fields, rows)?),
        "network-activity" => Message::NetworkActivity(network::traffic(fields, rows)?),
        "computer-info" => Message::ComputerInfo(report::computer_info(fields, rows)?),
        "distribution-info" => Message::Distribution(report::distribution(fields)?),
        "processor-info" => Message::Processors(report::processors(fields, rows)?),
        "memory-info" => Message::Memory(report::memory(fields, rows)?),
        "load-average" => Message::Load(report::load(fields, rows)?),
        "active-process-info" => Message::Processes(report::processes(fields, rows)?),
        "mount-info" => Message::Mounts(report::mounts(fields, rows)?),
        "free-space" => Message::FreeSpace(report::free_space(fields, rows)?),
        "users" => Message::Users(report::users(fields, rows)?),
        "operation-result" => Message::OperationResult(report::operation_result(fields)?),
        "change-packages-result" => {
            let needs = |field| {
                fields
                    .list(field, maybe)
                    .map(|ids| ids.into_iter().flatten())
            };
            let (install, remove) = (needs("must-install")?, needs("must-remove")?);
            let result = report::change_packages_result(fields)?;
            Message::PackagesChanged(result, install.collect(), remove.collect())
        }
        "packages" => Message::Packages(package::reported(fields, rows)?),
        "unknown-package-hashes" => Message::UnknownHashes(package::unknown_hashes(fields)?),
        "add-packages" => Message::AddPackages(package::add_packages(fields, rows)?),
        "package-reporter-result" => Message::ReporterResult(package::reporter_result(fields)?),
        "resynchronize" => Message::Resynchronize(fields.optional("operation-id", int)?),
        "ubuntu-pro-info" => Message::UbuntuPro(fields.get("ubuntu-pro-info", bounded)?),
        "computer-tags" => {
            let list = fields.optional("tags", bounded)?;
            Message::Tags(tags(&list.unwrap_or_default()))
        }
        "reboot-required-info" => {
            let packages = match fields.find("packages") {
                None => None,
                Some(_) => Some(fields.some("packages", name, rows)?),
            };
            Message::RebootRequired(fields.optional("flag", truth)?, packages)
        }
        "hardware-info" => Message::Hardware(fields.get("data", bounded)?),
        _ => return Err(Refusal::Type),
    };
    rows.check()?;
    Ok(message)
}

/// A number, or nothing where the agent knows none.
fn maybe(value: &Value) -> Result<Option<i64>, &'static str> {
    match value {
        Value::Null => Ok(None),
        value => int(value).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::ACCEPTED;
    use super::*;

    #[test]
    fn every_type_that_is_taken_is_read() {
        for message_type in ACCEPTED {
            let value = Value::dict([("type", message_type.into())]);
            assert_ne!(
                read(&value, &mut Rows::default()),
                Err(Refusal::Type),
                "{message_type}"
            );
        }
        let value = Value::dict([("type", "snaps".into())]);
        assert_eq!(read(&value, &mut Rows::default()), Err(Refusal::Type));
        for value in [
            Value::Null,
            Value::dict([]),
            Value::dict([("type", Value::Int(1))]),
        ] {
            assert!(
                matches!(read(&value, &mut Rows::default()), Err(Refusal::Invalid(_))),
                "{value:?}"
            );
        }
    }

    #[test]
    fn fields_of_a_wrong_kind_are_refused_by_name() {
        for (message_type, field, value) in [
            ("hardware-info", "data", Value::Int(1)),
            ("resynchronize", "timestamp", "now".into()),
            ("resynchronize", "api", Value::Int(3)),
            ("users", "create-users", Value::List(vec![Value::Null])),
            (
                "load-average",
                "load-averages",
                Value::List(vec![Value::Int(1)]),
            ),
            ("operation-result", "operation-id", "seven".into()),
            ("mount-info", "mount-info", Value::Int(1)),
            ("computer-info", "annotations", Value::List(vec![])),
            ("packages", "installed", Value::List(vec!["x".into()])),
            (
                "unknown-package-hashes",
                "hashes",
                Value::List(vec!["short".into()]),
            ),
            (
                "add-packages",
                "packages",
                Value::List(vec![Value::dict([])]),
            ),
            (
                "network-activity",
                "activities",
                Value::dict([("eth0", Value::Int(1))]),
            ),
        ] {
            let value = Value::dict([
                ("type", message_type.into()),
                ("status", Value::Int(6)),
                (field, value),
            ]);
            assert!(
                matches!(read(&value, &mut Rows::default()), Err(Refusal::Invalid(_))),
                "{message_type}"
            );
        }
    }
    #[test]
    fn hardware_and_subscription_have_at_most_a_mebibyte() {
        for (message_type, field) in [
            ("hardware-info", "data"),
            ("ubuntu-pro-info", "ubuntu-pro-info"),
        ] {
            for (length, fits) in [(1 << 20, true), ((1 << 20) + 1, false)] {
                let text = Value::from("x".repeat(length));
                let value = Value::dict([("type", message_type.into()), (field, text)]);
                let read = read(&value, &mut Rows::default());
                assert_eq!(read.is_ok(), fits, "{message_type} {length}");
            }
        }
    }

    /// Every list of a message whose rows stand each for itself: a row that fits, and what does not.
    #[test]
    fn a_row_that_does_not_fit_is_left_out_and_the_others_are_read() {
        let long = "x".repeat(256);
        let at = Value::Int(1_795_406_100);
        let tuple = |values: &[Value]| Value::Tuple(values.to_vec());
        let row = |entries: &[(&str, Value)]| {
            let entries = entries.iter().cloned();
            Value::Dict(entries.map(|(key, value)| (key.into(), value)).collect())
        };
        let mount = |point: &str| {
            let text = [("mount-point", point), ("device", "d"), ("filesystem", "f")];
            let mut mount: Vec<_> = text.map(|(key, value)| (key, value.into())).into();
            mount.push(("total-space", Value::Int(1)));
            tuple(&[at.clone(), row(&mount)])
        };
        let user = |name: &str| {
            let uid = ("uid", Value::Int(1));
            row(&[("username", name.into()), uid, ("enabled", true.into())])
        };
        let group = |name: &str| row(&[("name", name.into()), ("gid", Value::Int(1))]);
        let process = |pid: Value| {
            let numbers = ["uid", "gid", "start-time"].map(|key| (key, Value::Int(1)));
            let texts = ["name", "state"].map(|key| (key, Value::from("R")));
            row(&[&numbers[..], &texts[..], &[("pid", pid)]].concat())
        };
        let processor = |number: Value| row(&[("processor-id", number), ("model", "m".into())]);
        let free = |point: &str| tuple(&[at.clone(), point.into(), Value::Int(1)]);
        for (message_type, field, good, bad) in [
            ("mount-info", "mount-info", mount("/"), mount(&long)),
            ("free-space", "free-space", free("/"), free(&long)),
            ("users", "create-users", user("ada"), user(&long)),
            ("users", "update-users", user("ada"), Value::Null),
            ("users", "create-groups", group("staff"), group(&long)),
            ("users", "update-groups", group("staff"), group("")),
            ("users", "delete-users", "ada".into(), long.as_str().into()),
            ("users", "delete-groups", "staff".into(), Value::Int(1)),
            (
                "active-process-info",
                "add-processes",
                process(Value::Int(1)),
                process("one".into()),
            ),
            (
                "active-process-info",
                "update-processes",
                process(Value::Int(1)),
                Value::Int(1),
            ),
            (
                "active-process-info",
                "kill-processes",
                Value::Int(1),
                Value::Null,
            ),
            (
                "processor-info",
                "processors",
                processor(Value::Int(0)),
                processor(Value::Null),
            ),
            (
                "memory-info",
                "memory-info",
                tuple(&[at.clone(), Value::Int(1), Value::Int(1)]),
                tuple(&[Value::Int(-1), Value::Int(1), Value::Int(1)]),
            ),
            (
                "load-average",
                "load-averages",
                tuple(&[at.clone(), Value::Float(1.5)]),
                tuple(&[at.clone(), "much".into()]),
            ),
            ("packages", "available", Value::Int(7), Value::Int(-7)),
            (
                "reboot-required-info",
                "packages",
                "linux".into(),
                "".into(),
            ),
        ] {
            let told = |rows: &[&Value]| {
                let rows = rows.iter().map(|row| (*row).clone()).collect();
                Value::dict([("type", message_type.into()), (field, Value::List(rows))])
            };
            let mut rows = Rows::default();
            let mixed = read(&told(&[&bad, &good, &bad]), &mut rows);
            assert_eq!(rows.left_out(), 2, "{message_type} {field}");
            let alone = read(&told(&[&good]), &mut Rows::default());
            assert!(alone.is_ok(), "{message_type} {field}: {alone:?}");
            assert_eq!(mixed, alone, "{message_type} {field}");
            let none = read(&told(&[&bad]), &mut Rows::default());
            assert!(none.is_err(), "{message_type} {field}: {none:?}");
        }
    }

    #[test]
    fn a_member_or_an_annotation_that_does_not_fit_is_left_out() {
        let long = "x".repeat(256);
        let names =
            |names: &[&str]| Value::List(names.iter().map(|name| Value::from(*name)).collect());
        let groups = Value::dict([
            ("staff", names(&["ada", &long])),
            ("wheel", Value::Int(1)),
            (long.as_str(), names(&["bob"])),
        ]);
        let value = Value::dict([("type", "users".into()), ("create-group-members", groups)]);
        let mut rows = Rows::default();
        let Ok(Message::Users(told)) = read(&value, &mut rows) else {
            panic!("users");
        };
        let staff = ("staff".to_owned(), ["ada".to_owned()].into());
        assert_eq!(told.put_members, [staff].into());
        assert_eq!(rows.left_out(), 3);
        let notes = Value::dict([
            ("rack", "7".into()),
            (long.as_str(), "8".into()),
            ("row", Value::Null),
        ]);
        let value = Value::dict([("type", "computer-info".into()), ("annotations", notes)]);
        let mut rows = Rows::default();
        let Ok(Message::ComputerInfo(told)) = read(&value, &mut rows) else {
            panic!("names and sizes");
        };
        let notes = BTreeMap::from([("rack".to_owned(), "7".to_owned())]);
        assert_eq!((told.annotations, rows.left_out()), (Some(notes), 2));
    }
}
