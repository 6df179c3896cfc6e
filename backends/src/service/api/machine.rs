//! How does a computer look in an answer? And a WSL host, which is a computer to clients of the newer form:
//! the root of a family whose children are the instances on it that registered.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::view::access_group;
use crate::domain::alert::Alert;
use crate::domain::hardware::Hardware;
use crate::domain::person::Person;
use crate::store::listing::{self, Computer, Interface, Upgrades};
use crate::store::search::Member;
use crate::store::wsl_page::{self, Numbered, Tie};
use crate::store::{Result, Tx};

/// What is told of computers beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct With {
    /// Their interfaces.
    pub network: bool,
    /// Their annotations.
    pub annotations: bool,
    /// What they are made of, as they told it.
    pub hardware: bool,
    /// The same by kind of device.
    pub grouped_hardware: bool,
    /// What somebody has to look at.
    pub alerts: bool,
    /// How many packages can be upgraded.
    pub upgrades: bool,
}

/// What is told of some computers beyond the usual, by their numbers.
#[derive(Default)]
struct More {
    interfaces: HashMap<i64, Vec<Interface>>,
    annotations: HashMap<i64, Vec<(String, String)>>,
    alerts: HashMap<i64, Vec<Alert>>,
    upgrades: HashMap<i64, Upgrades>,
}

impl More {
    async fn of(tx: &Tx<'_>, ids: &[i64], with: With) -> Result<Self> {
        let mut more = Self::default();
        if with.network {
            more.interfaces = listing::interfaces(tx, ids).await?;
        }
        if with.annotations {
            more.annotations = listing::annotations(tx, ids).await?;
        }
        if with.alerts {
            more.alerts = listing::alerts(tx, ids).await?;
        }
        if with.upgrades {
            more.upgrades = listing::upgrades(tx, ids).await?;
        }
        Ok(more)
    }

    /// Adds what was asked for; `hardware` is what the computer told.
    fn add(&self, view: &mut Map<String, Value>, with: With, id: i64, hardware: Option<&str>) {
        let mut put = |name: &str, value: Value| view.insert(name.to_owned(), value);
        if with.network {
            let own = self.interfaces.get(&id).map_or(&[][..], Vec::as_slice);
            put("network_devices", own.iter().map(interface).collect());
        }
        if with.annotations {
            let own = self.annotations.get(&id).map_or(&[][..], Vec::as_slice);
            let own = own.iter();
            let notes: Map<String, Value> = own
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect();
            put("annotations", notes.into());
        }
        if with.hardware {
            put("hardware", json!(hardware));
        }
        if with.grouped_hardware {
            put("grouped_hardware", json!(hardware.and_then(Hardware::read)));
        }
        if with.alerts {
            let own = self.alerts.get(&id).map_or(&[][..], Vec::as_slice);
            put("alerts", own.iter().map(alert).collect());
        }
        if with.upgrades {
            let own = self.upgrades.get(&id);
            put("upgrades", own.map_or(Value::Null, upgrades));
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

fn alert(one: &Alert) -> Value {
    json!({"type": one.kind(), "summary": one.summary(), "severity": one.severity()})
}

fn upgrades(of: &Upgrades) -> Value {
    json!({"regular": of.regular, "security": of.security})
}

/// These computers as the older form shows them.
///
/// # Errors
///
/// The database's.
pub async fn computers(
    tx: &Tx<'_>,
    person: &Person,
    ids: &[i64],
    with: With,
) -> Result<Vec<Value>> {
    let told = with.hardware || with.grouped_hardware;
    let found = listing::computers(tx, person.account, ids, told).await?;
    let more = More::of(tx, ids, with).await?;
    let whole = |one: &Computer| {
        let mut view = computer(one);
        more.add(&mut view, with, one.id, one.hardware.as_deref());
        Value::Object(view)
    };
    Ok(found.iter().map(whole).collect())
}

fn object(view: Value) -> Map<String, Value> {
    match view {
        Value::Object(view) => view,
        _ => Map::new(),
    }
}

fn computer(one: &Computer) -> Map<String, Value> {
    let [_, description, release, _] = &one.distribution;
    object(json!({
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
    }))
}

/// A computer as the newer form shows it, but for its family.
fn newer(one: &Computer) -> Map<String, Value> {
    let pro = one.ubuntu_pro_info.as_deref();
    let pro: Option<Value> = pro.and_then(|text| serde_json::from_str(text).ok());
    let mut view = computer(one);
    view.extend(object(json!({
        "clone_id": one.clone_of,
        "is_wsl_instance": one.is_wsl,
        "default_child": null,
        "is_default_child": null,
        "ubuntu_pro_info": pro,
        "registered_at": one.registered,
    })));
    view
}

/// A time of the store's pages, which are UTC, as answers have it: ISO 8601.
pub fn iso(time: &str) -> String {
    format!("{}Z", time.replace(' ', "T"))
}

/// A WSL host as a computer, but for its family. It does not ping, and what it tells of itself is all of
/// its exchange.
fn host(one: &Numbered) -> Map<String, Value> {
    let (number, one) = (one.number, &one.listed);
    object(json!({
        "id": number,
        "title": one.hostname,
        "comment": "",
        "hostname": one.hostname,
        "total_memory": null,
        "total_swap": null,
        "reboot_required_flag": false,
        "update_manager_prompt": null,
        "last_ping_time": null,
        "last_exchange_time": one.last_info.as_deref().map(iso),
        "tags": [],
        "access_group": access_group(""),
        "distribution": null,
        "cloud_instance_metadata": {},
        "vm_info": "",
        "container_info": "",
        "clone_id": null,
        "is_wsl_instance": false,
        "default_child": one.default_instance,
        "is_default_child": null,
        "ubuntu_pro_info": null,
        "registered_at": iso(&one.registered),
    }))
}

/// Hosts, and what of computers lives on which.
struct Families {
    hosts: HashMap<Uuid, Numbered>,
    ties: Vec<Tie>,
}

impl Families {
    /// Whether a computer is its host's default instance; None where it is not known which one it is.
    fn is_default(&self, tie: &Tie) -> Option<bool> {
        let host = &self.hosts.get(&tie.host)?.listed;
        let instance = tie.instance.as_ref()?;
        Some(host.default_instance.as_ref() == Some(instance))
    }

    async fn with_hosts(tx: &Tx<'_>, account: i64, uids: &[Uuid], ties: Vec<Tie>) -> Result<Self> {
        let mut all: Vec<Uuid> = ties.iter().map(|tie| tie.host).collect();
        all.extend(uids);
        all.sort_unstable();
        all.dedup();
        let hosts = match all.is_empty() {
            true => Vec::new(),
            false => wsl_page::these(tx, account, &all).await?,
        };
        let hosts = hosts.into_iter().map(|one| (one.listed.uid, one)).collect();
        Ok(Self { hosts, ties })
    }
}

/// These computers as the newer form shows them, each with the host that it lives on.
///
/// # Errors
///
/// The database's.
pub async fn newer_computers(
    tx: &Tx<'_>,
    person: &Person,
    ids: &[i64],
    with: With,
) -> Result<Vec<Value>> {
    let account = person.account;
    let told = with.hardware || with.grouped_hardware;
    let found = listing::computers(tx, account, ids, told).await?;
    let more = More::of(tx, ids, with).await?;
    let ties = wsl_page::parents(tx, account, ids).await?;
    let families = Families::with_hosts(tx, account, &[], ties).await?;
    let mut views = Vec::with_capacity(found.len());
    for one in &found {
        let mut view = newer(one);
        let tie = families.ties.iter().find(|tie| tie.computer == one.id);
        let parent = tie.and_then(|tie| families.hosts.get(&tie.host)).map(host);
        view.insert("parent".to_owned(), json!(parent));
        view.insert("children".to_owned(), json!([]));
        if let Some(default) = tie.and_then(|tie| families.is_default(tie)) {
            view.insert("is_default_child".to_owned(), default.into());
        }
        more.add(&mut view, with, one.id, one.hardware.as_deref());
        views.push(Value::Object(view));
        if with.grouped_hardware {
            // Many of them are some work, and others wait.
            tokio::task::yield_now().await;
        }
    }
    Ok(views)
}

/// These hosts as the newer form shows computers, in this order, each with the computers that live on it.
///
/// # Errors
///
/// The database's.
pub async fn hosts(
    tx: &Tx<'_>,
    person: &Person,
    uids: &[Uuid],
    with: With,
) -> Result<Vec<(Numbered, Map<String, Value>)>> {
    let account = person.account;
    let ties = wsl_page::children(tx, account, uids).await?;
    let ids: Vec<i64> = ties.iter().map(|tie| tie.computer).collect();
    let found = listing::computers(tx, account, &ids, false).await?;
    let computers: HashMap<i64, &Computer> = found.iter().map(|one| (one.id, one)).collect();
    let families = Families::with_hosts(tx, account, uids, ties).await?;
    let mut children: HashMap<Uuid, Vec<Value>> = HashMap::new();
    for tie in &families.ties {
        let Some(one) = computers.get(&tie.computer) else {
            continue;
        };
        let mut view = newer(one);
        view.insert(
            "is_default_child".to_owned(),
            json!(families.is_default(tie)),
        );
        children.entry(tie.host).or_default().push(view.into());
    }
    let more = More::default();
    let mut views = Vec::with_capacity(uids.len());
    for uid in uids {
        let Some(one) = families.hosts.get(uid) else {
            continue;
        };
        let mut view = host(one);
        view.insert("parent".to_owned(), Value::Null);
        let own = children.remove(uid).unwrap_or_default();
        view.insert("children".to_owned(), own.into());
        more.add(&mut view, with, one.number, None);
        if with.alerts && one.offline {
            view.insert("alerts".to_owned(), json!([alert(&Alert::ComputerOffline)]));
        }
        views.push((one.clone(), view));
    }
    Ok(views)
}

/// Computers and hosts as the newer form shows them, in this order.
///
/// # Errors
///
/// The database's.
pub async fn members(
    tx: &Tx<'_>,
    person: &Person,
    found: &[Member],
    with: With,
) -> Result<Vec<Value>> {
    let ids: Vec<i64> = found
        .iter()
        .filter(|one| one.host.is_none())
        .map(|one| one.id)
        .collect();
    let uids: Vec<Uuid> = found.iter().filter_map(|one| one.host).collect();
    let mut views: HashMap<i64, Value> = HashMap::new();
    for view in newer_computers(tx, person, &ids, with).await? {
        if let Some(id) = view["id"].as_i64() {
            views.insert(id, view);
        }
    }
    if !uids.is_empty() {
        for (one, view) in hosts(tx, person, &uids, with).await? {
            views.insert(one.number, view.into());
        }
    }
    Ok(found
        .iter()
        .filter_map(|one| views.remove(&one.id))
        .collect())
}

/// What one computer alone tells beyond a list: its system, and how many instances are on it.
pub fn add_single(
    view: &mut Map<String, Value>,
    distribution: &[Option<String>; 4],
    instances: i64,
) {
    let [distributor, description, release, code_name] = distribution;
    view.extend(object(json!({
        "archived": false,
        "cloud_init": {},
        "distribution_info": {
            "distributor": distributor,
            "description": description,
            "release": release,
            "code_name": code_name,
        },
        "employee_id": null,
        "livepatch_info": null,
        "num_child": instances,
        "profiles": [],
    })));
}
