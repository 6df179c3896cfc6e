//! How does a simulated WSL host behave? It tells of itself and its instances, takes the identity that it is given,
//! carries out orders one after the other and says how far each is. Written from the protocol's numbers, not from the
//! server's files.
//!
//! What it was told and what it said is kept, so that the database can be asked for the same in the end.

use std::collections::{BTreeMap, HashMap, VecDeque};

use prost::{Message, Oneof};

/// Instances that a host begins with.
const INSTANCES: [&str; 2] = ["Ubuntu", "Debian"];

/// What a host tells of itself.
#[derive(Clone, PartialEq, Message)]
pub struct Info {
    #[prost(string, tag = "1")]
    pub token: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub hostname: String,
    #[prost(message, repeated, tag = "4")]
    pub instances: Vec<Instance>,
    #[prost(string, tag = "5")]
    pub account_name: String,
    #[prost(string, optional, tag = "6")]
    pub registration_key: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub default_instance_id: Option<String>,
}

/// An instance of a host.
#[derive(Clone, PartialEq, Message)]
pub struct Instance {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub version_id: String,
    /// 0 stopped, 1 running.
    #[prost(int32, tag = "4")]
    pub state: i32,
}

/// An order.
#[derive(Clone, PartialEq, Message)]
pub struct Command {
    #[prost(oneof = "Cmd", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub cmd: Option<Cmd>,
    #[prost(string, tag = "8")]
    pub request_id: String,
}

/// What can be ordered.
#[derive(Clone, PartialEq, Oneof)]
pub enum Cmd {
    #[prost(message, tag = "1")]
    AssignHost(Named),
    #[prost(message, tag = "2")]
    Start(Named),
    #[prost(message, tag = "3")]
    Stop(Named),
    #[prost(message, tag = "4")]
    Install(Named),
    #[prost(message, tag = "5")]
    Uninstall(Named),
    #[prost(message, tag = "6")]
    SetDefault(Named),
    #[prost(message, tag = "7")]
    ShutdownHost(Nothing),
}

/// An identity: of the host, or of an instance. What an installation has besides is not looked at.
#[derive(Clone, PartialEq, Message)]
pub struct Named {
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Nothing {}

/// How far an order is: 0 queued, 1 in progress, 2 completed.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(string, tag = "1")]
    pub request_id: String,
    #[prost(int32, tag = "2")]
    pub state: i32,
    #[prost(string, tag = "3")]
    pub error: String,
}

/// The state of an order that is over.
const COMPLETED: i32 = 2;

/// An order as it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub request_id: String,
    /// In the word of the database.
    pub kind: &'static str,
    pub instance: String,
    /// How it ended; empty where it succeeded.
    pub error: String,
    /// Its last status was answered.
    pub answered: bool,
}

/// What an order led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The host has an identity now, and must tell so.
    Identity,
    /// It was carried out: statuses are to be said, and what the host is now.
    Done,
    /// It came before under the same number.
    Again,
    /// It cannot be read.
    Nonsense,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    pub hostname: String,
    account: String,
    key: Option<String>,
    pub uid: Option<String>,
    /// Running or not, by identity.
    pub instances: BTreeMap<String, bool>,
    pub default: String,
    /// Orders in the order in which they came first.
    pub taken: Vec<Taken>,
    places: HashMap<String, usize>,
    /// Statuses that are not answered, the oldest first.
    pub unsaid: VecDeque<Status>,
    /// What must not happen and did.
    pub wrong: Vec<String>,
}

impl Host {
    pub fn new(run: &str, number: usize, account: &str, key: Option<&str>) -> Host {
        Host {
            hostname: format!("{run}-host{number}"),
            account: account.to_owned(),
            key: key.map(str::to_owned),
            uid: None,
            instances: INSTANCES.map(|name| (name.to_owned(), false)).into(),
            default: INSTANCES[0].to_owned(),
            taken: Vec::new(),
            places: HashMap::new(),
            unsaid: VecDeque::new(),
            wrong: Vec::new(),
        }
    }

    /// What it would tell of itself now.
    pub fn info(&self) -> Info {
        let instances = self.instances.iter().map(|(id, running)| Instance {
            id: id.clone(),
            name: id.clone(),
            version_id: "24.04".to_owned(),
            state: i32::from(*running),
        });
        Info {
            token: String::new(),
            uid: self.uid.clone().unwrap_or_default(),
            hostname: self.hostname.clone(),
            instances: instances.collect(),
            account_name: self.account.clone(),
            registration_key: self.key.clone(),
            default_instance_id: Some(self.default.clone()),
        }
    }

    /// Something on the host itself starts or stops.
    pub fn change(&mut self) {
        let count = self.instances.len().max(1);
        if let Some(running) = self.instances.values_mut().nth(fastrand::usize(..count)) {
            *running = !*running;
        }
    }

    /// Carries out an order.
    pub fn obey(&mut self, command: Command) -> Heard {
        let Some(cmd) = command.cmd else {
            self.wrong.push("an order without content".to_owned());
            return Heard::Nonsense;
        };
        if let Cmd::AssignHost(Named { id }) = cmd {
            if let Some(old) = self.uid.as_ref().filter(|old| **old != id) {
                self.wrong
                    .push(format!("its identity {old} became another: {id}"));
            }
            self.uid = Some(id);
            return Heard::Identity;
        }
        let request_id = command.request_id;
        if let Some(place) = self.places.get(&request_id) {
            // It was on its way when a stream broke. Done once, said once more.
            let old = self.taken[*place].clone();
            self.say(&request_id, COMPLETED, &old.error);
            return Heard::Again;
        }
        let (kind, instance) = named(cmd);
        let error = self.carry_out(kind, &instance);
        for state in 0..=COMPLETED {
            let error = if state == COMPLETED {
                error.as_str()
            } else {
                ""
            };
            self.say(&request_id, state, error);
        }
        self.places.insert(request_id.clone(), self.taken.len());
        self.taken.push(Taken {
            request_id,
            kind,
            instance,
            error,
            answered: false,
        });
        Heard::Done
    }

    fn say(&mut self, request_id: &str, state: i32, error: &str) {
        self.unsaid.push_back(Status {
            request_id: request_id.to_owned(),
            state,
            error: error.to_owned(),
        });
    }

    /// Does it; what stood in the way, or nothing.
    fn carry_out(&mut self, kind: &str, instance: &str) -> String {
        if kind == "install" {
            self.instances.insert(instance.to_owned(), false);
            return String::new();
        }
        if kind == "shutdown_host" {
            self.instances.values_mut().for_each(|runs| *runs = false);
            return String::new();
        }
        let Some(running) = self.instances.get_mut(instance) else {
            return format!("there is no {instance}");
        };
        match kind {
            "start" => *running = true,
            "stop" => *running = false,
            "set_default" => instance.clone_into(&mut self.default),
            _ => {
                self.instances.remove(instance);
            }
        }
        String::new()
    }

    /// The oldest status was answered.
    pub fn said(&mut self) {
        let Some(status) = self.unsaid.pop_front() else {
            return;
        };
        if status.state == COMPLETED
            && let Some(place) = self.places.get(&status.request_id)
        {
            self.taken[*place].answered = true;
        }
    }
}

/// The word of the database for an order, and the instance it is about.
fn named(cmd: Cmd) -> (&'static str, String) {
    match cmd {
        Cmd::Start(named) => ("start", named.id),
        Cmd::Stop(named) => ("stop", named.id),
        Cmd::Install(named) => ("install", named.id),
        Cmd::Uninstall(named) => ("uninstall", named.id),
        Cmd::SetDefault(named) => ("set_default", named.id),
        Cmd::ShutdownHost(Nothing {}) => ("shutdown_host", String::new()),
        Cmd::AssignHost(named) => ("assign_host", named.id),
    }
}

/// A message as gRPC frames it.
pub fn frame(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut out = Vec::with_capacity(5 + length);
    out.push(0);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    // A vector grows as it must.
    let _ = message.encode(&mut out);
    out
}

/// Takes the first whole message off what was read; None where it has not come yet. An error for what is none.
pub fn unframe(read: &mut Vec<u8>) -> Result<Option<Command>, &'static str> {
    let Some((head, rest)) = read.split_first_chunk::<5>() else {
        return Ok(None);
    };
    let [packed, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    if packed != 0 || length > 4 << 20 {
        return Err("malformed");
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let command = Command::decode(body).map_err(|_| "malformed")?;
    read.drain(..5 + length);
    Ok(Some(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(request_id: &str, cmd: Cmd) -> Command {
        Command {
            cmd: Some(cmd),
            request_id: request_id.to_owned(),
        }
    }

    fn named(id: &str) -> Named {
        Named { id: id.to_owned() }
    }

    #[test]
    fn an_order_is_done_once_and_said_until_it_is_answered() {
        let mut host = Host::new("run", 1, "standalone", None);
        let assign = order("", Cmd::AssignHost(named("abc")));
        assert_eq!(host.obey(assign.clone()), Heard::Identity);
        assert_eq!(host.info().uid, "abc");
        let start = order("1", Cmd::Start(named("Ubuntu")));
        assert_eq!(host.obey(start.clone()), Heard::Done);
        assert_eq!(host.info().instances[1].state, 1);
        let states: Vec<i32> = host.unsaid.iter().map(|status| status.state).collect();
        assert_eq!(states, [0, 1, 2]);
        for answered in [false, false, true] {
            host.said();
            assert_eq!(host.taken[0].answered, answered);
        }
        host.instances.insert("Ubuntu".to_owned(), false);
        assert_eq!(host.obey(start), Heard::Again);
        assert_eq!((host.taken.len(), host.unsaid.len()), (1, 1));
        assert!(!host.instances["Ubuntu"], "not done again");
        let none = order("2", Cmd::Stop(named("Arch")));
        assert_eq!(host.obey(none), Heard::Done);
        assert_eq!(host.taken[1].error, "there is no Arch");
        assert!(host.wrong.is_empty());
        host.obey(assign);
        assert!(host.wrong.is_empty(), "the same again");
        host.obey(order("", Cmd::AssignHost(named("xyz"))));
        assert_eq!(host.wrong.len(), 1, "an identity is kept");
    }

    #[test]
    fn orders_come_in_pieces_and_together() {
        let orders = ["1", "2"].map(|id| order(id, Cmd::Install(named("Noble"))));
        let bytes: Vec<u8> = orders.iter().flat_map(frame).collect();
        let (mut read, mut came) = (Vec::new(), Vec::new());
        for byte in bytes {
            read.push(byte);
            came.extend(unframe(&mut read).expect("orders"));
        }
        assert_eq!((came, read.len()), (orders.to_vec(), 0));
        assert!(unframe(&mut vec![1, 0, 0, 0, 0]).is_err());
        assert!(unframe(&mut vec![0, 0xff, 0, 0, 0]).is_err());
        assert!(unframe(&mut vec![0, 0, 0, 0, 1, 0xff]).is_err());
    }
}
