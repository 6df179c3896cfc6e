//! Does what reads messages withstand whatever an agent says? Values of every shape under the names that are looked for.

use std::time::{SystemTime, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::prelude::*;

use super::exchange::Request;
use super::fields::Rows;
use super::message::{self, Message, Refusal};
use super::package::STATES;
use super::register::Register;
use super::sequence::intake;
use super::types::ACCEPTED;
use crate::bpickle::{Dict, Key, Limits, Value, read, write};

/// The names of all fields that are looked for, in messages and around them.
const NAMES: [&str; 123] = [
    "accepted-types",
    "access_group",
    "account_name",
    "activities",
    "add-processes",
    "annotations",
    "api",
    "autoremovable",
    "available",
    "available-upgrades",
    "broadcast_address",
    "cache-size",
    "client-accepted-types",
    "client-api",
    "clone_secure_id",
    "code",
    "code-name",
    "computer_title",
    "container-info",
    "container_info",
    "create-group-members",
    "create-groups",
    "create-users",
    "data",
    "delete-group-members",
    "delete-groups",
    "delete-users",
    "description",
    "device",
    "device-speeds",
    "devices",
    "distributor-id",
    "duplex",
    "enabled",
    "err",
    "filesystem",
    "flag",
    "flags",
    "free-space",
    "gid",
    "hardware-info",
    "hashes",
    "home-phone",
    "hostagent_uid",
    "hostname",
    "ids",
    "installation_request_id",
    "installed",
    "installed-size",
    "interface",
    "ip_address",
    "juju-info",
    "kill-all-processes",
    "kill-processes",
    "load-averages",
    "location",
    "locked",
    "mac_address",
    "machine-id",
    "machine_id",
    "memory-info",
    "messages",
    "model",
    "mount-info",
    "mount-point",
    "must-install",
    "must-remove",
    "name",
    "names",
    "netmask",
    "next-expected-sequence",
    "not-autoremovable",
    "not-available",
    "not-available-upgrades",
    "not-installed",
    "not-locked",
    "not-security",
    "operation-id",
    "package-ids",
    "packages",
    "percent-cpu",
    "pid",
    "primary-gid",
    "primary-groupname",
    "processor-id",
    "processors",
    "registration_password",
    "relations",
    "release",
    "report-timestamp",
    "request-id",
    "result-code",
    "result-text",
    "scopes",
    "section",
    "security",
    "sequence",
    "server-api",
    "size",
    "speed",
    "start-time",
    "state",
    "status",
    "summary",
    "tags",
    "timestamp",
    "total-memory",
    "total-space",
    "total-swap",
    "type",
    "ubuntu-pro-info",
    "ubuntu_pro_info",
    "uid",
    "update-groups",
    "update-processes",
    "update-users",
    "username",
    "vendor",
    "version",
    "vm-info",
    "vm-size",
    "vm_info",
    "work-phone",
];

/// What takes messages and requests apart.
const READERS: [&str; 6] = [
    include_str!("exchange.rs"),
    include_str!("message.rs"),
    include_str!("network.rs"),
    include_str!("package.rs"),
    include_str!("register.rs"),
    include_str!("report.rs"),
];
/// What looks for a field: its name stands first, or after the fields themselves, and where two do it is written either way.
const LOOKS: [&str; 10] = [
    "at(",
    "get(",
    "optional(",
    "find(",
    "rows(",
    "list(",
    "some(",
    "members(fields, ",
    "needs(",
    "one_of(",
];

/// The names that stand where fields are looked for in a source, without its tests.
fn looked_for(source: &str) -> Vec<&str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut names = Vec::new();
    for look in LOOKS {
        for (at, _) in code.match_indices(look) {
            let mut rest = code[at + look.len()..].trim_start();
            while let Some(name) = rest.strip_prefix('"') {
                let (name, behind) = name.split_once('"').expect("the end of a name");
                names.push(name);
                rest = behind.trim_start_matches([',', ' ', '\n']);
            }
        }
    }
    names
}

#[test]
fn every_name_that_is_looked_for_is_said() {
    let mut found: Vec<String> = STATES.map(|state| format!("not-{state}")).into();
    found.extend(STATES.map(str::to_owned));
    found.extend(
        READERS
            .iter()
            .flat_map(|source| looked_for(source))
            .map(str::to_owned),
    );
    // Enough to see that the sources were read as they are written.
    for name in [
        "sequence",
        "uid",
        "create-groups",
        "must-remove",
        "vm_info",
        "delete-group-members",
    ] {
        assert!(found.iter().any(|one| one == name), "{name}: {found:?}");
    }
    found.retain(|name| !NAMES.contains(&name.as_str()));
    assert!(found.is_empty(), "not among NAMES: {found:?}");
}

fn number() -> impl Strategy<Value = Value> {
    let whole = prop_oneof![
        any::<i64>(),
        prop::sample::select(vec![i64::MIN, -1, 0, 1, 5, 6, 255, 65_536, i64::MAX]),
        1_700_000_000..1_800_000_000_i64,
    ];
    let floats = vec![f64::NAN, f64::INFINITY, -0.0, 1e308, 4_102_444_799.9, 1.5];
    prop_oneof![
        3 => whole.prop_map(Value::Int),
        1 => any::<f64>().prop_map(Value::Float),
        1 => prop::sample::select(floats).prop_map(Value::Float),
    ]
}

fn text() -> impl Strategy<Value = Value> {
    let words = vec![
        "",
        "eth0",
        "192.0.2.1",
        "::1",
        "02:fc:00:00:00:01",
        "a\0b",
        "true",
        "\u{e9}",
    ];
    prop_oneof![
        prop::sample::select(words).prop_map(Value::from),
        ".{0,300}".prop_map(Value::Text),
        vec(any::<u8>(), 0..24).prop_map(Value::Bytes),
        vec(any::<u8>(), 20..21).prop_map(Value::Bytes),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => number(),
        3 => text(),
    ];
    leaf.prop_recursive(5, 96, 8, |inner| {
        let key = prop_oneof![
            8 => prop::sample::select(NAMES.to_vec()).prop_map(Key::from),
            1 => any::<i64>().prop_map(Key::Int),
            1 => ".{0,8}".prop_map(Key::Text),
        ];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            vec(inner.clone(), 0..4).prop_map(Value::Tuple),
            vec((key, inner), 0..12).prop_map(|entries| Value::Dict(entries.into_iter().collect())),
        ]
    })
}

fn fields() -> impl Strategy<Value = Dict> {
    let name = prop::sample::select(NAMES.to_vec()).prop_map(Key::from);
    vec((name, anything()), 0..40).prop_map(|entries| entries.into_iter().collect())
}

/// What a message may bring into the database beside text: names that fit an index, and times of our centuries.
fn check(message: &Message) {
    let within = |at: &SystemTime| {
        let seconds = at
            .duration_since(UNIX_EPOCH)
            .expect("not before 1970")
            .as_secs();
        assert!(seconds < 4_102_444_800, "{seconds}");
    };
    let fits = |name: &str| {
        assert!(
            (1..=255).contains(&name.chars().count()) && !name.contains('\0'),
            "{name:?}"
        );
    };
    match message {
        Message::NetworkDevice(all) => all.iter().for_each(|one| fits(&one.name)),
        Message::NetworkActivity(steps) => steps.iter().for_each(|(name, steps)| {
            fits(name);
            steps.iter().for_each(|(at, (received, sent))| {
                within(at);
                assert!(*received >= 0 && *sent >= 0);
            });
        }),
        Message::Memory(samples) => samples.keys().for_each(within),
        Message::Load(samples) => samples.keys().for_each(within),
        Message::FreeSpace(samples) => samples.keys().for_each(|(point, at)| {
            fits(point);
            within(at);
        }),
        Message::Mounts(mounts) => mounts.iter().for_each(|(point, mount)| {
            fits(point);
            within(&mount.reported_at);
        }),
        Message::Processes(told) => told.put.values().for_each(|one| within(&one.started_at)),
        Message::Users(told) => {
            told.put_users
                .keys()
                .chain(told.put_groups.keys())
                .for_each(|name| fits(name));
            let groups = told.put_members.iter().chain(&told.delete_members);
            groups.for_each(|(group, users)| {
                fits(group);
                users.iter().for_each(|user| fits(user));
            });
        }
        Message::Tags(tags) => tags.iter().for_each(|tag| fits(tag)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_message_of_every_type_is_read_or_refused(fields in fields()) {
        for message_type in ACCEPTED {
            let mut fields = fields.clone();
            fields.insert("type".into(), message_type.into());
            match message::read(&Value::Dict(fields), &mut Rows::default()) {
                Ok(message) => check(&message),
                Err(refusal) => prop_assert_ne!(refusal, Refusal::Type),
            }
        }
    }

    #[test]
    fn whatever_is_said_is_a_message_or_is_refused(value in anything()) {
        if let Ok(message) = message::read(&value, &mut Rows::default()) {
            check(&message);
        }
        let _ = Register::read(&value);
    }

    #[test]
    fn a_registration_is_read_or_refused_and_fits_the_database(mut fields in fields(), title in ".{0,300}") {
        fields.insert("type".into(), "register".into());
        fields.insert("account_name".into(), "standalone".into());
        fields.insert("computer_title".into(), title.into());
        if let Ok(register) = Register::read(&Value::Dict(fields)) {
            prop_assert!((1..=255).contains(&register.title.chars().count()));
            prop_assert!(register.hostname.chars().count() <= 255);
            for text in [&register.title, &register.hostname, &register.access_group, &register.vm_info] {
                prop_assert!(!text.contains('\0'));
            }
            // Kept as it came, and read again when somebody asks.
            let juju = register.juju_info.as_deref().map(|bytes| read(bytes, Limits::default()));
            prop_assert!(juju.is_none_or(|juju| juju.is_ok()));
        }
    }

    #[test]
    fn a_request_is_read_or_refused_and_its_messages_keep_their_places(
        mut around in fields(),
        messages in vec(anything(), 0..6),
        most in 0_usize..8,
    ) {
        around.insert("messages".into(), Value::List(messages.clone()));
        let Ok(request) = Request::read(&write(&Value::Dict(around)), Limits::default()) else {
            return Ok(());
        };
        prop_assert_eq!((request.messages.len(), request.left), (messages.len(), 0));
        let sequence = request.sequence.unwrap_or(0);
        let new = intake(Some(request.wanted), sequence, request.messages.len(), most);
        prop_assert!(new.skip + new.take <= request.messages.len());
    }
}
