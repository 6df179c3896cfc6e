//! What is a computer made of? What `lshw` tells, by kind of device, as clients of the API show it.
//!
//! Sizes and speeds are texts with units, as these are for people; what is not known is
//! [`NOT_AVAILABLE`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::xml::{self, Element};

/// Stands for what a computer does not tell.
pub const NOT_AVAILABLE: &str = "Not available";

/// Caches that every processor is told to have where none are told in it, and the longest name of one, bytes:
/// many processors repeat them.
const CACHES_MAX: usize = 8;
const CACHE_NAME_BYTES_MAX: usize = 64;

/// A computer's devices by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hardware {
    /// Processors.
    pub cpu: Vec<Cpu>,
    /// The first of what shows pictures.
    pub display: Named,
    /// Main memory.
    pub memory: Memory,
    /// The first of what sounds.
    pub multimedia: Named,
    /// Interfaces.
    pub network: Vec<Network>,
    /// Bridges to what is attached.
    pub pci: Vec<Bridge>,
    /// Devices on SCSI.
    pub scsi: Vec<Device>,
    /// Disks.
    pub storage: Vec<Storage>,
    /// The whole of it.
    pub system: System,
    /// Controllers of USB.
    pub usb: Vec<Device>,
}

/// A device by its maker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// What it is.
    pub model: String,
    /// Who made it.
    pub vendor: String,
}

/// A device by its maker and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// What it is for.
    pub description: String,
    /// What it is.
    pub model: String,
    /// Who made it.
    pub vendor: String,
}

/// A word of a processor or a BIOS, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// The word.
    pub code: String,
    /// For people.
    pub title: String,
}

/// A processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// Its width.
    pub architecture: String,
    /// Sizes of its caches by their names.
    pub cache: BTreeMap<String, String>,
    /// Its speed.
    pub clock_speed: String,
    /// What it can.
    pub flags: Vec<Capability>,
    /// What it is.
    pub model: String,
    /// Who made it.
    pub vendor: String,
}

/// Main memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// How much.
    pub size: String,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// What it is for.
    pub description: String,
    /// Its address.
    pub ip: String,
    /// Its hardware address.
    pub mac: String,
    /// What it is.
    pub product: String,
    /// Who made it.
    pub vendor: String,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bridge {
    /// What is attached to it.
    pub attached_devices: Vec<Device>,
    /// What it is for.
    pub description: String,
    /// What it is.
    pub model: String,
    /// Who made it.
    pub vendor: String,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// What it is for.
    pub description: String,
    /// Its parts.
    pub partitions: Vec<Partition>,
    /// What it is.
    pub product: String,
    /// How much it holds.
    pub size: String,
    /// Who made it.
    pub vendor: String,
}

/// A part of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// What it is for.
    pub description: String,
    /// How files are kept on it.
    pub filesystem: String,
    /// How much it holds.
    pub size: String,
}

/// The whole of a computer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct System {
    /// What its BIOS can.
    pub bios_capabilities: Vec<Capability>,
    /// When its BIOS was made.
    pub bios_date: String,
    /// Who made its BIOS.
    pub bios_vendor: String,
    /// Which BIOS it has.
    pub bios_version: String,
    /// Its form.
    pub chassis: String,
    /// What it is.
    pub model: String,
    /// Its number.
    pub serial: String,
    /// Who made it.
    pub vendor: String,
}

impl Hardware {
    /// Reads the XML of `lshw`. None where it is none.
    pub fn read(text: &str) -> Option<Self> {
        let document = xml::read(text)?;
        let root = match document.name.as_str() {
            "node" => Some(&document),
            _ => document.child("node"),
        }?;
        let mut all = Vec::new();
        gather(root, &mut all);
        let class = |name: &'static str| {
            let of = move |node: &&&Element| node.attribute("class") == Some(name);
            all.iter().filter(of).copied()
        };
        let device_of =
            |node: &&Element, words: &str| text_of(node, "description").starts_with(words);
        let memory = class("memory").find(|node| id_is(node, "memory"));
        // Some computers tell of caches beside the processors.
        let short = |node: &Element| text_of(node, "description").len() <= CACHE_NAME_BYTES_MAX;
        let beside = class("memory").filter(|node| id_is(node, "cache") && short(node));
        let beside: Vec<&Element> = beside.take(CACHES_MAX).collect();
        Some(Self {
            cpu: class("processor").map(|node| cpu(node, &beside)).collect(),
            display: named(class("display").next()),
            memory: Memory {
                size: memory.map_or_else(missing, |node| size_of(node, 1024)),
            },
            multimedia: named(class("multimedia").next()),
            network: class("network").map(network).collect(),
            pci: class("bridge")
                .filter(|node| device_of(node, "PCI bridge"))
                .map(bridge)
                .collect(),
            scsi: class("disk")
                .filter(|node| device_of(node, "SCSI"))
                .map(device)
                .collect(),
            storage: class("disk").map(storage).collect(),
            system: system(root, class("memory").find(|node| id_is(node, "firmware"))),
            usb: class("bus")
                .filter(|node| device_of(node, "USB"))
                .map(device)
                .collect(),
        })
    }
}

/// A device and all devices in it, in the order of the document.
fn gather<'d>(node: &'d Element, into: &mut Vec<&'d Element>) {
    into.push(node);
    for child in nodes(node) {
        gather(child, into);
    }
}

/// The volumes in a device, but for those of a disk in it.
fn gather_volumes<'d>(node: &'d Element, into: &mut Vec<&'d Element>) {
    for child in nodes(node) {
        match child.attribute("class") {
            Some("disk") => continue,
            Some("volume") => into.push(child),
            _ => {}
        }
        gather_volumes(child, into);
    }
}

fn nodes(node: &Element) -> impl Iterator<Item = &Element> {
    node.children.iter().filter(|child| child.name == "node")
}

fn missing() -> String {
    NOT_AVAILABLE.to_owned()
}

/// A device is `cpu`, or `cpu:0` where there are more.
fn id_is(node: &Element, name: &str) -> bool {
    let id = node.attribute("id").unwrap_or_default();
    id.split(':').next() == Some(name)
}

fn text_of(node: &Element, name: &str) -> String {
    let text = node.child(name).map(|child| child.text.clone());
    text.filter(|text| !text.is_empty()).unwrap_or_else(missing)
}

fn setting(node: &Element, id: &str) -> String {
    let settings = node.child("configuration");
    let mut settings = settings.into_iter().flat_map(|all| &all.children);
    let found = settings.find(|one| one.attribute("id") == Some(id));
    let value = found.and_then(|one| one.attribute("value"));
    value.map_or_else(missing, str::to_owned)
}

fn capabilities(node: &Element) -> Vec<Capability> {
    let all = node.child("capabilities");
    let all = all.into_iter().flat_map(|all| &all.children);
    all.filter_map(|one| {
        let code = one.attribute("id")?.to_owned();
        let title = match one.text.as_str() {
            "" => code.clone(),
            title => title.to_owned(),
        };
        Some(Capability { code, title })
    })
    .collect()
}

/// What a device holds, in steps of 1000 or 1024.
fn size_of(node: &Element, step: u16) -> String {
    let told = node.child("size").or_else(|| node.child("capacity"));
    let bytes = told.and_then(|told| told.text.parse().ok());
    let units = match step {
        1024 => ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"],
        _ => ["bytes", "kB", "MB", "GB", "TB", "PB"],
    };
    bytes.map_or_else(missing, |bytes| scaled(bytes, step, units))
}

/// A number with the greatest unit that leaves at least one before the point.
fn scaled(number: u64, step: u16, units: [&str; 6]) -> String {
    let (mut unit, mut divisor) = (units[0], 1_u64);
    for larger in &units[1..] {
        let next = divisor.saturating_mul(step.into());
        if number < next {
            break;
        }
        (unit, divisor) = (*larger, next);
    }
    // Two places, cut off, without zeros at their end.
    let hundredths = u128::from(number) * 100 / u128::from(divisor);
    let (whole, places) = (hundredths / 100, hundredths % 100);
    match (places, places % 10) {
        (0, _) => format!("{whole} {unit}"),
        (_, 0) => format!("{whole}.{} {unit}", places / 10),
        _ => format!("{whole}.{places:02} {unit}"),
    }
}

fn cpu(node: &Element, beside: &[&Element]) -> Cpu {
    let mut caches: Vec<&Element> = nodes(node).filter(|one| id_is(one, "cache")).collect();
    if caches.is_empty() {
        caches = beside.to_vec();
    }
    let cache = caches.into_iter();
    let cache = cache.map(|one| (text_of(one, "description"), size_of(one, 1024)));
    let width = node.child("width").map(|width| width.text.as_str());
    let speed = node.child("size").and_then(|speed| speed.text.parse().ok());
    let hertz = ["Hz", "kHz", "MHz", "GHz", "THz", "PHz"];
    Cpu {
        architecture: width.map_or_else(missing, |width| format!("{width} bits")),
        cache: cache.collect(),
        clock_speed: speed.map_or_else(missing, |speed| scaled(speed, 1000, hertz)),
        flags: capabilities(node),
        model: text_of(node, "product"),
        vendor: text_of(node, "vendor"),
    }
}

fn named(node: Option<&Element>) -> Named {
    Named {
        model: node.map_or_else(missing, |node| text_of(node, "product")),
        vendor: node.map_or_else(missing, |node| text_of(node, "vendor")),
    }
}

fn device(node: &Element) -> Device {
    Device {
        description: text_of(node, "description"),
        model: text_of(node, "product"),
        vendor: text_of(node, "vendor"),
    }
}

fn network(node: &Element) -> Network {
    Network {
        description: text_of(node, "description"),
        ip: setting(node, "ip"),
        mac: text_of(node, "serial"),
        product: text_of(node, "product"),
        vendor: text_of(node, "vendor"),
    }
}

fn bridge(node: &Element) -> Bridge {
    Bridge {
        attached_devices: nodes(node).map(device).collect(),
        description: text_of(node, "description"),
        model: text_of(node, "product"),
        vendor: text_of(node, "vendor"),
    }
}

fn storage(node: &Element) -> Storage {
    let mut volumes = Vec::new();
    gather_volumes(node, &mut volumes);
    let partition = |one: &&Element| Partition {
        description: text_of(one, "description"),
        filesystem: setting(one, "filesystem"),
        size: size_of(one, 1000),
    };
    Storage {
        description: text_of(node, "description"),
        partitions: volumes.iter().map(partition).collect(),
        product: text_of(node, "product"),
        size: size_of(node, 1000),
        vendor: text_of(node, "vendor"),
    }
}

fn system(root: &Element, firmware: Option<&Element>) -> System {
    let bios = |name: &str| firmware.map_or_else(missing, |node| text_of(node, name));
    System {
        bios_capabilities: firmware.map(capabilities).unwrap_or_default(),
        bios_date: bios("date"),
        bios_vendor: bios("vendor"),
        bios_version: bios("version"),
        chassis: setting(root, "chassis"),
        model: text_of(root, "product"),
        serial: text_of(root, "serial"),
        vendor: text_of(root, "vendor"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of a notebook, shortened.
    const LSHW: &str = r#"<?xml version="1.0" standalone="yes" ?>
<list><node id="box" class="system">
 <description>Notebook</description><product>Book 5</product><vendor>Maker &amp; Sons</vendor><serial>W89</serial>
 <configuration><setting id="chassis" value="notebook" /></configuration>
 <node id="core" class="bus"><description>Motherboard</description>
  <node id="firmware" class="memory"><description>BIOS</description><vendor>B</vendor><version>1.2</version><date>06/15/09</date>
   <capabilities><capability id="pci">PCI bus</capability><capability id="acpi" /></capabilities></node>
  <node id="memory" class="memory"><description>System Memory</description><size units="bytes">8589934592</size></node>
  <node id="cpu:0" class="processor"><product>Core 2</product><vendor>Intel Corp.</vendor>
   <size units="Hz">2660000000</size><width units="bits">64</width>
   <capabilities><capability id="fpu">mathematical co-processor</capability></capabilities>
   <node id="cache" class="memory"><description>L1 cache</description><size units="bytes">32768</size></node></node>
  <node id="cpu:1" class="processor"><vendor>Intel</vendor></node>
  <node id="pci:0" class="bridge"><description>PCI bridge</description><product>Bridge</product><vendor>nVidia</vendor>
   <node id="display" class="display"><description>VGA compatible controller</description><product>G96</product><vendor>nVidia</vendor></node></node>
  <node id="network" class="network"><description>Wireless interface</description><product>BCM</product><vendor>Broadcom</vendor>
   <serial>00:25:00:49:ef:80</serial><configuration><setting id="ip" value="192.0.2.2" /></configuration></node>
  <node id="usb" class="bus"><description>USB controller</description><product>OHCI</product><vendor>nVidia</vendor></node>
  <node id="disk" class="disk"><description>SCSI Disk</description><product>HTS</product><vendor>Hitachi</vendor><size units="bytes">320072933376</size>
   <node id="volume" class="volume"><description>EXT4 volume</description><capacity>1500000</capacity>
    <configuration><setting id="filesystem" value="ext4" /></configuration></node></node>
 </node></node></list>"#;

    #[test]
    fn what_lshw_tells_is_told_by_kind() {
        let told = Hardware::read(LSHW).expect("a tree");
        let told = serde_json::to_value(told).expect("JSON");
        let device = |description: &str, model: &str, vendor: &str| serde_json::json!({"description": description, "model": model, "vendor": vendor});
        for (kind, expected) in [
            (
                "cpu",
                serde_json::json!([
                    {"architecture": "64 bits", "cache": {"L1 cache": "32 KiB"},
                     "clock_speed": "2.66 GHz", "model": "Core 2", "vendor": "Intel Corp.",
                     "flags": [{"code": "fpu", "title": "mathematical co-processor"}]},
                    {"architecture": NOT_AVAILABLE, "cache": {"L1 cache": "32 KiB"},
                     "clock_speed": NOT_AVAILABLE, "model": NOT_AVAILABLE, "vendor": "Intel",
                     "flags": []},
                ]),
            ),
            (
                "display",
                serde_json::json!({"model": "G96", "vendor": "nVidia"}),
            ),
            ("memory", serde_json::json!({"size": "8 GiB"})),
            (
                "multimedia",
                serde_json::json!({"model": NOT_AVAILABLE, "vendor": NOT_AVAILABLE}),
            ),
            (
                "network",
                serde_json::json!([{"description": "Wireless interface", "ip": "192.0.2.2",
                    "mac": "00:25:00:49:ef:80", "product": "BCM", "vendor": "Broadcom"}]),
            ),
            (
                "pci",
                serde_json::json!([{
                    "attached_devices": [device("VGA compatible controller", "G96", "nVidia")],
                    "description": "PCI bridge", "model": "Bridge", "vendor": "nVidia"}]),
            ),
            (
                "scsi",
                serde_json::json!([device("SCSI Disk", "HTS", "Hitachi")]),
            ),
            (
                "storage",
                serde_json::json!([{"description": "SCSI Disk", "product": "HTS",
                    "size": "320.07 GB", "vendor": "Hitachi", "partitions": [
                        {"description": "EXT4 volume", "filesystem": "ext4", "size": "1.5 MB"}]}]),
            ),
            (
                "system",
                serde_json::json!({"bios_capabilities": [{"code": "pci", "title": "PCI bus"},
                        {"code": "acpi", "title": "acpi"}],
                    "bios_date": "06/15/09", "bios_vendor": "B", "bios_version": "1.2",
                    "chassis": "notebook", "model": "Book 5", "serial": "W89",
                    "vendor": "Maker & Sons"}),
            ),
            (
                "usb",
                serde_json::json!([device("USB controller", "OHCI", "nVidia")]),
            ),
        ] {
            assert_eq!(told[kind], expected, "{kind}");
        }
    }

    #[test]
    fn what_is_no_tree_of_devices_is_none() {
        for text in ["", "sh: lshw: not found", "<list/>", "<list><x/></list>"] {
            assert_eq!(Hardware::read(text), None, "{text}");
        }
        assert!(Hardware::read("<node/>").is_some());
    }

    #[test]
    fn many_processors_repeat_no_long_names() {
        let name = "x".repeat(100_000);
        let cache =
            format!("<node id=\"cache\" class=\"memory\"><description>{name}</description></node>");
        let processors = "<node class=\"processor\"/>".repeat(10_000);
        let told = Hardware::read(&format!("<node>{cache}{processors}</node>")).expect("a tree");
        assert!(told.cpu.len() == 10_000 && told.cpu[0].cache.is_empty());
    }

    #[test]
    fn sizes_have_the_unit_that_people_would_take() {
        let bytes = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
        for (number, told) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16383.99 PiB"),
        ] {
            assert_eq!(scaled(number, 1024, bytes), told);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_an_agent_sends_breaks_it(
            size in "[0-9]{0,30}|-1|x",
            id in "[a-z:]{0,8}",
            class in "(disk|memory|processor|bridge|bus|volume|)",
        ) {
            let node = format!(
                "<node id='{id}' class='{class}'><size>{size}</size><description>USB</description></node>"
            );
            let nested = format!("<list><node class='{class}'>{node}{node}</node></list>");
            prop_assert!(Hardware::read(&nested).is_some());
        }
    }
}
