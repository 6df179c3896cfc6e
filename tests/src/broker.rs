//! Which broker stands beside the services under test? A real RabbitMQ of the test run's own.
//!
//! The first test that asks starts one node (`scripts/rabbitmq.sh`) in a directory of its own; tests do not
//! meet there, because each has names of its own (`broker.prefix`). A test that kills the broker has a
//! node for itself. Nodes end with the test's process, however that ends. A missing RabbitMQ is a failure that says how
//! to install it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ErrorKind};

use crate::eventually::patience;
use crate::ports::free_range;
use crate::stack;

const NAME: &str = "portcullis-rabbitmq";

/// A place at a broker where nobody else's messages are.
pub struct Broker {
    url: String,
    hostagent_url: String,
    prefix: String,
}

impl Broker {
    /// At the node of the whole test run.
    pub fn fresh() -> Broker {
        static NODE: OnceLock<PathBuf> = OnceLock::new();
        let dir = NODE.get_or_init(|| {
            stack::remove_leftovers(NAME);
            let dir = std::env::temp_dir().join(format!("{NAME}-{}", std::process::id()));
            let (at, port) = (dir.clone(), free_range(1));
            // A thread of its own, which never ends: the node stops when the thread that started it does.
            std::thread::spawn(move || {
                let _ = start(&at, port, "fleeting").wait();
                std::thread::park();
            });
            until_ready(&dir, port);
            dir
        });
        Broker::at(dir)
    }

    fn at(dir: &Path) -> Broker {
        let read = |file: &str| {
            let text = std::fs::read_to_string(dir.join(file));
            text.expect("a node that is ready has its addresses")
                .trim()
                .to_owned()
        };
        Broker {
            url: read("url"),
            hostagent_url: read("hostagent-url"),
            prefix: format!("t{:016x}-", fastrand::u64(..)),
        }
    }

    /// The settings with which a service finds it, and these besides.
    pub fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![
            ("BROKER__URL", self.url.as_str()),
            ("BROKER__HOSTAGENT_URL", self.hostagent_url.as_str()),
            ("BROKER__PREFIX", self.prefix.as_str()),
        ];
        all.extend_from_slice(more);
        all
    }

    /// Is there a queue of this name in the virtual host of the host agents? Asks without declaring it.
    pub async fn hostagents_have(&self, queue: &str) -> bool {
        const NOT_FOUND: u16 = 404;
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&self.hostagent_url, properties).await;
        let connection = connection.expect("the node takes who has its address");
        let channel = connection.create_channel().await.expect("a channel");
        let name = format!("{}{queue}", self.prefix);
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let asked = channel.queue_declare(name.into(), passive, FieldTable::default());
        match asked.await {
            Ok(_) => true,
            Err(error) => match error.kind() {
                ErrorKind::ProtocolError(told) if told.get_id() == NOT_FOUND => false,
                _ => panic!("{queue}: {error}"),
            },
        }
    }
}

/// A node of one test's own, which can be killed and started again. What is durable is kept.
pub struct Node {
    dir: PathBuf,
    port: u16,
    child: Child,
}

impl Node {
    /// A fresh one.
    pub fn start() -> Node {
        Node::with(&[])
    }

    /// A fresh one that takes none of these ports: `9000-9100,9901`.
    pub fn that_avoids(ports: &str) -> Node {
        Node::with(&[("AVOID_PORTS", ports)])
    }

    fn with(environment: &[(&str, &str)]) -> Node {
        stack::remove_leftovers(NAME);
        let name = format!("{NAME}-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let (dir, port) = (std::env::temp_dir().join(name), free_range(1));
        let child = command(&dir, port, "lasting")
            .envs(environment.iter().copied())
            .spawn()
            .expect("scripts/rabbitmq.sh can be started");
        until_ready(&dir, port);
        Node { dir, port, child }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port by which it would speak to other nodes.
    pub fn distribution_port(&self) -> u16 {
        let file = format!("/proc/{}/environ", self.child.id());
        let environment = std::fs::read(file).expect("it lives");
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let mut variables = environment.split('\0');
        let port = variables.find_map(|one| one.strip_prefix("RABBITMQ_DIST_PORT="));
        port.and_then(|port| port.parse().ok())
            .expect("the script names one")
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default()
    }

    /// A place at it.
    pub fn broker(&self) -> Broker {
        Broker::at(&self.dir)
    }

    /// Kills it as the kernel would: no goodbye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        self.child = start(&self.dir, self.port, "lasting");
        until_ready(&self.dir, self.port);
    }

    /// The same on another port.
    pub fn restart_elsewhere(&mut self) {
        self.port = free_range(1);
        self.restart();
    }

    /// The folders of what it keeps, one for each name that it has had.
    pub fn data(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join("mnesia")).expect("it keeps something");
        let names = entries.map(|entry| entry.expect("our own directory").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.ends_with("@localhost")).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
        let _ = std::fs::remove_file(self.dir.with_extension("log"));
    }
}

fn start(dir: &Path, port: u16, mode: &str) -> Child {
    let child = command(dir, port, mode).spawn();
    child.expect("scripts/rabbitmq.sh can be started")
}

fn command(dir: &Path, port: u16, mode: &str) -> Command {
    let log = std::fs::File::create(dir.with_extension("log")).expect("a log can be made");
    let mut command = Command::new(stack::root().join("scripts/rabbitmq.sh"));
    command
        .arg(dir)
        .args([&port.to_string(), mode])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("one more handle"))
        .stderr(log);
    command
}

/// Waits until it answers the greeting of AMQP 0-9-1, which it does when all of it is there.
fn until_ready(dir: &Path, port: u16) {
    // An Erlang node takes its time on a busy machine.
    let end = Instant::now() + patience() * 4;
    while !greets(port) {
        let log = std::fs::read_to_string(dir.with_extension("log"));
        assert!(
            Instant::now() < end,
            "RabbitMQ does not start (as root, scripts/setup.sh installs it):\n{}",
            log.unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut first = [0];
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .is_ok()
        && stream.write_all(b"AMQP\0\0\x09\x01").is_ok()
        && stream.read_exact(&mut first).is_ok()
        && first == [1]
}
