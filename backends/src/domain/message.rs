//! What does an agent's message say? Its type decides how it is read.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::fields::{Fields, Invalid, float, int, name, text, truth};
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
    /// JSON about the subscription.
    UbuntuPro(String),
    /// All its tags.
    Tags(Vec<String>),
    /// Does it wait for a restart, and for which packages? Only what has changed.
    RebootRequired(Option<bool>, Option<Vec<String>>),
    /// What it is made of, in XML.
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

/// Reads a message of an accepted computer.
///
/// # Errors
///
/// A type that is not taken, or a field that does not fit.
pub fn read(value: &Value) -> Result<Message, Refusal> {
    let fields = Fields::of(value)?;
    let message_type = fields.get("type", name)?;
    // What stands in every message; its value counts for no more than when it was made.
    fields.optional("timestamp", float)?;
    fields.optional("api", text)?;
    let message = match message_type.as_str() {
        "network-device" => Message::NetworkDevice(network::interfaces(fields)?),
        "network-activity" => Message::NetworkActivity(network::traffic(fields)?),
        "computer-info" => Message::ComputerInfo(report::computer_info(fields)?),
        "distribution-info" => Message::Distribution(report::distribution(fields)?),
        "processor-info" => Message::Processors(report::processors(fields)?),
        "memory-info" => Message::Memory(report::memory(fields)?),
        "load-average" => Message::Load(report::load(fields)?),
        "active-process-info" => Message::Processes(report::processes(fields)?),
        "mount-info" => Message::Mounts(report::mounts(fields)?),
        "free-space" => Message::FreeSpace(report::free_space(fields)?),
        "users" => Message::Users(report::users(fields)?),
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
        "packages" => Message::Packages(package::reported(fields)?),
        "unknown-package-hashes" => Message::UnknownHashes(package::unknown_hashes(fields)?),
        "add-packages" => Message::AddPackages(package::add_packages(fields)?),
        "package-reporter-result" => Message::ReporterResult(package::reporter_result(fields)?),
        "resynchronize" => Message::Resynchronize(fields.optional("operation-id", int)?),
        "ubuntu-pro-info" => Message::UbuntuPro(fields.get("ubuntu-pro-info", text)?),
        "computer-tags" => {
            let list = fields.optional("tags", text)?;
            Message::Tags(tags(&list.unwrap_or_default()))
        }
        "reboot-required-info" => {
            let packages = match fields.find("packages") {
                None => None,
                Some(_) => Some(fields.list("packages", name)?),
            };
            Message::RebootRequired(fields.optional("flag", truth)?, packages)
        }
        "hardware-info" => Message::Hardware(fields.get("data", text)?),
        _ => return Err(Refusal::Type),
    };
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
            assert_ne!(read(&value), Err(Refusal::Type), "{message_type}");
        }
        let value = Value::dict([("type", "snaps".into())]);
        assert_eq!(read(&value), Err(Refusal::Type));
        for value in [
            Value::Null,
            Value::dict([]),
            Value::dict([("type", Value::Int(1))]),
        ] {
            assert!(
                matches!(read(&value), Err(Refusal::Invalid(_))),
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
                matches!(read(&value), Err(Refusal::Invalid(_))),
                "{message_type}"
            );
        }
    }
}
