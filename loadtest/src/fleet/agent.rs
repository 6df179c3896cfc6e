//! How does a simulated agent behave? It counts as the published one does, and each of its reports can be
//! told from every other.
//!
//! The n-th report of its interfaces has the address 10.a.b.c of n, and the n-th of its traffic has n bytes:
//! in the database the history of the interface must then name 0, 1, 2 ... once each and in order. Reports are made
//! two at a time: one alone that was stored twice in a row would change nothing, and so not be seen; two leave
//! four lines. Every order names who shall carry it out, a name that no other order has, and the result repeats it.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use super::pickle::Value;

/// The first step of traffic, seconds since 1970.
const STEPS_FROM: i64 = 1_700_000_100;

/// What a pending message is, so that its acknowledgement can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Interfaces,
    Traffic,
    Result,
    Other,
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    pub number: usize,
    pub title: String,
    pub secure: Option<String>,
    pub insecure: Option<i64>,
    token: Option<String>,
    sequence: i64,
    wanted: i64,
    types: Vec<String>,
    seen_digest: Vec<u8>,
    pending: Vec<(Kind, Value)>,
    /// Reports that were made.
    interfaces: u32,
    traffic: u32,
    /// Of them, those that were acknowledged.
    pub interfaces_kept: u32,
    pub traffic_kept: u32,
    pub results_kept: u32,
    /// It was told that nobody knows it.
    pub lost: bool,
    /// Orders that came: for whom, by the number of the operation.
    pub orders: BTreeMap<i64, String>,
    /// What must not happen and did.
    pub wrong: Vec<String>,
    /// Nothing was left to say on either side in the end.
    pub settled: bool,
}

/// What an exchange came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    /// Messages that are acknowledged by it.
    pub acknowledged: u64,
    /// Of them, results of orders.
    pub results: u64,
    /// Something was said.
    pub messages: usize,
}

impl Agent {
    pub fn new(run: &str, number: usize) -> Agent {
        Agent {
            number,
            title: format!("{run}-{number}"),
            secure: None,
            insecure: None,
            token: None,
            sequence: 0,
            wanted: 0,
            types: Vec::new(),
            seen_digest: Vec::new(),
            pending: Vec::new(),
            interfaces: 0,
            traffic: 0,
            interfaces_kept: 0,
            traffic_kept: 0,
            results_kept: 0,
            lost: false,
            orders: BTreeMap::new(),
            wrong: Vec::new(),
            settled: false,
        }
    }

    /// The number of its next message, which the server must expect in the end.
    pub fn next_number(&self) -> i64 {
        self.sequence
    }

    /// Everything that it said is acknowledged, as far as it knows.
    pub fn is_done(&self) -> bool {
        self.secure.is_some() && self.pending.is_empty() && !self.lost
    }

    /// The body of a registration, as the set-up program sends it.
    pub fn registration(&self, account: &str, key: Option<&str>) -> Vec<u8> {
        let register = Value::dict([
            ("access_group", Value::text("")),
            ("account_name", Value::text(account)),
            ("computer_title", Value::text(&self.title)),
            ("container_info", Value::text("")),
            ("hostname", Value::text(&format!("{}.test", self.title))),
            (
                "machine_id",
                Value::text(&format!("machine-{}", self.title)),
            ),
            (
                "registration_password",
                key.map_or(Value::Null, Value::text),
            ),
            ("tags", Value::text("fleet")),
            ("type", Value::text("register")),
            ("ubuntu_pro_info", Value::text("{}")),
            ("vm_info", Value::bytes("kvm")),
        ]);
        Value::dict([("messages", Value::List(vec![register]))]).write()
    }

    /// Takes the answer to a registration. An error where it is none, or a refusal.
    pub fn registered(&mut self, answer: &[u8]) -> Result<(), &'static str> {
        let answer = Value::read(answer).ok_or("malformed")?;
        let messages = answer.at("messages").and_then(Value::as_list);
        for message in messages.unwrap_or_default() {
            self.handle(message);
        }
        self.secure.is_some().then_some(()).ok_or("refused")
    }

    /// Reports twice that interfaces differ from before, and now and then traffic.
    pub fn report(&mut self, now: i64, with_traffic: bool) {
        if !self.types.iter().any(|taken| taken == "network-device") {
            return;
        }
        for _ in 0..2 {
            self.report_interfaces(now);
        }
        if with_traffic {
            let at = STEPS_FROM + i64::from(self.traffic) * 300;
            let step = [at, i64::from(self.traffic), 1];
            let step = Value::Tuple(step.map(Value::Int).into());
            let on = Value::Dict(vec![(Value::bytes("eth0"), Value::List(vec![step]))]);
            let activity = self.message(now, "network-activity", ("activities", on));
            self.pending.push((Kind::Traffic, activity));
            self.traffic += 1;
        }
    }

    fn report_interfaces(&mut self, now: i64) {
        let [_, a, b, c] = self.interfaces.to_be_bytes();
        let eth0 = Value::dict([
            ("broadcast_address", Value::bytes("10.255.255.255")),
            ("flags", Value::Int(4163)),
            ("interface", Value::bytes("eth0")),
            ("ip_address", Value::bytes(&format!("10.{a}.{b}.{c}"))),
            (
                "mac_address",
                Value::bytes(&format!(
                    "02:fc:00:{:02x}:{b:02x}:{c:02x}",
                    self.number % 256
                )),
            ),
            ("netmask", Value::bytes("255.0.0.0")),
        ]);
        let devices = self.message(now, "network-device", ("devices", Value::List(vec![eth0])));
        self.pending.push((Kind::Interfaces, devices));
        self.interfaces += 1;
    }

    fn message(&self, now: i64, kind: &str, content: (&str, Value)) -> Value {
        Value::dict([
            ("api", Value::bytes("3.3")),
            content,
            ("timestamp", Value::Int(now)),
            ("type", Value::text(kind)),
        ])
    }

    /// The fields and the body of an exchange. The token is shown once.
    pub fn exchange(&mut self) -> (String, Vec<u8>) {
        let digest = Md5::digest(self.types.join(";")).to_vec();
        let pending = self
            .pending
            .iter()
            .take(100)
            .map(|(_, message)| message.clone());
        let mut body = vec![
            ("accepted-types", Value::Bytes(digest)),
            ("client-api", Value::bytes("3.8")),
            ("messages", Value::List(pending.collect())),
            ("next-expected-sequence", Value::Int(self.wanted)),
            ("sequence", Value::Int(self.sequence)),
            ("server-api", Value::bytes("3.3")),
            ("total-messages", Value::Int(self.pending.len() as i64)),
        ];
        if self.seen_digest.is_empty() {
            let understands = [
                "accepted-types",
                "execute-script",
                "resynchronize",
                "set-id",
            ];
            let types = understands.map(Value::text).into();
            body.push(("client-accepted-types", Value::List(types)));
        }
        let body = body
            .into_iter()
            .map(|(key, value)| (Value::text(key), value));
        let body = Value::Dict(body.collect()).write();
        let mut fields =
            "Content-Type: application/octet-stream\r\nX-Message-API: 3.3\r\n".to_owned();
        if let Some(secure) = &self.secure {
            fields += &format!("X-Computer-ID: {secure}\r\n");
        }
        if let Some(token) = self.token.take() {
            fields += &format!("X-Exchange-Token: {token}\r\n");
        }
        (fields, body)
    }

    /// Takes the answer to an exchange.
    pub fn answered(&mut self, answer: &[u8], now: i64) -> Result<Heard, &'static str> {
        let answer = Value::read(answer).ok_or("malformed")?;
        let messages = answer
            .at("messages")
            .and_then(Value::as_list)
            .ok_or("malformed")?;
        let mut heard = Heard {
            messages: messages.len(),
            ..Heard::default()
        };
        if let Some(token) = answer.at("next-exchange-token").and_then(Value::as_str) {
            self.token = Some(token.to_owned());
        }
        if let Some(Value::Bytes(digest)) = answer.at("client-accepted-types-hash") {
            self.seen_digest.clone_from(digest);
        }
        if let Some(expected) = answer.at("next-expected-sequence").and_then(Value::as_int) {
            let count = self.pending.len() as i64;
            let taken = expected - self.sequence;
            if !(0..=count).contains(&taken) {
                // It would have to resynchronize: something that was acknowledged is gone, or came twice.
                self.wrong.push(format!(
                    "message {expected} is expected, {} to {} were offered",
                    self.sequence,
                    self.sequence + count
                ));
                return Err("sequence");
            }
            for (kind, _) in self.pending.drain(..taken as usize) {
                heard.acknowledged += 1;
                match kind {
                    Kind::Interfaces => self.interfaces_kept += 1,
                    Kind::Traffic => self.traffic_kept += 1,
                    Kind::Result => {
                        self.results_kept += 1;
                        heard.results += 1;
                    }
                    Kind::Other => {}
                }
            }
            self.sequence = expected;
        }
        for message in messages {
            self.wanted += 1;
            self.handle(message);
            self.obey(message, now);
        }
        Ok(heard)
    }

    fn handle(&mut self, message: &Value) {
        match message.at("type").and_then(Value::as_str) {
            Some("set-id") => {
                let secure = message.at("id").and_then(Value::as_str).map(str::to_owned);
                if self.secure.is_some() && self.secure != secure {
                    self.wrong.push("its identity became another".to_owned());
                }
                self.secure = secure;
                self.insecure = message.at("insecure-id").and_then(Value::as_int);
            }
            Some("unknown-id") => self.lost = true,
            Some("accepted-types") => {
                let types = message.at("types").and_then(Value::as_list);
                let types = types.unwrap_or_default().iter().filter_map(Value::as_str);
                self.types = types.map(str::to_owned).collect();
                self.types.sort();
            }
            _ => {}
        }
    }

    fn obey(&mut self, message: &Value, now: i64) {
        let Some(operation) = message.at("operation-id").and_then(Value::as_int) else {
            return;
        };
        let username = message.at("username").and_then(Value::as_str);
        let username = username.unwrap_or_default().to_owned();
        if self.orders.contains_key(&operation) {
            self.wrong.push(format!("order {operation} came twice"));
        }
        let (kind, result) = match message.at("type").and_then(Value::as_str) {
            Some("execute-script") => {
                let said = self.result(operation, &username);
                let result = Value::dict([
                    ("api", Value::bytes("3.3")),
                    ("operation-id", Value::Int(operation)),
                    ("result-text", Value::text(&said)),
                    ("status", Value::Int(6)),
                    ("timestamp", Value::Int(now)),
                    ("type", Value::text("operation-result")),
                ]);
                (Kind::Result, result)
            }
            Some("resynchronize") => {
                let content = ("operation-id", Value::Int(operation));
                (Kind::Other, self.message(now, "resynchronize", content))
            }
            _ => return,
        };
        self.orders.insert(operation, username);
        self.pending.push((kind, result));
    }

    /// What it says when it has carried out an order.
    pub fn result(&self, operation: i64, username: &str) -> String {
        format!("{} did {operation} as {username}", self.title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(expected: i64, messages: Vec<Value>) -> Vec<u8> {
        Value::dict([
            ("messages", Value::List(messages)),
            ("next-expected-sequence", Value::Int(expected)),
        ])
        .write()
    }

    #[test]
    fn what_is_acknowledged_is_counted_and_what_is_not_stays() {
        let mut agent = Agent::new("run", 1);
        let set_id = Value::dict([
            ("id", Value::text("secret")),
            ("insecure-id", Value::Int(7)),
            ("type", Value::text("set-id")),
        ]);
        let types = Value::List(vec![Value::text("network-device")]);
        let taken = Value::dict([("type", Value::text("accepted-types")), ("types", types)]);
        let registered = Value::dict([("messages", Value::List(vec![set_id]))]).write();
        agent.registered(&registered).expect("accepted");
        agent.report(1, true);
        assert!(agent.is_done(), "nobody takes reports yet");
        agent.answered(&answer(0, vec![taken]), 1).expect("heard");
        for _ in 0..3 {
            agent.report(1, true);
        }
        let heard = agent.answered(&answer(4, vec![]), 1).expect("heard");
        assert_eq!(heard.acknowledged, 4);
        assert_eq!((agent.interfaces_kept, agent.traffic_kept), (3, 1));
        assert!(!agent.is_done() && agent.wrong.is_empty());
        for wrong in [10, 3] {
            let answer = agent.answered(&answer(wrong, vec![]), 1);
            assert_eq!(answer.err(), Some("sequence"));
        }
        assert_eq!(agent.wrong.len(), 2, "it is told in the end, too");
        agent.answered(&answer(9, vec![]), 1).expect("heard");
        assert!(agent.is_done());
        assert_eq!(agent.next_number(), 9);
    }

    #[test]
    fn an_order_is_answered_with_its_number() {
        let mut agent = Agent::new("run", 1);
        agent.secure = Some("secret".into());
        let order = Value::dict([
            ("operation-id", Value::Int(77)),
            ("type", Value::text("execute-script")),
            ("username", Value::text("order5")),
        ]);
        let twice = answer(0, vec![order.clone()]);
        agent.answered(&answer(0, vec![order]), 1).expect("heard");
        let (fields, body) = agent.exchange();
        assert!(fields.contains("X-Computer-ID: secret\r\n"));
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(body.contains("u22:run-1 did 77 as order5"), "{body}");
        assert_eq!(agent.orders[&77], "order5");
        agent.answered(&twice, 1).expect("heard");
        assert_eq!(agent.wrong, ["order 77 came twice"]);
    }
}
