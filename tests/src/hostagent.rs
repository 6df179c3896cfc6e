//! How does a host agent behave? One gRPC stream on which it tells of itself and takes orders, and calls
//! beside it for how far they are. Written from the protocol's numbers, not from the server's files.

use prost::{Message, Oneof};

use crate::grpc::{call, frame};
use crate::h2_client::{Call, H2, H2Reply};

const CONNECT: &str = "/landscapehostagentapi.LandscapeHostAgent/Connect";
const STATUS: &str = "/landscapehostagentapi.LandscapeHostAgent/SendCommandStatus";

/// What it tells of itself.
#[derive(Clone, PartialEq, Message)]
pub struct Info {
    /// Of its subscription.
    #[prost(string, tag = "1")]
    pub token: String,
    /// Its identity.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Its name.
    #[prost(string, tag = "3")]
    pub hostname: String,
    /// What it looks after.
    #[prost(message, repeated, tag = "4")]
    pub instances: Vec<Instance>,
    /// To whom it wants to belong.
    #[prost(string, tag = "5")]
    pub account_name: String,
    /// The account's key.
    #[prost(string, optional, tag = "6")]
    pub registration_key: Option<String>,
    /// Its default instance.
    #[prost(string, optional, tag = "7")]
    pub default_instance_id: Option<String>,
    /// What it does not look after.
    #[prost(message, repeated, tag = "8")]
    pub unmanaged_instances: Vec<Instance>,
}

/// An instance.
#[derive(Clone, PartialEq, Message)]
pub struct Instance {
    /// Its identity.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Of its system.
    #[prost(string, tag = "3")]
    pub version_id: String,
    /// 0 stopped, 1 running.
    #[prost(int32, tag = "4")]
    pub state: i32,
}

/// An order.
#[derive(Clone, PartialEq, Message)]
pub struct Command {
    /// What is to be done.
    #[prost(oneof = "Cmd", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub cmd: Option<Cmd>,
    /// Statuses go under it.
    #[prost(string, tag = "8")]
    pub request_id: String,
}

/// What can be ordered.
#[derive(Clone, PartialEq, Oneof)]
pub enum Cmd {
    /// Take this identity.
    #[prost(message, tag = "1")]
    AssignHost(Named),
    /// Start.
    #[prost(message, tag = "2")]
    Start(Named),
    /// Stop.
    #[prost(message, tag = "3")]
    Stop(Named),
    /// Install.
    #[prost(message, tag = "4")]
    Install(Install),
    /// Uninstall.
    #[prost(message, tag = "5")]
    Uninstall(Named),
    /// Make it the default.
    #[prost(message, tag = "6")]
    SetDefault(Named),
    /// Shut down.
    #[prost(message, tag = "7")]
    ShutdownHost(Nothing),
}

/// An identity.
#[derive(Clone, PartialEq, Message)]
pub struct Named {
    /// It.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// What is to be installed.
#[derive(Clone, PartialEq, Message)]
pub struct Install {
    /// Under which name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its first configuration.
    #[prost(string, optional, tag = "2")]
    pub cloudinit: Option<String>,
    /// Its files.
    #[prost(string, optional, tag = "3")]
    pub rootfs_url: Option<String>,
}

/// Nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct Progress {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(int32, tag = "2")]
    state: i32,
    #[prost(string, tag = "3")]
    error: String,
}

/// A host agent with its stream.
pub struct HostAgent {
    /// What it would tell of itself now.
    pub info: Info,
    h2: H2,
    stream: Option<Call>,
    read: Vec<u8>,
}

impl HostAgent {
    /// What an agent tells that is new, with one instance that is stopped.
    pub fn info(hostname: &str, key: Option<&str>) -> Info {
        Info {
            hostname: hostname.to_owned(),
            account_name: "standalone".to_owned(),
            registration_key: key.map(str::to_owned),
            default_instance_id: Some("Ubuntu".to_owned()),
            instances: vec![Instance {
                id: "Ubuntu".to_owned(),
                name: "Ubuntu".to_owned(),
                version_id: "24.04".to_owned(),
                state: 0,
            }],
            ..Info::default()
        }
    }

    /// Opens a stream on this connection and tells of itself.
    pub async fn connect(mut h2: H2, info: Info) -> HostAgent {
        let stream = h2.call(call(CONNECT), false).await;
        let mut agent = HostAgent {
            info,
            h2,
            stream: Some(stream),
            read: Vec::new(),
        };
        agent.tell().await;
        agent
    }

    /// A host that is given its identity and tells that it has it.
    pub async fn new(h2: H2, hostname: &str, key: Option<&str>) -> HostAgent {
        let mut agent = HostAgent::connect(h2, HostAgent::info(hostname, key)).await;
        agent.take_identity().await;
        agent
    }

    /// Takes the identity that must come now, and tells that it has it.
    pub async fn take_identity(&mut self) {
        self.info.uid = self.identity().await;
        self.tell().await;
    }

    /// The identity that must come now, which it does not tell that it has.
    pub async fn identity(&mut self) -> String {
        let command = self.command().await.expect("an identity");
        let Some(Cmd::AssignHost(Named { id })) = command.cmd else {
            panic!("no identity: {command:?}");
        };
        assert_eq!(command.request_id, "", "nobody waits for a status of that");
        id
    }

    /// Tells of itself.
    pub async fn tell(&mut self) {
        let message = frame(self.info.encode_to_vec());
        let stream = self.stream.as_mut().expect("an open stream");
        // A server that refuses may end the stream first.
        stream.try_send(message).await;
    }

    /// The next order, or the code of gRPC with which the stream ended; `lost` without one.
    pub async fn command(&mut self) -> Result<Command, String> {
        loop {
            if let Some(length) = whole(&self.read) {
                let rest = self.read.split_off(5 + length);
                let one = std::mem::replace(&mut self.read, rest);
                return Ok(Command::decode(&one[5..]).expect("an order of the protocol"));
            }
            let stream = self.stream.as_mut().expect("an open stream");
            match stream.data().await {
                Some(Ok(bytes)) => self.read.extend_from_slice(&bytes),
                Some(Err(_)) => return Err("lost".to_owned()),
                None => {
                    let stream = self.stream.take().expect("it was there");
                    let end = stream.rest().await.map_err(|_| "lost".to_owned())?;
                    return Err(end.grpc_status().unwrap_or("lost").to_owned());
                }
            }
        }
    }

    /// Reads on until the stream is over, whatever comes before.
    pub async fn until_over(&mut self) {
        while self.command().await.is_ok() {}
    }

    /// Says how far an order is: 0 queued, 1 in progress, 2 completed. The code of gRPC.
    pub async fn status(&mut self, request_id: &str, state: i32, error: &str) -> String {
        let progress = Progress {
            request_id: request_id.to_owned(),
            state,
            error: error.to_owned(),
        };
        let body = frame(progress.encode_to_vec());
        let reply: Result<H2Reply, _> = self.h2.try_fetch(call(STATUS), body).await;
        let code = reply
            .ok()
            .and_then(|reply| reply.grpc_status().map(str::to_owned));
        code.unwrap_or_else(|| "lost".to_owned())
    }
}

/// The length of the first message, where all of it has come.
fn whole(read: &[u8]) -> Option<usize> {
    let head: [u8; 4] = read.get(1..5)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(head)).ok()?;
    (read.len() >= 5 + length).then_some(length)
}
