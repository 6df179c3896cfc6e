//! What can computers be told to do? Each order as the message that carries it out.

use std::collections::BTreeMap;

use super::package_order::{Change, Policy};
use crate::bpickle::{Key, Limits, Value, read, write};

/// Longest code of a script, bytes.
pub const CODE_BYTES_MAX: usize = 1024 * 1024;
/// Time limit of a script, seconds.
pub const TIME_LIMIT_MAX: i32 = 7 * 24 * 3600;

/// A script as computers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// For people.
    pub title: String,
    /// An absolute path.
    pub interpreter: String,
    /// What it reads.
    pub code: String,
    /// Who runs it.
    pub username: String,
    /// Seconds.
    pub time_limit: i32,
    /// Numbers of attachments by file name.
    pub attachments: BTreeMap<String, i64>,
}

/// What a computer does to its packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packages {
    /// For people.
    pub summary: String,
    /// What is done; None: everything that can be upgraded is.
    pub change: Option<Change>,
    /// What may be done besides.
    pub policy: Policy,
}

impl Packages {
    fn fields(&self) -> Value {
        let mut fields = vec![(Key::from("policy"), self.policy.number().into())];
        match &self.change {
            None => fields.push((Key::from("upgrade-all"), true.into())),
            Some(change) => {
                let lists = [("install", &change.install), ("remove", &change.remove)];
                let told = lists.into_iter().filter(|(_, ids)| !ids.is_empty());
                fields.extend(told.map(|(name, ids)| (name.into(), numbers(ids))));
            }
        }
        Value::Dict(fields.into())
    }
}

fn numbers(ids: &[i64]) -> Value {
    Value::List(ids.iter().copied().map(Value::Int).collect())
}

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Restart.
    Restart,
    /// Go off.
    Shutdown,
    /// Run a script.
    Script(Script),
    /// Change packages.
    Packages(Packages),
}

impl Order {
    /// The type of its message.
    pub fn message_type(&self) -> &'static str {
        match self {
            Self::Restart | Self::Shutdown => "shutdown",
            Self::Script(_) => "execute-script",
            Self::Packages(_) => "change-packages",
        }
    }

    /// In the words of the list of activities.
    pub fn summary(&self) -> String {
        match self {
            Self::Restart => "Restart computer".to_owned(),
            Self::Shutdown => "Shutdown computer".to_owned(),
            Self::Script(script) => format!("Run script: {}", script.title),
            Self::Packages(packages) => packages.summary.clone(),
        }
    }

    /// The message's fields, in bpickle, without its type and number.
    pub fn fields(&self) -> Vec<u8> {
        write(&match self {
            Self::Restart => Value::dict([("reboot", true.into())]),
            Self::Shutdown => Value::dict([("reboot", false.into())]),
            Self::Script(script) => {
                let attachments = script.attachments.iter();
                let attachments =
                    attachments.map(|(name, id)| (Key::from(name.as_str()), Value::from(*id)));
                Value::dict([
                    ("interpreter", script.interpreter.as_str().into()),
                    ("code", script.code.as_str().into()),
                    ("username", script.username.as_str().into()),
                    ("time-limit", i64::from(script.time_limit).into()),
                    ("attachments", Value::Dict(attachments.collect())),
                    ("env", Value::dict([])),
                ])
            }
            Self::Packages(packages) => packages.fields(),
        })
    }
}

/// What undoes an activity, by its message's type, fields and summary: whoever was told to install packages
/// is told to remove these very ones, and the other way round. None where nothing does: what an upgrade
/// replaced is not known, a restart is over, and what a script did it knows itself.
pub fn contrary(message_type: &str, summary: &str, fields: &[u8]) -> Option<Order> {
    if message_type != "change-packages" {
        return None;
    }
    let (word, rest) = summary.split_once(' ')?;
    let told = read(fields, Limits::default()).ok()?;
    let ids = |field: &str| {
        let ids = told.at(field)?.as_list()?;
        ids.iter().map(Value::as_int).collect::<Option<Vec<i64>>>()
    };
    let (install, remove, contrary) = match word {
        "Install" => (Vec::new(), ids("install")?, "Remove"),
        "Remove" => (ids("remove")?, Vec::new(), "Install"),
        _ => return None,
    };
    Some(Order::Packages(Packages {
        summary: format!("{contrary} {rest}"),
        change: Some(Change { install, remove }),
        policy: Policy::AllowInstalls,
    }))
}

/// What clients of the API call an activity, by its message and summary.
pub fn api_type(message_type: &str, summary: &str) -> &'static str {
    match message_type {
        "shutdown" if summary.starts_with("Restart") => "RestartRequest",
        "shutdown" => "ShutdownRequest",
        "execute-script" => "ExecuteScriptRequest",
        "change-packages" => "ChangePackagesRequest",
        "resynchronize" => "ResynchronizeRequest",
        "release-upgrade" => "ReleaseUpgradeRequest",
        "group" => "ActivityGroup",
        _ => "Activity",
    }
}

/// The types that [`api_type`] knows.
pub const API_TYPES: [&str; 8] = [
    "Activity",
    "ActivityGroup",
    "ChangePackagesRequest",
    "ExecuteScriptRequest",
    "ReleaseUpgradeRequest",
    "RestartRequest",
    "ResynchronizeRequest",
    "ShutdownRequest",
];

/// Why a script's text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoScript {
    /// There is no text.
    EmptyCode,
    /// Its first line names no interpreter.
    EmptyInterpreter,
    /// It is too long.
    TooLong,
}

/// Interpreter and code of a script's text, whose first line is `#!/path`.
///
/// # Errors
///
/// It is none.
pub fn shebang(text: &str) -> Result<(String, String), NoScript> {
    if text.len() > CODE_BYTES_MAX {
        return Err(NoScript::TooLong);
    }
    if text.trim().is_empty() {
        return Err(NoScript::EmptyCode);
    }
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let interpreter = first.strip_prefix("#!").map(str::trim);
    match interpreter {
        // Agents take the path and one argument at most; what it is they say themselves.
        Some(path) if path.starts_with('/') && path.len() > 1 => {
            if rest.trim().is_empty() {
                return Err(NoScript::EmptyCode);
            }
            Ok((path.to_owned(), rest.to_owned()))
        }
        _ => Err(NoScript::EmptyInterpreter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed((install, remove): (&[i64], &[i64])) -> Change {
        Change {
            install: install.to_vec(),
            remove: remove.to_vec(),
        }
    }

    #[test]
    fn an_order_is_the_message_that_agents_know() {
        assert_eq!(Order::Restart.fields(), b"du6:rebootb1;");
        assert_eq!(Order::Shutdown.fields(), b"du6:rebootb0;");
        let script = Order::Script(Script {
            title: "x".to_owned(),
            interpreter: "/bin/sh".to_owned(),
            code: "true".to_owned(),
            username: "root".to_owned(),
            time_limit: 60,
            attachments: BTreeMap::from([("a".to_owned(), 5)]),
        });
        assert_eq!(
            script.fields().escape_ascii().to_string(),
            "du11:attachmentsdu1:ai5;;u4:codeu4:trueu3:envd;u11:interpreteru7:/bin/sh\
             u10:time-limiti60;u8:usernameu4:root;"
        );
        let packages = |change: Option<(&[i64], &[i64])>, policy| {
            Order::Packages(Packages {
                summary: "x".to_owned(),
                change: change.map(changed),
                policy,
            })
        };
        let install = packages(Some((&[7, 9], &[])), Policy::AllowInstalls);
        assert_eq!(install.fields(), b"du7:installli7;i9;;u6:policyi1;;");
        let remove = packages(Some((&[], &[7])), Policy::Strict);
        assert_eq!(remove.fields(), b"du6:policyi0;u6:removeli7;;;");
        let newer = packages(Some((&[7], &[5])), Policy::AllowAll);
        assert_eq!(
            newer.fields(),
            b"du7:installli7;;u6:policyi2;u6:removeli5;;;"
        );
        let all = packages(None, Policy::AllowInstalls);
        assert_eq!(all.fields(), b"du6:policyi1;u11:upgrade-allb1;");
        for order in [Order::Restart, Order::Shutdown, script, install] {
            let name = api_type(order.message_type(), &order.summary());
            assert!(
                API_TYPES.contains(&name) && name.ends_with("Request"),
                "{name}"
            );
        }
    }

    #[test]
    fn what_was_installed_is_removed_and_what_was_removed_is_installed() {
        let order = |summary: &str, change: Option<(&[i64], &[i64])>| {
            Order::Packages(Packages {
                summary: summary.to_owned(),
                change: change.map(changed),
                policy: Policy::AllowInstalls,
            })
        };
        let of = |order: &Order| contrary(order.message_type(), &order.summary(), &order.fields());
        let install = order("Install packages a, b", Some((&[7, 9], &[])));
        let remove = order("Remove packages a, b", Some((&[], &[7, 9])));
        assert_eq!(of(&install), Some(remove.clone()));
        assert_eq!(of(&remove), Some(install.clone()));
        for other in [
            order("Upgrade package a", Some((&[7], &[5]))),
            order("Upgrade all packages", None),
            Order::Restart,
            Order::Shutdown,
        ] {
            assert_eq!(of(&other), None, "{other:?}");
        }
        for fields in [&b""[..], b"d;", b"du7:installi7;;", b"du7:installlu1:a;;;"] {
            assert_eq!(
                contrary("change-packages", "Install package a", fields),
                None
            );
        }
    }

    #[test]
    fn the_first_line_names_the_interpreter() {
        let told = |text| shebang(text).map(|(path, code)| format!("{path}|{code}"));
        for (text, read) in [
            ("#!/bin/sh\necho hi\n", Ok("/bin/sh|echo hi\n".to_owned())),
            (
                "#! /usr/bin/env python3 \nx",
                Ok("/usr/bin/env python3|x".to_owned()),
            ),
            ("", Err(NoScript::EmptyCode)),
            (" \n", Err(NoScript::EmptyCode)),
            ("#!/bin/sh", Err(NoScript::EmptyCode)),
            ("echo hi", Err(NoScript::EmptyInterpreter)),
            ("#!sh\nx", Err(NoScript::EmptyInterpreter)),
            ("#!/\nx", Err(NoScript::EmptyInterpreter)),
        ] {
            assert_eq!(told(text), read, "{text:?}");
        }
    }
}
