//! What network does a computer have? Interfaces as they are reported, and the traffic on them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use super::fields::{Fields, Invalid, Rows, int, invalid, name, text, time, triple, truth};
use crate::bpickle::{Key, Value};

/// One interface as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, `eth0`.
    pub name: String,
    /// Its first address. `0.0.0.0` stands for an interface without one.
    pub ip_address: Option<IpAddr>,
    /// Its hardware address, as text in lower case.
    pub mac_address: String,
    /// The broadcast address.
    pub broadcast_address: Option<IpAddr>,
    /// The netmask.
    pub netmask: Option<IpAddr>,
    /// The kernel's interface flags.
    pub flags: i32,
    /// Mbit/s; None where the agent does not know, 0 without a link.
    pub speed: Option<i32>,
    /// Both directions at once; None where the agent said nothing about it.
    pub full_duplex: Option<bool>,
}

/// Most interfaces of a computer.
pub const INTERFACES_MAX: usize = 2000;

/// Bytes (received, sent) by interface and end of a step: how many one look of the agent at its counters found, as the mean
/// over the step. It looks every 30 s, so a step of 300 s has ten times as many.
pub type Traffic = BTreeMap<String, BTreeMap<SystemTime, (i64, i64)>>;

/// The interfaces of a `network-device` message: all that there are now. The last of two with one
/// name counts, and what does not fit or is more than [`INTERFACES_MAX`] is left out.
///
/// # Errors
///
/// No list of interfaces.
pub fn interfaces(fields: Fields<'_>, rows: &mut Rows) -> Result<Vec<Interface>, Invalid> {
    if fields.find("devices").is_none() {
        return Err(invalid("devices", "is missing"));
    }
    let mut speeds = Speeds::new();
    for entry in fields.rows("device-speeds")? {
        match speed(entry) {
            Ok((interface, speed)) => {
                speeds.insert(interface, speed);
            }
            // A speed alone is no interface: those that are decide whether anything fits.
            Err(why) => rows.leave(why),
        }
    }
    let mut found = BTreeMap::new();
    for entry in fields.rows("devices")? {
        if found.len() == INTERFACES_MAX {
            rows.leave(invalid("devices", "at most 2000 interfaces"));
            continue;
        }
        found.extend(rows.keep(interface(entry, &speeds)));
    }
    Ok(found.into_values().collect())
}

/// How fast an interface is, and whether in both directions at once.
type Speed = (Option<i32>, Option<bool>);
/// By name.
type Speeds = BTreeMap<String, Speed>;

fn speed(entry: &Value) -> Result<(String, Speed), Invalid> {
    let entry = Fields::of(entry)?;
    let speed = entry.get("speed", int)?;
    let known = i32::try_from(speed).ok().filter(|speed| *speed >= 0);
    let duplex = entry.optional("duplex", truth)?;
    Ok((entry.get("interface", name)?, (known, duplex)))
}

fn interface(entry: &Value, speeds: &Speeds) -> Result<(String, Interface), Invalid> {
    let entry = Fields::of(entry)?;
    let name = entry.get("interface", name)?;
    let (speed, full_duplex) = speeds.get(&name).copied().unwrap_or((None, None));
    let interface = Interface {
        ip_address: entry.get("ip_address", address)?,
        mac_address: entry.get("mac_address", mac)?,
        broadcast_address: entry.get("broadcast_address", address)?,
        netmask: entry.get("netmask", address)?,
        flags: entry.get("flags", flags)?,
        name: name.clone(),
        speed,
        full_duplex,
    };
    Ok((name, interface))
}

/// The steps of a `network-activity` message. What does not fit is left out.
///
/// # Errors
///
/// No dictionary of steps.
pub fn traffic(fields: Fields<'_>, rows: &mut Rows) -> Result<Traffic, Invalid> {
    let wrong = |reason| invalid("activities", reason);
    let mut traffic = Traffic::new();
    let activities = fields
        .find("activities")
        .and_then(Value::as_dict)
        .ok_or_else(|| wrong("a dictionary"))?;
    let step = triple(time, amount, amount);
    for (key, steps) in activities.iter() {
        let interface = match key {
            Key::Text(interface) => name(&Value::from(interface.as_str())),
            Key::Int(_) => Err("names of interfaces"),
        };
        let steps = steps.as_list().ok_or("lists of steps");
        match interface.and_then(|interface| Ok((interface, steps?))) {
            Ok((interface, steps)) => {
                let steps = steps.iter().map(|one| step(one).map_err(wrong));
                let steps = steps.filter_map(|one| rows.keep(one));
                let steps = steps.map(|(at, received, sent)| (at, (received, sent)));
                traffic.insert(interface, steps.collect());
            }
            Err(reason) => rows.leave(wrong(reason)),
        }
    }
    Ok(traffic)
}

/// What the kernel's flags of an interface mean, in the words of the usual tools.
pub fn flag_names(flags: i32) -> Vec<&'static str> {
    const NAMES: [(i32, &str); 12] = [
        (0x1, "UP"),
        (0x2, "BROADCAST"),
        (0x4, "DEBUG"),
        (0x8, "LOOPBACK"),
        (0x10, "POINTOPOINT"),
        (0x40, "RUNNING"),
        (0x80, "NOARP"),
        (0x100, "PROMISC"),
        (0x200, "ALLMULTI"),
        (0x400, "MASTER"),
        (0x800, "SLAVE"),
        (0x1000, "MULTICAST"),
    ];
    let set = NAMES.iter().filter(|(bit, _)| flags & bit != 0);
    set.map(|(_, name)| *name).collect()
}

/// The counters of an interface that was made anew begin at 0 again, and an agent tells the difference as it is: what it lost
/// is nobody's traffic, and no reason to refuse what it tells of other interfaces.
fn amount(value: &Value) -> Result<i64, &'static str> {
    Ok(int(value)?.max(0))
}

fn flags(value: &Value) -> Result<i32, &'static str> {
    let flags = i32::try_from(int(value)?).ok().filter(|flags| *flags >= 0);
    flags.ok_or("flags of an interface")
}

fn address(value: &Value) -> Result<Option<IpAddr>, &'static str> {
    let text = text(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "an IP address")
}

/// Pairs of hexadecimal digits; six of them on Ethernet, twenty on InfiniBand.
fn mac(value: &Value) -> Result<String, &'static str> {
    let text = text(value)?.to_ascii_lowercase();
    let pairs = text
        .split(':')
        .all(|pair| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
    match text.is_empty() || pairs && text.len() <= 64 {
        true => Ok(text),
        false => Err("a hardware address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpickle::{Limits, read};

    /// As a real agent sent it, with a second interface that has no address.
    const DEVICES: &[u8] = b"du13:device-speedsldu6:duplexb0u9:interfaces4:eth0u5:speedi0;;du6:duplexb0u9:interfaces4:ifb0u5:speedi-1;;;u7:devicesldu17:broadcast_addresss11:192.0.2.255u5:flagsi4163;u9:interfaces4:eth0u10:ip_addresss9:192.0.2.2u11:mac_addresss17:02:FC:00:00:00:01u7:netmasks13:255.255.255.0;du17:broadcast_addresss7:0.0.0.0u5:flagsi130;u9:interfaces4:ifb0u10:ip_addresss7:0.0.0.0u11:mac_addresss17:02:fc:00:00:00:02u7:netmasks7:0.0.0.0;;u4:typeu14:network-device;";

    fn value(bytes: &[u8]) -> Value {
        read(bytes, Limits::default()).expect("a document")
    }

    #[test]
    fn the_interfaces_of_a_real_report_are_read() {
        let value = value(DEVICES);
        let found =
            interfaces(Fields::of(&value).expect("fields"), &mut Rows::default()).expect("valid");
        assert_eq!(found.len(), 2);
        let eth0 = &found[0];
        assert_eq!(eth0.name, "eth0");
        assert_eq!(
            eth0.ip_address,
            Some("192.0.2.2".parse().expect("an address"))
        );
        assert_eq!(eth0.mac_address, "02:fc:00:00:00:01");
        assert_eq!(
            (eth0.flags, eth0.speed, eth0.full_duplex),
            (4163, Some(0), Some(false))
        );
        assert_eq!((found[1].flags, found[1].speed), (130, None));
    }

    #[test]
    fn an_interface_with_a_wrong_field_is_left_out_and_the_others_are_read() {
        for (from, to, field) in [
            ("s9:192.0.2.2", "s9:192.0.2.x", "ip_address"),
            (
                "s17:02:FC:00:00:00:01",
                "s17:02-FC-00-00-00-01",
                "mac_address",
            ),
            ("i4163;", "i-4163;", "flags"),
            ("s13:255.255.255.0", "i4;", "netmask"),
        ] {
            let text = std::str::from_utf8(DEVICES).expect("text");
            let value = value(text.replace(from, to).as_bytes());
            let mut rows = Rows::default();
            let found = interfaces(Fields::of(&value).expect("fields"), &mut rows).expect(to);
            let names: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
            assert_eq!((names.as_slice(), rows.left_out()), (&["ifb0"][..], 1));
            assert_eq!(rows.why().expect("a reason").field, field);
            assert_eq!(rows.check(), Ok(()));
        }
    }

    #[test]
    fn interfaces_none_of_which_fits_are_no_report_though_speeds_do() {
        let text = std::str::from_utf8(DEVICES).expect("text");
        let value = value(text.replace("u5:flags", "u5:fLags").as_bytes());
        let mut rows = Rows::default();
        let found = interfaces(Fields::of(&value).expect("fields"), &mut rows);
        assert_eq!((found, rows.left_out()), (Ok(vec![]), 2));
        assert!(rows.check().is_err());
        let value = value_without_devices(text);
        let problem = interfaces(Fields::of(&value).expect("fields"), &mut Rows::default());
        assert_eq!(problem.expect_err("no list").field, "devices");
    }

    fn value_without_devices(text: &str) -> Value {
        value(text.replace("u7:devices", "u7:dEvices").as_bytes())
    }

    #[test]
    fn a_step_that_does_not_fit_is_left_out() {
        let value =
            value(b"du10:activitiesdi1;l;s4:eth0lti-1;i1;i2;;ti1795406100;i1;i2;;;s2:lon;;");
        let mut rows = Rows::default();
        let traffic = traffic(Fields::of(&value).expect("fields"), &mut rows).expect("valid");
        assert_eq!((traffic.len(), rows.left_out()), (1, 3));
    }

    #[test]
    fn interfaces_beyond_their_bound_are_left_out() {
        let one = |number: usize| {
            let name = format!("veth{number}");
            Value::dict([
                ("interface", name.as_str().into()),
                ("ip_address", "192.0.2.2".into()),
                ("mac_address", "02:fc:00:00:00:01".into()),
                ("broadcast_address", "192.0.2.255".into()),
                ("netmask", "255.255.255.0".into()),
                ("flags", Value::Int(4163)),
            ])
        };
        let devices = Value::List((0..INTERFACES_MAX + 3).map(one).collect());
        let value = Value::dict([("devices", devices)]);
        let mut rows = Rows::default();
        let found = interfaces(Fields::of(&value).expect("fields"), &mut rows).expect("valid");
        assert_eq!((found.len(), rows.left_out()), (INTERFACES_MAX, 3));
    }

    #[test]
    fn the_steps_of_a_real_report_are_read() {
        let value = value(b"du10:activitiesds4:eth0lti1795406100;i12709911;i128967;;;s2:lolti1795406100;i47556;i47556;;;;;");
        let traffic =
            traffic(Fields::of(&value).expect("fields"), &mut Rows::default()).expect("valid");
        let found = traffic.iter();
        let found =
            found.flat_map(|(name, steps)| steps.values().map(|bytes| (name.as_str(), *bytes)));
        let found: Vec<_> = found.collect();
        assert_eq!(
            found,
            [("eth0", (12_709_911, 128_967)), ("lo", (47_556, 47_556))]
        );
    }

    #[test]
    fn a_counter_that_went_back_is_no_traffic() {
        let value = value(b"du10:activitiesds4:eth0lti1795406100;i-53687091;i128967;;;;;");
        let traffic =
            traffic(Fields::of(&value).expect("fields"), &mut Rows::default()).expect("valid");
        let found: Vec<_> = traffic
            .values()
            .flat_map(BTreeMap::values)
            .copied()
            .collect();
        assert_eq!(found, [(0, 128_967)]);
    }

    #[test]
    fn a_name_of_an_interface_holds_nothing_that_the_database_refuses() {
        let value = value(b"du10:activitiesds6:eth0\0\0lti1795406100;i1;i2;;;;;");
        let traffic =
            traffic(Fields::of(&value).expect("fields"), &mut Rows::default()).expect("valid");
        let names: Vec<_> = traffic.keys().map(String::as_str).collect();
        assert_eq!(names, ["eth0\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn flags_have_the_usual_names() {
        assert_eq!(
            flag_names(4163),
            ["UP", "BROADCAST", "RUNNING", "MULTICAST"]
        );
        assert_eq!(flag_names(130), ["BROADCAST", "NOARP"]);
    }
}
