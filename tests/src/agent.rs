//! How does an agent behave? As the published one does: it counts, keeps what is not acknowledged,
//! shows its token once, holds back what nobody takes.

use crate::bpickle::{Pickle, d, i, s, u};
use crate::gateway::Gateway;
use crate::raw::Raw;
use crate::stack::Database;

/// The configuration of an edge before what agents speak to: workers at `<pings>` and `<messages>`.
pub const EDGE: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0" }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  pingserver:     { ports: <pings> }
  message-system: { ports: <messages> }
routes:
  - { path: /ping,           to: pingserver, on: [http, https] }
  - { path: /message-system, to: message-system }
"#;

/// Where an agent sends.
pub enum Way<'a> {
    /// To a worker itself.
    Port(u16),
    /// Through the gateway, by HTTPS.
    Edge(&'a Gateway),
}

impl Way<'_> {
    /// A POST of these bytes; status and body of the answer.
    pub async fn post(&self, path: &str, fields: &[&str], body: &[u8]) -> (u16, Vec<u8>) {
        let mut raw = match self {
            Way::Port(port) => Raw::tcp(*port).await,
            Way::Edge(gateway) => gateway.https().await,
        };
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: edge.test\r\n");
        for field in fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        raw.try_send([head.as_bytes(), body].concat()).await;
        match raw.reply_or_end().await {
            Some(reply) => (reply.status(), reply.body.clone()),
            None => (0, Vec::new()),
        }
    }
}

/// An agent.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// Its name.
    pub title: String,
    /// To whom it wants to belong.
    pub account: String,
    /// What it shows in the exchange.
    pub secure: Option<String>,
    /// What it pings with.
    pub insecure: Option<i64>,
    /// Shown once.
    pub token: Option<String>,
    /// Number of its first pending message.
    pub sequence: i64,
    /// Number of the message it wants next.
    pub wanted: i64,
    /// Types that are taken from it, as it was told.
    pub types: Vec<String>,
    /// Messages that are not acknowledged.
    pub pending: Vec<Pickle>,
    /// Types that it understands, told when the digest differs.
    pub understands: Vec<String>,
    /// Texts that its registration says besides.
    pub says: Vec<(String, String)>,
    seen_digest: Vec<u8>,
}

impl Agent {
    /// An agent that nobody knows.
    pub fn new(title: &str) -> Agent {
        let understands = [
            "accepted-types",
            "execute-script",
            "resynchronize",
            "set-id",
        ];
        Agent {
            title: title.to_owned(),
            account: "standalone".to_owned(),
            understands: understands.map(str::to_owned).into(),
            ..Agent::default()
        }
    }

    /// An agent of a computer that was accepted by its key and has its types. Sets the accounts' keys.
    pub async fn accepted(database: &Database, way: &Way<'_>, title: &str) -> Agent {
        database.sql("update account set registration_key = 'right'");
        let mut agent = Agent::new(title);
        agent.set_up(way, Some("right")).await;
        agent.exchange(way).await.expect("an exchange");
        assert_eq!(agent.types.len(), 22, "{:?}", agent.types);
        agent
    }

    /// Its registration, in the daemon's form.
    pub fn register(&self, key: Option<&str>) -> Pickle {
        let own = [
            ("account_name", u(&self.account)),
            ("computer_title", u(&self.title)),
            ("container-info", u("")),
            ("hostname", u(&format!("{}.test", self.title))),
            ("registration_password", key.map_or(Pickle::Null, u)),
            ("tags", u("blue, green")),
            ("type", u("register")),
            ("vm-info", s("kvm")),
        ];
        let own = own.map(|(name, value)| (u(name), value));
        let more = self.says.iter().map(|(name, text)| (u(name), u(text)));
        Pickle::Dict(own.into_iter().chain(more).collect())
    }

    /// Registers as the set-up program does: one request without numbers. The messages of the answer.
    pub async fn set_up(&mut self, way: &Way<'_>, key: Option<&str>) -> Vec<Pickle> {
        let body = d([("messages", Pickle::List(vec![self.register(key)]))]).write();
        let fields = ["X-Message-API: 3.3"];
        let (status, body) = way.post("/message-system", &fields, &body).await;
        assert_eq!(status, 200);
        let answer = Pickle::read(&body);
        let messages = answer.at("messages").expect("messages").list().to_vec();
        for message in &messages {
            self.handle(message);
        }
        // Its daemons start with these ids and begin to count.
        (self.sequence, self.wanted) = (0, 0);
        messages
    }

    /// What it would send now.
    pub fn payload(&self) -> Vec<u8> {
        let mut entries = vec![
            (u("accepted-types"), Pickle::Bytes(self.digest())),
            (u("client-api"), s("3.8")),
            (u("messages"), Pickle::List(self.pending.clone())),
            (u("next-expected-sequence"), i(self.wanted)),
            (u("sequence"), i(self.sequence)),
            (u("server-api"), s("3.3")),
        ];
        if self.seen_digest.is_empty() {
            let types = self.understands.iter().map(|name| u(name)).collect();
            entries.push((u("client-accepted-types"), Pickle::List(types)));
        }
        Pickle::Dict(entries).write()
    }

    /// One exchange. The messages of the answer, or the status where it failed.
    pub async fn exchange(&mut self, way: &Way<'_>) -> Result<Vec<Pickle>, u16> {
        let (body, token) = (self.payload(), self.token.take());
        let mut fields = Vec::new();
        if let Some(secure) = &self.secure {
            fields.push(format!("X-Computer-ID: {secure}"));
        }
        if let Some(token) = token {
            fields.push(format!("X-Exchange-Token: {token}"));
        }
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (status, body) = way.post("/message-system", &fields, &body).await;
        if status != 200 {
            return Err(status);
        }
        let answer = Pickle::read(&body);
        assert_eq!(answer.at("server-api").expect("an API").bytes(), b"3.3");
        assert_eq!(
            answer.at("server-uuid").expect("an identity").bytes().len(),
            36
        );
        self.take(&answer);
        let messages = answer.at("messages").expect("messages").list().to_vec();
        for message in &messages {
            self.wanted += 1;
            self.handle(message);
        }
        Ok(messages)
    }

    fn take(&mut self, answer: &Pickle) {
        if let Some(token) = answer.at("next-exchange-token") {
            self.token = Some(String::from_utf8(token.bytes().to_vec()).expect("ASCII"));
        }
        if let Some(digest) = answer.at("client-accepted-types-hash") {
            self.seen_digest = digest.bytes().to_vec();
            assert_eq!(self.seen_digest.len(), 16);
        }
        let count = i64::try_from(self.pending.len()).expect("few");
        let expected = answer.at("next-expected-sequence").map(Pickle::int);
        let expected = expected.unwrap_or(self.sequence + count);
        let taken = (expected - self.sequence).clamp(0, count);
        self.pending.drain(..usize::try_from(taken).expect("few"));
        self.sequence = expected;
    }

    fn handle(&mut self, message: &Pickle) {
        match message.at("type").expect("a type").text() {
            "set-id" => {
                let id = message.at("id").expect("an id").bytes().to_vec();
                self.secure = Some(String::from_utf8(id).expect("ASCII"));
                self.insecure = Some(message.at("insecure-id").expect("an id").int());
            }
            "unknown-id" => (self.secure, self.insecure) = (None, None),
            "accepted-types" => {
                let types = message.at("types").expect("types").list();
                self.types = types.iter().map(|name| name.text().to_owned()).collect();
                self.types.sort();
            }
            _ => {}
        }
    }

    /// Adds a message to what it will send.
    pub fn report(&mut self, message: Pickle) {
        self.pending.push(message);
    }

    /// Pings: does something wait?
    pub async fn ping(&self, way: &Way<'_>) -> bool {
        let body = format!("insecure_id={}", self.insecure.unwrap_or(0));
        let fields = ["Content-Type: application/x-www-form-urlencoded"];
        let (status, body) = way.post("/ping", &fields, body.as_bytes()).await;
        assert_eq!(status, 200);
        Pickle::read(&body) == d([("messages", Pickle::Bool(true))])
    }

    fn digest(&self) -> Vec<u8> {
        md5(self.types.join(";").as_bytes()).to_vec()
    }
}

/// MD5 (RFC 1321), for the digests of lists of types.
pub fn md5(input: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [
        [7, 12, 17, 22],
        [5, 9, 14, 20],
        [4, 11, 16, 23],
        [6, 10, 15, 21],
    ];
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut bytes = input.to_vec();
    bytes.push(0x80);
    while bytes.len() % 64 != 56 {
        bytes.push(0);
    }
    bytes.extend((input.len() as u64 * 8).to_le_bytes());
    for block in bytes.chunks(64) {
        let word = |at: usize| {
            let four: [u8; 4] = block[at * 4..at * 4 + 4].try_into().expect("four bytes");
            u32::from_le_bytes(four)
        };
        let [mut a, mut b, mut c, mut e] = state;
        for step in 0..64 {
            let (mix, at) = match step / 16 {
                0 => ((b & c) | (!b & e), step),
                1 => ((e & b) | (!e & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ e, (3 * step + 5) % 16),
                _ => (c ^ (b | !e), (7 * step) % 16),
            };
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            #[allow(clippy::cast_precision_loss)]
            let constant = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a
                .wrapping_add(mix)
                .wrapping_add(constant)
                .wrapping_add(word(at));
            a = e;
            e = c;
            c = b;
            b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
        }
        for (total, part) in state.iter_mut().zip([a, b, c, e]) {
            *total = total.wrapping_add(part);
        }
    }
    let mut digest = [0; 16];
    for (four, word) in digest.chunks_mut(4).zip(state) {
        four.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::md5;

    #[test]
    fn the_digest_is_the_published_one() {
        let hex = |digest: [u8; 16]| digest.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex(md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        let long =
            b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        assert_eq!(hex(md5(long)), "57edf4a22be3c955ac49da2e2107b67a");
    }
}
