//! How does a worker's process begin and end?

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::running::PATIENCE;

/// A child that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PINGSERVER: &str = env!("CARGO_BIN_EXE_pingserver");

const BINARIES: [(&str, &str); 7] = [
    ("appserver", env!("CARGO_BIN_EXE_appserver")),
    ("pingserver", PINGSERVER),
    ("message-system", env!("CARGO_BIN_EXE_message-server")),
    ("api", env!("CARGO_BIN_EXE_api")),
    ("package-search", env!("CARGO_BIN_EXE_package-search")),
    ("package-upload", env!("CARGO_BIN_EXE_package-upload")),
    (
        "hostagent-messenger",
        env!("CARGO_BIN_EXE_hostagent-messenger"),
    ),
];

/// Starts a worker on a free port and reads the address it says it is ready on.
fn start(binary: &str, service: &str, more: &[&str]) -> (Process, String) {
    let mut child = Command::new(binary)
        .args(["--stub", "--port", "0"])
        .args(more)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stderr = child.stderr.take().expect("piped");
    let process = Process(child);
    let mut line = String::new();
    BufReader::new(stderr).read_line(&mut line).expect("a line");
    let address = line
        .trim()
        .strip_prefix(&format!("ready {service}="))
        .unwrap_or_else(|| panic!("not ready: {line}"));
    (process, address.to_owned())
}

fn terminate(process: &Process) {
    let pid = process.0.id().to_string();
    let status = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(status.expect("kill is there").success());
}

#[test]
fn every_worker_says_when_it_is_ready_and_ends_when_told() {
    for (service, binary) in BINARIES {
        let (mut process, address) = start(binary, service, &[]);
        TcpStream::connect(&address).expect("it listens");
        terminate(&process);
        let status = process.0.wait().expect("it ends");
        assert!(status.success(), "{service}: {status}");
    }
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let output = Command::new(env!("CARGO_BIN_EXE_api"))
        .args(["--stub", "--port", &address.port().to_string()])
        .output()
        .expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        words.starts_with(&format!("api: {address} is taken")),
        "{words}"
    );
}

#[test]
fn a_request_in_flight_is_answered_after_sigterm() {
    let (mut process, address) = start(PINGSERVER, "pingserver", &[]);
    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(b"GET /ping/drip/3/50 HTTP/1.1\r\nhost: t\r\n\r\n")
        .expect("sent");
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    terminate(&process);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the whole answer");
    assert!(rest.ends_with("2\n\r\n0\r\n\r\n"), "{rest}");
    assert!(process.0.wait().expect("it ends").success());
}

#[test]
fn a_stream_without_end_is_cut_at_the_drain_deadline() {
    let (mut process, address) = start(PINGSERVER, "pingserver", &["--drain", "0"]);
    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream
        .write_all(b"GET /drip/1000/60000 HTTP/1.1\r\nhost: t\r\n\r\n")
        .expect("sent");
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    terminate(&process);
    assert!(process.0.wait().expect("it ends").success());
}
