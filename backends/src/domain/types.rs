//! Which types of messages are taken from an agent, and how is a list of types compared?
//!
//! An agent keeps back what we do not take. Both sides compare lists by digest: MD5, raw, over the
//! sorted names joined with `;`. It is the protocol's choice and protects nothing.

use md5::{Digest, Md5};

/// What is taken from an accepted computer: everything that is stored, and nothing else. Sorted.
/// `register` is not among them: an agent takes that as the sign that it is not registered.
pub const ACCEPTED: [&str; 22] = [
    "active-process-info",
    "add-packages",
    "change-packages-result",
    "computer-info",
    "computer-tags",
    "distribution-info",
    "free-space",
    "hardware-info",
    "load-average",
    "memory-info",
    "mount-info",
    "network-activity",
    "network-device",
    "operation-result",
    "package-reporter-result",
    "packages",
    "processor-info",
    "reboot-required-info",
    "resynchronize",
    "ubuntu-pro-info",
    "unknown-package-hashes",
    "users",
];

/// What is taken from strangers and from those who wait to be accepted.
pub const STRANGER: [&str; 1] = ["register"];

/// The types that are taken from a computer.
pub fn taken(accepted: bool) -> &'static [&'static str] {
    if accepted { &ACCEPTED } else { &STRANGER }
}

/// The digest of a list of types, in any order.
pub fn digest<T: AsRef<str>>(types: &[T]) -> [u8; 16] {
    let mut names: Vec<&str> = types.iter().map(AsRef::as_ref).collect();
    names.sort_unstable();
    Md5::digest(names.join(";")).into()
}

/// What an agent must send again after a message of this type was lost; None where nothing helps: tags, hardware and what is
/// known of the subscription are in no scope, agents tell them by themselves now and then.
pub fn scope(message_type: &str) -> Option<&'static str> {
    Some(match message_type {
        "network-device" | "network-activity" => "network",
        "computer-info" | "distribution-info" => "computer",
        "mount-info" | "free-space" => "disk",
        "processor-info" => "cpu",
        "memory-info" => "memory",
        "load-average" => "load",
        "active-process-info" => "process",
        "users" => "users",
        "packages" | "unknown-package-hashes" | "add-packages" | "reboot-required-info" => {
            "package"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_what_a_new_agent_sends() {
        let hex: String = digest::<&str>(&[])
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn the_order_of_a_list_does_not_matter() {
        assert_eq!(digest(&["b", "a"]), digest(&["a", "b"]));
        assert_ne!(digest(&["a;b"]), digest(&["ab"]));
    }

    #[test]
    fn what_was_lost_is_asked_for_in_the_scope_in_which_agents_tell_it_again() {
        for (message_type, wanted) in [
            ("users", Some("users")),
            ("mount-info", Some("disk")),
            ("add-packages", Some("package")),
            // Told with the packages; tags are told by themselves.
            ("reboot-required-info", Some("package")),
            ("computer-tags", None),
            ("operation-result", None),
        ] {
            assert_eq!(scope(message_type), wanted, "{message_type}");
        }
    }

    #[test]
    fn an_accepted_computer_is_not_asked_to_register() {
        assert!(!ACCEPTED.contains(&"register"));
        assert!(ACCEPTED.is_sorted() && ACCEPTED.len() > 1);
    }
}
