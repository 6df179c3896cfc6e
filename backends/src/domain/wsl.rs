//! What is a WSL host? What it tells of itself, checked and bounded, and what it can be told to do.

use std::collections::BTreeMap;

use uuid::Uuid;

/// Most instances of one host that are kept.
pub const INSTANCES_MAX: usize = 1000;
/// Longest name, identity or address, bytes.
pub const TEXT_BYTES_MAX: usize = 2048;
/// Longest error text that is kept, bytes.
pub const ERROR_BYTES_MAX: usize = 8192;
/// Longest configuration of an instance to be installed, bytes. A gRPC message has at most 4 MiB.
pub const CLOUDINIT_BYTES_MAX: usize = 1 << 20;

/// An instance as a host tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name for people.
    pub name: String,
    /// Of its operating system.
    pub version_id: String,
    /// It runs.
    pub running: bool,
    /// The agent looks after it.
    pub managed: bool,
}

/// What a host tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub hostname: String,
    /// Its default instance.
    pub default_instance: Option<String>,
    /// Its instances by their identities.
    pub instances: BTreeMap<String, Instance>,
}

/// Cuts a text so that it can be stored: at most `most` bytes, at the border of a character, and without
/// NUL, which PostgreSQL does not take.
pub fn bounded(text: &str, most: usize) -> String {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}")
}

/// What a host can be told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start an instance.
    Start(String),
    /// Stop an instance.
    Stop(String),
    /// Install one.
    Install {
        /// Under this name.
        instance: String,
        /// Its first configuration.
        cloudinit: Option<String>,
        /// Where its files come from; None: the shop's.
        rootfs_url: Option<String>,
    },
    /// Remove an instance with all its data.
    Uninstall(String),
    /// Make an instance the default one.
    SetDefault(String),
    /// Shut WSL down on the host.
    ShutdownHost,
}

impl Order {
    /// The word for it, as it is stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Stop(_) => "stop",
            Self::Install { .. } => "install",
            Self::Uninstall(_) => "uninstall",
            Self::SetDefault(_) => "set_default",
            Self::ShutdownHost => "shutdown_host",
        }
    }

    /// The instance that it is about; empty for the host itself.
    pub fn instance(&self) -> &str {
        match self {
            Self::Start(id) | Self::Stop(id) | Self::Uninstall(id) | Self::SetDefault(id) => id,
            Self::Install { instance, .. } => instance,
            Self::ShutdownHost => "",
        }
    }

    /// The order of this kind. None where the word is unknown, or a name is missing or not a name of one
    /// line within [`TEXT_BYTES_MAX`], or a text is too long or has a NUL.
    pub fn of(
        kind: &str,
        instance: &str,
        cloudinit: Option<String>,
        rootfs_url: Option<String>,
    ) -> Option<Self> {
        // The database takes no NUL.
        let unfit = |text: &String, most| text.len() > most || text.contains('\0');
        let unfit = |text: &Option<String>, most| text.as_ref().is_some_and(|t| unfit(t, most));
        if instance.len() > TEXT_BYTES_MAX
            || instance.chars().any(char::is_control)
            || unfit(&cloudinit, CLOUDINIT_BYTES_MAX)
            || unfit(&rootfs_url, TEXT_BYTES_MAX)
        {
            return None;
        }
        if kind == "shutdown_host" {
            return Some(Self::ShutdownHost);
        }
        if instance.is_empty() {
            return None;
        }
        let instance = instance.to_owned();
        Some(match kind {
            "start" => Self::Start(instance),
            "stop" => Self::Stop(instance),
            "install" => Self::Install {
                instance,
                cloudinit,
                rootfs_url,
            },
            "uninstall" => Self::Uninstall(instance),
            "set_default" => Self::SetDefault(instance),
            _ => return None,
        })
    }
}

/// An order with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Statuses come under it.
    pub request_id: Uuid,
    /// What is to be done.
    pub order: Order,
}

/// Which of hosts and computers a list holds: a host is the root of a family, and the instances on it that
/// registered as computers are its children. An instance whose host is not known is a root, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Hosts, and computers that live on none.
    #[default]
    Roots,
    /// Hosts and all computers.
    All,
    /// Hosts alone.
    Hosts,
    /// Computers on hosts alone.
    Instances,
    /// Both of these.
    HostsAndInstances,
}

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The host has it.
    Queued,
    /// It is at work.
    InProgress,
    /// It is done.
    Succeeded,
    /// It could not be done.
    Failed,
}

impl Progress {
    /// The word for it, as it is stored.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// The words of the states that it may follow. Statuses may come late, twice and in any order.
    pub fn follows(self) -> &'static [&'static str] {
        match self {
            Self::Queued => &["waiting", "sent"],
            Self::InProgress => &["waiting", "sent", "queued"],
            Self::Succeeded | Self::Failed => &["waiting", "sent", "queued", "in_progress"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_says_nothing_that_the_database_refuses() {
        let install = |cloudinit: &str, url: &str| {
            Order::of(
                "install",
                "Ubuntu",
                Some(cloudinit.into()),
                Some(url.into()),
            )
        };
        assert!(install("#cloud-config\n", "https://example.com/a").is_some());
        assert_eq!(install("#cloud-config\0", "https://example.com/a"), None);
        assert_eq!(install("#cloud-config\n", "https://example.com/\0"), None);
    }

    #[test]
    fn an_order_is_one_of_six_about_an_instance_with_a_name() {
        for kind in ["start", "stop", "install", "uninstall", "set_default"] {
            let order = Order::of(kind, "Ubuntu", None, None).expect(kind);
            assert_eq!((order.kind(), order.instance()), (kind, "Ubuntu"));
            assert_eq!(Order::of(kind, "", None, None), None);
            assert_eq!(Order::of(kind, "a\nb", None, None), None);
        }
        assert_eq!(
            Order::of("shutdown_host", "", None, None),
            Some(Order::ShutdownHost)
        );
        assert_eq!(Order::of("assign_host", "x", None, None), None);
    }

    #[test]
    fn a_text_is_cut_between_two_characters() {
        assert_eq!(bounded("aé\0", 3), "aé");
        assert_eq!(bounded("aé\0", 2), "a");
        assert_eq!(bounded("aé\0", 4), "aé\u{fffd}");
    }
}
