//! Who wants to be a computer of ours? The registration message, and what becomes of it.

use uuid::Uuid;

use super::fields::{Fields, Invalid, bounded, name, text};
use super::report::tags;
use crate::bpickle::{Value, write};

/// Longest of what strangers tell that is kept as it came, bytes.
pub const TOLD_BYTES_MAX: usize = 64 * 1024;

/// A registration. The agent's daemon writes some names with hyphens, its set-up program with
/// underscores; both are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The account it wants to belong to.
    pub account: String,
    /// The account's registration key, where the computer has one.
    pub key: Option<String>,
    /// Its name for people.
    pub title: String,
    /// Its name in the network.
    pub hostname: String,
    /// What it is, beyond its names.
    pub machine_id: Option<String>,
    /// Words it is found by; none also where it tells nothing of them.
    pub tags: Vec<String>,
    /// Access group; empty also where it tells none.
    pub access_group: String,
    /// Kind of virtual machine, or empty.
    pub vm_info: String,
    /// Kind of container, or empty.
    pub container_info: String,
    /// JSON about the subscription, unless it is longer than [`TOLD_BYTES_MAX`].
    pub ubuntu_pro_info: Option<String>,
    /// Where Juju made it; kept as it came, in bpickle, unless that is longer than [`TOLD_BYTES_MAX`].
    pub juju_info: Option<Vec<u8>>,
    /// The WSL host it lives on.
    pub hostagent_uid: Option<String>,
    /// The command that made it there.
    pub installation_request_id: Option<String>,
    /// The identity that it had when it was told that it is a clone.
    pub clone_secure_id: Option<Uuid>,
}

impl Register {
    /// Reads the message.
    ///
    /// # Errors
    ///
    /// A field that does not fit.
    pub fn read(value: &Value) -> Result<Self, Invalid> {
        let fields = Fields::of(value)?;
        let one_of = |hyphens: &str, underscores: &str| {
            let found = fields.optional(hyphens, text)?;
            Ok::<_, Invalid>(match found {
                None => fields.optional(underscores, text)?,
                found => found,
            })
        };
        Ok(Self {
            account: fields.get("account_name", name)?,
            key: fields
                .optional("registration_password", text)?
                .filter(|key| !key.is_empty()),
            title: fields.get("computer_title", name)?,
            hostname: short(fields.optional("hostname", text)?).unwrap_or_default(),
            machine_id: short(fields.optional("machine_id", text)?),
            tags: tags(&fields.optional("tags", bounded)?.unwrap_or_default()),
            access_group: short(fields.optional("access_group", text)?).unwrap_or_default(),
            vm_info: short(one_of("vm-info", "vm_info")?).unwrap_or_default(),
            container_info: short(one_of("container-info", "container_info")?).unwrap_or_default(),
            ubuntu_pro_info: one_of("ubuntu_pro_info", "ubuntu-pro-info")?
                .filter(|json| json.len() <= TOLD_BYTES_MAX),
            juju_info: fields
                .find("juju-info")
                .map(write)
                .filter(|written| written.len() <= TOLD_BYTES_MAX),
            hostagent_uid: short(fields.optional("hostagent_uid", text)?),
            installation_request_id: short(fields.optional("installation_request_id", text)?),
            // What is no identity of ours names nobody.
            clone_secure_id: fields
                .optional("clone_secure_id", text)?
                .and_then(|text| Uuid::try_parse(&text).ok()),
        })
    }
}

/// What an account allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: i64,
    /// The key that makes a registration count at once.
    pub key: Option<String>,
    /// False: also those with the key wait for an administrator.
    pub auto_accept: bool,
    /// Most computers that may wait.
    pub pending_max: i32,
}

/// What becomes of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A computer of ours at once.
    Accept,
    /// An administrator decides.
    Wait,
    /// There is no such account, or the key is wrong: the agent is told the same for both.
    UnknownAccount,
}

/// Decides by the account's key. A wrong key is refused; none at all waits.
pub fn decide(account: Option<&Account>, key: Option<&str>) -> Decision {
    match (account, key) {
        (None, _) => Decision::UnknownAccount,
        (Some(account), Some(said)) => match account.key.as_deref() {
            None => Decision::Wait,
            Some(right) if !equal(right.as_bytes(), said.as_bytes()) => Decision::UnknownAccount,
            Some(_) if account.auto_accept => Decision::Accept,
            Some(_) => Decision::Wait,
        },
        (Some(_), None) => Decision::Wait,
    }
}

/// Compares without telling by its time how much was right.
fn equal(right: &[u8], said: &[u8]) -> bool {
    let differ = right.iter().zip(said).fold(0, |all, (a, b)| all | (a ^ b));
    right.len() == said.len() && differ == 0
}

/// At most 255 characters of it: these stand beside the computer, and an index holds some.
fn short(text: Option<String>) -> Option<String> {
    text.map(|text| text.chars().take(super::fields::NAME_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpickle::{Limits, read};

    fn value(bytes: &[u8]) -> Value {
        read(bytes, Limits::default()).expect("a document")
    }

    #[test]
    fn the_set_up_programs_form_is_read() {
        let value = value(b"du12:access_groupu0:u12:account_nameu10:standaloneu14:computer_titleu2:z2u14:container_infou3:lxcu8:hostnameu2:vmu10:machine_idu4:5923u4:typeu8:registeru15:ubuntu_pro_infou2:{}u7:vm_infos3:kvm;");
        let register = Register::read(&value).expect("valid");
        assert_eq!(
            (register.account.as_str(), register.title.as_str()),
            ("standalone", "z2")
        );
        assert_eq!(
            (register.vm_info.as_str(), register.container_info.as_str()),
            ("kvm", "lxc")
        );
        assert_eq!(register.machine_id.as_deref(), Some("5923"));
    }

    #[test]
    fn the_daemons_form_is_read() {
        let value = value(b"du12:account_nameu10:standaloneu14:computer_titleu1:zu14:container-infou0:u8:hostnameu2:vmu21:registration_passwordnu4:tagsu4:a,b u7:vm-infos3:xen;");
        let register = Register::read(&value).expect("valid");
        assert_eq!(register.vm_info, "xen");
        assert_eq!(register.tags, ["a", "b"]);
        assert_eq!(register.key, None);
    }

    #[test]
    fn a_stranger_has_us_keep_no_more_than_so_much() {
        for (length, kept) in [(60_000, true), (70_000, false)] {
            let value = Value::dict([
                ("account_name", "standalone".into()),
                ("computer_title", "z".into()),
                ("juju-info", Value::from("x".repeat(length))),
                ("ubuntu_pro_info", Value::from("x".repeat(length))),
            ]);
            let register = Register::read(&value).expect("valid all the same");
            assert_eq!(register.ubuntu_pro_info.is_some(), kept, "{length}");
            assert_eq!(register.juju_info.is_some(), kept, "{length}");
        }
    }

    #[test]
    fn the_key_decides() {
        let account = |key: Option<&str>, auto_accept| Account {
            id: 1,
            key: key.map(str::to_owned),
            auto_accept,
            pending_max: 10,
        };
        for (account, said, decision) in [
            (None, Some("k"), Decision::UnknownAccount),
            (Some(account(Some("k"), true)), Some("k"), Decision::Accept),
            (Some(account(Some("k"), false)), Some("k"), Decision::Wait),
            (
                Some(account(Some("k"), true)),
                Some("kk"),
                Decision::UnknownAccount,
            ),
            (
                Some(account(Some("k"), true)),
                Some("x"),
                Decision::UnknownAccount,
            ),
            (Some(account(Some("k"), true)), None, Decision::Wait),
            (Some(account(None, true)), None, Decision::Wait),
            (Some(account(None, true)), Some("k"), Decision::Wait),
        ] {
            assert_eq!(
                decide(account.as_ref(), said),
                decision,
                "{account:?} {said:?}"
            );
        }
    }
}
